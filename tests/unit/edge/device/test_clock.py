"""Trusted time reaches the origin compartment as 20 bytes, or not at all."""

import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError
from asepsis.edge.device.clock import BACK_MS_MAX, BUILD_NS, OriginClock, Reading
from asepsis.edge.sandbox.ring import wake_pair

NOW_NS = 1_800_000_000 * 10**9


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, OriginClock]]:
    sender, receiver = wake_pair()
    yield sender, OriginClock(bytes(16), offset_ns=5, line=receiver)
    sender.close()
    receiver.close()


def reading(wall_ns: int = NOW_NS, *, uncertainty_ms: int = 2, ago_ns: int = 0) -> Reading:
    return Reading(wall_ns, time.monotonic_ns() - ago_ns, uncertainty_ms)


def test_unsynchronised_until_the_first_reading(line: tuple[socket.socket, OriginClock]) -> None:
    sender, clock = line
    clock.listen()
    before = clock.instant(100)
    assert (before.wall_ns, before.synchronised) == (105, False)
    given_ = reading()
    sender.send(given_.encode())
    clock.listen()
    after = clock.instant(given_.monotonic_ns + 10**9)
    assert (after.wall_ns, after.uncertainty_ms) == (NOW_NS + 10**9, 2)
    assert clock.synchronised


def test_the_error_grows_with_the_drift() -> None:
    assert Reading(NOW_NS, 0, 1).at(3_600 * 10**9).uncertainty_ms == 1 + 360


def test_a_wrong_reading_changes_nothing(line: tuple[socket.socket, OriginClock]) -> None:
    sender, clock = line
    good = reading()
    sender.send(good.encode())
    clock.listen()
    for wrong in (
        b"x" * 19,
        b"x" * 21,
        reading(BUILD_NS - 1).encode(),
        Reading(NOW_NS + 5, 2**63, 1).encode(),
        reading(NOW_NS + 5, ago_ns=120 * 10**9).encode(),
        reading(NOW_NS - (BACK_MS_MAX + 100) * 1_000_000).encode(),
    ):
        sender.send(wrong)
        clock.listen()
        assert clock.instant(good.monotonic_ns).wall_ns == NOW_NS


@given(st.binary(max_size=40))
def test_noise_is_a_reading_or_refused(noise: bytes) -> None:
    try:
        found = Reading.decode(noise)
    except FramingError:
        return
    assert found.encode() == noise
    assert found.wall_ns >= BUILD_NS
