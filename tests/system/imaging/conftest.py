"""Fixtures: a ward whose gateway speaks for a modality, and what sends images to it."""

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

from hub_ward import Ward  # noqa: E402 - found by the path above
from imaging_ward import make_imaging_ward  # noqa: E402 - as above


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Callable[..., Ward]]:
    """Return a function that prepares a ward; its hub ends with the test."""
    wards: list[Ward] = []

    def prepare(*, more: str = "") -> Ward:
        wards.append(make_imaging_ward(tmp_path / str(len(wards)), more=more))
        return wards[-1]

    yield prepare
    for ward in wards:
        ward.close()


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Return a running ward that the tests of a module share."""
    made = make_imaging_ward(tmp_path_factory.mktemp("ward"))
    made.start()
    yield made
    made.close()
