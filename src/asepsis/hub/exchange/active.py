"""Which alarm conditions of the devices are active: events, lists and late ends, in their order.

Pure but for its own state. A device repeats the list of its active conditions, so whatever was lost
or withheld mends itself with the next list: what only the list names has begun unseen, what it does
not name has ended unseen. Late data makes nothing active; the end of a condition is its end however
late it comes, because its id is never used again.

Source: REQ-ALM-012, -014, -015, -016, -018.
"""

import dataclasses
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from asepsis.core.model.alarm import AlarmEvent, AlarmNotice, AlarmPhase

PER_DEVICE_MAX: Final = 256
"""Active conditions that are followed of one device; a list holds 64."""
ENDED_MAX: Final = 64
"""Ended conditions of a device whose ids are remembered, against events that overtook their end."""


class Reason(StrEnum):
    """Why the hub tells an event that no accepted live batch told."""

    LISTED = "listed"
    """The device's list names a condition, or a change of it, that no event told."""
    UNLISTED = "unlisted"
    """The device's list no longer names it."""
    ENDED_LATE = "ended-late"
    """Its end arrived as late data."""
    HISTORY = "history"
    """The event arrived after a newer list, or after its own end: it was over by then."""
    REPORTED = "reported"
    """An alert message of HL7 v2 told it, which stands in a lane of its own."""
    REMOVED = "removed"
    """The device was revoked: the hub no longer listens to it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands in its producer's order.

    Attributes:
        producer: Who numbered it.
        epoch: Boot epoch.
        sequence: Number in the epoch.
    """

    producer: str
    epoch: int
    sequence: int

    def before(self, other: "Place") -> bool:
        """Whether it is surely older; places of two producers have no order."""
        same = self.producer == other.producer
        return same and (self.epoch, self.sequence) < (other.epoch, other.sequence)


@dataclass(frozen=True, slots=True)
class Revealed:
    """An event that receivers must be told, because no record of the alert lane told it.

    Attributes:
        notice: What happened; its phase is onset, change or end.
        reason: How the hub knows.
    """

    notice: AlarmNotice
    reason: Reason


@dataclass(slots=True)
class _Known:
    notice: AlarmNotice
    place: Place
    position: int


@dataclass(slots=True)
class _Device:
    active: dict[bytes, _Known] = field(default_factory=dict[bytes, _Known])
    ended: deque[bytes] = field(default_factory=lambda: deque[bytes](maxlen=ENDED_MAX))
    listed: Place | None = None


