"""Follows signed batches for what a device is doing, and tells the rules what changed.

Nearly every batch says the same as the one before: that costs a look-up. Batches reach the journal
in three lanes, so a jump in their numbers is only believed when the journal says that something is
missing. Then the device is *out of sight*: what it sends now is nobody's until every missing batch
came on the late lane. Those come in their order, so what they hold is charted as they come.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from asepsis.core.errors import FramingError, TransientError
from asepsis.core.journal.ports import Record
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.wire.origin_peek import peek_state
from asepsis.hub.registry.associations.ports import FollowedJournal
from asepsis.hub.registry.associations.rules import USES
from asepsis.hub.registry.associations.scene import DeviceUse, Use
from asepsis.hub.registry.associations.service import AssociationService

log: Final = logging.getLogger("asepsis.hub.associations")

CONSUMER: Final = "hub:clinical-state"
LANES: Final[Mapping[Lane, bool]] = {Lane.ALERT: False, Lane.VITALS: False, Lane.LATE: False}
KIND: Final = "origin-batch"
RECORDS_MAX: Final = 512
RETRY_S: Final = 1.0
EVERY_S: Final = 0.25
"""Pause after a look that found everything: batches come once a second from each device."""
PACE_S: Final = 0.02
"""Pause after writing what a device does that stands nowhere and is nobody's: when a thousand of
them appear at once, the lanes must not wait behind it."""
DEVICES_MAX: Final = 20_000
"""Devices that are remembered; more than a hub has."""
NEVER: Final = 1 << 62
"""More batches than can come: nobody knows how many are missing."""


@dataclass(slots=True)
class _Seen:
    """What the newest batch of a device said, and how many before it are missing.

    Its time is 0 if it came before this hub started. While batches are missing it holds the last
    one that came late, or before the first gap, and what the device said right after the last gap.
    """

    epoch: int
    sequence: int
    state: ClinicalState | None
    at_ns: int
    missing: int = 0
    unseen: bool = False
    late: tuple[int, ClinicalState | None] = (0, None)
    back: tuple[int, ClinicalState | None] = (0, None)


class StateFollower:
    """Follows the clinical states of devices from durable cursors.

    Args:
        journal: The durable log.
        service: Whom the changes are told.
    """

    def __init__(self, journal: FollowedJournal, service: AssociationService) -> None:
        self._journal = journal
        self._service = service
        self._seen: dict[str, _Seen] = {}
        self._suspect: set[str] = set()
        self._done: dict[Lane, int] = {}

    async def restore(self) -> None:
        """Catch up with what came before the last end; call it before a listener opens.

        Raises:
            TransientError: Journal or store does not answer.
        """
        # It holds up no expiry: what is lost to it can only leave data unassigned.
        await self._journal.register(CONSUMER, LANES)
        ends = self._ends()
        while await self._drain():
            ends = self._ends()
        self._done = ends | self._done
        for use in await self._service.uses():
            account = await self._journal.account(Account.ORIGIN, use.device, use.epoch)
            missing = sum(last - first + 1 for first, last in account.gaps)
            drained = self._seen.get(use.device)
            if drained is not None and _is_other(use, drained):
                await self._sight(use.device, drained)
            self._seen[use.device] = _Seen(
                epoch=use.epoch,
                sequence=account.highest,
                state=drained.state if drained else None,
                at_ns=drained.at_ns if drained else 0,
                missing=missing,
                unseen=use.unseen and missing > 0,
            )
            if use.unseen and not missing:
                # Filled or given up: nobody can say any more, so a person decides.
                await self._service.seen_again(use.device)
        await self._service.refresh()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                count = await self.step()
            except TransientError as error:
                log.info("clinical states wait: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            if count < RECORDS_MAX:
                await asyncio.sleep(EVERY_S)

    async def step(self) -> int:
        """Take what is new on every lane; return how many records there were.

        Raises:
            TransientError: Journal or store does not answer; nothing is lost.
        """
        pulled = await self._pull()
        for _, record in pulled:
            if (now := _read(record)) is not None:
                await self._take(record.append.producer, now)
        for device in list(self._suspect):
            await self._look(device)
        if pulled:
            await self._service.refresh()
        await self._commit(pulled)
        return len(pulled)

    def passed(self, lane: Lane, position: int) -> bool:
        """Say whether what a record of a lane says of its device is applied."""
        return self._done.get(lane, 0) >= position

    async def status(self) -> object:
        """Return the lag of each lane in records, and how many devices are out of sight."""
        behind = {
            lane.value: max(self._journal.subscribe(lane).position - done, 0)
            for lane, done in self._done.items()
        }
        return {"behind": behind, "out_of_sight": sum(one.unseen for one in self._seen.values())}

    def forget(self, device: str) -> None:
        """Drop what is remembered of a revoked device."""
        self._seen.pop(device, None)

    def _ends(self) -> dict[Lane, int]:
        return {lane: self._journal.subscribe(lane).position for lane in LANES}

    async def _drain(self) -> int:
        """Take what nobody took before the last end; what is missing is counted afterwards."""
        pulled = await self._pull()
        for _, record in pulled:
            device, now = record.append.producer, _read(record)
            if now is None:
                continue
            before = self._seen.get(device)
            if before is None or (now.epoch, now.sequence) > (before.epoch, before.sequence):
                self._seen[device] = now
            if before is None or now.state is not before.state or now.epoch != before.epoch:
                await self._switch(device, now, last_ns=before.at_ns if before else None)
                await self._sight(device, now)
        await self._commit(pulled)
        return len(pulled)

    async def _pull(self) -> list[tuple[Lane, Record]]:
        pulled: list[tuple[Lane, Record]] = []
        for lane in LANES:
            records = await self._journal.pull(CONSUMER, lane, records_max=RECORDS_MAX)
            pulled += [(lane, record) for record in records]
        # In the order of arrival: a lane of its own must not make an older state the newer one.
        pulled.sort(key=lambda one: one[1].append.received_at_ns)
        return pulled

    async def _commit(self, pulled: Sequence[tuple[Lane, Record]]) -> None:
        for lane in {lane for lane, _ in pulled}:
            last = max(record.position for found, record in pulled if found is lane)
            await self._journal.commit(CONSUMER, lane, last)
            self._done[lane] = last

    async def _take(self, device: str, now: _Seen) -> None:
        before = self._seen.get(device)
        if before is None:
            await self._first(device, now)
        elif (now.epoch, now.sequence) <= (before.epoch, before.sequence):
            await self._past(device, now, before)
        else:
            await self._next(device, now, before)

    async def _first(self, device: str, now: _Seen) -> None:
        """Take the first batch that this hub ever had of a device."""
        if len(self._seen) >= DEVICES_MAX:
            return
        await self._sight(device, now)
        self._seen[device] = now
        if now.sequence > 1:
            now.missing = NEVER
            self._suspect.add(device)

    async def _next(self, device: str, now: _Seen, before: _Seen) -> None:
        if now.epoch > before.epoch:
            await self._switch(device, now, last_ns=before.at_ns or None)
        else:
            now.unseen, now.late, now.back = before.unseen, before.late, before.back
            now.missing = before.missing + now.sequence - before.sequence - 1
            if not before.missing:
                now.late = (before.sequence, before.state)
            if now.missing > before.missing:
                now.back = (now.at_ns, now.state)
        self._seen[device] = now
        if now.state is not before.state or now.epoch != before.epoch:
            await self._sight(device, now)
        if now.missing and not now.unseen:
            self._suspect.add(device)

    async def _past(self, device: str, now: _Seen, before: _Seen) -> None:
        """Take a batch from before; it may be the last one missing."""
        if now.epoch != before.epoch:
            if now.state is not None and USES[now.state] is Use.VACANT:
                await self._sight(device, now)
            return
        if before.late != (now.sequence - 1, now.state):  # Else it says nothing new.
            await self._sight(device, now)
        before.late = (now.sequence, now.state)
        if not before.missing:
            return
        before.missing -= 1
        if not before.missing and before.unseen:
            before.unseen = False
            # What it said when it was back was right, but for what came before.
            at_ns, state = before.back
            await self._sight(device, replace(now, state=state, at_ns=at_ns))
            await self._service.seen_whole(device)

    async def _look(self, device: str) -> None:
        """Ask the journal whether batches are missing, or only came by another lane."""
        self._suspect.discard(device)
        seen = self._seen.get(device)
        if seen is None or not seen.missing or seen.unseen:
            return
        account = await self._journal.account(Account.ORIGIN, device, seen.epoch)
        if account.gaps:
            seen.unseen = True
            # What comes late comes in order: up to here it tells by itself when it is nobody's.
            await self._service.out_of_sight(device, at_ns=seen.at_ns)

    async def _switch(self, device: str, now: _Seen, *, last_ns: int | None) -> None:
        await self._service.switched_on(device, epoch=now.epoch, at_ns=now.at_ns, last_ns=last_ns)

    async def _sight(self, device: str, now: _Seen) -> None:
        if now.state is not None:
            await self._service.sighted(device, epoch=now.epoch, state=now.state, at_ns=now.at_ns)
            if not self._service.concerns(device):
                await asyncio.sleep(PACE_S)


def _is_other(use: DeviceUse, newest: _Seen) -> bool:
    """Whether something late was taken for the present, which had said nothing new."""
    return (
        newest.state is not None and newest.epoch == use.epoch and USES[newest.state] is not use.use
    )


def _read(record: Record) -> _Seen | None:
    """Read what a record says; None for what is no signed batch."""
    append = record.append
    if append.kind != KIND:
        return None
    try:
        head = peek_state(append.body)
    except FramingError:
        return None  # The lane checked it at its arrival: another program's record.
    at_ns = head.wall_ns if head.synchronised else append.received_at_ns
    return _Seen(append.epoch, append.sequence, head.state, at_ns)
