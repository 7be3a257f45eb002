"""What the ward view remembers of one device: last batches, current values, metrics.

While nobody looks only references are kept; values are decoded when a viewer comes.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from asepsis.core.model.identity import Assurance
from asepsis.core.model.observation import MeasurementStatus, Observation
from asepsis.core.wire.frames import WaveformFrame
from asepsis.hub.console.live_catalogue import Shown, shown_metric
from asepsis.hub.console.live_events import MS_NS, Value, decimal_text
from asepsis.hub.console.live_rules import Rhythm

RECENT: Final = 8
"""Batches kept of an unwatched device: enough to know every metric's rhythm at the first look."""
HANDLES_MAX: Final = 1_024
NO_NUMBER: Final = frozenset({MeasurementStatus.INVALID, MeasurementStatus.NOT_AVAILABLE})


class Batch(Protocol):
    """An accepted live batch whose observations are built when somebody looks."""

    @property
    def device(self) -> str:
        """Whose values they are."""
        ...

    @property
    def received_at_ns(self) -> int:
        """Wall time of arrival, nanoseconds since 1970."""
        ...

    def observations(self) -> Sequence[Observation]:
        """Build the observations; may cost a millisecond."""
        ...


@dataclass(slots=True)
class Current:
    """The last value of one metric."""

    value: str | None
    status: str
    rhythm: Rhythm
    stands: bool = True
    unverified: str = ""


@dataclass(slots=True)
class Track:
    """One device as the ward view knows it.

    Attributes:
        name: SAN URI.
        assurance: Of its last values.
        last_wall_ns: When its last numerics came, wall time; None before the first.
        numerics: How its metrics are shown, by handle.
        waves: How its waveforms are shown, by handle.
    """

    name: str
    assurance: Assurance | None = None
    last_wall_ns: int | None = None
    numerics: dict[int, tuple[int, Shown]] = field(default_factory=dict[int, tuple[int, Shown]])
    waves: dict[int, tuple[int, Shown]] = field(default_factory=dict[int, tuple[int, Shown]])
    _recent: deque[tuple[int, Batch]] = field(
        default_factory=lambda: deque[tuple[int, Batch]](maxlen=RECENT)
    )
    _current: dict[int, Current] = field(default_factory=dict[int, Current])
    _watched: bool = False

    def arrived(self, batch: Batch, now_ns: int) -> None:
        """Keep a batch while nobody looks."""
        self._recent.append((now_ns, batch))
        self.last_wall_ns = batch.received_at_ns

    def watch(self) -> None:
        """Begin to decode: what arrived lately first."""
        if not self._watched:
            self._watched = True
            for at_ns, batch in self._recent:
                self._take(batch.observations(), at_ns)

    def unwatch(self) -> None:
        """Stop decoding."""
        self._watched = False
        self._current.clear()

    def reset(self) -> None:
        """Forget every value: they belong to another place or patient."""
        self._recent.clear()
        self._current.clear()

    def take(self, batch: Batch, now_ns: int) -> tuple[list[int], list[Value]]:
        """Decode a batch.

        Returns:
            Handles whose metric is new or changed, and the values.
        """
        self.arrived(batch, now_ns)
        observations = batch.observations()
        changed = self._take(observations, now_ns)
        handles = {o.numeric.handle for o in observations}
        return changed, [self._value(h, now_ns) for h in handles if h in self._current]

    def see_wave(self, frame: WaveformFrame) -> bool:
        """Note how a waveform is shown; returns whether that is new or changed."""
        metric = frame.metric
        shown = shown_metric(metric.mdc_code, metric.unit_code, wave=True)
        if self.waves.get(frame.handle) == (metric.mdc_code, shown):
            return False
        if len(self.waves) < HANDLES_MAX or frame.handle in self.waves:
            self.waves[frame.handle] = (metric.mdc_code, shown)
        return True

    def current(self, now_ns: int) -> list[Value]:
        """Return every value that still stands."""
        return [
            self._value(handle, now_ns)
            for handle, found in self._current.items()
            if found.rhythm.valid_until_ns > now_ns
        ]

    def unverified(self, values: Iterable[Value]) -> dict[int, str]:
        """Return why some of the values are for no chart, by handle; the rest are verified."""
        found = {handle: self._current[handle].unverified for handle, *_ in values}
        return {handle: reason for handle, reason in found.items() if reason}

    def expired(self, now_ns: int) -> list[int]:
        """Return the handles whose value no longer stands, each once."""
        found = [
            handle
            for handle, current in self._current.items()
            if current.stands and current.rhythm.valid_until_ns <= now_ns
        ]
        for handle in found:
            self._current[handle].stands = False
        return found

    def source_label(self, handle: int) -> str:
        """Return the label of a metric, or an empty text."""
        row = self.numerics.get(handle) or self.waves.get(handle)
        return row[1].label if row else ""

    def _take(self, observations: Sequence[Observation], now_ns: int) -> list[int]:
        changed: list[int] = []
        for observation in observations:
            numeric = observation.numeric
            handle = numeric.handle
            self.assurance = observation.assurance
            shown = shown_metric(numeric.mdc_code, numeric.unit_code, wave=False)
            if self.numerics.get(handle) != (numeric.mdc_code, shown):
                if len(self.numerics) >= HANDLES_MAX and handle not in self.numerics:
                    continue
                self.numerics[handle] = (numeric.mdc_code, shown)
                changed.append(handle)
            self._renew(observation, now_ns)
        return changed

    def _renew(self, observation: Observation, now_ns: int) -> None:
        numeric = observation.numeric
        # What is not valid is never a number that could be taken for one (REQ-OBS-003).
        value = None if numeric.status in NO_NUMBER else decimal_text(numeric.value)
        status = numeric.status.name.lower().replace("_", "-")
        found = self._current.get(numeric.handle)
        if found is None:
            found = Current(value, status, Rhythm(now_ns), unverified=observation.unverified)
            self._current[numeric.handle] = found
            return
        found.value, found.status, found.stands = value, status, True
        found.unverified = observation.unverified
        found.rhythm.renewed(now_ns)

    def _value(self, handle: int, now_ns: int) -> Value:
        found = self._current[handle]
        valid_ms = max(0, found.rhythm.valid_until_ns - now_ns) // MS_NS
        return handle, found.value, found.status, valid_ms
