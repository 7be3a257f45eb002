"""What a device model is made of: waveforms, numerics, limits and faults."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from asepsis.core.model.alarm import AlarmPriority
from asepsis.core.wire import float_type, frames

LEAD_OFF: Final = 196876  # MDC_EVT_LEAD_DISCONN
SENSOR_OFF: Final = 196916  # MDC_EVT_SENSOR_DISCONN
ABOVE_LIMIT: Final = 196648  # MDC_EVT_HI
BELOW_LIMIT: Final = 196670  # MDC_EVT_LO
GENERAL_ALARM: Final = 196616  # MDC_EVT_ALARM


class Wave(NamedTuple):
    """One waveform: handle, MDC code and unit, samples a second, value of one step."""

    handle: int
    mdc_code: int
    unit_code: int
    rate_hz: int
    step: str

    @property
    def metric(self) -> frames.WaveformMetric:
        """The metric as it stands in a frame."""
        return frames.WaveformMetric(
            handle=self.handle,
            mdc_code=self.mdc_code,
            unit_code=self.unit_code,
            period_ns=1_000_000_000 // self.rate_hz,
            scale=float_type.from_decimal(Decimal(self.step)),
            offset=float_type.from_decimal(Decimal(0)),
        )


class Sign(NamedTuple):
    """One numeric: handle, name, MDC code and unit, decimals shown, event code of no signal."""

    handle: int
    name: str
    mdc_code: int
    unit_code: int
    decimals: int
    no_signal: int = LEAD_OFF


class Limit(NamedTuple):
    """Alarm limits of one numeric; None for no limit on that side.

    Beyond `low` or `high` the condition has medium priority, beyond `low_extreme` or
    `high_extreme` high.
    """

    handle: int
    low: float | None
    high: float | None
    low_extreme: float | None
    high_extreme: float | None

    def judge(self, value: float) -> tuple[AlarmPriority, bool] | None:
        """Return priority and whether it is the upper side, or None within the limits."""
        if self.high is not None and value > self.high:
            extreme = self.high_extreme is not None and value > self.high_extreme
            return (AlarmPriority.HIGH if extreme else AlarmPriority.MEDIUM, True)
        if self.low is not None and value < self.low:
            extreme = self.low_extreme is not None and value < self.low_extreme
            return (AlarmPriority.HIGH if extreme else AlarmPriority.MEDIUM, False)
        return None


class Fault(NamedTuple):
    """What a device finds wrong with itself: priority, MDC code, what it shows."""

    priority: AlarmPriority
    mdc_code: int
    text: str


class Kind(StrEnum):
    """What sort of device it is."""

    MONITOR = "monitor"
    VENTILATOR = "ventilator"
    PUMP = "pump"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Everything a device of one kind measures.

    Attributes:
        kind: What sort of device.
        waves: Waveforms, none for a pump.
        signs: Numerics.
        limits: Factory limits, one a numeric at most; in earnest a clinician's choice at the
            bedside.
    """

    kind: Kind
    waves: tuple[Wave, ...]
    signs: tuple[Sign, ...]
    limits: tuple[Limit, ...]
