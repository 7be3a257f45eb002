"""A running hub whose signer directs devices, a vendor and a hospital with keys of their own."""

import sys
import tempfile
import uuid
from collections.abc import Generator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from release_ward import ReleaseWard

from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital
from asepsis.tools.simulator import hospital
from asepsis.tools.simulator.processes import HubProcess


@pytest.fixture(scope="module")
def ward() -> Generator[ReleaseWard]:
    # Not pytest's own folder: the hub's and the signer's users must be able to pass.
    with tempfile.TemporaryDirectory(prefix="asepsis-releases-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        made = hospital.prepare(folder / "hub", subscriber=f"urn:uuid:{uuid.uuid4()}")
        process = HubProcess(made.data, ready=made.ready, log=folder / "hub.log")
        ready = process.start(timeout_s=60)
        clinical, enrolment = (
            Endpoint(made.host, ready["listeners"][one]["port"])
            for one in ("clinical", "enrolment")
        )
        try:
            whole = ReleaseWard(made, clinical, Hospital(clinical, enrolment), folder)
            yield whole
            whole.person.close()
        finally:
            process.stop()
