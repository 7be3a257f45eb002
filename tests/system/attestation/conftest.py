"""A running hub with two devices, their software TPMs, and a maker whom the hospital trusts."""

import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
sys.path[:0] = [
    str(Path(__file__).parent),
    str(TESTS / "system" / "hub"),
    str(TESTS),
    str(TESTS.parent / "benchmarks"),
]

from attested_ward import MODEL, AttestedWard  # noqa: E402 - found by the path above
from hub_ward import make_ward  # noqa: E402 - as above
from sqlalchemy import update  # noqa: E402 - as above

from asepsis.hub.opening import open_kek, open_store  # noqa: E402 - as above
from asepsis.hub.registry.tables import devices  # noqa: E402 - as above
from asepsis.hub.settings import read_settings  # noqa: E402 - as above
from asepsis.tools.testing.software_tpm import SoftwareTpm, TpmMaker  # noqa: E402 - as above


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Generator[AttestedWard]:
    made = make_ward(tmp_path_factory.mktemp("ward"))
    settings = read_settings(made.hospital.toml)
    kek = open_kek(settings.sealing, hub_folder=made.hospital.data / "hub")
    store = open_store(settings, kek, clock=time.time_ns)
    with store.unit_of_work() as connection:
        connection.execute(update(devices).values(model=MODEL))
    store.close()
    made.start()
    attested = AttestedWard(made, TpmMaker())
    yield attested
    attested.person.close()
    made.close()


@pytest.fixture
def software() -> Generator[SoftwareTpm]:
    with SoftwareTpm() as tpm:
        yield tpm