class ActiveConditions:
    """The active alarm conditions that devices themselves have told."""

    def __init__(self) -> None:
        self._devices: dict[str, _Device] = {}

    def events(
        self, notices: Iterable[AlarmNotice], place: Place, *, position: int
    ) -> list[Revealed]:
        """Take the events of a durable live record.

        Args:
            notices: In their order.
            place: Of the record.
            position: Of the record in the alert lane.

        Returns:
            Ends that must follow, because the event is history although it arrived live.
        """
        revealed: list[Revealed] = []
        for notice in notices:
            device = self._devices.setdefault(notice.device, _Device())
            condition = notice.event.condition_id
            if notice.event.phase is AlarmPhase.END:
                _end(device, condition)
            elif _is_history(device, condition, place):
                revealed.append(_ended(notice, Reason.HISTORY))
            else:
                known = device.active.get(condition)
                if known is not None and place.before(known.place):
                    continue  # Two connections: the newer change is known already.
                _keep(device, _Known(notice, place, position))
        return revealed

    def listed(
        self, name: str, notices: Sequence[AlarmNotice], place: Place, *, position: int
    ) -> list[Revealed]:
        """Take a device's list of active conditions from a durable live record.

        Args:
            name: The device.
            notices: Every active condition, with phase CHANGE.
            place: Of the record.
            position: A position of the alert lane that is not after what this reveals.

        Returns:
            What the list reveals: onsets, changes and ends that no event told.
        """
        device = self._devices.setdefault(name, _Device())
        if device.listed is not None and place.before(device.listed):
            return []
        device.listed = place
        revealed: list[Revealed] = []
        for notice in notices:
            told = _unlike_known(device, notice, place)
            if told is not None:
                _keep(device, _Known(told, place, position))
                revealed.append(Revealed(told, Reason.LISTED))
        named = {notice.event.condition_id for notice in notices}
        for condition, known in list(device.active.items()):
            if condition not in named and not place.before(known.place):
                _end(device, condition)
                revealed.append(_ended(known.notice, Reason.UNLISTED))
        return revealed

    def reported(self, notice: AlarmNotice, place: Place, *, position: int) -> list[Revealed]:
        """Take an event that a durable message told, perhaps not for the first time.

        Args:
            notice: The event.
            place: Of the record that holds the message.
            position: A position of the alert lane that is not after what this reveals.

        Returns:
            The event, if it says anything new.
        """
        device = self._devices.setdefault(notice.device, _Device())
        condition = notice.event.condition_id
        if notice.event.phase is AlarmPhase.END:
            if condition in device.ended:
                return []
            _end(device, condition)
            return [Revealed(notice, Reason.REPORTED)]
        told = _unlike_known(device, notice, place)
        if told is None:
            return []
        _keep(device, _Known(told, place, position))
        return [Revealed(told, Reason.REPORTED)]

    def late(self, notices: Iterable[AlarmNotice]) -> list[Revealed]:
        """Take the events of a durable late record: only an end of what is active counts."""
        revealed: list[Revealed] = []
        for notice in notices:
            device = self._devices.get(notice.device)
            if device is None or notice.event.phase is not AlarmPhase.END:
                continue
            known = device.active.get(notice.event.condition_id)
            _end(device, notice.event.condition_id)
            if known is not None:
                revealed.append(Revealed(notice, Reason.ENDED_LATE))
        return revealed

    def removed(self, name: str) -> list[Revealed]:
        """Forget a device and return the ends of its conditions."""
        device = self._devices.pop(name, None)
        active = device.active.values() if device else ()
        return [
            _ended(dataclasses.replace(known.notice, assurance=None), Reason.REMOVED)
            for known in active
        ]

    def any_of(self, name: str) -> bool:
        """Whether a condition of the device is active."""
        device = self._devices.get(name)
        return device is not None and bool(device.active)

    def list_covers(self, name: str, place: Place) -> bool:
        """Whether the newest list of a device is newer than a place."""
        device = self._devices.get(name)
        return device is not None and device.listed is not None and place.before(device.listed)

    def notices(self) -> Sequence[AlarmNotice]:
        """Return the last event of every active condition."""
        return [known.notice for d in self._devices.values() for known in d.active.values()]

    def oldest_position(self) -> int | None:
        """Return where the alert lane must be read from to know all this again; None if nothing."""
        positions = (k.position for d in self._devices.values() for k in d.active.values())
        return min(positions, default=None)


def _is_history(device: _Device, condition: bytes, place: Place) -> bool:
    if condition in device.active:
        return False
    overtaken = device.listed is not None and place.before(device.listed)
    return overtaken or condition in device.ended


def _unlike_known(device: _Device, notice: AlarmNotice, place: Place) -> AlarmNotice | None:
    condition = notice.event.condition_id
    known = device.active.get(condition)
    if known is None:
        if condition in device.ended:
            return None  # The end overtook the list.
        onset = dataclasses.replace(notice.event, phase=AlarmPhase.ONSET)
        return dataclasses.replace(notice, event=onset)
    if place.before(known.place) or _content(known.notice.event) == _content(notice.event):
        return None
    return notice


def _content(event: AlarmEvent) -> AlarmEvent:
    return dataclasses.replace(event, phase=AlarmPhase.CHANGE, offset_ms=0)


def _keep(device: _Device, known: _Known) -> None:
    condition = known.notice.event.condition_id
    if condition in device.active or len(device.active) < PER_DEVICE_MAX:
        device.active[condition] = known


def _end(device: _Device, condition: bytes) -> None:
    device.active.pop(condition, None)
    if condition not in device.ended:
        device.ended.append(condition)


def _ended(notice: AlarmNotice, reason: Reason) -> Revealed:
    event = dataclasses.replace(notice.event, phase=AlarmPhase.END)
    return Revealed(dataclasses.replace(notice, event=event), reason)
