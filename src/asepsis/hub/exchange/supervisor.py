"""Watches every device: leases run out, conditions open and close, each event durable and live.

A thin shell over `lease` and `technical`: it holds the deadlines, writes events to the journal in
order and restores everything from the journal after a restart. It invents no end: a condition that
was open when the hub died is open when it is back, with the same id.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import structlog

from asepsis.core.errors import NotFound, TransientError
from asepsis.core.journal.ports import Append, Record
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.lanes import Account, Lane
from asepsis.hub.exchange.lease import Cause, Fact, lease_ns
from asepsis.hub.exchange.ports import Directory, ExchangeJournal
from asepsis.hub.exchange.technical import (
    EVENT_KIND,
    PRODUCER,
    STATE_KIND,
    WATCH_KIND,
    Conditions,
    TechnicalEvent,
    TechnicalState,
    WatchedDevice,
    decode_event,
    decode_state,
    decode_watched,
    encode,
)

TICK_S: Final = 0.1
STATE_EVERY_RECORDS: Final = 2_000
STATE_EVERY_NS: Final = 3_600_000_000_000
RETRY_S: Final = 0.25
GROUP_EVENTS: Final = 256
"""Events written at once: a dead switch silences a ward, and each must be told in time."""
FORGERY_QUIET_NS: Final = 60_000_000_000
READ_RECORDS: Final = 1_000
EPOCH: Final = 1
"""The hub's own account never restarts: one epoch, sequences go on after a restart."""

log = structlog.get_logger("exchange.supervisor")


