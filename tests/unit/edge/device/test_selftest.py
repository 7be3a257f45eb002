"""The self-test's reference: what is right measures nothing wrong, and what is spoilt shows."""

import math
import os

import pytest

from asepsis.edge.device import records
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.models import MODELS
from asepsis.edge.device.selftest import Bench
from asepsis.edge.sandbox import ring
from asepsis.edge.sandbox.ring import RingReader, RingWriter


class Spoilt(RingWriter):
    """A ring whose code forgets every second block of samples and all alarms."""

    def write(self, payload: bytes) -> int:
        """Write what is not forgotten."""
        self._count = getattr(self, "_count", 0) + 1
        record = records.decode(payload)
        if record.alarms or (record.samples and self._count % 2):
            return 0
        return super().write(payload)


def measured(kind: Kind, writer: type[RingWriter] = RingWriter) -> dict[str, float]:
    descriptor = ring.create("selftest", geometry=records.VITALS_RING)
    read = os.dup(descriptor)
    made = writer(descriptor, geometry=records.VITALS_RING, epoch=1, first=1, wakes=())
    return Bench(made, reader=RingReader(read), model=MODELS[kind]).measure()


@pytest.mark.parametrize("kind", list(Kind))
def test_the_shipped_code_measures_the_reference_right(kind: Kind) -> None:
    found = measured(kind)
    assert found["numeric-error"] <= 0.5
    assert found["samples-lost"] == 0
    assert 0 <= found["alarm-delay"] <= 1


def test_what_is_lost_or_silent_shows() -> None:
    """Goal: the self-test can fail."""
    found = measured(Kind.MONITOR, Spoilt)
    assert found["samples-lost"] > 0
    assert math.isnan(found["alarm-delay"])
