"""The entries of a block: what one record says of one device, in a few bytes. Pure.

Numerics are copied as they stand on the wire, 20 bytes each, with 54 bytes in front that say when,
from where and how sure. Entries of waveforms stand in `entries_frames`, of alarm events in
`entries_alarms`.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import lru_cache
from typing import Final, NamedTuple

from asepsis.core.errors import FramingError
from asepsis.core.model.identity import Assurance
from asepsis.core.model.observation import Numeric

NS_PER_MS: Final = 1_000_000
TAG_BYTES: Final = 8
_META: Final = struct.Struct(">qqqqqIBBB8sx")
_NUMERIC: Final = struct.Struct(">HIIIBxHxx")
SOURCE_AT: Final = 44
MARKS_AT: Final = 46
META_BYTES: Final = _META.size
NUMERIC_BYTES: Final = _NUMERIC.size
"""Where parts of an entry of numerics stand; see `_META` and standard/frames.md section 3.2."""
_SHAPE: Final = struct.Struct(">HII")
ASSURANCES: Final[tuple[Assurance, ...]] = tuple(Assurance)


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
        ASSURANCES.index(origin.assurance),
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
            assurance=ASSURANCES[int(assurance)],
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
