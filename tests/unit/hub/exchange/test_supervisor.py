"""Leases and conditions over a journal that can be full, and over restarts."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence

import pytest

from asepsis.core.errors import BackPressure
from asepsis.core.journal.ports import (
    AccountState,
    Append,
    LaneStatus,
    Outcome,
    Receipt,
    Record,
)
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.lanes import Account, Lane
from asepsis.hub.exchange import account
from asepsis.hub.exchange import supervisor as module
from asepsis.hub.exchange.lease import Cause, Fact
from asepsis.hub.exchange.ports import DeviceFacts
from asepsis.hub.exchange.projection import AlarmProjection
from asepsis.hub.exchange.supervisor import Supervisor
from asepsis.hub.exchange.technical import decode_event

S = 1_000_000_000
A, B = "urn:dev:mac:0000000000000001", "urn:dev:mac:0000000000000002"


class MemoryJournal:
    """The part of a journal that the supervisor needs, in memory, with a tap for back-pressure."""

    def __init__(self) -> None:
        self.lanes: dict[Lane, list[Record]] = {lane: [] for lane in Lane}
        self.cursors: dict[Lane, int] = {}
        self.full = False

    async def append(self, record: Append) -> Receipt:
        await asyncio.sleep(0)
        if self.full:
            raise BackPressure("full")
        assert record.sequence not in self.sequences(), "the account is dense"
        lane = self.lanes[record.lane]
        lane.append(Record(len(lane) + 1, record))
        return Receipt(Outcome.STORED, len(lane))

    def sequences(self) -> set[int]:
        return {r.append.sequence for lane in self.lanes.values() for r in lane}

    async def account(self, account: Account, producer: str, epoch: int) -> AccountState:
        assert (account, producer, epoch) == (Account.EVENT, "hub:exchange", 1)
        return AccountState(max(self.sequences(), default=0))

    async def read(self, lane: Lane, *, after: int, records_max: int) -> Sequence[Record]:
        return self.lanes[lane][after : after + records_max]

    async def register(self, consumer: str, lanes: Mapping[Lane, bool]) -> None:
        assert (consumer, dict(lanes)) == ("hub:exchange", {Lane.EVENT: False})

    async def pull(self, consumer: str, lane: Lane, *, records_max: int) -> Sequence[Record]:
        assert consumer == "hub:exchange"
        return await self.read(lane, after=self.cursors.get(lane, 0), records_max=records_max)

    async def commit(self, consumer: str, lane: Lane, position: int) -> None:
        assert consumer == "hub:exchange"
        self.cursors[lane] = position

    async def status(self) -> Mapping[Lane, LaneStatus]:
        return {lane: LaneStatus(1, len(held), 0, 0, 0) for lane, held in self.lanes.items()}


class Registry:
    """Two devices with the default lease, or with a period that somebody declared."""

    period_s = 0

    def device(self, name: str) -> DeviceFacts:
        return DeviceFacts(
            name=name,
            lease_ms=None,
            has_origin_key=True,
            origin_required=True,
            period_s=self.period_s,
        )

    def origin_key(self, name: str, key_id: bytes) -> bytes:
        raise AssertionError(f"the supervisor asks for no key: {name} {key_id!r}")

    def observed(self, gateway: str, device: str) -> bool:
        raise AssertionError(f"the supervisor asks for no evidence: {gateway} {device}")

    def check_source(self, gateway: str, message_type: str) -> None:
        raise AssertionError(f"the supervisor takes no message: {gateway} {message_type}")

    def check_type(self, gateway: str, device: str, what: str) -> None:
        raise AssertionError(f"the supervisor takes no data: {gateway} {device} {what}")


class Bench:
    """A supervisor with a clock of its own, that can be started anew on the same journal."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.registry = Registry()
        self.now_ns = 100 * S
        self._ids = itertools.count(1)

    async def start(self) -> Supervisor:
        supervisor = Supervisor(
            self.journal,
            self.registry,
            read_alarms=AlarmProjection(Registry()),
            wall=lambda: self.now_ns,
            monotonic=lambda: self.now_ns,
            fresh_id=lambda: f"{next(self._ids):032x}",
        )
        await supervisor.restore()
        return supervisor

    async def pass_time(self, supervisor: Supervisor, seconds: float) -> None:
        self.now_ns += int(seconds * S)
        supervisor.tick()
        await supervisor.write_pending()

    def events(self) -> list[tuple[str, Cause, int]]:
        found = [decode_event(r.append.body) for r in self.journal.lanes[Lane.ALERT]]
        return [(e.device, e.cause, e.phase) for e in found]


