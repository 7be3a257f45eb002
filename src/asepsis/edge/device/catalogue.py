"""What this model of device measures: waveforms, numerics and the limits of its alarms."""

from decimal import Decimal
from typing import Final, NamedTuple

from asepsis.core.model.alarm import AlarmPriority
from asepsis.core.wire import float_type, frames

_UNIT: Final = 4 << 16
PER_MIN: Final = _UNIT | 2720
RESP_PER_MIN: Final = _UNIT | 2784
PERCENT: Final = _UNIT | 544
MMHG: Final = _UNIT | 3872
DEGREE_C: Final = _UNIT | 6048
MILLIVOLT: Final = _UNIT | 4274
DIMENSIONLESS: Final = _UNIT | 512
OHM: Final = _UNIT | 4288
ABOVE_LIMIT: Final = 3 << 16 | 40
BELOW_LIMIT: Final = 3 << 16 | 62
LEAD_OFF: Final = 196876


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
    """One numeric: handle, name, MDC code and unit, decimals shown."""

    handle: int
    name: str
    mdc_code: int
    unit_code: int
    decimals: int


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


ECG: Final = Wave(101, 131330, MILLIVOLT, 500, "0.001")  # MDC_ECG_ELEC_POTL_II
PLETH: Final = Wave(103, 150452, DIMENSIONLESS, 250, "0.001")  # MDC_PULS_OXIM_PLETH
PRESSURE: Final = Wave(104, 150036, MMHG, 500, "0.1")  # MDC_PRESS_BLD_ART_ABP
RESPIRATION: Final = Wave(105, 151552, OHM, 250, "0.001")  # MDC_RESP
WAVES: Final = (ECG, PLETH, PRESSURE, RESPIRATION)

HEART_RATE: Final = Sign(1, "Heart rate", 147842, PER_MIN, 0)
PULSE_RATE: Final = Sign(2, "Pulse rate", 149530, PER_MIN, 0)
SATURATION: Final = Sign(3, "SpO2", 150456, PERCENT, 0)
RESPIRATION_RATE: Final = Sign(4, "Respiration rate", 151562, RESP_PER_MIN, 0)
SYSTOLIC: Final = Sign(5, "Arterial pressure, systolic", 150037, MMHG, 0)
DIASTOLIC: Final = Sign(6, "Arterial pressure, diastolic", 150038, MMHG, 0)
MEAN_PRESSURE: Final = Sign(7, "Arterial pressure, mean", 150039, MMHG, 0)
TEMPERATURE: Final = Sign(15, "Temperature", 150344, DEGREE_C, 1)
SIGNS: Final = (
    HEART_RATE,
    PULSE_RATE,
    SATURATION,
    RESPIRATION_RATE,
    SYSTOLIC,
    DIASTOLIC,
    MEAN_PRESSURE,
    TEMPERATURE,
)
LIMITS: Final = (
    Limit(HEART_RATE.handle, 50, 120, 40, 140),
    Limit(SATURATION.handle, 90, None, 85, None),
    Limit(RESPIRATION_RATE.handle, 8, 30, 4, 40),
    Limit(MEAN_PRESSURE.handle, 65, 110, 55, 130),
)
"""Factory limits for an adult; a clinician's choice in earnest, and only at the bedside."""
