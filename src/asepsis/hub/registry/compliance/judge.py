"""Judges what arrives: with the device's profile, and with whom the device is used for now.

The same judge marks live views, marks stored messages and answers chart delivery, so the three
never disagree. Nothing is hidden by it: it says why something is unverified, and others decide.

Source: docs/explanation/compliance.md.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from asepsis.core.compliance import binding
from asepsis.core.compliance.fhir import FhirJudge
from asepsis.core.compliance.gate import HeldBack
from asepsis.core.compliance.profile import Interface
from asepsis.core.compliance.verdict import Finding, Rule, Severity, Verdict
from asepsis.core.errors import InputError
from asepsis.core.journal.ports import Record
from asepsis.core.mapping.hl7_device import device_words
from asepsis.core.mapping.pcd01 import TimeOf, numerics_of_entry, times_of
from asepsis.core.mapping.sender_time import Certainty
from asepsis.core.model.association import Association
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import Numeric
from asepsis.core.model.patient import PatientId
from asepsis.core.model.time import UNSYNCHRONISED_MS
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageEntry, decode
from asepsis.core.wire.origin import decode_batch
from asepsis.hub.registry.compliance.book import ComplianceBook, Decided

NS_PER_MS: Final = 1_000_000
KIND_BATCH: Final = "origin-batch"
KIND_BUNDLE: Final = "fhir-bundle"
_REPORT: Final = (b"ORU", b"R01")


Bundles = Callable[[Record], Iterable[tuple[str, int, Sequence[Numeric]]]]
"""Reads a stored bundle: device, time of the values in nanoseconds since 1970, and the values."""


class Now(Protocol):
    """Whom devices are used for now, in memory."""

    def now(self, device: str) -> Association | None:
        """Return the confirmed association of a device; None while it has none."""
        ...


class Histories(Protocol):
    """Whom devices were used for."""

    async def history(
        self, *, device: str | None = None, from_ns: int, to_ns: int
    ) -> Sequence[Association]:
        """Return confirmed intervals that overlap [from_ns, to_ns)."""
        ...


@dataclass(slots=True)
class HubJudge:
    """One for a hub; belongs to its event loop.

    Attributes:
        book: Profiles.
        present: Whom devices are used for now.
        histories: Whom they were used for.
        bundles: Reads stored bundles; raises InputError for what is none.
    """

    book: ComplianceBook
    present: Now
    histories: Histories
    bundles: Bundles
    _same: dict[str, tuple[str, bytes, bool]] = field(
        default_factory=dict[str, tuple[str, bytes, bool]]
    )

    def message(self, device: str, message: Message) -> str:
        """Return why a whole message of a device is unverified, "" if it is not: for live views."""
        decided = self.book.decided(device, Interface.HL7V2)
        verdict = decided.judge.form(message)
        if self.names_another(device, message):
            other = binding.judge_patient(decided.profile, message, self._patient(device))
            verdict = verdict.joined(Verdict.of(other))
        return verdict.unverified

    def numeric(self, device: str, numeric: Numeric, interface: Interface) -> str:
        """Return why one number of a device is unverified, "" if it is not: for live views."""
        found = self.book.decided(device, interface).judge.values.numeric(numeric)
        return Verdict.of(found).unverified if found else ""

    def refusal(self, device: str, message: Message) -> str:
        """Return why a message is refused, "" if it is not: identity, framing and size alone."""
        decided = self.book.decided(device, Interface.HL7V2)
        if decided.admission is None:
            return ""
        verdict = decided.judge.refusal(message)
        return verdict.findings[0].text() if verdict.blocked else ""

    def names_another(self, device: str, message: Message) -> bool:
        """Whether PID-3 names somebody else than whom the device is confirmed for now."""
        association = self.present.now(device)
        if association is None or b"PID" not in message.names:
            return False
        if message.names.count(b"PID") > 1:
            return self._contradicts(device, message, association)
        raw = message.first("PID", 3)[0] + message.delimiters.encoding
        known = self._same.get(device)
        if known is None or known[:2] != (association.id, raw):
            other = self._contradicts(device, message, association)
            known = self._same[device] = (association.id, raw, other)
        return known[2]

    async def verdict(self, record: Record, *, index: int = 0) -> HeldBack | None:
        """Say whether charts may have a stored record; see `ChartGate.verdict`."""
        joined = Verdict()
        for found in (await self.judged(record, index=index)).values():
            joined = joined.joined(found)
        return HeldBack(joined.unverified, joined.findings[0].rule) if joined.unverified else None

    async def judged(self, record: Record, *, index: int = 0) -> Mapping[str, Verdict]:
        """Return the verdict for each device in a stored record; "" stands for no device.

        Args:
            record: Of any lane; one that carries no measured value has no verdict.
            index: Which message of a group, from 0.

        Raises:
            TransientError: The associations cannot be read now.
        """
        append = record.append
        try:
            if append.lane is Lane.MESSAGE:
                entry = decode(append.kind, append.body, sequence=append.sequence)[index]
                return await self._of_entry(entry)
            if append.kind == KIND_BATCH and append.account is Account.ORIGIN:
                return {append.producer: await self._of_batch(record)}
            if append.kind == KIND_BUNDLE:
                return await self._of_bundle(record)
        except (InputError, IndexError):
            return {"": _one(Rule.FRAMING, "it cannot be read again")}
        return {}

    def forget(self, device: str) -> None:
        """Drop what is remembered of a revoked device."""
        self._same.pop(device, None)
        self.book.forget(device)

    async def _of_entry(self, entry: MessageEntry) -> Mapping[str, Verdict]:
        message = Message.parse(entry.body)
        kind = message.header.raw(9).split(message.delimiters.component)[:2]
        if tuple(kind) != _REPORT:
            return {}  # ADT, orders and the like carry no measured value.
        times = times_of(entry, message)
        if not times:
            named = _names_one(message)
            return {"": _one(Rule.IDENTITY, "no declared device is named")} if named else {}
        numerics = _by_device(entry, message)
        verdicts: dict[str, Verdict] = {}
        for device, moments in times.items():
            decided = self.book.decided(device, Interface.HL7V2)
            found = [
                *decided.judge.form(message).findings,
                *_clock(decided, entry, moments),
                *_numbers(decided, numerics.get(device, ())),
            ]
            for associated in await self._patients(device, moments):
                found += binding.judge_chart_patient(decided.profile, message, associated)
            verdicts[device] = Verdict.of(found)
        return verdicts

    async def _of_batch(self, record: Record) -> Verdict:
        append = record.append
        batch = decode_batch(append.body)
        decided = self.book.decided(append.producer, Interface.ADP)
        instant = batch.header.instant
        slack_ns = 0
        if instant.uncertainty_ms != UNSYNCHRONISED_MS:
            slack_ns = instant.uncertainty_ms * NS_PER_MS
        late = append.lane is Lane.LATE  # What comes late is old, and says so.
        moment = TimeOf(instant.wall_ns, slack_ns, Certainty.OFFSET)
        found = [*_numbers(decided, batch.numerics())]
        if not late:
            found += binding.judge_clock(
                decided.profile,
                said_ns=instant.wall_ns,
                later_by_ns=slack_ns,
                certainty=Certainty.OFFSET,
                arrived_at_ns=append.received_at_ns,
            )
        for associated in await self._patients(append.producer, (moment,)):
            found += binding.judge_chart_patient(decided.profile, None, associated)
        return Verdict.of(found)

    async def _of_bundle(self, record: Record) -> Mapping[str, Verdict]:
        verdicts: dict[str, Verdict] = {}
        for device, at_ns, numerics in self.bundles(record):
            decided = self.book.decided(device, Interface.FHIR)
            if device not in verdicts:
                verdicts[device] = FhirJudge(decided.profile).body(record.append.body)
            found = [*_numbers(decided, numerics)]
            moment = TimeOf(at_ns, 0, Certainty.OFFSET)
            for associated in await self._patients(device, (moment,)):
                found += binding.judge_chart_patient(decided.profile, None, associated)
            verdicts[device] = verdicts[device].joined(Verdict.of(found))
        return verdicts

    async def _patients(self, device: str, moments: Iterable[TimeOf]) -> Sequence[PatientId | None]:
        """Return whom the device was confirmed for at all of the moments; None for nobody.

        A device that is named and has no value has no moment: nothing is anybody's then.
        """
        every = list(moments)
        if not every:
            return ()
        first_ns = min(moment.at_ns for moment in every)
        last_ns = max(moment.at_ns + moment.later_by_ns for moment in every)
        association = self.present.now(device)
        if association is not None and association.start_ns <= first_ns:
            return (association.patient,)
        found = await self.histories.history(device=device, from_ns=first_ns, to_ns=last_ns + 1)
        covering = {one.patient for one in found if one.covers(first_ns) and one.covers(last_ns)}
        return tuple(covering) if len(covering) == 1 else (None,)

    def _patient(self, device: str) -> PatientId | None:
        association = self.present.now(device)
        return None if association is None else association.patient

    def _contradicts(self, device: str, message: Message, association: Association) -> bool:
        profile = self.book.decided(device, Interface.HL7V2).profile
        return bool(binding.judge_patient(profile, message, association.patient))


def _clock(decided: Decided, entry: MessageEntry, moments: Iterable[TimeOf]) -> tuple[Finding, ...]:
    if entry.findings is None:
        return ()
    return tuple(
        found
        for moment in moments
        for found in binding.judge_clock(
            decided.profile,
            said_ns=moment.at_ns,
            later_by_ns=moment.later_by_ns,
            certainty=moment.certainty,
            arrived_at_ns=entry.findings.arrived_at_ns,
        )
    )


def _numbers(decided: Decided, numerics: Iterable[Numeric]) -> tuple[Finding, ...]:
    values = decided.judge.values
    return tuple(found for numeric in numerics for found in values.numeric(numeric))


def _by_device(entry: MessageEntry, message: Message) -> Mapping[str, Sequence[Numeric]]:
    found: dict[str, list[Numeric]] = {}
    for each in numerics_of_entry(entry, message, unfit=True).value:
        found.setdefault(each.device.uri, []).extend(each.numerics)
    return found


def _names_one(message: Message) -> bool:
    try:
        return bool(device_words(message))
    except InputError:
        return True


def _one(rule: Rule, reason: str) -> Verdict:
    return Verdict.of((Finding(rule, Severity.QUARANTINE, reason),))
