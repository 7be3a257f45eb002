"""Alarm conditions from numerics and limits: onset, change, end (IEC 60601-1-8). Pure.

A condition begins only when a value was outside for `DELAY_S`, and ends when it has been inside for
as long, so that one noisy value rings nobody.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from asepsis.core.model.alarm import AlarmEvent, AlarmKind, AlarmPhase, AlarmPriority, Inactivation
from asepsis.edge.device import catalogue
from asepsis.edge.device.catalogue import Fault, Limit, Sign

DELAY_S: Final = 2.0
"""Time outside or inside the limits before a condition begins or ends, seconds."""


@dataclass(slots=True)
class _Condition:
    condition_id: bytes
    priority: AlarmPriority
    mdc_code: int
    inactivation: Inactivation = Inactivation.NONE
    inside_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Finding:
    priority: AlarmPriority
    mdc_code: int
    text: str


_Key = tuple[int, AlarmKind]
_NO_FAULTS: Final[Mapping[int, Fault]] = {}


class AlarmBook:
    """Knows every active condition.

    Args:
        limits: Limits, one a numeric.
        signs: Numerics, for the texts.
        new_id: Makes 16-byte condition ids.
    """

    def __init__(
        self, *, limits: Iterable[Limit], signs: Iterable[Sign], new_id: Callable[[], bytes]
    ) -> None:
        self._limits = {limit.handle: limit for limit in limits}
        self._signs = {sign.handle: sign for sign in signs}
        self._new_id = new_id
        self._outside_since_s: dict[_Key, float] = {}
        self._active: dict[_Key, _Condition] = {}
        self._texts: dict[_Key, _Finding] = {}

    @property
    def active(self) -> int:
        """Number of active conditions."""
        return len(self._active)

    @property
    def outside(self) -> frozenset[int]:
        """Numerics with an active physiological condition."""
        return frozenset(handle for handle, kind in self._active if kind is AlarmKind.PHYSIOLOGICAL)

    @property
    def limits(self) -> str:
        """All limits in one line, to be compared with those of another moment."""
        found = sorted(self._limits.values(), key=lambda limit: limit.handle)
        return "; ".join(",".join(map(str, limit)) for limit in found)

    def set_limit(self, limit: Limit) -> None:
        """Judge a numeric by other limits from the next second on."""
        self._limits[limit.handle] = limit

    def judge(
        self,
        values: Mapping[int, float | None],
        *,
        now_s: float,
        faults: Mapping[int, Fault] = _NO_FAULTS,
    ) -> list[AlarmEvent]:
        """Look at one second's values.

        Args:
            values: Handle -> value; None where a sensor has none: a technical condition.
            now_s: Monotonic time, seconds.
            faults: Handle -> what the device finds wrong with itself there.

        Returns:
            The events of this second.
        """
        events: list[AlarmEvent] = []
        for handle, value in values.items():
            for kind in AlarmKind:
                if kind is AlarmKind.PHYSIOLOGICAL and value is None:
                    continue  # Cannot be judged: it neither begins nor ends.
                key = (handle, kind)
                found = self._find(key, value, faults.get(handle))
                event = self._begin(key, found, now_s) if found else self._end(key, now_s)
                if event:
                    events.append(event)
        return events

    def acknowledge(self) -> list[AlarmEvent]:
        """Say that a person at the bedside has seen every active condition."""
        events: list[AlarmEvent] = []
        for key, condition in self._active.items():
            if condition.inactivation is not Inactivation.ACKNOWLEDGED:
                condition.inactivation = Inactivation.ACKNOWLEDGED
                events.append(self._event(key, condition, AlarmPhase.CHANGE))
        return events

    def clear(self) -> list[AlarmEvent]:
        """End every condition: the patient was taken off the device by a person."""
        events = [
            self._event(key, condition, AlarmPhase.END) for key, condition in self._active.items()
        ]
        self._active.clear()
        self._texts.clear()
        self._outside_since_s.clear()
        return events

    def list_active(self) -> tuple[AlarmEvent, ...]:
        """Return every active condition as it is now, each as a change."""
        return tuple(
            self._event(key, condition, AlarmPhase.CHANGE)
            for key, condition in self._active.items()
        )

    def _find(self, key: _Key, value: float | None, fault: Fault | None) -> _Finding | None:
        handle, kind = key
        sign = self._signs[handle]
        name = sign.name
        if kind is AlarmKind.TECHNICAL:
            if fault:
                return _Finding(fault.priority, fault.mdc_code, fault.text)
            no_signal = _Finding(AlarmPriority.LOW, sign.no_signal, f"{name}: no signal")
            return no_signal if value is None else None
        limit = self._limits.get(handle)
        verdict = limit.judge(value) if limit and value is not None else None
        if verdict is None:
            return None
        priority, above = verdict
        code = catalogue.ABOVE_LIMIT if above else catalogue.BELOW_LIMIT
        text = f"{name} {'above high' if above else 'below low'} limit"
        return _Finding(priority, code, text)

    def _begin(self, key: _Key, found: _Finding, now_s: float) -> AlarmEvent | None:
        condition = self._active.get(key)
        if condition is None:
            since_s = self._outside_since_s.setdefault(key, now_s)
            if now_s - since_s < DELAY_S:
                return None
            condition = _Condition(self._new_id(), found.priority, found.mdc_code)
            self._active[key], self._texts[key] = condition, found
            return self._event(key, condition, AlarmPhase.ONSET)
        condition.inside_since_s = None
        if (condition.priority, condition.mdc_code) == (found.priority, found.mdc_code):
            return None
        if found.priority < condition.priority:
            condition.inactivation = Inactivation.NONE  # Worse than what was acknowledged.
        condition.priority, condition.mdc_code = found.priority, found.mdc_code
        self._texts[key] = found
        return self._event(key, condition, AlarmPhase.CHANGE)

    def _end(self, key: _Key, now_s: float) -> AlarmEvent | None:
        self._outside_since_s.pop(key, None)
        condition = self._active.get(key)
        if condition is None:
            return None
        if condition.inside_since_s is None:
            condition.inside_since_s = now_s
        if now_s - condition.inside_since_s < DELAY_S:
            return None
        event = self._event(key, condition, AlarmPhase.END)
        del self._active[key], self._texts[key]
        return event

    def _event(self, key: _Key, condition: _Condition, phase: AlarmPhase) -> AlarmEvent:
        found = self._texts[key]
        return AlarmEvent(
            condition_id=condition.condition_id,
            phase=phase,
            kind=key[1],
            priority=condition.priority,
            latching=False,
            inactivation=condition.inactivation,
            mdc_code=condition.mdc_code,
            source_handle=key[0],
            offset_ms=0,
            text=found.text,
        )
