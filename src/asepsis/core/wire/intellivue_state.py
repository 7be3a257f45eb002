"""Philips IntelliVue data export: what has to be remembered from one result to the next.

A waveform's scale comes once and its samples for ever after; a list comes in parts; a time stamp
means something only beside the monitor's own date. All of it is bounded, and pure but for itself.

Source: Philips IntelliVue Patient Monitor, Data Export Interface Programming Guide
4535 642 59271, "Wave Object", "Linked Results", "MDS Object" (date and time).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.wire import float_type
from asepsis.core.wire import intellivue as wire
from asepsis.core.wire import intellivue_values as values
from asepsis.core.wire.frames import SAMPLE_MISSING
from asepsis.core.wire.intellivue_session import TICKS_PER_S

PERIOD_NS_MAX: Final = 0xFFFF_FFFF
_TICK_NS: Final = 125_000
_TICKS_BYTES: Final = 4
_PARTITION_UNITS: Final = 4 << 16
_FIRST: Final = 1
_WIDE_BITS: Final = 16
_DIGITS: Final = Context(prec=6)


def line_of(scale: values.WaveScale) -> tuple[int, int]:
    """Return the line from samples to values: value = first * sample + second, both FLOAT-Type.

    Raises:
        FramingError: Its two points are one, or not numbers.

    Source: 4535 642 59271, ScaleRangeSpec16.
    """
    try:
        lower, upper = float_type.to_decimal(scale.lower), float_type.to_decimal(scale.upper)
    except InputError as error:
        raise FramingError("scale is no number") from error
    if lower is float_type.FloatSpecial.NAN and upper is lower:
        return 1, 0  # A shape without a size, such as a plethysmogram: the samples are the values.
    width = scale.upper_sample - scale.lower_sample
    if not isinstance(lower, Decimal) or not isinstance(upper, Decimal) or not width:
        raise FramingError("scale has no two points")
    step = _DIGITS.divide(_DIGITS.subtract(upper, lower), Decimal(width))
    offset = _DIGITS.subtract(lower, _DIGITS.multiply(step, Decimal(scale.lower_sample)))
    if not step:
        raise FramingError("scale has no two points")
    try:
        return float_type.from_decimal(step), float_type.from_decimal(offset)
    except LimitExceeded as error:
        raise FramingError("scale fits no FLOAT-Type") from error


def samples_of(
    wave: values.WaveValue, how: values.WaveSpecification, *, invalid: int
) -> tuple[int, ...]:
    """Return samples as signed numbers of 16 bits; `SAMPLE_MISSING` where the monitor has none.

    A sample of 16 significant bits is moved down by 32,768, which `moved` of the scale undoes.

    Args:
        wave: As sent.
        how: How its bytes are samples.
        invalid: From `invalid_mark`.

    Raises:
        FramingError: Half a sample at the end.

    Source: 4535 642 59271, SaObsValue, SaFlags (SA_EXT_VAL_RANGE), SaFixedValSpec16.
    """
    mask = (1 << how.significant_bits) - 1 if how.extended else 0xFFFF
    wide = how.significant_bits == _WIDE_BITS
    missing = bool(wave.state & (values.INVALID | values.UNAVAILABLE))
    found: list[int] = []
    for raw in values.raw_samples(wave, how):
        if missing or (invalid and raw & invalid == invalid):
            found.append(SAMPLE_MISSING)
        else:
            value = raw & mask
            found.append(max(value - 32_768, SAMPLE_MISSING + 1) if wide else min(value, 32_767))
    return tuple(found)


def moved(scale: values.WaveScale, how: values.WaveSpecification) -> values.WaveScale:
    """Return the scale of the numbers that `samples_of` makes."""
    if how.significant_bits != _WIDE_BITS:
        return scale
    return values.WaveScale(
        scale.lower, scale.upper, scale.lower_sample - 32_768, scale.upper_sample - 32_768
    )


@dataclass(slots=True)
class MonitorClock:
    """What the monitor's date is at which of its relative times."""

    _ticks: int = 0
    _date_s: float | None = None

    def learn(self, attributes: Mapping[int, bytes]) -> None:
        """Take note of a date beside a relative time, if there are both."""
        date_s = values.absolute_s(attributes.get(values.TIME_ABSOLUTE, b""))
        relative = attributes.get(values.TIME_RELATIVE, b"")
        if date_s is not None and len(relative) == _TICKS_BYTES:
            self._ticks, self._date_s = int.from_bytes(relative, "big"), date_s

    def age_ms(self, stamp: bytes, *, at_ticks: int) -> int | None:
        """Return how old a time stamp was at a relative time; None if nobody can say.

        Args:
            stamp: AbsoluteTime.
            at_ticks: The monitor's relative time, eighths of a millisecond.
        """
        stamp_s = values.absolute_s(stamp)
        if stamp_s is None or self._date_s is None:
            return None
        now_s = self._date_s + ((at_ticks - self._ticks) & 0xFFFF_FFFF) / TICKS_PER_S
        return max(0, int((now_s - stamp_s) * 1_000))


@dataclass(slots=True)
class WaveFacts:
    """What is known of one waveform object.

    Attributes:
        period_ns: Between two samples; 0 while unknown.
        unit: 32-bit MDC code; 0 while unknown.
    """

    period_ns: int = 0
    unit: int = 0
    _how: values.WaveSpecification | None = None
    _scale: values.WaveScale | None = None
    _invalid: int = 0

    def learn(self, attributes: Mapping[int, bytes]) -> None:
        """Take what a result says of the waveform itself.

        Raises:
            FramingError: Cut short, or of a width that is not known.
        """
        if values.WAVE_SPECIFICATION in attributes:
            self._how = values.wave_specification(attributes[values.WAVE_SPECIFICATION])
        if values.WAVE_SCALE in attributes:
            self._scale = values.wave_scale(attributes[values.WAVE_SCALE])
        if values.WAVE_FIXED in attributes:
            self._invalid = values.invalid_mark(attributes[values.WAVE_FIXED])
        if values.SAMPLE_PERIOD in attributes:
            ticks = int.from_bytes(attributes[values.SAMPLE_PERIOD][:_TICKS_BYTES], "big")
            self.period_ns = min(ticks * _TICK_NS, PERIOD_NS_MAX)
        if values.UNIT in attributes:
            self.unit = _PARTITION_UNITS | int.from_bytes(attributes[values.UNIT][:2], "big")

    def stretch(self, wave: values.WaveValue) -> tuple[int, int, tuple[int, ...]] | None:
        """Return scale, offset and samples; None until the waveform's scale has come.

        Raises:
            FramingError: Half a sample, or a scale that is none.
        """
        if self._how is None or self._scale is None or not self.period_ns:
            return None
        scale, offset = line_of(moved(self._scale, self._how))
        return scale, offset, samples_of(wave, self._how, invalid=self._invalid)


@dataclass(slots=True)
class LinkedParts:
    """Whether the parts of one result came without a hole."""

    _part: int = 0
    _whole: bool = True

    def take(self, apdu: wire.Apdu) -> bool:
        """Take a part; return whether it begins a new result."""
        begins = apdu.linked == _FIRST or (not apdu.linked and not self._part)
        if begins:
            self._part, self._whole = 0, True
        if apdu.linked:
            self._whole = self._whole and apdu.part == self._part + 1
            self._part = apdu.part
        return begins

    def end(self) -> bool:
        """Return whether the result that ends now is whole."""
        whole, self._part, self._whole = self._whole, 0, True
        return whole
