"""A device that lay in store for fourteen months and woke in 1970 needs nobody (REQ-ID-015)."""

import asyncio
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from asepsis.core.model.identity import DeviceId
from asepsis.core.trust.libcrypto_x509 import read_certificate
from asepsis.core.trust.signer_values import Expectation
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.hub.keys import AdminClient
from asepsis.tools.simulator import hospital, ledger
from asepsis.tools.simulator.orders import Order
from asepsis.tools.simulator.processes import Actor, HubProcess

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]
NAME = DeviceId.from_eui64(0x0012_2100_0000_0E01).uri
DAY_NS = 86_400 * 10**9
STORED_DAYS = 14 * 30
VITALS_S = 120
PRELOAD = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def shifted(offset: str) -> dict[str, str]:
    """Return an environment whose wall clock is shifted; the monotonic clock stays true."""
    return {
        **os.environ,
        "LD_PRELOAD": str(PRELOAD),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@pytest.fixture
def folder() -> Iterator[Path]:
    """As root, hub and signer are users of their own and must get through every parent."""
    with tempfile.TemporaryDirectory(prefix="stored-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def started(made: hospital.Prepared, stack: ExitStack, offset: str | None) -> dict[str, int]:
    hub = HubProcess(
        made.data,
        ready=made.ready,
        log=made.data.parent / "hub.log",
        environment=None if offset is None else shifted(offset),
    )
    stack.callback(hub.stop)
    ready = hub.start(timeout_s=60)
    ports = {name: int(where["port"]) for name, where in ready["listeners"].items()}
    hospital.keep_ports(made, ports)
    return ports


async def listed(made: hospital.Prepared) -> str:
    admin = AdminClient(made.admin_socket)
    try:
        token = await admin.expect(
            Expectation(id="", name=NAME, profile="device", origin_required=True)
        )
        return token.token
    finally:
        await admin.close()


def bed(order: Order, folder: Path, environment: dict[str, str] | None = None) -> Actor:
    path = folder / "order.json"
    order.save(path)
    module = "asepsis.tools.simulator.bed_process"
    return Actor(NAME, module, [str(path)], log=folder / "bed.log", environment=environment)


@pytest.mark.skipif(PRELOAD is None, reason="package libfaketime is not installed")
def test_vitals_arrive_within_two_minutes_and_no_person_is_needed(
    folder: Path, stack: ExitStack
) -> None:
    made = hospital.prepare(folder / "hub", subscriber=f"urn:uuid:{uuid.uuid4()}")
    with ExitStack() as first_life:
        ports = started(made, first_life, None)
        order = Order(
            name=NAME,
            token=asyncio.run(listed(made)),
            host=made.host,
            clinical_port=ports["clinical"],
            enrolment_port=ports["enrolment"],
            folder=str(folder / "device"),
            ledger=str(folder / "ledger.txt"),
            passphrase_file=str(made.passphrase_file),
        )
        young = bed(order, folder)
        first_life.callback(young.close)
        young.wait_for("reachable", timeout_s=60)
        young.command("stop")
        assert young.stop() == 0
    before = read_certificate(IdentityFolder(folder / "device").leaf("tls"))
    acknowledged = len(ledger.read([folder / "ledger.txt"], ledger.ACKED))

    started(made, stack, f"+{STORED_DAYS}d")
    woken_s = time.monotonic()
    old = bed(order, folder, shifted("@1970-01-01 00:00:10"))
    stack.callback(old.close)
    old.wait_for("reachable", timeout_s=VITALS_S)
    took_s = time.monotonic() - woken_s
    old.command("stop")
    assert old.stop() == 0

    after = read_certificate(IdentityFolder(folder / "device").leaf("tls"))
    assert after.not_before_ns > before.not_after_ns, "it had expired and was renewed"
    assert after.spki_der == before.spki_der, "with the same key (REQ-ID-013)"
    assert after.uris == before.uris
    assert len(ledger.read([folder / "ledger.txt"], ledger.ACKED)) > acknowledged
    assert took_s < VITALS_S
