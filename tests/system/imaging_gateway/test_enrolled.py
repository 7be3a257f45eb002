"""A DICOM gateway as a hospital sets it up: listed, enrolled, trusting signed time only."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicom_ward import DEVICE, PLAIN, DicomWard, instance, peer_text, send

from asepsis.core.trust.signer_values import Expectation
from asepsis.hub.keys import AdminClient
from asepsis.tools.simulator import hospital
from asepsis.tools.simulator.processes import HubProcess


@pytest.fixture
def folder() -> Iterator[Path]:
    """As root, hub and signer run as users of their own and must get through every parent."""
    with tempfile.TemporaryDirectory(prefix="asepsis-imaging-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def listed(made: hospital.Prepared, name: str) -> str:
    """List a gateway that may speak for the modality; return its token."""
    admin = AdminClient(made.admin_socket)
    try:
        wanted = Expectation(id="", name=name, profile="gateway", declared=(DEVICE,))
        return (await admin.expect(wanted)).token
    finally:
        await admin.close()


@pytest.mark.slow
def test_an_enrolled_gateway_stores_by_signed_time(folder: Path) -> None:
    made = hospital.prepare(folder / "hub", subscriber=f"urn:uuid:{uuid.uuid4()}")
    hub = HubProcess(made.data, ready=made.ready, log=folder / "hub.log")
    ward = DicomWard(folder, None, 0)  # type: ignore[arg-type] - only its gateway
    ward.data.mkdir(mode=0o700)
    passphrase = folder / "passphrase"
    passphrase.write_text("a passphrase of a test")
    passphrase.chmod(0o600)
    settings = ward.data / "gateway.toml"
    settings.write_text(
        'device_segments = ["127.0.0.0/8"]\n[sealing]\nsource = "passphrase"\n'
        f'passphrase_file = "{passphrase}"\n[imaging]\n{PLAIN}\n{peer_text()}\n'
    )
    name = f"urn:uuid:{uuid.uuid4()}"
    token = folder / "token"
    try:
        ready = hub.start(timeout_s=60)
        ports = {key: str(where["port"]) for key, where in ready["listeners"].items()}
        token.write_text(asyncio.run(listed(made, name)))
        done = subprocess.run(
            [sys.executable, "-m", "asepsis.cli.main", "gateway", "enrol", name,
             "--token-file", str(token), "--hub", made.host, "--settings", str(settings),
             "--clinical-port", ports["clinical"], "--enrolment-port", ports["enrolment"]],
            capture_output=True, text=True, check=False, env=dict(os.environ),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        ward.start_gateway()
        assert send(ward, [instance(1)]) == [0]
        deadline = time.monotonic() + 20
        while ward.spooled():  # The first may have come before any time was trusted.
            assert time.monotonic() < deadline, ward.log
            time.sleep(0.05)
        before = ward.findings()["spooled"]
        assert send(ward, [instance(2), instance(3)]) == [0, 0]
        assert ward.findings()["spooled"] == before
        floor = json.loads((ward.data / "identity" / "time-imaging.json").read_text())
        assert abs(floor["floor_ns"] / 1e9 - time.time()) < 3_600
    finally:
        ward.close()
        hub.stop()
