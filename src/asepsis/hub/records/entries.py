"""The entries of a block: what one record says of one device, in a few bytes. Pure.

Numerics are copied as they stand on the wire, 20 bytes each, with 54 bytes in front that say when,
from where and how sure. Waveforms are frames and, beside them, the promises that signed batches
made: whether a frame is the device's own is found out when it is read, so that nothing depends on
what came first. Alarm events are MessagePack, for they are few.
"""

import hashlib
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from asepsis.core.errors import FramingError
from asepsis.core.model.alarm import AlarmEvent, AlarmKind, AlarmPhase, AlarmPriority, Inactivation
from asepsis.core.model.identity import Assurance
from asepsis.core.model.observation import Numeric
from asepsis.core.wire.frames import WaveformFrame, WaveformMetric, decode_frame, encode_frame

NS_PER_MS: Final = 1_000_000
TAG_BYTES: Final = 8
PROMISE_BYTES: Final = 16
"""Of a frame's SHA-256, kept to prove it: half suffices against a second frame that fits."""
_META: Final = struct.Struct(">qqqqqIBBB8sx")
_NUMERIC: Final = struct.Struct(">HIIIBxHxx")
SOURCE_AT: Final = 44
MARKS_AT: Final = 46
META_BYTES: Final = _META.size
NUMERIC_BYTES: Final = _NUMERIC.size
"""Where parts of an entry of numerics stand; see `_META` and standard/frames.md section 3.2."""
_SHAPE: Final = struct.Struct(">HII")
_FRAME: Final = struct.Struct(">BqqIQIIQIIIB")
_PROMISE: Final = struct.Struct(">BqHQ16s")
_ASSURANCES: Final[tuple[Assurance, ...]] = tuple(Assurance)
_NO_ASSURANCE: Final = 255


class Source(IntEnum):
    """What kind of record brought numerics; the numbers are those in blocks."""

    BATCH = 0
    BUNDLE = 1
    BESIDE = 2
    """A bundle that repeats a signed batch: not shown where the batch is there."""
    MESSAGE = 3


