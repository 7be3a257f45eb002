"""Fixtures: a hub, a gateway, and the ventilator of the SDC library behind it."""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "drivers"), str(HERE.parents[2] / "benchmarks")]

with warnings.catch_warnings():
    # The library says of one of its own modules, on each import, that it is deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from sdc_ward import SdcWard


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdcWard]:
    made = SdcWard(tmp_path_factory.mktemp("ward"))
    yield made
    made.close()
