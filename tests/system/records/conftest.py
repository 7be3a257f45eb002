"""A ward whose record is read, with people who may and may not."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
sys.path[:0] = [
    str(Path(__file__).parent),
    str(TESTS / "system" / "hub"),
    str(TESTS),
    str(TESTS.parent / "benchmarks"),
]

from hub_ward import Ward, make_ward  # noqa: E402 - found by the path above


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Callable[..., Ward]]:
    """Return a function that prepares a ward; its hub ends with the test."""
    wards: list[Ward] = []

    def prepare(*, more: str = "") -> Ward:
        wards.append(make_ward(tmp_path / str(len(wards)), more=more))
        return wards[-1]

    yield prepare
    for ward in wards:
        ward.close()
