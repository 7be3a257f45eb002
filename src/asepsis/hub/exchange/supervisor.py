"""Watches every device: leases run out, conditions open and close, each event durable and live.

A thin shell over `lease`, `technical` and `active`: it holds the deadlines, queues events in order
and restores everything from the journal after a restart. It invents no end: a condition that was
open when the hub died is open when it is back, with the same id.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import structlog

from asepsis.core.errors import NotFound, TransientError
from asepsis.core.journal.ports import Record
from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.lanes import Lane
from asepsis.hub.exchange import revealed
from asepsis.hub.exchange.account import Entry, OwnAccount
from asepsis.hub.exchange.active import ActiveConditions, Place, Revealed
from asepsis.hub.exchange.lease import CLOSES, OPENED_BY, QUIET, Cause, Fact, lease_ns
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
LEASE_READ_NS: Final = 10_000_000_000
"""How long a lease is remembered before it is asked for again."""
STATE_EVERY_RECORDS: Final = 2_000
STATE_EVERY_NS: Final = 3_600_000_000_000
READ_RECORDS: Final = 1_000
REPLAY_RECORDS_MAX: Final = 50_000
"""Alert records read at most to know again what was active; what is older is of devices that send
no list, and stays in the durable lane."""
_ENDED_BY_BATCH: Final = CLOSES[Fact.BATCH_ACCEPTED]
_ENDED_BY_GATEWAY: Final = CLOSES[Fact.GATEWAY_HEARD]
GATEWAY_EPOCH: Final = 0
"""A gateway is watched, but numbers nothing as a whole."""

log = structlog.get_logger("exchange.supervisor")


class Supervisor:
    """Leases and technical conditions of all devices, and what is known of their own conditions.

    Args:
        journal: Where events become durable.
        directory: Leases and identities.
        read_alarms: Reads the alarm events of a record of the alert lane.
        wall: Wall clock, nanoseconds since 1970.
        monotonic: Monotonic clock, nanoseconds.
        fresh_id: Makes a condition id, 32 hexadecimal digits.
    """

    def __init__(
        self,
        journal: ExchangeJournal,
        directory: Directory,
        *,
        read_alarms: Callable[[Record], Sequence[AlarmNotice]],
        wall: Callable[[], int],
        monotonic: Callable[[], int],
        fresh_id: Callable[[], str],
    ) -> None:
        self._journal = journal
        self._directory = directory
        self._read_alarms = read_alarms
        self._wall = wall
        self._monotonic = monotonic
        self._fresh_id = fresh_id
        self._account = OwnAccount(journal, wall=wall)
        self._conditions = Conditions()
        self._active = ActiveConditions()
        self._states: dict[str, ClinicalState] = {}
        self._deadlines: dict[str, int] = {}
        self._leases: dict[str, tuple[int, int]] = {}
        self._watched: dict[str, int] = {}
        self._gateways: set[str] = set()
        self._quiet_at: dict[tuple[str, Cause], int] = {}
        self._state_at = 0

    async def restore(self) -> None:
        """Read back what was known; call once before the listeners open.

        Every watched device gets one fresh lease, whatever happened while the hub was away.
        """
        await self._account.restore()
        active_after = await self._restore_states()
        await self._restore_events(active_after)
        now_ns = self._state_at = self._monotonic()
        for device in self._watched:
            self._renew(device, now_ns)
        for device, cause in self._conditions.open:
            if cause in QUIET:
                self._quiet_at[device, cause] = now_ns + QUIET[cause][1]

    async def run(self) -> None:
        """Find expired leases and write events until cancelled."""
        while True:
            self.tick()
            await self.write_pending()
            try:
                async with asyncio.timeout(TICK_S):
                    await self._account.wake.wait()
            except TimeoutError:
                continue
            self._account.wake.clear()

    def tick(self) -> None:
        """Look for leases that ran out and for conditions that only time ends."""
        now_ns = self._monotonic()
        expired = [d for d, at in self._deadlines.items() if at <= now_ns]
        for device in expired:
            # No deadline until the next batch: an open condition needs no second onset.
            del self._deadlines[device]
            lost = device in self._gateways
            self.fact(device, Fact.GATEWAY_LOST if lost else Fact.LEASE_EXPIRED)
            self.alarms_unseen(device)
        for device, cause in [key for key, at in self._quiet_at.items() if at <= now_ns]:
            del self._quiet_at[device, cause]
            self.fact(device, QUIET[cause][0])

    def epoch(self, device: str) -> int:
        """Return the highest boot epoch accepted live from a device, -1 if it is not watched."""
        return self._watched.get(device, -1)

    async def watch(self, device: str, epoch: int) -> None:
        """Take a device under supervision, durably; the first live record of an epoch does so.

        Raises:
            TransientError: The journal could not store it; the record's sender tries again.
        """
        watched = WatchedDevice(device=device, epoch=epoch, gateway=device in self._gateways)
        await self._account.append(Lane.EVENT, WATCH_KIND, encode(watched))
        self._watched[device] = max(epoch, self.epoch(device))

    def batch_accepted(self, device: str, *, state: ClinicalState | None) -> None:
        """Renew the lease: a live batch or bundle of the device is durable."""
        if state is not None:
            self._states[device] = state
        self._renew(device, self._monotonic())
        if self._conditions.has_any(device, _ENDED_BY_BATCH):
            self.fact(device, Fact.BATCH_ACCEPTED)

    async def gateway_heard(self, gateway: str) -> None:
        """Renew the lease of a gateway: it asked or sent something.

        Raises:
            TransientError: It could not be put under supervision; it asks again anyway.
        """
        if gateway not in self._gateways:
            self._gateways.add(gateway)
            try:
                await self.watch(gateway, GATEWAY_EPOCH)
            except TransientError:
                self._gateways.discard(gateway)
                raise
        self._renew(gateway, self._monotonic())
        if self._conditions.has_any(gateway, _ENDED_BY_GATEWAY):
            self.fact(gateway, Fact.GATEWAY_HEARD)

    def is_gateway(self, name: str) -> bool:
        """Whether a name is a gateway under supervision."""
        return name in self._gateways

    def fact(self, device: str, fact: Fact, *, epoch: int | None = None) -> None:
        """Apply a fact; the events it makes are written by `run`, in order."""
        opened = OPENED_BY.get(fact)
        if opened is not None and opened in QUIET:
            self._quiet_at[device, opened] = self._monotonic() + QUIET[opened][1]
        events = self._conditions.move(
            device,
            fact,
            at_ns=self._wall(),
            condition_id=self._fresh_id,
            state=self._states.get(device),
            epoch=epoch,
        )
        for event in events:
            said = {"cause": event.cause.value, "phase": event.phase.name.lower()}
            key = (event.device, event.cause)
            self._account.put(Entry(key, EVENT_KIND, encode(event), said))

    def gap_epochs(self, device: str) -> tuple[int, ...]:
        """Return the boot epochs in which the device is known to lack numbers."""
        return self._conditions.gap_epochs(device)

    def alarms(self, notices: Sequence[AlarmNotice], place: Place, *, position: int) -> None:
        """Follow the alarm events of a durable live record."""
        self._reveal(self._active.events(notices, place, position=position))
        for device in {notice.device for notice in notices}:
            self._known_if_none(device)

    def alarms_listed(self, device: str, notices: Sequence[AlarmNotice], place: Place) -> None:
        """Take a device's list of its active conditions as the truth."""
        position = self._account.alert_position
        self._reveal(self._active.listed(device, notices, place, position=position))
        if self._conditions.has(device, Cause.ALARMS_UNKNOWN):
            self.fact(device, Fact.ALARMS_KNOWN)

    def alarm_reported(self, notice: AlarmNotice, place: Place) -> None:
        """Follow an alarm event that a durable message told; it gets a record of the alert lane."""
        position = self._account.alert_position
        self._reveal(self._active.reported(notice, place, position=position))
        self._known_if_none(notice.device)

    def alarms_late(self, notices: Sequence[AlarmNotice]) -> None:
        """Follow the alarm events of a durable late record: only ends count."""
        self._reveal(self._active.late(notices))
        for device in {notice.device for notice in notices}:
            self._known_if_none(device)

    def alarms_unseen(self, device: str, *, place: Place | None = None) -> None:
        """Say that active conditions may have changed unseen, unless a newer list covers it.

        Args:
            device: Whose conditions.
            place: Last missing record; None if the device fell silent.

        Source: REQ-ALM-017.
        """
        covered = place is not None and self._active.list_covers(device, place)
        if self._active.any_of(device) and not covered:
            self.fact(device, Fact.ALARMS_UNSEEN)

    def list_covers(self, device: str, place: Place) -> bool:
        """Whether the newest list of a device is newer than a record."""
        return self._active.list_covers(device, place)

    async def removed(self, device: str) -> None:
        """End supervision of a revoked device and every condition of it.

        Source: REQ-ID-016; a revoked device is told for a shift, so that its bed is no empty tile.
        """
        self._deadlines.pop(device, None)
        self._leases.pop(device, None)
        for key in [key for key in self._quiet_at if key[0] == device]:
            del self._quiet_at[key]
        if device in self._watched:
            self.fact(device, Fact.DEVICE_REVOKED)
        self._reveal(self._active.removed(device))
        self.fact(device, Fact.DEVICE_REMOVED)
        if device in self._watched:
            del self._watched[device]
            self._gateways.discard(device)
            ended = WatchedDevice(device=device, epoch=None)
            await self._account.append(Lane.EVENT, WATCH_KIND, encode(ended))

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

    def active_alarms(self) -> Sequence[AlarmNotice]:
        """Return the last event of every active condition: the devices' own, and the hub's."""
        own = [e.notice(received_at_ns=e.at_ns) for e in self._conditions.open.values()]
        return (*self._active.notices(), *own)

    async def settled(self) -> None:
        """Wait until every event so far is durable."""
        await self._account.settled()

    async def write_pending(self) -> None:
        """Make queued events durable; what fails stays queued, in order, for the next tick."""
        if await self._account.flush():
            await self._write_state_if_due()

    def _reveal(self, found: Sequence[Revealed]) -> None:
        for one in found:
            event = one.notice.event
            said = {"reason": one.reason.value, "phase": event.phase.name.lower()}
            key = (one.notice.device, event.condition_id)
            self._account.put(Entry(key, revealed.KIND, revealed.encode(one), said))

    def _known_if_none(self, device: str) -> None:
        unknown = self._conditions.has(device, Cause.ALARMS_UNKNOWN)
        if unknown and not self._active.any_of(device):
            self.fact(device, Fact.ALARMS_KNOWN)

    async def _write_state_if_due(self) -> None:
        old = self._monotonic() - self._state_at >= STATE_EVERY_NS
        # Also if the hub itself wrote nothing: else a restart reads every alarm since.
        if self._account.written < STATE_EVERY_RECORDS and not old:
            return
        oldest = self._active.oldest_position()
        state = TechnicalState(
            alert_position=self._account.alert_position,
            watched=dict(self._watched),
            gateways=tuple(self._gateways),
            open_events=tuple(self._conditions.open.values()),
            active_after=None if oldest is None else max(0, oldest - 1),
        )
        try:
            position = await self._account.append(Lane.EVENT, STATE_KIND, encode(state))
            await self._journal.commit(PRODUCER, Lane.EVENT, position - 1)
        except TransientError:
            return
        self._account.written = 0
        self._state_at = self._monotonic()

    async def _restore_states(self) -> int | None:
        start, active_after = None, None
        while records := await self._read_events(start):
            for record in records:
                start = record.position
                if record.append.producer != PRODUCER:
                    continue
                if record.append.kind == STATE_KIND:
                    state = decode_state(record.append.body)
                    self._replay_state(state)
                    active_after = state.active_after
                elif record.append.kind == WATCH_KIND:
                    self._replay_watched(decode_watched(record.append.body))
        return active_after

    def _replay_state(self, state: TechnicalState) -> None:
        self._watched = dict(state.watched)
        self._gateways = set(state.gateways)
        self._conditions = Conditions()
        self._conditions.replay(state.open_events)
        self._account.alert_position = state.alert_position

    def _replay_watched(self, change: WatchedDevice) -> None:
        if change.epoch is None:
            self._watched.pop(change.device, None)
            self._gateways.discard(change.device)
        else:
            if change.gateway:
                self._gateways.add(change.device)
            self._watched[change.device] = max(change.epoch, self.epoch(change.device))

    async def _read_events(self, after: int | None) -> Sequence[Record]:
        if after is None:
            return await self._journal.pull(PRODUCER, Lane.EVENT, records_max=READ_RECORDS)
        return await self._journal.read(Lane.EVENT, after=after, records_max=READ_RECORDS)

    async def _restore_events(self, active_after: int | None) -> None:
        known = self._account.alert_position
        end = (await self._journal.status())[Lane.ALERT].last
        start = known if active_after is None else min(known, active_after)
        after = min(known, max(start, end - REPLAY_RECORDS_MAX))
        while records := await self._journal.read(
            Lane.ALERT, after=after, records_max=READ_RECORDS
        ):
            after = records[-1].position
            for record in records:
                self._replay_event(record, known=known)
        self._account.alert_position = max(known, after)

    def _replay_event(self, record: Record, *, known: int) -> None:
        append = record.append
        if append.producer == PRODUCER and append.kind == EVENT_KIND:
            if record.position > known:
                self._conditions.replay([decode_event(append.body)])
            return
        place = Place(append.producer, append.epoch, append.sequence)
        self._active.events(self._read_alarms(record), place, position=record.position)

    def _renew(self, device: str, now_ns: int) -> None:
        lease, read_ns = self._leases.get(device, (0, -LEASE_READ_NS))
        if now_ns - read_ns >= LEASE_READ_NS:
            try:
                facts = self._directory.device(device)
            except NotFound:
                return  # Revoked while its last batch was on the way.
            lease = lease_ns(facts.lease_ms, period_s=facts.period_s)
            self._leases[device] = (lease, now_ns)
        self._deadlines[device] = now_ns + lease
