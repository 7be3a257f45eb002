"""Writes HL7 v2 messages about what devices sent by the standard, and whose devices they are.

A patient stands in a message only where the device was confirmed for them at that moment; doubt
leaves PID-3 empty. An alert is of now: one that is late, and whose condition is over, is not told.

Source: docs/reference/routes.md, "What the hub writes".
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from asepsis.core.errors import InputError, TransientError
from asepsis.core.journal.ports import Record
from asepsis.core.mapping.hl7_device import device_words
from asepsis.core.mapping.hl7_envelope import NOBODY, Envelope, Subject, device_word
from asepsis.core.mapping.pcd01_out import OBSERVATIONS_MAX, observations_to_message
from asepsis.core.mapping.pcd04_out import alarm_to_message
from asepsis.core.mapping.pcim import association_to_message
from asepsis.core.model.alarm import AlarmNotice, AlarmPhase
from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.identity import Assurance, DeviceId
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import Numeric, Observation
from asepsis.core.model.patient import PatientId, Place
from asepsis.core.model.time import UNSYNCHRONISED_MS
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageEntry, MessageFindings, MessagePeer
from asepsis.core.wire.origin import decode_batch

NS_PER_MS: Final = 1_000_000
CLOCK_OFF_NS: Final = 300_000_000_000
"""A clock that nobody vouches for and that is off by more is wrong, as for the record."""
LATE_NS: Final = 10_000_000_000
"""An alert that waited longer is told only while its condition is active."""
SETTLED_S: Final = 5.0
ALERT_SETTLED_S: Final = 1.0
PEER: Final = "native"
"""Name that filters of routes know these messages by."""
_BATCH: Final = "origin-batch"
_BUNDLE: Final = "fhir-bundle"
_TOLD: Final = frozenset(
    f"association.{state.value}"
    for state in (AssociationState.CONFIRMED, AssociationState.ENDED, AssociationState.REJECTED)
)


@dataclass(frozen=True, slots=True)
class Written:
    """One message for routes to look at.

    Attributes:
        entry: The message, with findings as a gateway would give.
        overtaken: Says that it must not be sent any more; None for what is true at any time.
        nobodys: Whether its values are nobody's, so that no chart has a place for them.
    """

    entry: MessageEntry
    overtaken: Callable[[], bool] | None = None
    nobodys: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Numerics of one device.

    Attributes:
        device: Its name.
        start_ns: What their offsets count from, nanoseconds since 1970.
        numerics: In the order of the record.
        time_known: Whether the moment is beyond doubt; if not, it is nobody's.
    """

    device: str
    start_ns: int
    numerics: Sequence[Numeric]
    time_known: bool = True


class WhoseNow(Protocol):
    """Whom devices are used for now, in memory."""

    def now(self, device: str) -> Association | None:
        """Return the confirmed association of a device; None while it has none."""
        ...


