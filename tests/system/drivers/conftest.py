"""Fixtures: a hub, a gateway with two drivers, and the devices behind it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[3] / "benchmarks")]

from driver_ward import MONITOR, DriverWard  # noqa: E402 - the path comes first


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[DriverWard]:
    made = DriverWard(tmp_path)
    yield made
    made.close()


@pytest.fixture
def half_ward(tmp_path: Path) -> Iterator[DriverWard]:
    """A ward whose gateway may speak for the monitor only."""
    made = DriverWard(tmp_path, declared=[MONITOR])
    yield made
    made.close()
