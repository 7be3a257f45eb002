"""Hubs that deliver."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FOLDERS = (HERE, HERE.parent / "hub", HERE.parent / "gateway", HERE.parents[2] / "benchmarks")
sys.path[:0] = [str(folder) for folder in FOLDERS]

from delivery_ward import DeliveryWard, make_delivery  # noqa: E402 - the path comes first


@pytest.fixture
def delivering(tmp_path: Path) -> Iterator[Callable[..., DeliveryWard]]:
    """Return a function that starts a hub with routes and an EHR behind it."""
    made: list[DeliveryWard] = []

    def start(**given: str) -> DeliveryWard:
        ward = make_delivery(tmp_path, **given)
        made.append(ward)
        ward.start()
        return ward

    yield start
    for ward in made:
        ward.close()
