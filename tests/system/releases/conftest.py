"""A running hub whose signer directs devices, a vendor and a hospital with keys of their own."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from release_ward import ReleaseWard, running


@pytest.fixture(scope="module")
def ward() -> Generator[ReleaseWard]:
    with running() as made:
        yield made