def test_what_reports_once_a_minute_is_missed_five_seconds_after_that() -> None:
    """Goal: a declared period is the lease, from the declaration on."""

    async def play() -> None:
        bench = Bench()
        supervisor = await bench.start()
        bench.registry.period_s = 60
        for _ in range(3):
            supervisor.batch_accepted(A, state=None)
            await bench.pass_time(supervisor, 64.9)
        assert bench.events() == []
        await bench.pass_time(supervisor, 0.1)
        assert bench.events() == [(A, Cause.SILENCE, 1)]
        bench.registry.period_s = 0
        supervisor.batch_accepted(A, state=None)
        await bench.pass_time(supervisor, 2)
        assert [phase for _, _, phase in bench.events()] == [1, 3, 1]

    asyncio.run(play())


def test_a_full_journal_delays_events_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: numbers stay dense and events keep their order through back-pressure."""
    monkeypatch.setattr(account, "RETRY_S", 0)

    async def play() -> None:
        bench = Bench()
        supervisor = await bench.start()
        for device in (A, B):
            await supervisor.watch(device, 1)
            supervisor.batch_accepted(device, state=ClinicalState.IN_USE)
        bench.journal.full = True
        await bench.pass_time(supervisor, 2)
        supervisor.batch_accepted(A, state=None)
        await bench.pass_time(supervisor, 0.1)
        assert bench.events() == []
        bench.journal.full = False
        await bench.pass_time(supervisor, 0.1)
        assert bench.events() == [
            (A, Cause.SILENCE, 1),
            (B, Cause.SILENCE, 1),
            (A, Cause.SILENCE, 3),
        ]
        assert bench.journal.sequences() == set(range(1, 6))

    asyncio.run(play())


def test_a_restart_remembers_and_invents_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: the same, whether the state is read from events or from a checkpoint."""
    for every in (1, 1_000):
        monkeypatch.setattr(module, "STATE_EVERY_RECORDS", every)

        async def play() -> None:
            bench = Bench()
            supervisor = await bench.start()
            await supervisor.watch(A, 3)
            await supervisor.watch(B, 7)
            supervisor.batch_accepted(A, state=None)
            supervisor.fact(B, Fact.GAP_OVERDUE, epoch=7)
            supervisor.fact(B, Fact.GAP_OVERDUE, epoch=6)
            await bench.pass_time(supervisor, 2)
            before = bench.events()
            again = await bench.start()
            assert (again.epoch(A), again.epoch(B)) == (3, 7)
            assert again.gap_epochs(B) == (7, 6)
            await bench.pass_time(again, 1.9)
            assert bench.events() == before
            await bench.pass_time(again, 0.2)
            # A is silent all along; B got one fresh lease and did not come back.
            assert bench.events() == [*before, (B, Cause.SILENCE, 1)]
            again.batch_accepted(A, state=None)
            again.fact(B, Fact.GAPS_FILLED)
            await again.write_pending()
            assert bench.events()[-2:] == [(A, Cause.SILENCE, 3), (B, Cause.GAP, 3)]

        asyncio.run(play())


def test_forgery_ends_after_a_quiet_minute_and_revocation_is_told_for_a_shift() -> None:
    async def play() -> None:
        bench = Bench()
        supervisor = await bench.start()
        supervisor.fact(A, Fact.FORGERY_FOUND)
        supervisor.fact(A, Fact.FORGERY_FOUND)
        await bench.pass_time(supervisor, 59)
        supervisor.fact(A, Fact.FORGERY_FOUND)
        await bench.pass_time(supervisor, 59)
        assert bench.events() == [(A, Cause.FORGERY, 1)]
        await bench.pass_time(supervisor, 1)
        assert bench.events()[-1] == (A, Cause.FORGERY, 3)
        await supervisor.watch(B, 1)
        supervisor.fact(B, Fact.FORK_FOUND, epoch=1)
        await supervisor.removed(B)
        await supervisor.write_pending()
        assert bench.events()[-3:] == [
            (B, Cause.FORK, 1),
            (B, Cause.REVOKED, 1),
            (B, Cause.FORK, 3),
        ]
        assert supervisor.epoch(B) == -1
        again = await bench.start()
        await bench.pass_time(again, 12 * 3_600 - 1)
        assert bench.events()[-1] == (B, Cause.FORK, 3)
        await bench.pass_time(again, 1)
        assert bench.events()[-1] == (B, Cause.REVOKED, 3)

    asyncio.run(play())
