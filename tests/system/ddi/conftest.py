"""A running hub with the DDI listener, shared by the tests of a module."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(TESTS), str(TESTS.parent / "benchmarks")]

from ddi_ward import DdiWard  # noqa: E402 - found by the path above


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DdiWard]:
    made = DdiWard(tmp_path_factory.mktemp("ward"))
    yield made
    made.close()