class WhoseThen(Protocol):
    """Whom devices were used for."""

    async def history(
        self, *, device: str | None = None, from_ns: int, to_ns: int
    ) -> Sequence[Association]:
        """Return confirmed intervals that overlap [from_ns, to_ns)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scribe:
    """One for a hub; belongs to its event loop.

    Attributes:
        settled: Waits at most so many seconds until everything that says whose a record is was
            applied, and says whether it was: a device that signs `idle` is nobody's from then on.
        present: Whom devices are used for now.
        histories: Whom they were used for.
        bundles: Reads a stored bundle; raises InputError for what is none.
        alarms: Reads the alarm events of a record.
        active: Says whether an alarm condition of a device is active now.
        clock: Wall time, nanoseconds since 1970.
    """

    settled: Callable[[Record, float], Awaitable[bool]]
    present: WhoseNow
    histories: WhoseThen
    bundles: Callable[[Record], Iterable[Numbers]]
    alarms: Callable[[Record], Sequence[AlarmNotice]]
    active: Callable[[str, bytes], bool]
    clock: Callable[[], int]

    async def write(self, record: Record, carries: str) -> Sequence[Written]:
        """Return the messages about a record; none about one that tells nothing of the kind.

        The same record gives the same messages, with the same MSH-10, unless whose device it was
        is another by then.

        Args:
            record: As the journal holds it.
            carries: `observations`, `alerts` or `associations`.

        Raises:
            TransientError: Whose it is cannot be said now.
        """
        if carries == "associations":
            return _of_event(record)
        if carries == "alerts":
            return await self._alerts(record)
        return await self._observations(record)

    async def _observations(self, record: Record) -> Sequence[Written]:
        try:
            found = list(self._numbers(record))
        except InputError:
            return ()  # It was taken once, and the record says what of it cannot be read.
        if found and not await self.settled(record, SETTLED_S):
            raise TransientError("who the devices are used for is behind")
        written: list[Written] = []
        for numbers in found:
            for subject, group in await self._by_patient(record, numbers):
                for start in range(0, len(group), OBSERVATIONS_MAX):
                    part = group[start : start + OBSERVATIONS_MAX]
                    envelope = _envelope(record, "observations", len(written))
                    body = observations_to_message(part, envelope, subject=subject).value
                    entry = _entry(record, len(written), body, numbers.device)
                    written.append(Written(entry, nobodys=subject.patient is None))
        return written

    def _numbers(self, record: Record) -> Iterator[Numbers]:
        append = record.append
        if append.kind == _BUNDLE:
            for one in self.bundles(record):
                yield _timed(record, one, uncertainty_ms=UNSYNCHRONISED_MS)
        elif append.kind == _BATCH and append.account is Account.ORIGIN:
            batch = decode_batch(append.body)
            instant = batch.header.instant
            one = Numbers(
                device=append.producer, start_ns=instant.wall_ns, numerics=batch.numerics()
            )
            yield _timed(record, one, uncertainty_ms=instant.uncertainty_ms)

    async def _by_patient(
        self, record: Record, numbers: Numbers
    ) -> list[tuple[Subject, list[Observation]]]:
        """Return the values in groups of one patient each, in order of time."""
        ordered = sorted(_observed(record, numbers), key=lambda one: one.device_time_ns)
        if not ordered:
            return []
        if not numbers.time_known:
            return [(NOBODY, ordered)]
        first_ns, last_ns = ordered[0].device_time_ns, ordered[-1].device_time_ns
        held = await self._held(numbers.device, first_ns, last_ns)
        if len(held) == 1 and held[0].covers(first_ns) and held[0].covers(last_ns):
            return [(_subject(held, first_ns), ordered)]
        groups: list[tuple[Subject, list[Observation]]] = []
        for one in ordered:
            subject = _subject(held, one.device_time_ns)
            if not groups or groups[-1][0] != subject:
                groups.append((subject, []))
            groups[-1][1].append(one)
        return groups

    async def _held(self, device: str, first_ns: int, last_ns: int) -> Sequence[Association]:
        """Return what was confirmed for a device; from memory where one association covers all."""
        now = self.present.now(device)
        if now is not None and now.start_ns <= first_ns:
            return (now,)
        return await self.histories.history(device=device, from_ns=first_ns, to_ns=last_ns + 1)

    async def _alerts(self, record: Record) -> Sequence[Written]:
        if record.append.account is Account.MESSAGE:
            return ()  # Its own message goes by a route of messages.
        codes, notices = _codes_of(record), self.alarms(record)
        # An alert does not wait for long: without its patient rather than late.
        settled = bool(notices) and await self.settled(record, ALERT_SETTLED_S)
        written: list[Written] = []
        for index, notice in enumerate(notices):
            if not _has_device_name(notice.device):
                continue  # A condition of a gateway or of the hub itself: for who runs them.
            at_ns = notice.device_time_ns
            known = settled and abs(notice.received_at_ns - at_ns) <= CLOCK_OFF_NS
            held = await self._held(notice.device, at_ns, at_ns) if known else ()
            body = alarm_to_message(
                notice,
                _envelope(record, "alert", index),
                subject=_subject(held, at_ns),
                source_code=codes.get(notice.event.source_handle),
            ).value
            entry = _entry(record, index, body, notice.device)
            written.append(Written(entry, self._overtaken(notice)))
        return written

    def _overtaken(self, notice: AlarmNotice) -> Callable[[], bool] | None:
        """Return what says that an alert is late and over; the end of a condition never is."""
        event = notice.event
        if event.phase is AlarmPhase.END:
            return None

        def late_and_over() -> bool:
            late = self.clock() - notice.received_at_ns > LATE_NS
            return late and not self.active(notice.device, event.condition_id)

        return late_and_over


class _Told(msgspec.Struct, frozen=True):
    """What an event says of an association; see `AssociationService`."""

    association: str
    patient: str
    place: str | None
    basis: str
    start_ns: int
    end_ns: int | None
    proposed_by: str
    confirmed_by: str | None
    reason: str | None


class _Event(msgspec.Struct, frozen=True):
    """The part of an event of the hub that is read here."""

    topic: str
    subject: str
    data: msgspec.Raw


def _of_event(record: Record) -> Sequence[Written]:
    """Return the message about an association that was confirmed, ended, or never held."""
    association = _association(record)
    # What was only proposed, and declined, nobody was told of.
    if association is None or association.confirmed_by is None:
        return ()
    envelope = _envelope(record, "association", 0)
    person = association.confirmed_by.removeprefix("person:")
    body = association_to_message(association, envelope, person=person).value
    return (Written(_entry(record, 0, body, association.device)),)


def _association(record: Record) -> Association | None:
    """Return what an event tells of; None for another event or another version of it."""
    try:
        event = msgspec.json.decode(record.append.body, type=_Event)
        if event.topic not in _TOLD:
            return None
        told = msgspec.json.decode(event.data, type=_Told)
        return Association(
            id=told.association,
            device=DeviceId.parse(event.subject).uri,
            patient=PatientId.of_key(told.patient),
            place=Place.of_key(told.place) if told.place else None,
            state=AssociationState(event.topic.partition(".")[2]),
            basis=Basis(told.basis),
            start_ns=told.start_ns,
            end_ns=told.end_ns,
            proposed_by=told.proposed_by,
            confirmed_by=told.confirmed_by,
            end_reason=told.reason,
        )
    except (msgspec.MsgspecError, ValueError, InputError):
        return None


def _timed(record: Record, numbers: Numbers, *, uncertainty_ms: int) -> Numbers:
    """Return numbers at the time that the record of the hub gives them, and whether it is known.

    What came live by a clock that is off and that nobody vouches for was measured on arrival.
    """
    append = record.append
    if uncertainty_ms != UNSYNCHRONISED_MS:
        return numbers
    if abs(append.received_at_ns - numbers.start_ns) <= CLOCK_OFF_NS:
        return numbers
    start_ns = numbers.start_ns if append.lane is Lane.LATE else append.received_at_ns
    return Numbers(
        device=numbers.device, start_ns=start_ns, numerics=numbers.numerics, time_known=False
    )


def _observed(record: Record, numbers: Numbers) -> Iterator[Observation]:
    append, device = record.append, DeviceId.parse(numbers.device)
    for numeric in numbers.numerics:
        yield Observation(
            device=device,
            assurance=Assurance.SOURCE_CLAIMED,  # The least; no message says it.
            numeric=numeric,
            epoch=append.epoch,
            sequence=append.sequence,
            device_time_ns=numbers.start_ns + numeric.offset_ms * NS_PER_MS,
            received_at_ns=append.received_at_ns,
            late=append.lane is Lane.LATE,
        )


def _subject(held: Sequence[Association], at_ns: int) -> Subject:
    covering = [one for one in held if one.covers(at_ns)]
    if len({one.patient for one in covering}) != 1:
        return NOBODY
    return Subject(patient=covering[-1].patient, place=covering[-1].place)


def _codes_of(record: Record) -> dict[int, int]:
    """Return handle -> code of the metrics that a batch holds values of."""
    if record.append.kind != _BATCH:
        return {}
    try:
        numerics = decode_batch(record.append.body).numerics()
    except InputError:
        return {}
    return {numeric.handle: numeric.mdc_code for numeric in numerics}


def _has_device_name(device: str) -> bool:
    try:
        device_word(device)
    except InputError:
        return False
    return True


def _envelope(record: Record, what: str, index: int) -> Envelope:
    """Return an envelope whose MSH-10 names record and place for ever."""
    append = record.append
    text = f"{what}|{append.producer}|{append.account}|{append.epoch}|{append.sequence}|{index}"
    name = hashlib.sha256(text.encode()).hexdigest()[:20].upper()
    return Envelope(control_id=name, made_ns=append.received_at_ns)


def _entry(record: Record, index: int, body: bytes, device: str) -> MessageEntry:
    words = tuple((word, device) for word in device_words(Message.parse(body)))
    findings = MessageFindings(MessagePeer(PEER, "UTC", words), 0, record.append.received_at_ns)
    return MessageEntry(record.append.sequence, index, body, findings)
