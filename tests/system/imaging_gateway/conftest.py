"""Fixtures: a prepared DICOM gateway, and one that runs for a whole module."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[3] / "benchmarks")]

from dicom_ward import DicomWard, make_ward  # noqa: E402 - the path comes first


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Callable[..., DicomWard]]:
    """Return a function that prepares a ward; its processes end with the test."""
    wards: list[DicomWard] = []

    def prepare(**settings: str) -> DicomWard:
        wards.append(make_ward(tmp_path / str(len(wards)), **settings))
        return wards[-1]

    yield prepare
    for ward in wards:
        ward.close()


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DicomWard]:
    """Return a running gateway before a STOW-RS server that the tests of a module share."""
    made = make_ward(tmp_path_factory.mktemp("ward"))
    made.start_server()
    made.start_gateway()
    yield made
    made.close()
