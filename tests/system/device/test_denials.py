"""What the layers of a running device deny arrives at its hub, signed, and calls whom it should."""

import contextlib
import json
import sqlite3
import threading
import time
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.errors import SignatureInvalid, TrustError
from asepsis.core.model.identity import DeviceId
from asepsis.core.trust import libcrypto, tls
from asepsis.core.wire.security_event import MEDIA_TYPE
from asepsis.edge.device.security_signing import EventSigner
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.uplink.connection import HubConnection

TRYING = """
import asepsis.edge.device.network as _network
_honest = _network.Network.run
def _try(worker):
    import ctypes, os, socket
    libc = ctypes.CDLL(None, use_errno=True)
    for _ in range(3):
        ctypes.set_errno(0)
        libc.ptrace(16, VITALS, None, None)
        worker._line.report("tried", what="ptrace", error=ctypes.get_errno())
    for attempt in (lambda: socket.socket(), lambda: os.execv("/bin/sh", ["sh"])):
        try:
            attempt()
        except OSError as error:
            worker._line.report("tried", what="other", error=error.errno)
    _honest(worker)
_network.Network.run = _try
"""
pytestmark = pytest.mark.slow


def test_a_denied_ptrace_of_the_network_compartment_is_an_alarm_at_the_hub(
    hub: Any, intrusion: ModuleType
) -> None:
    """Goal: refused as ever, told once with a count, signed by origin, in the hub's alarms."""
    name = "urn:dev:mac:0012210000000061"
    folder = hub.enrolled(name)
    under_test = intrusion.Ward(folder, detect().holding)

    def take_over(compartment: str, event: str) -> None:
        if (compartment, event) == ("origin", "mapped"):
            pid = under_test.supervisor.pid("vitals")
            under_test.preludes["network"] = f"VITALS = {pid}\n{TRYING}"

    under_test.on_event = take_over
    with under_test.running() as supervisor:
        under_test.until(
            lambda: (
                {d["kind"] for d in under_test.told("network", "denied")}
                >= {"trace", "socket", "execute"}
            )
        )
        assert [t["error"] for t in under_test.told("network", "tried")] == [1, 1, 1, 1, 1]
        traced = [d for d in under_test.told("network", "denied") if d["kind"] == "trace"]
        assert traced[0]["text"].startswith("seccomp: ptrace on vitals")
        assert traced[0]["alarm"] is True
        assert len(traced) == 1
        under_test.until(
            lambda: any(
                f["account"] == "security" and f["fate"].startswith("acknowledged")
                for f in under_test.told("network", "fate")
            )
        )
        found: list[dict[str, Any]] = []
        stop = threading.Event()

        def look() -> None:
            deadline = time.monotonic() + 20
            try:
                while not found and time.monotonic() < deadline:
                    hub.pull()
                    found.extend(b for b in hub.technical(name) if b["cause"] == "intrusion")
            finally:
                stop.set()

        threading.Thread(target=look, daemon=True).start()
        under_test.until(stop.is_set, timeout_s=30)
        assert supervisor.starts["vitals"] == 1
    assert [body["priority"] for body in found][:1] == [3], json.dumps(found)


def test_an_honest_device_is_denied_nothing(
    ward: ModuleType, intrusion: ModuleType, tmp_path: Any
) -> None:
    under_test = intrusion.Ward(ward.enrolled(tmp_path / "device"), detect().holding)
    with under_test.running():
        under_test.until(lambda: len(under_test.told("timekeeper", "alive")) >= 2)
        under_test.until(lambda: len(under_test.told("network", "alive")) >= 2)
    assert not [event for event in under_test.events if event[1] == "denied"]


def reported(hub: Any, device: str) -> int:
    """Return how many events of a device stand in the hub's audit log."""
    path = hub.made.data / "hub/state.db"
    question = "SELECT count(*) FROM audit_entries WHERE action = 'report-denial' AND subject = ?"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as db:
        return int(db.execute(question, (device,)).fetchone()[0])


def test_the_hub_takes_what_the_origin_key_signed_once_and_nothing_else(hub: Any) -> None:
    name = "urn:dev:mac:0012210000000062"
    folder = hub.enrolled(name)
    _, hospital, root_der = folder.load()
    context = tls.client_context(root_der=root_der, identity=folder.identity)
    connection = HubConnection(hospital.clinical, context, now_ns=time.time_ns, timeout_s=10)
    body = {"kind": "file", "alarm": False, "count": 1, "source": "network", "text": "landlock"}

    def signer(device: str, key: libcrypto.PrivateKey) -> EventSigner:
        return EventSigner(DeviceId.parse(device), key=key, epoch=1, wall_ns=time.time_ns)

    def post(path: str, event: bytes | None) -> int:
        assert event
        headers = {"Content-Type": MEDIA_TYPE}
        return int(connection.request("POST", path, body=event, headers=headers).status)

    own = signer(name, folder.key("origin"))
    events = [own.sign(body) for _ in range(3)]
    assert post("/alerts", events[0]) == 201
    assert post("/alerts", events[0]) == 200
    assert post("/late", events[2]) == 201
    assert reported(hub, name) == 2
    changed = bytearray(events[1] or b"")
    changed[-70] ^= 1
    with pytest.raises(SignatureInvalid):
        post("/alerts", bytes(changed))
    with pytest.raises(SignatureInvalid):
        post("/alerts", signer(name, libcrypto.generate_key()).sign(body))
    with pytest.raises(TrustError):
        post("/alerts", signer("urn:dev:mac:0012210000000063", folder.key("origin")).sign(body))
    assert reported(hub, name) == 2
    connection.close()
