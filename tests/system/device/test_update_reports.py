"""The hub takes what a device's origin key signed about an update, once, and nothing else."""

import contextlib
import sqlite3
import time
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.errors import FramingError, SignatureInvalid, TrustError
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import Instant
from asepsis.core.model.update import Outcome, TestResult
from asepsis.core.trust import libcrypto, tls
from asepsis.core.wire.update_report import MEDIA_TYPE
from asepsis.edge.device.update.memory import Held
from asepsis.edge.device.update.report_signing import ReportSigner, to_order
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.uplink.connection import HubConnection
from asepsis.tools.testing.updating_device import target

pytestmark = pytest.mark.slow
TEST = TestResult(name="numeric-error", measured=0.25, low=0, high=0.5, unit="1")
HELD = Held(target=target(), outcome=Outcome.SELF_TESTED, tests=(TEST,))


def entries(hub: Any, device: str) -> int:
    """Return how many reports of a device stand in the hub's audit log; what they say is sealed."""
    path = hub.made.data / "hub/state.db"
    question = "SELECT count(*) FROM audit_entries WHERE action = 'report-update' AND subject = ?"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as db:
        return int(db.execute(question, (device,)).fetchone()[0])


def signer(device: str, key: libcrypto.PrivateKey) -> ReportSigner:
    return ReportSigner(
        DeviceId.parse(device),
        key=key,
        epoch=1,
        instant=lambda: Instant(bytes(16), 1, time.time_ns(), 20),
    )


def test_a_genuine_report_stands_in_the_audit_log_once_and_a_forged_one_never(hub: Any) -> None:
    name = "urn:dev:mac:0012210000000064"
    folder = hub.enrolled(name)
    _, hospital, root_der = folder.load()
    context = tls.client_context(root_der=root_der, identity=folder.identity)
    connection = HubConnection(hospital.clinical, context, now_ns=time.time_ns, timeout_s=10)

    def post(path: str, report: bytes | None) -> int:
        assert report
        headers = {"Content-Type": MEDIA_TYPE}
        return int(connection.request("POST", path, body=report, headers=headers).status)

    own = signer(name, folder.key("origin"))
    reports = [own.sign(to_order(HELD)) for _ in range(3)]
    assert post("/alerts", reports[0]) == 201
    assert post("/alerts", reports[0]) == 200
    assert post("/late", reports[1]) == 201
    assert entries(hub, name) == 2
    changed = bytearray(reports[2] or b"")
    changed[-70] ^= 1
    with pytest.raises((SignatureInvalid, FramingError)):
        post("/alerts", bytes(changed))
    with pytest.raises(SignatureInvalid):
        post("/alerts", signer(name, libcrypto.generate_key()).sign(to_order(HELD)))
    other = signer("urn:dev:mac:0012210000000065", folder.key("origin"))
    with pytest.raises(TrustError):
        post("/alerts", other.sign(to_order(HELD)))
    assert entries(hub, name) == 2
    connection.close()


def test_a_running_device_tells_its_hub(hub: Any, intrusion: ModuleType) -> None:
    """Goal: from the agent through origin's key, the ring and the network compartment."""
    name = "urn:dev:mac:0012210000000066"
    under_test = intrusion.Ward(hub.enrolled(name), detect().holding)
    with under_test.running() as supervisor:
        under_test.until(lambda: under_test.told("network", "alive"))
        assert supervisor.report_update(to_order(HELD))
        under_test.until(
            lambda: any(
                fate["account"] == "update" and fate["fate"].startswith("acknowledged")
                for fate in under_test.told("network", "fate")
            )
        )
    assert entries(hub, name) == 1
