"""Keeps a record: takes what the journal brings and answers questions. Knows no socket."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from asepsis.core.errors import InputError, NotFound
from asepsis.core.journal.cipher import RecordCipher
from asepsis.core.journal.follower import Follower
from asepsis.core.journal.ports import Record
from asepsis.core.model.lanes import Lane
from asepsis.hub.records import queries, render, rules, trends, waves
from asepsis.hub.records.index import Index
from asepsis.hub.records.kinds import Kind, Retention, slot_of
from asepsis.hub.records.latest import Latest
from asepsis.hub.records.partitions import Partitions
from asepsis.hub.records.ports import Readers
from asepsis.hub.records.projection import LANES, Projection
from asepsis.hub.records.projector import Projector
from asepsis.hub.records.search import BEFORE_SLOTS, Search, Slice

READ_RECORDS: Final = 128
"""Records of a lane projected between two looks at anything else: a reader waits for no more."""
TREND_ROWS_MAX: Final = 2 * 1_440
INDEX_FILE: Final = "index.db"


class Keeper:
    """One record in one folder.

    Args:
        folder: Holds blocks and index; made if absent.
        cipher: Seals blocks.
        readers: Read what other features own.
        retention: How long each kind is kept.
        clock: Wall time, nanoseconds since 1970.
        give_way: Called between small pieces of work; returns when it may go on.

    Raises:
        ConfigError: The folder is of another format.

    Resource handling:
        Holds files until `close`. One thread at a time may call `step`, `flush` and `expire`; any
        may call `answer`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cipher: RecordCipher,
        readers: Readers,
        retention: Retention,
        clock: Callable[[], int],
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self.partitions = Partitions(folder, cipher, give_way=give_way)
        self.index = Index(folder / INDEX_FILE)
        self._retention = retention
        self._clock = clock
        self.projector = Projector(
            self.partitions,
            self.index,
            projection=Projection(readers),
            retention=retention,
            clock=clock,
            give_way=give_way,
        )
        self._search = Search(self.partitions, self.projector)
        self._latest = Latest(self._search, self.index)
        self._ends: dict[Lane, int] = {}
        self._oldest_ns: int | None = None

    def ends(self, ends: Mapping[Lane, int]) -> None:
        """Note how far the lanes go now."""
        self._ends.update(ends)
        for lane, end in ends.items():
            if lane in LANES and end < self.projector.position(lane):
                # The journal is another one than that of the last start: all of it is new to us.
                self.projector.rewind(lane)

    def step(self, follower: Follower) -> bool:
        """Take the next records of every lane; say whether any lane has more.

        Raises:
            SignatureInvalid: A stored record was changed.
            TransientError: The journal cannot be read.
        """
        more = False
        oldest_ns: list[int] = []
        for lane in LANES:
            end, after = self._ends.get(lane, 0), self.projector.position(lane)
            if after >= end:
                continue
            records = follower.read(lane, after=after, through=end, records_max=READ_RECORDS)
            self.projector.take(lane, records)
            if not records:
                self.projector.skip(lane, end)  # What was there has expired, or never was.
            elif records[-1].position < end:
                more = True
                oldest_ns.append(records[-1].append.received_at_ns)
        self._oldest_ns = min(oldest_ns, default=None)
        return more

    def take(self, lane: Lane, records: list[Record]) -> None:
        """Project records that somebody else has read, ascending."""
        self.projector.take(lane, records)

    def flush(self, *, everything: bool = False) -> int:
        """Write what is over; return the number of rows. Raises TransientError."""
        return self.projector.flush(everything=everything)

    def expire(self, now_ns: int) -> int:
        """Remove days that are older than their kind's retention; return how many files."""
        removed = 0
        for kind in Kind:
            first_day = self._retention.first_day(kind, now_ns)
            removed += self.partitions.expire(kind, first_day=first_day)
            if kind is not Kind.ALARMS:
                slot = slot_of(kind, first_day * 86_400_000_000_000)
                self.index.forget(self.index.before(int(kind is Kind.WAVEFORMS), slot))
        return removed

    def answer(self, question: queries.Question) -> queries.Reply:
        """Answer a question.

        Raises:
            InputError: It cannot be answered as it is asked.
            TrustError: A block was changed.
            TransientError: The disk failed.
        """
        match question:
            case queries.Find():
                return self._find(question)
            case queries.LastN():
                found = self._latest.values(question.scope, n=question.n)
                body = render.observations(
                    found,
                    self_url=question.self_url,
                    next_url=None,
                    declared=question.scope.declared,
                )
                return queries.Page(body=body, patients=_patients(Slice(found, None)))
            case queries.Trend():
                return self._trend(question)
            case queries.Known():
                return self._known(question.device)
            case queries.Condition():
                return self.state()

    def state(self) -> queries.State:
        """Say how the record is doing."""
        lag = self.projector.lag(self._ends, oldest_ns=self._oldest_ns)
        return queries.State(
            positions={lane.value: self.projector.position(lane) for lane in LANES},
            durable={lane.value: p for lane, p in self.projector.durable().items()},
            lag_s=lag.now_s,
            lag_p99_s=lag.p99_s,
            waiting=lag.records,
            skipped=self.projector.skipped,
            bytes_held={kind.value: self.partitions.byte_count(kind) for kind in Kind},
        )

    def close(self) -> None:
        """Close every file; what is in memory is projected again."""
        self.partitions.close()
        self.index.close()

    def _find(self, question: queries.Find) -> queries.Page:
        kind, scope, count = Kind(question.kind), question.scope, question.count
        after, as_of_ns = (), self._clock()
        if question.cursor:
            after, as_of_ns = render.decode_cursor(question.cursor, kind)
            # What came after the first page was asked for is no part of this search: pages stay
            # where they were, and the next `_lastUpdated` finds it.
            received_to_ns = min(scope.received_to_ns, as_of_ns + 1)
            scope = queries.replace(scope, received_to_ns=received_to_ns)
        if kind is Kind.WAVEFORMS:
            found = waves.page(self._search, scope, after=after, count=count)
        else:
            found = self._search.page(kind, scope, after=after, count=count)
        next_url = None
        if found.resume is not None:
            cursor = render.encode_cursor(found.resume, as_of_ns=as_of_ns)
            next_url = question.next_url + cursor
        if kind is Kind.ALARMS:
            body = render.alarms(found.found, next_url=next_url)
        else:
            body = render.observations(
                found.found,
                self_url=question.self_url,
                next_url=next_url,
                declared=scope.declared,
            )
        return queries.Page(body=body, patients=_patients(found))

    def _trend(self, question: queries.Trend) -> queries.Points:
        handle = question.handle if question.handle is not None else self._handle(question)
        first = max(0, slot_of(Kind.NUMERICS, question.from_ns) - BEFORE_SLOTS)
        last = slot_of(Kind.NUMERICS, question.to_ns - 1)
        if last - first > TREND_ROWS_MAX + BEFORE_SLOTS:
            raise InputError("a trend covers at most two days")
        points = trends.thin(
            self._samples(question, handle, first, last),
            from_ns=question.from_ns,
            to_ns=question.to_ns,
            points_max=question.points_max,
        )
        return queries.Points(points=tuple(points))

    def _samples(
        self, question: queries.Trend, handle: int, first: int, last: int
    ) -> Iterator[trends.Columns]:
        stretches, numbers = _stretches(question), trends.Numbers()
        # Memory first: what goes to disk meanwhile is found there too, and counts once.
        open_ = self.projector.open_entries(Kind.NUMERICS, question.device, first=first, last=last)
        for stored in open_.values():
            yield trends.entry_samples(stored, handle=handle, stretches=stretches, numbers=numbers)
        for _, groups in self.partitions.read_groups(
            Kind.NUMERICS, question.device, first=first, last=last
        ):
            yield from trends.samples_of(
                groups, handle=handle, stretches=stretches, numbers=numbers
            )

    def _handle(self, question: queries.Trend) -> int:
        known = self._known(question.device).metrics
        handles = [m.handle for m in known if not m.wave and m.mdc_code == question.mdc_code]
        if not handles:
            raise NotFound("the device has no such metric in its record")
        return min(handles)

    def _known(self, device: str) -> queries.KnownAnswer:
        if not device:
            names = {*self.index.devices(), *self.projector.devices()}
            return queries.KnownAnswer(devices=tuple(sorted(names)))
        metrics = {*self.index.metrics(device), *self.projector.open_metrics(device)}
        return queries.KnownAnswer(
            metrics=tuple(
                queries.KnownMetric(
                    wave=bool(m.wave), handle=m.handle, mdc_code=m.mdc_code, unit_code=m.unit_code
                )
                for m in sorted(metrics)
            )
        )


def _stretches(question: queries.Trend) -> list[tuple[int, int]] | None:
    if question.patient is None:
        return None
    claims = [
        rules.Claim(patient=c.patient, start_ns=c.start_ns, end_ns=c.end_ns)
        for c in question.claims
        if c.device == question.device
    ]
    return rules.stretches_of(claims, question.patient)


def _patients(found: Slice) -> tuple[str, ...]:
    return tuple(sorted({f.patient for f in found.found if f.patient is not None}))
