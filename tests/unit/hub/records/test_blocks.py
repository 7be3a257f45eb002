"""Blocks are sets: any order, any repetition, any truncation."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_house import MS, START, S, frame, numeric

from asepsis.core.errors import FramingError
from asepsis.core.model.identity import Assurance
from asepsis.core.wire.frames import SAMPLE_MISSING, decode_frame
from asepsis.hub.records import entries, entries_alarms, entries_frames
from asepsis.hub.records.blocks import Order, content_hash, decode_block, encode_block
from asepsis.hub.records.entries import Mark, Origin, Source

ENTRIES = st.sets(st.binary(min_size=1, max_size=40), max_size=30)
COUNTERS = st.integers(0, 2**63 - 1)
ORIGINS = st.builds(
    Origin,
    start_ns=st.integers(0, 2**62),
    received_at_ns=COUNTERS,
    device_start_ns=st.integers(0, 2**62),
    epoch=COUNTERS,
    sequence=COUNTERS,
    uncertainty_ms=st.integers(0, 2**32 - 1),
    source=st.sampled_from(Source),
    assurance=st.sampled_from(Assurance),
    marks=st.integers(0, 15).map(Mark),
    producer_tag=st.binary(min_size=8, max_size=8),
)
NUMERICS = st.lists(
    st.builds(
        numeric,
        st.integers(0, 2**32 - 1),
        handle=st.integers(1, 65_535),
        code=st.integers(1, 2**32 - 1),
        offset_ms=st.integers(0, 65_535),
    ),
    max_size=12,
)


@given(found=ENTRIES, order=st.sampled_from(Order), seed=st.integers())
def test_a_block_is_a_set(found: set[bytes], order: Order, seed: int) -> None:
    """Goal: same set, same bytes, whatever the order and however often each was said."""
    shuffled = [*found, *found]
    random.Random(seed).shuffle(shuffled)
    block = encode_block(shuffled, order)
    assert block == encode_block(found, order)
    assert set(decode_block(block)) == found
    assert len(decode_block(block)) == len(found)
    assert content_hash(shuffled) == content_hash(found)


@given(found=ENTRIES.filter(bool), data=st.data())
def test_a_block_that_was_cut_or_lengthened_is_refused(
    found: set[bytes], data: st.DataObject
) -> None:
    block = encode_block(found)
    cut = data.draw(st.integers(0, len(block) - 1))
    for wrong in (block[:cut], block + b"\x00"):
        with pytest.raises(FramingError):
            decode_block(wrong)


@given(noise=st.binary(max_size=60))
def test_noise_is_refused_or_is_a_block(noise: bytes) -> None:
    try:
        assert set(decode_block(noise)) is not None
    except FramingError:
        return


def test_a_block_that_unpacks_to_too_much_is_refused() -> None:
    """Goal: a small text cannot fill the memory."""
    import zlib  # noqa: PLC0415 - the attacker's tool, not ours

    bomb = bytes((1, 1)) + zlib.compress(bytes(65 * 1024 * 1024), 9)
    assert len(bomb) < 100_000
    with pytest.raises(FramingError):
        decode_block(bomb)


@given(origin=ORIGINS, numerics=NUMERICS)
def test_numerics_come_back_whole(origin: Origin, numerics: list[object]) -> None:
    """Goal: no digit, time, status or mark is lost on the way through a block."""
    entry = entries.encode_numerics(origin, entries.numeric_block(numerics))  # type: ignore[arg-type]
    (again,) = decode_block(encode_block([entry]))
    assert entries.origin_of(again) == origin
    values = list(entries.values_of(again))
    assert [v.row for v in values] == [
        (n.handle, n.mdc_code, n.unit_code, n.value, n.status, n.offset_ms)  # type: ignore[attr-defined]
        for n in numerics
    ]
    assert [v.t_ns for v in values] == [origin.start_ns + v.row[5] * MS for v in values]
    assert [v.place for v in values] == list(range(len(numerics)))


@given(numerics=NUMERICS, data=st.data())
def test_wanted_metrics_are_those_of_the_whole(numerics: list[object], data: st.DataObject) -> None:
    origin = data.draw(ORIGINS)
    entry = entries.encode_numerics(origin, entries.numeric_block(numerics))  # type: ignore[arg-type]
    rows = [v.row for v in entries.values_of(entry)]
    handles = frozenset(data.draw(st.sets(st.sampled_from([r[0] for r in rows] or [1]))))
    found = [v.row for v in entries.values_of(entry, handles=handles)]
    assert found == [r for r in rows if not handles or r[0] in handles]


@given(
    samples=st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=600),
    sequence=st.integers(1, 2**63 - 1),
)
def test_a_frame_comes_back_with_its_digest(samples: list[int], sequence: int) -> None:
    """Goal: the digest that a signed batch promised can be checked for as long as it is kept."""
    original = decode_frame(frame(sequence, START, samples))
    entry = entries_frames.encode_frame_entry(
        original, epoch=3, received_at_ns=START + S, marks=Mark.LATE
    )
    (again,) = decode_block(encode_block([entry], Order.ROWS))
    stored = entries_frames.frame_of(again)
    assert stored.frame == original
    assert (stored.epoch, stored.received_at_ns, stored.marks) == (3, START + S, Mark.LATE)
    assert entries_frames.promise_of(again) is None
    assert entries_frames.frame_start_ns(again) == START


def test_missing_samples_stay_missing() -> None:
    original = decode_frame(frame(1, START, [SAMPLE_MISSING, 0, SAMPLE_MISSING]))
    entry = entries_frames.encode_frame_entry(
        original, epoch=1, received_at_ns=START, marks=Mark.NONE
    )
    assert list(entries_frames.frame_of(entry).frame.samples()) == [
        SAMPLE_MISSING,
        0,
        SAMPLE_MISSING,
    ]


@pytest.mark.parametrize("entry", [b"", b"x", bytes(57), b"\x01" + bytes(20), b"\xc1"])
def test_what_is_no_entry_is_refused(entry: bytes) -> None:
    for read in (entries.origin_of, entries_frames.frame_of, entries_alarms.alarm_of):
        with pytest.raises(FramingError):
            read(entry)


def test_a_number_that_is_not_ours_is_refused() -> None:
    origin = Origin(
        start_ns=0, received_at_ns=0, device_start_ns=0, epoch=0, sequence=0, uncertainty_ms=0,
        source=Source.BATCH, assurance=Assurance.DEVICE_ORIGIN, marks=Mark.NONE,
        producer_tag=bytes(8),
    )  # fmt: skip
    entry = bytearray(entries.encode_numerics(origin, b""))
    entry[44] = 9
    with pytest.raises(FramingError):
        entries.origin_of(bytes(entry))
