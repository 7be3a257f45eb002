"""A gateway as a hospital sets it up: listed, enrolled over EST, trusting signed time only."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_ward import Sender, Ward, free_port, oru, peer_text

from asepsis.core.trust.signer_values import Expectation
from asepsis.hub.keys import AdminClient
from asepsis.tools.simulator import hospital
from asepsis.tools.simulator.processes import HubProcess

SETTINGS = """\
device_segments = ["127.0.0.0/8"]
[sealing]
source = "passphrase"
passphrase_file = "{passphrase}"
[[listeners]]
name = "ward"
host = "127.0.0.1"
port = 0
"""


async def listed(made: hospital.Prepared, name: str) -> str:
    admin = AdminClient(made.admin_socket)
    try:
        answer = await admin.expect(Expectation(id="", name=name, profile="gateway"))
    finally:
        await admin.close()
    return answer.token


def cli(*arguments: str) -> str:
    script = "import sys; from asepsis.cli.gateway import app; sys.exit(app(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    """As root, hub and signer run as users of their own and must get through every parent."""
    with tempfile.TemporaryDirectory(prefix="asepsis-gateway-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.slow
def test_a_listed_gateway_enrols_and_carries_messages_by_signed_time(folder: Path) -> None:
    made = hospital.prepare(folder / "hub", subscriber=f"urn:uuid:{uuid.uuid4()}")
    hub = HubProcess(made.data, ready=made.ready, log=folder / "hub.log")
    data = folder / "gateway"
    data.mkdir(mode=0o700)
    passphrase = folder / "gateway-passphrase"
    passphrase.write_text("a passphrase of a test")
    passphrase.chmod(0o600)
    settings = data / "gateway.toml"
    settings.write_text(
        SETTINGS.format(passphrase=passphrase) + peer_text("monitor", ["127.0.0.1"])
    )
    ward = Ward(folder, None, None, free_port())  # type: ignore[arg-type] - only its gateway
    try:
        ready = hub.start(timeout_s=60)
        ports = {name: str(where["port"]) for name, where in ready["listeners"].items()}
        name = f"urn:uuid:{uuid.uuid4()}"
        token = folder / "token"
        token.write_text(asyncio.run(listed(made, name)))
        told = cli(
            "enrol", name, "--token-file", str(token), "--hub", made.host,
            "--settings", str(settings), "--clinical-port", ports["clinical"],
            "--enrolment-port", ports["enrolment"],
        )  # fmt: skip
        assert "is enrolled" in told
        (row,) = json.loads(cli("check", "--settings", str(settings), "--json"))
        assert row["protection"] == "CLEAR TEXT"
        ward.start_gateway()
        deadline = time.monotonic() + 20
        while "hub-back" not in ward.findings() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert ward.findings()["hub-back"] == 1
        with Sender(ward.port()) as sender:
            began = time.monotonic()
            assert [sender.send(oru(n)) for n in range(1, 11)] == ["CA"] * 10
            assert time.monotonic() - began < 2, "each was answered by the hub, not by waiting"
        assert ward.stop_gateway() == 0
    finally:
        ward.close()
        hub.stop()
