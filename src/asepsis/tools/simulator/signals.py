"""Simulated vital signs: 28 numerics and four waveforms from a seed. Pure, and not physiology."""

import math
import random
from array import array
from decimal import Decimal
from typing import Final, NamedTuple

from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.wire import float_type, frames
from asepsis.edge.device import shapes

_UNIT_PARTITION: Final = 4 << 16
PER_MIN: Final = _UNIT_PARTITION | 2720
RESP_PER_MIN: Final = _UNIT_PARTITION | 2784
PERCENT: Final = _UNIT_PARTITION | 544
MMHG: Final = _UNIT_PARTITION | 3872
DEGREE_C: Final = _UNIT_PARTITION | 6048
MILLIVOLT: Final = _UNIT_PARTITION | 4274
DIMENSIONLESS: Final = _UNIT_PARTITION | 512


class Sign(NamedTuple):
    """One simulated numeric: MDC code and unit, resting value, swing, decimals shown."""

    mdc_code: int
    unit_code: int
    rest: float
    swing: float
    decimals: int


SIGNS: Final = (
    Sign(147842, PER_MIN, 76, 8, 0),  # MDC_ECG_HEART_RATE
    Sign(149530, PER_MIN, 76, 8, 0),  # MDC_PULS_OXIM_PULS_RATE
    Sign(150456, PERCENT, 97, 1.5, 0),  # MDC_PULS_OXIM_SAT_O2
    Sign(151562, RESP_PER_MIN, 15, 3, 0),  # MDC_RESP_RATE
    Sign(150037, MMHG, 122, 9, 0),  # MDC_PRESS_BLD_ART_ABP_SYS
    Sign(150038, MMHG, 78, 6, 0),  # MDC_PRESS_BLD_ART_ABP_DIA
    Sign(150039, MMHG, 93, 7, 0),  # MDC_PRESS_BLD_ART_ABP_MEAN
    Sign(150021, MMHG, 121, 8, 0),  # MDC_PRESS_BLD_NONINV_SYS
    Sign(150022, MMHG, 77, 6, 0),  # MDC_PRESS_BLD_NONINV_DIA
    Sign(150023, MMHG, 92, 7, 0),  # MDC_PRESS_BLD_NONINV_MEAN
    Sign(150087, MMHG, 6, 2, 0),  # MDC_PRESS_BLD_VEN_CENT_MEAN
    Sign(150045, MMHG, 25, 3, 0),  # MDC_PRESS_BLD_ART_PULM_SYS
    Sign(150046, MMHG, 10, 2, 0),  # MDC_PRESS_BLD_ART_PULM_DIA
    Sign(150047, MMHG, 15, 2, 0),  # MDC_PRESS_BLD_ART_PULM_MEAN
    Sign(150344, DEGREE_C, 36.8, 0.3, 1),  # MDC_TEMP
    Sign(149546, PER_MIN, 76, 8, 0),  # MDC_PULS_RATE_NON_INV
    *(
        Sign(code, MILLIVOLT, 0.05, 0.08, 2)  # MDC_ECG_AMPL_ST_I ... V6
        for code in (
            131841, 131842, 131901, 131902, 131903, 131904,
            131843, 131844, 131845, 131846, 131847, 131848,
        )
    ),
)  # fmt: skip

_THOUSANDTH: Final = float_type.from_decimal(Decimal("0.001"))
_TENTH: Final = float_type.from_decimal(Decimal("0.1"))


class Wave(NamedTuple):
    """One simulated waveform: handle, MDC code and unit, samples a second, shape, one step."""

    handle: int
    mdc_code: int
    unit_code: int
    rate_hz: int
    shape: str
    scale: int


WAVES: Final = (
    Wave(101, 131330, MILLIVOLT, 500, "ecg", _THOUSANDTH),  # MDC_ECG_ELEC_POTL_II
    Wave(102, 131329, MILLIVOLT, 500, "ecg", _THOUSANDTH),  # MDC_ECG_ELEC_POTL_I
    Wave(103, 150452, DIMENSIONLESS, 250, "pleth", _THOUSANDTH),  # MDC_PULS_OXIM_PLETH
    Wave(104, 150036, MMHG, 500, "pressure", _TENTH),  # MDC_PRESS_BLD_ART_ABP
)
_ZERO: Final = float_type.from_decimal(Decimal(0))
BEATS_PER_MIN: Final = 76
SYSTOLIC: Final = 122
DIASTOLIC: Final = 78


class Patient:
    """Values over time for one bed, the same for the same seed.

    Args:
        seed: Any integer.
    """

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - simulation, not a secret
        self._phases = [rng.uniform(0, 2 * math.pi) for _ in SIGNS]
        self._periods_s = [rng.uniform(20, 90) for _ in SIGNS]

    def numerics(self, second: int, *, heart_rate: int | None = None) -> tuple[Numeric, ...]:
        """Return the numerics of one second.

        Args:
            second: Seconds since the start.
            heart_rate: Overrides the heart rate, beats per minute, for a staged alarm.
        """
        values: list[Numeric] = []
        for index, sign in enumerate(SIGNS):
            angle = self._phases[index] + 2 * math.pi * second / self._periods_s[index]
            value = sign.rest + sign.swing * math.sin(angle)
            if index == 0 and heart_rate is not None:
                value = heart_rate
            values.append(
                Numeric(
                    handle=index + 1,
                    mdc_code=sign.mdc_code,
                    unit_code=sign.unit_code,
                    value=float_type.from_decimal(Decimal(f"{value:.{sign.decimals}f}")),
                    status=MeasurementStatus.VALID,
                    offset_ms=0,
                )
            )
        return tuple(values)

    def waveform_frames(self, second: int, *, frame_sequence: int, wall_ns: int) -> list[bytes]:
        """Return the encoded waveform frames of one second.

        Args:
            second: Seconds since the start.
            frame_sequence: Number of these frames, from 1.
            wall_ns: Device time of the first sample, nanoseconds since 1970.
        """
        found: list[bytes] = []
        for wave in WAVES:
            metric = frames.WaveformMetric(
                handle=wave.handle,
                mdc_code=wave.mdc_code,
                unit_code=wave.unit_code,
                period_ns=1_000_000_000 // wave.rate_hz,
                scale=wave.scale,
                offset=_ZERO,
            )
            samples = array("h", (_sample(wave.shape, second, i / wave.rate_hz)
                                  for i in range(wave.rate_hz)))  # fmt: skip
            found.append(
                frames.encode_frame(
                    metric, frame_sequence=frame_sequence, wall_ns=wall_ns, samples=samples
                )
            )
        return found


def _sample(shape: str, second: int, part_s: float) -> int:
    at = int((second + part_s) * BEATS_PER_MIN / 60 % 1 * shapes.STEPS)
    if shape == "ecg":
        return int(1_000 * shapes.ECG[at])
    if shape == "pleth":
        return int(1_000 * shapes.PULSE[at])
    return int(10 * (DIASTOLIC + (SYSTOLIC - DIASTOLIC) * shapes.PULSE[at]))
