"""From a record of the journal to entries, each with its device and slot. Pure.

What a record says does not depend on what came before it: the same journal always gives the same
entries, in whatever order its lanes are read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from asepsis.core.journal.ports import Append, Record
from asepsis.core.model.identity import Assurance
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.time import UNSYNCHRONISED_MS
from asepsis.core.wire.frames import decode_packet
from asepsis.core.wire.origin import OriginBatch, decode_batch
from asepsis.hub.records import entries, entries_alarms, entries_frames
from asepsis.hub.records.entries import Mark, Origin, Source
from asepsis.hub.records.entries_alarms import StoredAlarm
from asepsis.hub.records.kinds import Kind, slot_of
from asepsis.hub.records.ports import Measured, Readers

LANES: Final = (Lane.ALERT, Lane.VITALS, Lane.WAVEFORM, Lane.LATE, Lane.MESSAGE)
"""What is projected, in the order in which lanes are caught up."""

HELD_BACK_NS: Final = 5_000_000_000
"""A live record may be so much older than its arrival, beyond its clock's own error."""
CLOCK_OFF_NS: Final = 300_000_000_000
"""A live record whose clock nobody vouches for, and that is off by more, has a wrong clock."""
FUTURE_NS: Final = 3_600_000_000_000
"""Nothing is measured so long after it arrived; a clock that says so is wrong."""
PAST_NS: Final = 400 * 86_400_000_000_000
"""Nor so long before."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry and the row that it belongs to.

    Attributes:
        kind: Of record.
        device: Name of the device.
        slot: Which stretch of time, see `slot_of`.
        received_at_ns: Wall time of the hub at arrival.
        entry: The bytes.
    """

    kind: Kind
    device: str
    slot: int
    received_at_ns: int
    entry: bytes


@dataclass(frozen=True, slots=True)
class Projection:
    """Reads records.

    Attributes:
        readers: Read what other features own.
    """

    readers: Readers

    def __call__(self, record: Record) -> Iterator[Placed]:
        """Yield the entries of a record; none of one that is no record of a device.

        Raises:
            InputError: A record that cannot be read: our own bug, for all was checked on arrival.
        """
        append = record.append
        if append.lane in {Lane.ALERT, Lane.LATE}:
            yield from self._alarms(record)
        match append.kind:
            case "origin-batch" if append.account is Account.ORIGIN:
                yield from _of_batch(append, decode_batch(append.body))
            case "waveform" if append.account is Account.WAVEFORM:
                yield from _of_packet(append)
            case "fhir-bundle":
                for measured in self.readers.bundle(record):
                    yield _of_measured(append, measured, Source.BUNDLE)
            case _ if append.lane is Lane.MESSAGE:
                for measured in self.readers.message(record):
                    yield _of_measured(append, measured, Source.MESSAGE)
            case _:
                return

    def _alarms(self, record: Record) -> Iterator[Placed]:
        late = record.append.lane is Lane.LATE
        for notice in self.readers.alarms(record):
            t_ns, _ = _placed_ns(notice.device_time_ns, notice.received_at_ns)
            alarm = StoredAlarm(
                t_ns=t_ns,
                device_time_ns=notice.device_time_ns,
                received_at_ns=notice.received_at_ns,
                assurance=notice.assurance,
                late=late,
                event=notice.event,
            )
            entry = entries_alarms.encode_alarm(alarm)
            slot = slot_of(Kind.ALARMS, t_ns)
            yield Placed(Kind.ALARMS, notice.device, slot, notice.received_at_ns, entry)


