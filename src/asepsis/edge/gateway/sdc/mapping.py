"""What an SDC device says, as the terms of the drivers: metrics, waveforms, alert conditions. Pure.

| BICEPS | here |
|---|---|
| NumericMetricState, Validity Vld, Vldated | a valid value |
| Qst | questionable; of waveforms nothing |
| Calib, Inv, Oflw, Uflw, Ong, NA; ActivationState other than On | no number, with its status |
| Mode Test, Demo; MDS in any OperatingMode but Nml | test data; of waveforms nothing |
| RealTimeSampleArray | samples on the scale of Resolution, as far as 16 bits reach |
| AlertConditionState Presence | an active condition |
| ActualPriority, else Priority | priority; None is no alarm and left out |
| Kind Oth | the kind that the nomenclature gives the code, else technical |
| AlertSignalState, AlertSystemState | inactivation |

Left out, and counted by word in `Picture.losses`: metrics without an MDC code or unit, strings and
enumerations, distributions, annotations, patient and location contexts (the hub associates), what
can be operated (nothing is: no operation is ever invoked), determination times, since nobody has
set the device's clock.

Source: ISO/IEEE 11073-10207 (BICEPS participant model); IEC 60601-1-8 clauses 6.1.2, 6.8.
"""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from sdc11073.mdib import descriptorcontainers as descriptor
from sdc11073.mdib import statecontainers as state
from sdc11073.xml_types import pm_types

from asepsis.core.errors import LimitExceeded
from asepsis.core.mapping import nomenclature
from asepsis.core.model.alarm import AlarmKind, AlarmPriority, Inactivation
from asepsis.core.model.observation import MeasurementStatus
from asepsis.edge.gateway.drivers.sdk import (
    AGE_MS_MAX,
    CONDITIONS_MAX,
    KEY_CHARS_MAX,
    PRIVATE,
    TEXT_CHARS_MAX,
    Condition,
    Metric,
    Samples,
    Value,
    float_of,
)
from asepsis.edge.gateway.sdc.terms import (
    CODE_MAX,
    MISSING,
    STATUS,
    code_of,
    is_real,
    samples_of,
    unit_of,
    value_of,
)

DESCRIPTORS_MAX: Final = 4_096
METRICS_MAX: Final = 512
HANDLE_CHARS_MAX: Final = 256
NS_PER_S: Final = 1_000_000_000
DEPTH_MAX: Final = 8
"""MDS, VMD, channel, metric: BICEPS nests no deeper."""

PRIORITY: Final[Mapping[object, AlarmPriority]] = {
    pm_types.AlertConditionPriority.HIGH: AlarmPriority.HIGH,
    pm_types.AlertConditionPriority.MEDIUM: AlarmPriority.MEDIUM,
    pm_types.AlertConditionPriority.LOW: AlarmPriority.LOW,
}
KIND: Final[Mapping[object, AlarmKind]] = {
    pm_types.AlertConditionKind.PHYSIOLOGICAL: AlarmKind.PHYSIOLOGICAL,
    pm_types.AlertConditionKind.TECHNICAL: AlarmKind.TECHNICAL,
}
_USED: Final = frozenset((None, pm_types.MdsOperatingMode.NORMAL))
_SYSTEM: Final[Mapping[object, Inactivation]] = {
    pm_types.AlertActivation.PAUSED: Inactivation.ALARM_PAUSED,
    pm_types.AlertActivation.OFF: Inactivation.ALARM_OFF,
}
_AUDIBLE: Final[Mapping[object, Inactivation]] = {
    pm_types.AlertActivation.PAUSED: Inactivation.AUDIO_PAUSED,
    pm_types.AlertActivation.OFF: Inactivation.AUDIO_OFF,
}


