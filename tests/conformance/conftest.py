"""A running ward, shared by the tests that compare the standard with a real hub."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "system" / "hub"), str(ROOT / "benchmarks")]

from hub_ward import Ward, make_ward  # noqa: E402 - found by the path above


@pytest.fixture(scope="session")
def prepared_ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Return a ward whose hub does not run yet."""
    made = make_ward(tmp_path_factory.mktemp("conformance"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def ward(prepared_ward: Ward) -> Ward:
    """Return a running ward."""
    prepared_ward.start()
    return prepared_ward