class Mark(IntFlag):
    """What a reader must know of an entry."""

    NONE = 0
    LATE = 1
    """It came on the late lane."""
    HELD_BACK = 2
    """It came on a live lane, but too late to be live."""
    CLOCK = 4
    """Nobody knows when it was measured: the time of arrival stands in its place."""
    AMBIGUOUS = 8
    """The sender's clocks repeat the hour; the instant that is nearer to the arrival was taken."""
    OTHER_PATIENT = 16
    """At arrival the message named another patient than the one its device was confirmed for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """When and from where, for the numerics of one entry.

    Attributes:
        start_ns: What offsets count from: device wall time, nanoseconds since 1970, or the time of
            arrival with `Mark.CLOCK`.
        received_at_ns: Wall time of the hub at arrival.
        device_start_ns: What the device itself said, where that is not `start_ns`.
        epoch: Boot epoch, or the sender's.
        sequence: Number of the record in its epoch.
        uncertainty_ms: Largest error of the device's clock; `UNSYNCHRONISED_MS` if nobody knows.
        source: What kind of record brought it.
        assurance: How far its origin is proven.
        marks: What a reader must know.
        producer_tag: First bytes of the SHA-256 of the sender's name.
    """

    start_ns: int
    received_at_ns: int
    device_start_ns: int
    epoch: int
    sequence: int
    uncertainty_ms: int
    source: Source
    assurance: Assurance
    marks: Mark
    producer_tag: bytes


class Value(NamedTuple):
    """One number of a block with the place it stands at.

    Attributes:
        t_ns: When it was measured.
        origin: The entry it stands in.
        place: Where it stands there, from 0.
        row: (handle, mdc_code, unit_code, FLOAT-Type, status, offset_ms).
    """

    t_ns: int
    origin: Origin
    place: int
    row: tuple[int, int, int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAlarm:
    """An alarm event of the record.

    Attributes:
        t_ns: When, nanoseconds since 1970: device wall time, or the time of arrival if that of the
            device cannot be true.
        device_time_ns: What the device itself said.
        received_at_ns: Wall time of the hub at arrival.
        assurance: How far its origin is proven; None for the hub's own findings.
        late: Whether it came on the late lane.
        event: What happened; its offset is 0.
    """

    t_ns: int
    device_time_ns: int
    received_at_ns: int
    assurance: Assurance | None
    late: bool
    event: AlarmEvent


def producer_tag(name: str) -> bytes:
    """Return the bytes that tell senders apart in a block."""
    return hashlib.sha256(name.encode()).digest()[:TAG_BYTES]


def encode_numerics(origin: Origin, numeric_block: bytes) -> bytes:
    """Write an entry of numerics.

    Args:
        origin: When and from where.
        numeric_block: 20 bytes each, as in an origin batch (standard/frames.md section 3.2).
    """
    meta = _META.pack(
        origin.start_ns,
        origin.received_at_ns,
        # The difference is zero but for broken clocks, and zeros cost nothing.
        origin.device_start_ns - origin.start_ns,
        origin.epoch,
        origin.sequence,
        origin.uncertainty_ms,
        origin.source,
        _ASSURANCES.index(origin.assurance),
        origin.marks,
        origin.producer_tag,
    )
    return meta + numeric_block


def numeric_block(numerics: Iterable[Numeric]) -> bytes:
    """Return numerics as they stand in an origin batch."""
    return b"".join(
        _NUMERIC.pack(n.handle, n.mdc_code, n.unit_code, n.value, n.status, n.offset_ms)
        for n in numerics
    )


def origin_of(entry: bytes) -> Origin:
    """Read the first part of an entry of numerics.

    Raises:
        FramingError: Not such an entry.
    """
    if len(entry) < _META.size or (len(entry) - _META.size) % _NUMERIC.size:
        raise FramingError("an entry of numerics has another length")
    start_ns, received, shift, epoch, sequence, uncertainty, source, assurance, marks, tag = (
        _META.unpack_from(entry)
    )
    try:
        return Origin(
            start_ns=start_ns,
            received_at_ns=received,
            device_start_ns=start_ns + shift,
            epoch=epoch,
            sequence=sequence,
            uncertainty_ms=uncertainty,
            source=Source(source),
            assurance=_ASSURANCES[int(assurance)],
            marks=Mark(marks),
            producer_tag=tag,
        )
    except (ValueError, IndexError) as error:
        raise FramingError("an entry of numerics holds a number that is not ours") from error


def source_of(entry: bytes) -> Source:
    """Return what kind of record brought an entry of numerics."""
    return Source(entry[SOURCE_AT])


def values_of(
    entry: bytes, *, codes: frozenset[int] = frozenset(), handles: frozenset[int] = frozenset()
) -> Iterator[Value]:
    """Yield the values of an entry in its own order.

    Args:
        entry: Of numerics.
        codes: MDC codes that are wanted; none for all.
        handles: Metric handles that are wanted; none for all.

    Raises:
        FramingError: Not such an entry.
    """
    origin = origin_of(entry)
    for place in _places(codes_of(entry), codes, handles):
        row = _NUMERIC.unpack_from(entry, _META.size + place * _NUMERIC.size)
        yield Value(origin.start_ns + row[5] * NS_PER_MS, origin, place, row)  # pyright: ignore[reportArgumentType]


@lru_cache(maxsize=4_096)  # A device sends the same metrics in the same order every second.
def _places(shape: bytes, codes: frozenset[int], handles: frozenset[int]) -> Sequence[int]:
    count = len(shape) // _SHAPE.size
    columns = b"".join(shape[place::count] for place in range(count))
    return tuple(
        place
        for place, (handle, code, _) in enumerate(_SHAPE.iter_unpack(columns))
        if (not codes or code in codes) and (not handles or handle in handles)
    )


def latest_ns(entry: bytes) -> int:
    """Return a moment at or after the last value of an entry of numerics, at most 256 ms after."""
    high = max(entry[META_BYTES + 16 :: NUMERIC_BYTES], default=0)
    return int.from_bytes(entry[:8], "big") + (high << 8 | 0xFF) * NS_PER_MS


def metrics_of(entry: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (handle, mdc_code, unit_code) of an entry of numerics."""
    for row in _NUMERIC.iter_unpack(memoryview(entry)[_META.size :]):
        yield row[0], row[1], row[2]


def codes_of(entry: bytes) -> bytes:
    """Return bytes that are equal for entries with the same metrics in the same order."""
    size = _NUMERIC.size
    return b"".join(entry[_META.size + byte :: size] for byte in range(10))


def encode_frame_entry(
    frame: WaveformFrame, *, epoch: int, received_at_ns: int, marks: Mark
) -> bytes:
    """Write a waveform frame; samples as differences, whose two bytes stand apart."""
    metric = frame.metric
    head = _FRAME.pack(
        1,
        frame.wall_ns,
        received_at_ns,
        metric.handle,
        frame.frame_sequence,
        metric.mdc_code,
        metric.unit_code,
        epoch,
        metric.period_ns,
        metric.scale,
        metric.offset,
        marks,
    )
    differences = _differences(frame.sample_bytes)
    return head + differences[0::2] + differences[1::2]


def encode_promise(*, start_ns: int, handle: int, frame_sequence: int, sha256: bytes) -> bytes:
    """Write that a signed batch promised a frame."""
    return _PROMISE.pack(2, start_ns, handle, frame_sequence, sha256[:PROMISE_BYTES])


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFrame:
    """A waveform frame of the record.

    Attributes:
        frame: The frame, its digest computed anew.
        epoch: Boot epoch that its packet named.
        received_at_ns: Wall time of the hub at arrival.
        marks: What a reader must know.
    """

    frame: WaveformFrame
    epoch: int
    received_at_ns: int
    marks: Mark


def promise_of(entry: bytes) -> bytes | None:
    """Return the digest that an entry promises, or None if it is a frame."""
    return entry[-PROMISE_BYTES:] if entry[:1] == b"\x02" else None


def frame_start_ns(entry: bytes) -> int:
    """Return when the first sample of a frame was taken, without unpacking the samples."""
    return int.from_bytes(entry[1:9], "big")


