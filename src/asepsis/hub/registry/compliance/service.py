"""The use cases of compliance: keep profiles, decide them for devices, watch, propose, warn.

A certificate of conformance that lapses on a device in use changes nothing of its data: it is
written to the audit log, announced as an event, and stands on the status page until somebody
decides anew.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from asepsis.core.compliance import certificate as conformance
from asepsis.core.compliance.learn import Learner
from asepsis.core.compliance.profile import Interface, Profile
from asepsis.core.errors import AsepsisError, InputError, NotFound, TransientError
from asepsis.core.journal.ports import LaneStatus, Record
from asepsis.core.model.lanes import Lane
from asepsis.core.wire.message_record import MessageEntry, decode
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.registry.compliance import records
from asepsis.hub.registry.compliance.book import ComplianceBook
from asepsis.hub.registry.compliance.judge import HubJudge
from asepsis.hub.registry.compliance.records import Admission
from asepsis.hub.registry.compliance.tables import SUBJECT_CHARS_MAX
from asepsis.hub.store.outbox import Event, publish
from asepsis.hub.store.store import Store

log: Final = logging.getLogger("asepsis.hub.compliance")

FOLLOW_EVERY_S: Final = 1.0
SAMPLED_MAX: Final = 50
"""Records of a lane that are judged in one round, for the state of compliance; the newest."""
LEARN_RECORDS_MAX: Final = 20_000
LEARN_READ: Final = 200
CONFORMANT_DAYS_MAX: Final = 1_096
SECOND_NS: Final = 1_000_000_000
DAY_NS: Final = 86_400_000_000_000
LAPSED: Final = "compliance.lapsed"
WATCHED: Final = (Lane.MESSAGE, Lane.VITALS)


class JournalReads(Protocol):
    """The journal as compliance reads it."""

    async def read(self, lane: Lane, *, after: int, records_max: int) -> Sequence[Record]:
        """Return durable records after a position, ascending."""
        ...

    async def status(self) -> Mapping[Lane, LaneStatus]:
        """Return the fill level of every lane."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """How a device stands.

    Attributes:
        device: Its name.
        profile: Name and version of what judges it; "" where nothing was decided.
        unverified: Why its newest judged data is unverified; "" if it is not.
        findings: What was found in the sample since this hub started.
    """

    device: str
    profile: str
    unverified: str
    findings: dict[str, int]


@dataclass(slots=True)
class ComplianceService:
    """Belongs to one event loop.

    Attributes:
        store: Where profiles and decisions stand.
        audit: Gets an entry for each decision and lapse.
        book: What is answered from memory.
        judge: Judges the sample.
        journal: What is sampled and learned from.
        wake_relay: Called after a commit that wrote an event.
    """

    store: Store
    audit: AuditLog
    book: ComplianceBook
    judge: HubJudge
    journal: JournalReads
    wake_relay: Callable[[], None] = lambda: None
    _seen: dict[Lane, int] = field(default_factory=dict[Lane, int])
    _last: dict[str, str] = field(default_factory=dict[str, str])

    async def load(self) -> None:
        """Fill the book; call it before the first listener opens."""
        self.book.load(await self.store.read(records.read_state))

    async def run(self) -> None:
        """Follow other hubs, warn of lapses and judge a sample, until cancelled."""
        while True:
            try:
                await self.step()
            except TransientError as error:
                log.info("compliance waits: %s", error)
            except AsepsisError as error:
                # Data flows as before; whoever reads the log repairs what it names.
                log.error("compliance cannot go on: %s %s", error.code, error)  # noqa: TRY400 - deliberate, no trace
            await asyncio.sleep(FOLLOW_EVERY_S)

    async def step(self) -> None:
        """Do one round.

        Raises:
            TransientError: Store or journal does not answer; the next round does it.
        """
        if await self.store.read(records.version_of) != self.book.version:
            await self.load()
        now_ns = self.store.clock()
        for admission in self.book.admissions:
            if admission.lapsed(now_ns) and not admission.lapse_told:
                await self._tell_lapse(admission)
        await self._sample()

    async def add_profile(self, document: bytes, *, person: str) -> Profile:
        """Keep a version of a profile.

        Raises:
            InputError: Not a profile.
            Conflict: Another document has this name and version.
        """
        now_ns = self.store.clock()

        def work(connection: Connection) -> Profile:
            added = records.put_profile(connection, document, person=person, now_ns=now_ns)
            self.audit.note(
                connection, actor=f"person:{person}", action="add-profile", subject=added.title
            )
            return added

        added = await self.store.write(work)
        await self.load()
        return added

    async def admit(
        self,
        subject: str,
        *,
        profile: str,
        version: int,
        conformant_days: int | None,
        certificate: bytes = b"",
        person: str,
    ) -> Admission:
        """Decide which profile judges a device or a model; made at commissioning.

        Args:
            subject: Name of a device, or a model as people list it.
            profile: Name of a profile.
            version: Its version.
            conformant_days: For how long a certificate of conformance on paper holds, 1 to 1 096;
                None where none was asked for.
            certificate: A signed certificate of conformance; empty where none was brought.
            person: Who decides.

        Raises:
            NotFound: No such version of a profile.
            NotPermitted: The profile asks for a certificate.
            TrustError: The certificate is of somebody else, lapsed, or about another model.
            InputError: A subject or a time that is none.
        """
        if not 1 <= len(subject) <= SUBJECT_CHARS_MAX or not subject.isprintable():
            raise InputError(f"a device or model has 1 to {SUBJECT_CHARS_MAX} characters")
        if conformant_days is not None and not 1 <= conformant_days <= CONFORMANT_DAYS_MAX:
            raise InputError(f"a certificate of conformance holds 1 to {CONFORMANT_DAYS_MAX} days")
        found = self.profile(profile, version)
        now_ns = self.store.clock()
        now = datetime.fromtimestamp(now_ns / SECOND_NS, UTC)
        statement = conformance.admit(found, certificate, now=now)
        until_ns = conformant_days and now_ns + conformant_days * DAY_NS
        if statement is not None:
            if conformant_days is not None:
                raise InputError("a signed certificate says itself how long it holds")
            until_ns = int(statement.expires.timestamp()) * SECOND_NS
        admission = Admission(
            subject=subject,
            interface=found.interface,
            profile=profile,
            version=version,
            conformant_until_ns=until_ns,
            decided_ns=now_ns,
            person=person,
        )

        def work(connection: Connection) -> None:
            records.put_admission(connection, admission)
            self.audit.note(
                connection,
                actor=f"person:{person}",
                action="admit-profile",
                subject=subject[:160],
                profile=found.title,
                conformant_days=conformant_days,
                tested=statement.tested if statement else None,
                report_sha256=statement.report_sha256 if statement else None,
            )

        await self.store.write(work)
        await self.load()
        return admission

    async def withdraw(self, subject: str, interface: Interface, *, person: str) -> None:
        """End a decision: the device is judged by what everybody is judged by.

        Raises:
            NotFound: Nothing was decided.
        """

        def work(connection: Connection) -> None:
            if not records.remove_admission(connection, subject, interface):
                raise NotFound("nothing was decided about that on this interface")
            self.audit.note(
                connection,
                actor=f"person:{person}",
                action="withdraw-profile",
                subject=subject[:160],
                interface=interface.value,
            )

        await self.store.write(work)
        await self.load()

    def profile(self, name: str, version: int) -> Profile:
        """Return a version of a profile.

        Raises:
            NotFound: There is none.
        """
        return self.stored(name, version).profile

    def stored(self, name: str, version: int) -> records.Stored:
        """Return a version of a profile with its document; 0 means the newest.

        Raises:
            NotFound: There is none.
        """
        found = [
            one
            for one in self.book.stored
            if one.profile.name == name and version in (0, one.profile.version)
        ]
        if not found:
            raise NotFound("there is no such version of a profile", hint="asepsis profile list")
        return found[-1]

    async def propose(self, *, device: str, name: str, messages_max: int) -> str:
        """Return a profile as TOML, from the newest messages of a device in the message lane.

        Raises:
            InputError: No message of it is there.
            TransientError: The journal cannot be read now.
        """
        learner = Learner()
        for entry in await self._messages_of(device, messages_max):
            learner.take(entry.body)
        source = f"traffic of {device}"
        models = tuple(filter(None, (self.book.model_of(device),)))
        return learner.propose(name=name, models=models, source=source)

    def states(self) -> list[DeviceState]:
        """Return how every device stands that was judged or decided, by name."""
        counts = self.book.counts()
        decided = {one.subject for one in self.book.admissions if "://" in one.subject}
        named = {one.subject for one in self.book.admissions if one.subject.startswith("urn:")}
        return [
            DeviceState(
                device=device,
                profile=self._title(device),
                unverified=self._last.get(device, ""),
                findings=counts.get(device, {}),
            )
            for device in sorted(counts.keys() | self._last.keys() | decided | named)
        ]

    def work_items(self) -> list[Admission]:
        """Return what waits for a person: decisions whose certificate of conformance is over."""
        now_ns = self.store.clock()
        return [one for one in self.book.admissions if one.lapsed(now_ns)]

    async def status(self) -> object:
        """Return the section of the status page."""
        unverified = sum(1 for reason in self._last.values() if reason)
        lapsed = [f"{one.subject} ({one.interface})" for one in self.work_items()]
        return {
            "profiles": len(self.book.stored),
            "decisions": len(self.book.admissions),
            "devices_unverified_now": unverified,
            "work_items": [f"certificate of conformance lapsed: {one}" for one in lapsed],
        }

    def forget(self, device: str) -> None:
        """Drop what is remembered of a revoked device."""
        self._last.pop(device, None)
        self.judge.forget(device)

    def _title(self, device: str) -> str:
        for interface in Interface:
            decided = self.book.decided(device, interface)
            if decided.admission is not None:
                return decided.profile.title
        return ""

    async def _tell_lapse(self, admission: Admission) -> None:
        now_ns = self.store.clock()
        detail: dict[str, Any] = {
            "interface": admission.interface.value,
            "profile": admission.profile,
            "until_ns": admission.conformant_until_ns,
        }

        def work(connection: Connection) -> None:
            if not records.mark_told(connection, admission):
                return
            subject = admission.subject[:160]
            self.audit.note(
                connection, actor="hub", action="conformance-lapsed", subject=subject, **detail
            )
            event = Event(topic=LAPSED, version=1, at_ns=now_ns, subject=subject, data=detail)
            publish(connection, event)

        await self.store.write(work)
        self.wake_relay()
        await self.load()

    async def _sample(self) -> None:
        """Judge the newest records of each lane, so that somebody sees how devices stand."""
        status = await self.journal.status()
        for lane in WATCHED:
            last = status[lane].last
            after = max(self._seen.get(lane, last), last - SAMPLED_MAX)
            self._seen[lane] = last
            if after >= last:
                continue
            for record in await self.journal.read(lane, after=after, records_max=SAMPLED_MAX):
                for device, verdict in (await self.judge.judged(record)).items():
                    self._last[device] = verdict.unverified
                    for found in verdict.findings:
                        self.book.count(device, found.rule)

    async def _messages_of(self, device: str, messages_max: int) -> list[MessageEntry]:
        """Return the newest messages that name a device, ascending."""
        last = (await self.journal.status())[Lane.MESSAGE].last
        after, found = max(0, last - LEARN_RECORDS_MAX), list[MessageEntry]()
        while read := await self.journal.read(Lane.MESSAGE, after=after, records_max=LEARN_READ):
            after = read[-1].position
            for record in read:
                append = record.append
                entries = decode(append.kind, append.body, sequence=append.sequence)
                found += [entry for entry in entries if _is_of(entry, device)]
            del found[:-messages_max]
            await asyncio.sleep(0)  # Other work of the hub goes first.
        return found


def _is_of(entry: MessageEntry, device: str) -> bool:
    if entry.findings is None:
        return False
    peer = entry.findings.peer
    words = [word for word, name in peer.devices if name == device]
    return peer.name == device or any(word in entry.body for word in words)