class Supervisor:
    """Leases and technical conditions of all devices.

    Args:
        journal: Where events become durable.
        directory: Leases and identities.
        wall: Wall clock, nanoseconds since 1970.
        monotonic: Monotonic clock, nanoseconds.
        fresh_id: Makes a condition id, 32 hexadecimal digits.
    """

    def __init__(
        self,
        journal: ExchangeJournal,
        directory: Directory,
        *,
        wall: Callable[[], int],
        monotonic: Callable[[], int],
        fresh_id: Callable[[], str],
    ) -> None:
        self._journal = journal
        self._directory = directory
        self._wall = wall
        self._monotonic = monotonic
        self._fresh_id = fresh_id
        self._conditions = Conditions()
        self._states: dict[str, ClinicalState] = {}
        self._deadlines: dict[str, int] = {}
        self._leases: dict[str, int] = {}
        self._watched: dict[str, int] = {}
        self._quiet_at: dict[str, int] = {}
        self._sequence = 0
        self._since_state = 0
        self._alert_position = 0
        self._state_at = 0
        self._pending: deque[TechnicalEvent] = deque()
        self._wake = asyncio.Event()
        self._free: list[int] = []

    async def restore(self) -> None:
        """Read back what was known; call once before the listeners open.

        Every watched device gets one fresh lease, whatever happened while the hub was away.
        """
        await self._journal.register(PRODUCER, {Lane.EVENT: False})
        account = await self._journal.account(Account.EVENT, PRODUCER, EPOCH)
        self._sequence = account.highest
        self._free = [n for first, last in account.gaps for n in range(first, last + 1)]
        await self._restore_states()
        await self._restore_events()
        now_ns = self._state_at = self._monotonic()
        for device in self._watched:
            self._renew(device, now_ns)
        for device, cause in self._conditions.open:
            if cause is Cause.FORGERY:
                self._quiet_at[device] = now_ns + FORGERY_QUIET_NS

    async def run(self) -> None:
        """Find expired leases and write events until cancelled."""
        while True:
            self.tick()
            await self.write_pending()
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    def tick(self) -> None:
        """Look for leases that ran out and forgeries that stopped."""
        now_ns = self._monotonic()
        expired = [d for d, at in self._deadlines.items() if at <= now_ns]
        for device in expired:
            # No deadline until the next batch: an open condition needs no second onset.
            del self._deadlines[device]
            self.fact(device, Fact.LEASE_EXPIRED)
        for device in [d for d, at in self._quiet_at.items() if at <= now_ns]:
            del self._quiet_at[device]
            self.fact(device, Fact.FORGERY_QUIET)

    def epoch(self, device: str) -> int:
        """Return the highest boot epoch accepted live from a device, -1 if it is not watched."""
        return self._watched.get(device, -1)

    async def watch(self, device: str, epoch: int) -> None:
        """Take a device under supervision, durably; the first live record of an epoch does so.

        Raises:
            TransientError: The journal could not store it; the record's sender tries again.
        """
        await self._append(Lane.EVENT, WATCH_KIND, WatchedDevice(device=device, epoch=epoch))
        self._watched[device] = max(epoch, self.epoch(device))

    def batch_accepted(self, device: str, *, state: ClinicalState | None) -> None:
        """Renew the lease: a live batch or bundle of the device is durable."""
        if state is not None:
            self._states[device] = state
        self._renew(device, self._monotonic())
        if self._conditions.open and self._conditions.has(device, Cause.SILENCE):
            self.fact(device, Fact.BATCH_ACCEPTED)

    def fact(self, device: str, fact: Fact, *, epoch: int | None = None) -> None:
        """Apply a fact; the events it makes are written by `run`, in order."""
        if fact is Fact.FORGERY_FOUND:
            self._quiet_at[device] = self._monotonic() + FORGERY_QUIET_NS
        events = self._conditions.move(
            device,
            fact,
            at_ns=self._wall(),
            condition_id=self._fresh_id(),
            state=self._states.get(device),
            epoch=epoch,
        )
        if events:
            self._pending.extend(events)
            self._wake.set()

    def gap_epochs(self, device: str) -> tuple[int, ...]:
        """Return the boot epochs in which the device is known to lack numbers."""
        return self._conditions.gap_epochs(device)

    async def removed(self, device: str) -> None:
        """End supervision of a revoked device and every condition of it."""
        self._deadlines.pop(device, None)
        self._quiet_at.pop(device, None)
        self.fact(device, Fact.DEVICE_REMOVED)
        if device in self._watched:
            del self._watched[device]
            await self._append(Lane.EVENT, WATCH_KIND, WatchedDevice(device=device, epoch=None))

    def clinical_state(self, device: str) -> ClinicalState | None:
        """Return what a device last signed that it does; None if it never said, or was silent."""
        return self._states.get(device) if device in self._deadlines else None

    def is_present(self, device: str) -> bool:
        """Whether the lease of a device runs."""
        return device in self._deadlines

    def watched(self) -> Collection[str]:
        """Return the devices under supervision, present or silent."""
        return self._watched.keys()

    def open_events(self) -> Iterable[TechnicalEvent]:
        """Return the last event of every open condition."""
        return tuple(self._conditions.open.values())

    async def write_pending(self) -> None:
        """Make queued events durable; what fails stays queued, in order, for the next tick."""
        while self._pending:
            group = self._next_group()
            done = await asyncio.gather(*(self._write_event(event) for event in group))
            failed = [event for event, written in zip(group, done, strict=True) if not written]
            if failed:
                self._pending.extendleft(reversed(failed))
                await asyncio.sleep(RETRY_S)
                return
        await self._write_state_if_due()

    def _next_group(self) -> list[TechnicalEvent]:
        """Take events that may be written at once: no two of one condition, so order is kept."""
        group: dict[tuple[str, Cause], TechnicalEvent] = {}
        while self._pending and len(group) < GROUP_EVENTS:
            event = self._pending[0]
            if (event.device, event.cause) in group:
                break
            group[event.device, event.cause] = self._pending.popleft()
        return list(group.values())

    async def _write_event(self, event: TechnicalEvent) -> bool:
        try:
            position = await self._append(Lane.ALERT, EVENT_KIND, event)
        except TransientError:
            log.warning("technical alarm waits for the journal", cause=event.cause.value)
            return False
        self._alert_position = max(self._alert_position, position)
        log.info("technical alarm", cause=event.cause.value, phase=event.phase.name.lower())
        return True

    async def _append(
        self, lane: Lane, kind: str, value: TechnicalEvent | WatchedDevice | TechnicalState
    ) -> int:
        sequence = self._next_sequence()
        try:
            receipt = await self._journal.append(
                Append(
                    lane=lane,
                    account=Account.EVENT,
                    producer=PRODUCER,
                    epoch=EPOCH,
                    sequence=sequence,
                    kind=kind,
                    body=encode(value),
                    received_at_ns=self._wall(),
                )
            )
        except TransientError:
            # Nothing was stored: the number is used again, so the account stays dense.
            heapq.heappush(self._free, sequence)
            raise
        self._since_state += 1
        return receipt.position

    def _next_sequence(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self._sequence += 1
        return self._sequence

    async def _write_state_if_due(self) -> None:
        old = self._monotonic() - self._state_at >= STATE_EVERY_NS
        if self._since_state < STATE_EVERY_RECORDS and not (old and self._since_state):
            return
        state = TechnicalState(
            alert_position=self._alert_position,
            watched=dict(self._watched),
            open_events=tuple(self._conditions.open.values()),
        )
        try:
            position = await self._append(Lane.EVENT, STATE_KIND, state)
            await self._journal.commit(PRODUCER, Lane.EVENT, position - 1)
        except TransientError:
            return
        self._since_state = 0
        self._state_at = self._monotonic()

    async def _restore_states(self) -> None:
        start = None
        while records := await self._read_events(start):
            for record in records:
                start = record.position
                if record.append.producer != PRODUCER:
                    continue
                if record.append.kind == STATE_KIND:
                    state = decode_state(record.append.body)
                    self._watched = dict(state.watched)
                    self._conditions = Conditions()
                    self._conditions.replay(state.open_events)
                    self._alert_position = state.alert_position
                elif record.append.kind == WATCH_KIND:
                    self._replay_watched(decode_watched(record.append.body))

    def _replay_watched(self, change: WatchedDevice) -> None:
        if change.epoch is None:
            self._watched.pop(change.device, None)
        else:
            self._watched[change.device] = max(change.epoch, self.epoch(change.device))

    async def _read_events(self, after: int | None) -> Sequence[Record]:
        if after is None:
            return await self._journal.pull(PRODUCER, Lane.EVENT, records_max=READ_RECORDS)
        return await self._journal.read(Lane.EVENT, after=after, records_max=READ_RECORDS)

    async def _restore_events(self) -> None:
        after = self._alert_position
        while records := await self._journal.read(
            Lane.ALERT, after=after, records_max=READ_RECORDS
        ):
            after = records[-1].position
            self._conditions.replay(
                decode_event(r.append.body)
                for r in records
                if r.append.producer == PRODUCER and r.append.kind == EVENT_KIND
            )
        self._alert_position = after

    def _renew(self, device: str, now_ns: int) -> None:
        lease = self._leases.get(device)
        if lease is None:
            try:
                lease = lease_ns(self._directory.device(device).lease_ms)
            except NotFound:
                return  # Revoked while its last batch was on the way.
            self._leases[device] = lease
        self._deadlines[device] = now_ns + lease
