"""What every lane shares: who may send, windows, the journal, and what follows a durable record."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import (
    AsepsisError,
    ChainBroken,
    NotFound,
    NotPermitted,
)
from asepsis.core.journal.ports import Append, Outcome, Receipt
from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.model.lanes import Account
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action, decide
from asepsis.hub.exchange.active import Place as RecordPlace
from asepsis.hub.exchange.claimed import ClaimedTimes
from asepsis.hub.exchange.digests import DigestMemory
from asepsis.hub.exchange.lease import Fact
from asepsis.hub.exchange.ports import (
    ArrivalJudge,
    Audit,
    DeviceFacts,
    Directory,
    ExchangeJournal,
    LiveFeed,
)
from asepsis.hub.exchange.supervisor import Supervisor
from asepsis.hub.exchange.window import Clocks, LagMeter, Place, Window, send_late

GAP_TICK_S: Final = 0.1
AUDIT_EVERY_NS: Final = 10_000_000_000
AUDIT_KEYS_MAX: Final = 10_000
LANE_WORDS: Final = {
    Action.SUBMIT_FHIR: "fhir",
    Action.SUBMIT_ALERT: "alert",
    Action.SUBMIT_WAVEFORM: "waveform",
    Action.SUBMIT_LATE: "late",
}
"""How a delegation names what a gateway may bring beside messages."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A durable record and where it stands.

    Attributes:
        receipt: The journal's proof.
        place: Where it stood on its live lane; None on the late lane.
        epoch_started: Whether it was the first accepted record of a higher epoch.
    """

    receipt: Receipt
    place: Place | None
    epoch_started: bool

    @property
    def live(self) -> bool:
        """Whether it was stored now, on a live lane."""
        return self.place is not None and self.receipt.outcome is Outcome.STORED


@dataclass(slots=True)
class Intake:
    """The parts and the state that the lanes share.

    Attributes:
        journal: Where records become durable.
        directory: The registry in memory.
        supervisor: Leases and technical conditions.
        feed: Where live data goes.
        audit: Where refused attempts are written.
        clocks: Wall and monotonic time.
        judge: Compares messages with what their devices declare; None compares nothing.
    """

    journal: ExchangeJournal
    directory: Directory
    supervisor: Supervisor
    feed: LiveFeed
    audit: Audit
    clocks: Clocks
    judge: ArrivalJudge | None = None
    digests: DigestMemory = field(default_factory=DigestMemory)
    lags: dict[str, LagMeter] = field(default_factory=dict[str, LagMeter])
    claimed: ClaimedTimes = field(init=False)
    _windows: dict[tuple[Account, str], Window] = field(
        default_factory=dict[tuple[Account, str], Window]
    )
    _gapped: set[str] = field(default_factory=set[str])
    _audited: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    _lists: dict[str, tuple[Sequence[AlarmNotice], RecordPlace]] = field(
        default_factory=dict[str, tuple[Sequence[AlarmNotice], RecordPlace]]
    )

    def __post_init__(self) -> None:
        """Measure unsigned data by the same clocks."""
        self.claimed = ClaimedTimes(self.clocks)

    async def may_speak(self, principal: Principal, action: Action, device: str) -> None:
        """Refuse a message about a device that is not the sender's to speak for, and audit it.

        Raises:
            NotPermitted: The access table says no; a device that lies about its name is an alarm.
        """
        try:
            decide(principal, action, device)
            if principal.kind is PrincipalKind.GATEWAY and action in LANE_WORDS:
                self.directory.check_type(principal.name, device, LANE_WORDS[action])
        except NotPermitted as error:
            self.supervisor.fact(principal.name, Fact.FORGERY_FOUND)
            await self.refused(principal, device, error)
            raise

    def facts(self, device: str) -> DeviceFacts:
        """Return what the registry knows of a device.

        Raises:
            NotPermitted: Unknown or revoked; the answer does not say which.
        """
        try:
            return self.directory.device(device)
        except NotFound as error:
            raise NotPermitted("the device is not admitted") from error

    async def window(self, account: Account, producer: str) -> Window:
        """Return the window of an account, filled from the journal the first time."""
        found = self._windows.get((account, producer))
        if found is not None:
            return found
        epoch = self.supervisor.epoch(producer)
        window = Window()
        if epoch >= 0:
            state = await self.journal.account(account, producer, epoch)
            window.load(epoch, state, now_ns=self.clocks.monotonic())
            if state.gaps and account is Account.ORIGIN:
                self._gapped.add(producer)
        return self._windows.setdefault((account, producer), window)

    async def is_repeated(self, account: Account, place: RecordPlace) -> bool:
        """Whether a record on a live lane has a number that was accepted already.

        Raises:
            Conflict: Not live.
        """
        window = await self.window(account, place.producer)
        now_ns = self.clocks.monotonic()
        return window.place(place.epoch, place.sequence, now_ns=now_ns) is Place.REPEATED

    def require_before_list(self, device: str, place: RecordPlace) -> None:
        """Refuse alarm events on a live lane if a newer list already says what is active.

        Raises:
            Conflict: The list is newer; the events are history.

        Source: REQ-ALM-016.
        """
        if self.supervisor.list_covers(device, place):
            raise send_late("older than the newest list of active conditions")

    async def store(self, record: Append, *, late: bool) -> Accepted:
        """Make a record durable and follow its account.

        Args:
            record: What to store; its device is the producer where its account is ORIGIN.
            late: Whether it came on the late lane.

        Raises:
            Conflict: Not live, but sent on a live lane.
            ChainBroken: A fork; it is an alarm.
            BackPressure: The lane is at its watermark; nothing was stored.
        """
        window = await self.window(record.account, record.producer)
        now_ns = self.clocks.monotonic()
        place = None
        if not late:
            place = window.place(record.epoch, record.sequence, now_ns=now_ns)
        try:
            receipt = await self.journal.append(record)
        except ChainBroken:
            self.supervisor.fact(record.producer, Fact.FORK_FOUND, epoch=record.epoch)
            raise
        if receipt.outcome is Outcome.DUPLICATE:
            return Accepted(receipt, place, epoch_started=False)
        epoch_started = record.epoch > window.epoch
        self._follow(window, record, receipt)
        if receipt.gap_closed:
            await self._gap_closed(record)
        return Accepted(receipt, place, epoch_started)

    async def heard(self, device: str, epoch: int) -> None:
        """Put a device under supervision before its first live record of an epoch is acknowledged.

        If this fails the record stays durable and unacknowledged; its sender tries again.
        """
        if self.supervisor.epoch(device) < epoch:
            await self.supervisor.watch(device, epoch)

    async def gateway_heard(self, gateway: str) -> None:
        """Renew the lease of a gateway; its first call of `/metadata` puts it under supervision.

        Raises:
            TransientError: It could not be put under supervision; it asks again anyway.
        """
        await self.supervisor.gateway_heard(gateway)

    async def forged(self, principal: Principal, device: str, error: AsepsisError) -> None:
        """Alarm and audit data that is not what it says it is; the caller raises the error."""
        self.supervisor.fact(device, Fact.FORGERY_FOUND)
        await self.refused(principal, device, error)

    async def refused(self, principal: Principal, device: str, error: AsepsisError) -> None:
        """Audit a refusal, at most once in ten seconds per device and code."""
        code = error.code
        now_ns = self.clocks.monotonic()
        last_ns = self._audited.get((device, code))
        if last_ns is not None and now_ns - last_ns < AUDIT_EVERY_NS:
            return
        if len(self._audited) >= AUDIT_KEYS_MAX:
            self._audited.clear()
        self._audited[device, code] = now_ns
        await self.audit.record(
            actor=f"{principal.kind.value}:{principal.name}",
            action="submit",
            subject=device,
            outcome=code,
        )

    def alarms_listed(
        self, device: str, notices: Sequence[AlarmNotice], place: RecordPlace
    ) -> None:
        """Take a device's list of active conditions, once nothing that it overtook can still come.

        An event and the list after it travel on two connections. Without the wait a list that is
        first would reveal what its own event tells a moment later.
        """
        self._lists[device] = (notices, place)
        self.settle_list(device)

    def settle_list(self, device: str) -> None:
        """Apply the list of a device that waited, if it need not wait any more."""
        waiting = self._lists.get(device)
        if waiting is None:
            return
        notices, place = waiting
        window = self._windows.get((Account.ORIGIN, device))
        now_ns = self.clocks.monotonic()
        if window is not None and window.awaits(place.epoch, place.sequence, now_ns=now_ns):
            return
        del self._lists[device]
        self.supervisor.alarms_listed(device, notices, place)

    def tick(self) -> None:
        """Turn gaps that outlived short reordering into conditions."""
        for device in tuple(self._lists):
            self.settle_list(device)
        now_ns = self.clocks.monotonic()
        for device in tuple(self._gapped):
            window = self._windows.get((Account.ORIGIN, device))
            if window is None or not window.gaps:
                self._gapped.discard(device)
            elif window.overdue(now_ns=now_ns):
                self._gapped.discard(device)
                self._missing(device, window)

    async def run(self) -> None:
        """Look at gaps until cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(GAP_TICK_S)

    async def removed(self, device: str) -> None:
        """Forget a revoked device."""
        self.digests.forget(device)
        self.lags.pop(device, None)
        self.claimed.forget(device)
        self._gapped.discard(device)
        self._lists.pop(device, None)
        for account in Account:
            self._windows.pop((account, device), None)
        await self.supervisor.removed(device)

    def _follow(self, window: Window, record: Append, receipt: Receipt) -> None:
        signed = record.account is Account.ORIGIN
        if record.epoch > window.epoch and window.gaps and signed:
            # The old epoch ended with numbers missing; its window is about to be forgotten.
            self._missing(record.producer, window)
        window.accepted(record.epoch, record.sequence)
        if record.epoch != window.epoch:
            return
        if window.gaps:
            window.filled(record.sequence)
        if receipt.gap_opened is not None:
            window.opened(receipt.gap_opened, now_ns=self.clocks.monotonic())
            if signed:
                self._gapped.add(record.producer)

    def _missing(self, device: str, window: Window) -> None:
        self.supervisor.fact(device, Fact.GAP_OVERDUE, epoch=window.epoch)
        last = RecordPlace(device, window.epoch, window.last_missing())
        self.supervisor.alarms_unseen(device, place=last)

    async def _gap_closed(self, record: Append) -> None:
        if record.account is not Account.ORIGIN:
            return
        for epoch in self.supervisor.gap_epochs(record.producer):
            if (await self.journal.account(Account.ORIGIN, record.producer, epoch)).gaps:
                return
        self.supervisor.fact(record.producer, Fact.GAPS_FILLED)