def wave_of(entry: bytes) -> tuple[int, int, int] | None:
    """Return (handle, mdc_code, unit_code) of a frame; None for a promise."""
    if entry[:1] != b"\x01":
        return None
    _, _, _, handle, _, mdc_code, unit_code, *_ = _FRAME.unpack_from(entry)
    return handle, mdc_code, unit_code


def frame_of(entry: bytes) -> StoredFrame:
    """Read a frame.

    Raises:
        FramingError: Not a frame that was stored by us.
    """
    if len(entry) < _FRAME.size or entry[0] != 1:
        raise FramingError("an entry of waveforms that is no frame")
    (_, wall_ns, received, handle, sequence, mdc, unit, epoch, period, scale, offset, marks) = (
        _FRAME.unpack_from(entry)
    )
    rest = entry[_FRAME.size :]
    half = len(rest) // 2
    differences = bytearray(len(rest))
    differences[0::2], differences[1::2] = rest[:half], rest[half:]
    metric = WaveformMetric(
        handle=handle, mdc_code=mdc, unit_code=unit, period_ns=period, scale=scale, offset=offset
    )
    samples = _sums(bytes(differences))
    # Written and read again by the wire's own functions: the digest is that of the wire.
    frame = decode_frame(
        encode_frame(metric, frame_sequence=sequence, wall_ns=wall_ns, samples=samples)
    )
    return StoredFrame(frame=frame, epoch=epoch, received_at_ns=received, marks=Mark(marks))


class _AlarmRow(msgspec.Struct, frozen=True, array_like=True):
    t_ns: int
    device_time_ns: int
    received_at_ns: int
    assurance: int
    late: bool
    condition_id: bytes
    phase: int
    kind: int
    priority: int
    latching: bool
    inactivation: int
    mdc_code: int
    source_handle: int
    text: str


_ALARM_ENCODER: Final = msgspec.msgpack.Encoder()
_ALARM_DECODER: Final = msgspec.msgpack.Decoder(_AlarmRow)


def encode_alarm(alarm: StoredAlarm) -> bytes:
    """Write an alarm event."""
    event, assurance = alarm.event, alarm.assurance
    return _ALARM_ENCODER.encode(
        _AlarmRow(
            alarm.t_ns,
            alarm.device_time_ns,
            alarm.received_at_ns,
            _NO_ASSURANCE if assurance is None else _ASSURANCES.index(assurance),
            alarm.late,
            event.condition_id,
            event.phase,
            event.kind,
            event.priority,
            event.latching,
            event.inactivation,
            event.mdc_code,
            event.source_handle,
            event.text,
        )
    )


def alarm_of(entry: bytes) -> StoredAlarm:
    """Read an alarm event.

    Raises:
        FramingError: Not one that was stored by us.
    """
    try:
        row = _ALARM_DECODER.decode(entry)
        known = row.assurance != _NO_ASSURANCE
        return StoredAlarm(
            t_ns=row.t_ns,
            device_time_ns=row.device_time_ns,
            received_at_ns=row.received_at_ns,
            assurance=_ASSURANCES[row.assurance] if known else None,
            late=row.late,
            event=AlarmEvent(
                condition_id=row.condition_id,
                phase=AlarmPhase(row.phase),
                kind=AlarmKind(row.kind),
                priority=AlarmPriority(row.priority),
                latching=row.latching,
                inactivation=Inactivation(row.inactivation),
                mdc_code=row.mdc_code,
                source_handle=row.source_handle,
                offset_ms=0,
                text=row.text,
            ),
        )
    except (msgspec.MsgspecError, ValueError, IndexError) as error:
        raise FramingError("an entry that is no alarm event") from error


def received_ns(kind: str, entry: bytes) -> int:
    """Return when an entry arrived; of a promise, which does not keep it, when it was made.

    Raises:
        FramingError: Not an entry of that kind.
    """
    match kind:
        case "numerics":
            return origin_of(entry).received_at_ns
        case "alarms":
            return alarm_of(entry).received_at_ns
        case _:
            promise = promise_of(entry) is not None
            return frame_start_ns(entry) if promise else frame_of(entry).received_at_ns


def _differences(samples: bytes) -> bytes:
    """Subtract from every 16-bit sample the one after it, all in one step.

    One large number holds all samples; its borrows run from one into the next, which costs a bit
    of size now and then and is undone by `_sums` exactly.
    """
    size = len(samples)
    number = int.from_bytes(samples, "big")
    return ((number - (number << 16)) & ((1 << 8 * size) - 1)).to_bytes(size, "big")


def _sums(differences: bytes) -> "array[int]":
    """Undo `_differences`: multiply by 1 + 2**16 + 2**32 + ..., by doubling."""
    size = len(differences)
    number, mask, shift = int.from_bytes(differences, "big"), (1 << 8 * size) - 1, 16
    while shift < 8 * size:
        number = (number + (number << shift)) & mask
        shift *= 2
    samples = array("h", number.to_bytes(size, "big"))
    if sys.byteorder == "little":
        samples.byteswap()
    return samples
