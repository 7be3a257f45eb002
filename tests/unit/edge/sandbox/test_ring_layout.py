"""The ring over a plain buffer: what is read is what was written, or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.edge.sandbox.ring_layout import HEADER_BYTES, SLOT_HEAD_BYTES, Geometry, RingView

SMALL = Geometry(slot_bytes=128, slots=4)


def ring(geometry: Geometry = SMALL, *, first: int = 1) -> tuple[bytearray, RingView]:
    raw = bytearray(geometry.total_bytes)
    return raw, RingView.format(memoryview(raw), geometry=geometry, epoch=7, first=first)


@given(
    st.lists(st.binary(max_size=SMALL.payload_bytes_max), max_size=20),
    st.integers(min_value=1, max_value=2**62),
)
def test_the_newest_records_are_readable_and_older_ones_are_gone(
    payloads: list[bytes], first: int
) -> None:
    _, view = ring(first=first)
    for number, payload in enumerate(payloads, first):
        view.publish(number, payload)
    assert (view.head, view.first, view.epoch) == (first + len(payloads) - 1, first, 7)
    for number, payload in enumerate(payloads, first):
        gone = number <= view.head - SMALL.slots
        assert view.read(number) == (None if gone else payload)
    assert view.read(view.head + 1) is None


@given(st.binary(max_size=SMALL.payload_bytes_max), st.data())
def test_a_torn_or_changed_record_is_never_returned(payload: bytes, data: st.DataObject) -> None:
    """Goal: one flipped bit anywhere in the slot's used bytes makes the record unreadable."""
    raw, view = ring()
    view.publish(1, payload)
    used = SLOT_HEAD_BYTES + len(payload)
    at = data.draw(st.integers(0, used * 8 - 1))
    raw[HEADER_BYTES + at // 8] ^= 1 << at % 8
    assert view.read(1) is None


@given(st.binary(min_size=1, max_size=104), st.binary(min_size=1, max_size=104), st.data())
def test_every_moment_of_a_write_leaves_the_old_record_or_none(
    old: bytes, new: bytes, data: st.DataObject
) -> None:
    """Goal: stop the writer of record 5 after any store; a reader of 1 or 5 gets whole or none."""
    raw, view = ring()
    view.publish(1, old)
    before = bytes(raw)
    view.publish(5, new)
    after = bytes(raw)
    at = HEADER_BYTES
    size = data.draw(st.integers(0, len(new)))
    # The stores in the order of `publish`, the payload cut anywhere.
    stages = [(at, at + 8), (at + 16, at + 24), (at + 24, at + 24 + size)]
    stages = stages[: data.draw(st.integers(0, 3))]
    torn = bytearray(before)
    for start, end in stages:
        torn[start:end] = after[start:end]
    half = RingView.attach(memoryview(torn))
    assert half.read(5) is None
    assert half.read(1) == (None if stages else old)


@given(st.binary(max_size=HEADER_BYTES + 600))
def test_no_bytes_make_a_reader_fail_otherwise(noise: bytes) -> None:
    try:
        view = RingView.attach(memoryview(bytearray(noise)))
    except (FramingError, InputError):
        return
    view.read(view.head)


def test_limits() -> None:
    _, view = ring()
    with pytest.raises(LimitExceeded):
        view.publish(1, bytes(SMALL.payload_bytes_max + 1))
    for slot_bytes, slots in ((63, 4), (100, 4), (128, 1), (1 << 21, 2), (1 << 20, 1 << 16)):
        with pytest.raises(InputError):
            Geometry(slot_bytes=slot_bytes, slots=slots)
    raw, _ = ring()
    with pytest.raises(FramingError):
        RingView.attach(memoryview(raw[:-1]))
    with pytest.raises(FramingError):
        RingView.attach(memoryview(bytearray(100)))
    with pytest.raises(FramingError):
        RingView.attach(memoryview(bytearray(HEADER_BYTES)))