class Picture:
    """What a device has, and what it said last; filled anew from each whole MDIB.

    Args:
        descriptors: Of the MDIB.
        states: Of the MDIB.

    Raises:
        LimitExceeded: More of them than any device has.
    """

    def __init__(self, descriptors: Sequence[Any], states: Sequence[Any]) -> None:
        if len(descriptors) > DESCRIPTORS_MAX or len(states) > DESCRIPTORS_MAX:
            raise LimitExceeded("too large an MDIB")
        self.losses: Counter[str] = Counter()
        self._descriptors = {one.Handle: one for one in descriptors}
        self._metrics: dict[str, tuple[Metric, int]] = {}
        self._signals: dict[str, list[str]] = {}
        self._states: dict[str, Any] = {}
        self._heard: dict[str, int] = {}
        self._told: dict[str, int] = {}
        for one in sorted(descriptors, key=lambda one: one.Handle):
            self._describe(one)
        for one in states:
            if one.DescriptorHandle in self._descriptors:
                self._states[one.DescriptorHandle] = one
        self.any_handle = next((one.Handle for one in descriptors), "")

    def follow(self, before: "Picture") -> None:
        """Remember when each value was heard: an MDIB that is read again makes none younger."""
        self._heard = {h: at_ns for h, at_ns in before._heard.items() if h in self._metrics}  # noqa: SLF001 - of the same class

    def _describe(self, one: Any) -> None:
        if isinstance(one, descriptor.AlertSignalDescriptorContainer):
            self._signals.setdefault(one.ConditionSignaled, []).append(one.Handle)
        if not isinstance(one, descriptor.AbstractMetricDescriptorContainer):
            return
        if not isinstance(
            one,
            descriptor.NumericMetricDescriptorContainer
            | descriptor.RealTimeSampleArrayMetricDescriptorContainer,
        ):
            self.losses["not-a-number"] += 1
            return
        code = code_of(one.Type)
        unit = unit_of(one.Unit, code) if code else None
        if code is None or unit is None or len(self._metrics) >= METRICS_MAX:
            self.losses["no-code"] += 1
            return
        self._metrics[one.Handle] = (Metric(code, unit), self._number(one.Handle))

    def _number(self, handle: str) -> int:
        """Return a number that means this handle on each start of the same device."""
        found = zlib.crc32(handle[:HANDLE_CHARS_MAX].encode()) % 65_535 + 1
        taken = {number for _, number in self._metrics.values()}
        while found in taken:
            found = found % 65_535 + 1
        return found

    def values(self, states: Sequence[Any], *, now_ns: int) -> tuple[Value, ...]:
        """Take a report of metrics; return what it says of them.

        Args:
            states: Of the report.
            now_ns: Monotonic time at which it came.
        """
        newest = max((_measured(one) for one in states), default=0.0)
        found: list[Value] = []
        for one in states:
            handle = one.DescriptorHandle
            if handle not in self._metrics or not _is_newer(one, self._states.get(handle)):
                continue
            self._states[handle] = one
            self._heard[handle] = self._told[handle] = now_ns
            if isinstance(one, state.NumericMetricStateContainer):
                value = value_of(*self._metrics[handle], one, is_used=self._is_used(handle))
                found += _aged(value, one, newest if self._is_intermittent(handle) else 0.0)
        return tuple(found)

    def components(self, states: Sequence[Any]) -> None:
        """Take a report of components: whether a device is in use stands there."""
        for one in states:
            if one.DescriptorHandle in self._descriptors:
                self._states[one.DescriptorHandle] = one

    def _is_used(self, handle: str) -> bool:
        for _ in range(DEPTH_MAX):
            one = self._descriptors.get(handle)
            if one is None:
                return True
            if isinstance(one, descriptor.MdsDescriptorContainer):
                said = self._states.get(handle)
                return said is None or said.OperatingMode in _USED
            handle = one.parent_handle
        return True

    def standing(self, *, now_ns: int, after_ns: int) -> tuple[Value, ...]:
        """Return continuous metrics that were not told for a while and still say what they said.

        BICEPS reports changes only: what did not change is as true as the device is reachable, and
        the caller has just seen that it is. An intermittent value is never told twice.

        Args:
            now_ns: Monotonic time.
            after_ns: What was told since then is left out.
        """
        found: list[Value] = []
        for handle, (metric, number) in self._metrics.items():
            one = self._states.get(handle)
            if (
                not isinstance(one, state.NumericMetricStateContainer)
                or self._is_intermittent(handle)
                or self._told.get(handle, -1) > after_ns
                or self._is_over(handle, one, now_ns)
            ):
                continue
            self._told[handle] = now_ns
            found.append(value_of(metric, number, one, is_used=self._is_used(handle)))
        return tuple(found)

    def _is_intermittent(self, handle: str) -> bool:
        one: Any = self._descriptors[handle]
        is_setting = one.MetricCategory == pm_types.MetricCategory.SETTING
        return one.MetricAvailability != pm_types.MetricAvailability.CONTINUOUS and not is_setting

    def _is_over(self, handle: str, one: Any, now_ns: int) -> bool:
        life_s = one.LifeTimePeriod or self._descriptors[handle].LifeTimePeriod
        heard_ns = self._heard.setdefault(handle, now_ns)
        return bool(life_s) and now_ns - heard_ns > life_s * NS_PER_S

    def samples(self, states: Sequence[Any]) -> tuple[Samples, ...]:
        """Take a report of waveforms; return the stretches in it."""
        found: list[Samples] = []
        for one in states:
            handle = one.DescriptorHandle
            measured = one.MetricValue
            if handle not in self._metrics or measured is None or not measured.Samples:
                continue
            if one.ActivationState != pm_types.ComponentActivation.ON:
                continue
            quality = measured.MetricQuality
            # A waveform has no place to say that it is in doubt, or a test: a gap says more.
            if STATUS.get(quality.Validity) is not MeasurementStatus.VALID:
                self.losses["invalid-samples"] += 1
                continue
            if not is_real(quality) or not self._is_used(handle):
                self.losses["test-samples"] += 1
                continue
            if measured.ApplyAnnotation:
                self.losses["annotation"] += 1
            found += self._stretch(handle, measured.Samples)
        return tuple(found)

    def _stretch(self, handle: str, numbers: Sequence[Decimal]) -> Sequence[Samples]:
        described: Any = self._descriptors[handle]
        metric, number = self._metrics[handle]
        period_ns = round((described.SamplePeriod or 0) * NS_PER_S)
        resolution: Decimal = described.Resolution
        if not 0 < period_ns <= CODE_MAX or resolution <= 0:
            self.losses["no-scale"] += 1
            return ()
        steps = samples_of(numbers, resolution)
        self.losses["beyond-scale"] += steps.count(MISSING)
        return (
            Samples(
                handle=number,
                code=metric.code,
                unit=metric.unit,
                period_ns=period_ns,
                scale=float_of(resolution),
                offset=float_of(Decimal(0)),
                samples=steps,
            ),
        )

    def conditions(self, states: Sequence[Any] = ()) -> tuple[Condition, ...]:
        """Take a report of alert states; return every condition that is active now."""
        for one in states:
            handle = one.DescriptorHandle
            if handle in self._descriptors and _is_newer(one, self._states.get(handle)):
                self._states[handle] = one
        found = [
            self._condition(one, said, priority)
            for handle, one in self._descriptors.items()
            if isinstance(one, descriptor.AlertConditionDescriptorContainer)
            and (said := self._states.get(handle)) is not None
            and said.Presence
            and (priority := PRIORITY.get(said.ActualPriority or one.Priority)) is not None
        ]
        self.losses["too-many-conditions"] += max(0, len(found) - CONDITIONS_MAX)
        return tuple(sorted(found, key=lambda one: (one.priority, one.key))[:CONDITIONS_MAX])

    def _condition(self, one: Any, said: Any, priority: AlarmPriority) -> Condition:
        code = code_of(one.Type) or PRIVATE | zlib.crc32(one.Handle.encode()) & 0xFFFF
        event = nomenclature.EVENTS_BY_CODE.get(code)
        kind = KIND.get(one.Kind) or (event.kind if event else None) or AlarmKind.TECHNICAL
        signals = [self._descriptors[handle] for handle in self._signals.get(one.Handle, ())]
        about = (self._metrics[handle][1] for handle in one.Source if handle in self._metrics)
        return Condition(
            key=_key(one.Handle),
            code=code,
            kind=kind,
            priority=priority,
            latching=any(signal.Latching for signal in signals),
            inactivation=self._inactivation(one, said, signals),
            handle=next(about, 0),
            text=_text(one),
        )

    def _inactivation(self, one: Any, said: Any, signals: Sequence[Any]) -> Inactivation:
        system = self._states.get(one.parent_handle)
        for over in (said, system):
            if over is not None and over.ActivationState in _SYSTEM:
                return _SYSTEM[over.ActivationState]
        shown = [(signal, self._states.get(signal.Handle)) for signal in signals]
        if any(s is not None and s.Presence == pm_types.AlertSignalPresence.ACK for _, s in shown):
            return Inactivation.ACKNOWLEDGED
        audible = [
            s.ActivationState
            for signal, s in shown
            if s is not None and signal.Manifestation == pm_types.AlertSignalManifestation.AUD
        ]
        # One audible signal that sounds is enough to be heard.
        quiet = [_AUDIBLE[activation] for activation in audible if activation in _AUDIBLE]
        return quiet[0] if quiet and len(quiet) == len(audible) else Inactivation.NONE


def _is_newer(one: Any, known: Any) -> bool:
    return known is None or one.StateVersion >= known.StateVersion


def _measured(one: Any) -> float:
    value = getattr(one, "MetricValue", None)
    return float(value.DeterminationTime or 0.0) if value is not None else 0.0


def _aged(value: Value, one: Any, newest: float) -> Sequence[Value]:
    """Return a value with its age beside the newest one of the same report, if it is young."""
    measured = _measured(one)
    age_ms = round(max(0.0, newest - measured) * 1_000) if newest and measured else 0
    if age_ms > AGE_MS_MAX:
        return ()
    return (
        Value(
            handle=value.handle,
            code=value.code,
            unit=value.unit,
            value=value.value,
            status=value.status,
            age_ms=age_ms,
        ),
    )


def _key(handle: str) -> str:
    if len(handle) <= KEY_CHARS_MAX:
        return handle
    return f"{handle[: KEY_CHARS_MAX - 9]}#{zlib.crc32(handle.encode()):08x}"


def _text(one: Any) -> str:
    described = one.Type.ConceptDescription if one.Type is not None else ()
    text = next((found.text for found in described or () if found.text), one.Handle)
    return text[:TEXT_CHARS_MAX]