def _of_batch(append: Append, batch: OriginBatch) -> Iterator[Placed]:
    header = batch.header
    wall_ns, received_ns = header.instant.wall_ns, append.received_at_ns
    uncertainty_ms = header.instant.uncertainty_ms
    late = append.lane is Lane.LATE
    start_ns, marks = _time(wall_ns, received_ns, uncertainty_ms=uncertainty_ms, late=late)
    device = append.producer
    if batch.numeric_block:
        origin = Origin(
            start_ns=start_ns,
            received_at_ns=received_ns,
            device_start_ns=wall_ns,
            epoch=append.epoch,
            sequence=append.sequence,
            uncertainty_ms=uncertainty_ms,
            source=Source.BATCH,
            assurance=Assurance.DEVICE_ORIGIN,
            marks=marks,
            producer_tag=entries.producer_tag(device),
        )
        entry = entries.encode_numerics(origin, batch.numeric_block)
        yield Placed(Kind.NUMERICS, device, slot_of(Kind.NUMERICS, start_ns), received_ns, entry)
    slot = slot_of(Kind.WAVEFORMS, start_ns)
    for promise in batch.waveform_digests():
        entry = entries_frames.encode_promise(
            start_ns=start_ns,
            handle=promise.handle,
            frame_sequence=promise.frame_sequence,
            sha256=promise.sha256,
        )
        yield Placed(Kind.WAVEFORMS, device, slot, received_ns, entry)


def _of_packet(append: Append) -> Iterator[Placed]:
    packet = decode_packet(append.body)
    late = Mark.LATE if append.lane is Lane.LATE else Mark.NONE
    for frame in packet.frames:
        placed_ns, clock = _placed_ns(frame.wall_ns, append.received_at_ns)
        entry = entries_frames.encode_frame_entry(
            frame,
            epoch=append.epoch,
            received_at_ns=append.received_at_ns,
            marks=late | clock,
        )
        slot = slot_of(Kind.WAVEFORMS, placed_ns)
        yield Placed(Kind.WAVEFORMS, append.producer, slot, append.received_at_ns, entry)


def _of_measured(append: Append, measured: Measured, source: Source) -> Placed:
    late, received_ns = append.lane is Lane.LATE, append.received_at_ns
    said_ns = measured.start_ns
    if measured.later_by_ns:
        both = (said_ns, said_ns + measured.later_by_ns)
        said_ns = min(both, key=lambda at_ns: abs(received_ns - at_ns))
    if source is Source.MESSAGE:  # A gateway's spool has one lane for all times.
        start_ns, marks = _placed_ns(said_ns, received_ns)
    else:
        start_ns, marks = _time(said_ns, received_ns, uncertainty_ms=UNSYNCHRONISED_MS, late=late)
    if measured.later_by_ns:
        marks |= Mark.AMBIGUOUS
    if not measured.time_known:
        marks |= Mark.CLOCK
    if measured.other_patient:
        marks |= Mark.OTHER_PATIENT
    origin = Origin(
        start_ns=start_ns,
        received_at_ns=append.received_at_ns,
        device_start_ns=measured.start_ns,
        epoch=append.epoch,
        sequence=append.sequence,
        uncertainty_ms=UNSYNCHRONISED_MS,
        source=Source.BESIDE if measured.beside_batch else source,
        assurance=measured.assurance,
        marks=marks,
        producer_tag=entries.producer_tag(append.producer),
    )
    entry = entries.encode_numerics(origin, entries.numeric_block(measured.numerics))
    slot = slot_of(Kind.NUMERICS, start_ns)
    return Placed(Kind.NUMERICS, measured.device, slot, append.received_at_ns, entry)


def _time(wall_ns: int, received_ns: int, *, uncertainty_ms: int, late: bool) -> tuple[int, Mark]:
    """Return the time that an entry stands at, and what a reader must know of it."""
    start_ns, marks = _placed_ns(wall_ns, received_ns)
    if late:
        return start_ns, marks | Mark.LATE
    if uncertainty_ms == UNSYNCHRONISED_MS:
        if abs(received_ns - wall_ns) > CLOCK_OFF_NS:
            # It came live: the time of arrival is nearer to the truth than an unset clock.
            return received_ns, marks | Mark.CLOCK
    elif received_ns - wall_ns > HELD_BACK_NS + uncertainty_ms * entries.NS_PER_MS:
        marks |= Mark.HELD_BACK
    return start_ns, marks


def _placed_ns(wall_ns: int, received_ns: int) -> tuple[int, Mark]:
    if received_ns - PAST_NS <= wall_ns <= received_ns + FUTURE_NS:
        return wall_ns, Mark.NONE
    return received_ns, Mark.CLOCK
