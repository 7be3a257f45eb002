"""The house of the unit tests, on a real folder."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "hub" / "records"))

from record_house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Return an empty record."""
    made = House(tmp_path / "records")
    yield made
    made.keeper.close()
