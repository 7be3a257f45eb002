"""One beat as a simulated monitor draws it: tables of ECG and pulse. Pure.

The waves have the shape that people know from a monitor (an ECG of five Gaussian waves, a pressure
with a dicrotic notch); they are no physiology and say so in the documentation.

Source: McSharry et al., IEEE Trans. Biomed. Eng. 50 (2003) 289, for the idea of the ECG.
"""

import math
from typing import Final

STEPS: Final = 1_000
"""Points of a beat: a sample is then one look-up."""

# Centre and width as parts of a beat, height in millivolts: P, Q, R, S, T.
_ECG_WAVES: Final = (
    (0.18, 0.025, 0.12), (0.265, 0.010, -0.12), (0.30, 0.012, 1.10),
    (0.335, 0.011, -0.22), (0.55, 0.045, 0.28),
)  # fmt: skip
# Centre, width before and after it as parts of a beat, height: systole, and the wave after the
# notch that the closing aortic valve leaves.
_PULSE_WAVES: Final = ((0.42, 0.06, 0.13, 1.0), (0.70, 0.05, 0.13, 0.32))


def _ecg(beat: float) -> float:
    return sum(h * math.exp(-(((beat - c) / w) ** 2) / 2) for c, w, h in _ECG_WAVES)


def _pulse(beat: float) -> float:
    height = 0.0
    for centre, before, after, h in _PULSE_WAVES:
        # The tail of the beat before goes on into this one.
        for at in (beat, beat + 1):
            width = before if at < centre else after
            height += h * math.exp(-(((at - centre) / width) ** 2) / 2)
    return height


def _between_0_and_1(values: list[float]) -> tuple[float, ...]:
    low, high = min(values), max(values)
    return tuple((value - low) / (high - low) for value in values)


ECG: Final = tuple(_ecg(n / STEPS) for n in range(STEPS))
"""Millivolts over one beat."""
PULSE: Final = _between_0_and_1([_pulse(n / STEPS) for n in range(STEPS)])
"""Pressure over one beat, between 0 (diastole) and 1 (systole)."""
