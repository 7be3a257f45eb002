"""The hub's own alarm conditions: their records in the journal and what is remembered of them."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from asepsis.core.errors import FramingError
from asepsis.core.model.alarm import (
    AlarmEvent,
    AlarmKind,
    AlarmNotice,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.clinical import ClinicalState
from asepsis.hub.exchange.lease import MDC_CODE, TEXT, Cause, Fact, Standing, priority, step

PRODUCER: Final = "hub:exchange"
EVENT_KIND: Final = "technical-alarm"
STATE_KIND: Final = "technical-state"
WATCH_KIND: Final = "device-watched"


class TechnicalEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event in the life of a condition that the hub found; body of a `technical-alarm`.

    Attributes:
        version: Of this layout, 1.
        device: Name of the device (or gateway) it is about.
        cause: What is wrong.
        condition_id: 32 hexadecimal digits, the same from onset to end.
        phase: 1 onset, 2 change, 3 end.
        priority: 1 high, 2 medium, 3 low.
        at_ns: Wall time of the hub, nanoseconds since 1970.
        epochs: For a gap, the boot epochs with missing numbers.
    """

    device: str
    cause: Cause
    condition_id: str
    phase: AlarmPhase
    priority: AlarmPriority
    at_ns: int
    epochs: tuple[int, ...] = ()
    version: int = 1

    def alarm(self) -> AlarmEvent:
        """Return it in the words of every other alarm."""
        return AlarmEvent(
            condition_id=bytes.fromhex(self.condition_id),
            phase=self.phase,
            kind=AlarmKind.TECHNICAL,
            priority=self.priority,
            latching=False,
            inactivation=Inactivation.NONE,
            mdc_code=MDC_CODE[self.cause],
            source_handle=0,
            offset_ms=0,
            text=TEXT[self.cause],
        )

    def notice(self, *, received_at_ns: int) -> AlarmNotice:
        """Return it as receivers get it, marked as the hub's own.

        Source: REQ-ALM-013.
        """
        return AlarmNotice(
            device=self.device,
            assurance=None,
            device_time_ns=self.at_ns,
            received_at_ns=received_at_ns,
            event=self.alarm(),
            cause=self.cause.value,
        )


class WatchedDevice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device came under supervision, or left it; body of a `device-watched`.

    Attributes:
        device: Name of the device.
        epoch: Boot epoch of its first live record; None when supervision ends.
        gateway: Whether it is a gateway.
    """

    device: str
    epoch: int | None
    gateway: bool = False
    version: int = 1


class TechnicalState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything remembered at one moment; body of a `technical-state`.

    Attributes:
        alert_position: Events up to this position of the alert lane are contained in it.
        watched: Devices under supervision and the highest boot epoch of each.
        open_events: Last event of every open condition.
        gateways: Which of the watched are gateways.
        active_after: Position of the alert lane after which the devices' own active conditions can
            be read again; None if none was active.
    """

    alert_position: int
    watched: dict[str, int]
    open_events: tuple[TechnicalEvent, ...]
    gateways: tuple[str, ...] = ()
    active_after: int | None = None
    version: int = 1


def encode(value: TechnicalEvent | WatchedDevice | TechnicalState) -> bytes:
    """Write a record body."""
    return msgspec.json.encode(value)


def decode_event(body: bytes) -> TechnicalEvent:
    """Read the body of a `technical-alarm`.

    Raises:
        FramingError: Not such a body.
    """
    try:
        return msgspec.json.decode(body, type=TechnicalEvent)
    except msgspec.MsgspecError as error:
        raise FramingError("not a technical alarm event") from error


def decode_state(body: bytes) -> TechnicalState:
    """Read the body of a `technical-state`; raises FramingError."""
    try:
        return msgspec.json.decode(body, type=TechnicalState)
    except msgspec.MsgspecError as error:
        raise FramingError("not a technical state") from error


def decode_watched(body: bytes) -> WatchedDevice:
    """Read the body of a `device-watched`; raises FramingError."""
    try:
        return msgspec.json.decode(body, type=WatchedDevice)
    except msgspec.MsgspecError as error:
        raise FramingError("not a supervision record") from error


@dataclass(slots=True)
class Conditions:
    """The open conditions of all devices. Pure but for its own state.

    Attributes:
        open: Last event of every open condition, by device and cause.
    """

    open: dict[tuple[str, Cause], TechnicalEvent] = dataclasses.field(
        default_factory=dict[tuple[str, Cause], TechnicalEvent]
    )

    def move(
        self,
        device: str,
        fact: Fact,
        *,
        at_ns: int,
        condition_id: Callable[[], str],
        state: ClinicalState | None = None,
        epoch: int | None = None,
    ) -> list[TechnicalEvent]:
        """Apply a fact and return the events it makes, usually none.

        Args:
            device: Whom the fact is about.
            fact: What was observed.
            at_ns: Wall time of the hub.
            condition_id: Makes a fresh id, asked if the fact opens a condition.
            state: Last clinical state of the device, None if unknown.
            epoch: For a gap, the boot epoch it stands in.
        """
        events: list[TechnicalEvent] = []
        for cause in Cause:
            before = self.open.get((device, cause))
            standing = Standing.CLOSED if before is None else Standing.OPEN
            _, phase = step(cause, standing, fact)
            if phase is AlarmPhase.ONSET:
                event = TechnicalEvent(
                    device=device,
                    cause=cause,
                    condition_id=condition_id(),
                    phase=phase,
                    priority=priority(cause, state),
                    at_ns=at_ns,
                    epochs=() if epoch is None else (epoch,),
                )
                events.append(self._keep(event))
            elif phase is not None and before is not None:
                events.append(self._keep(_end(before, at_ns)))
        return events or self._widened(device, fact, at_ns, epoch)

    def has(self, device: str, cause: Cause) -> bool:
        """Whether a condition is open."""
        return (device, cause) in self.open

    def has_any(self, device: str, causes: Iterable[Cause]) -> bool:
        """Whether one of some conditions is open."""
        return bool(self.open) and any((device, cause) in self.open for cause in causes)

    def gap_epochs(self, device: str) -> tuple[int, ...]:
        """Return the boot epochs in which the device is known to lack numbers."""
        event = self.open.get((device, Cause.GAP))
        return event.epochs if event else ()

    def replay(self, events: Iterable[TechnicalEvent]) -> None:
        """Apply events that were read back from the journal, in their order."""
        for event in events:
            self._keep(event)

    def _widened(
        self, device: str, fact: Fact, at_ns: int, epoch: int | None
    ) -> list[TechnicalEvent]:
        before = self.open.get((device, Cause.GAP))
        if fact is not Fact.GAP_OVERDUE or before is None or epoch in {None, *before.epochs}:
            return []
        wider = msgspec.structs.replace(
            before, phase=AlarmPhase.CHANGE, at_ns=at_ns, epochs=(*before.epochs, epoch)
        )
        return [self._keep(wider)]

    def _keep(self, event: TechnicalEvent) -> TechnicalEvent:
        if event.phase is AlarmPhase.END:
            self.open.pop((event.device, event.cause), None)
        else:
            self.open[event.device, event.cause] = event
        return event


def _end(before: TechnicalEvent, at_ns: int) -> TechnicalEvent:
    return msgspec.structs.replace(before, phase=AlarmPhase.END, at_ns=at_ns)
