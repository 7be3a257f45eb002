"""FLOAT-Type: the 32-bit decimal number of medical devices, exact to and from `Decimal`.

One signed byte of exponent and 24 bits of signed mantissa; value = mantissa * 10 ** exponent. Five
mantissas with exponent 0 are special. Trailing zeros are kept: 36.60 is not the same statement as
36.6.

Source: ISO/IEEE 11073-20101:2004 annex (FLOAT-Type); ISO/IEEE 11073-20601:2022 annex F.
"""

from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Final

from asepsis.core.errors import InputError, LimitExceeded

MANTISSA_MAX: Final = 0x7FFFFD
"""Largest absolute mantissa of a number; the values beyond it are specials."""

EXPONENT_MIN: Final = -128
EXPONENT_MAX: Final = 127
RESERVED: Final = 0x00800001
"""Reserved for future use: refused wherever it occurs."""

_MANTISSA_SPECIAL_FIRST: Final = 0x7FFFFE
_MANTISSA_SPECIAL_LAST: Final = 0x800002
# Powers that a double holds exactly, so that one division rounds once (IEEE 754).
_POWERS: Final = tuple(10.0**exponent for exponent in range(23))


class FloatSpecial(IntEnum):
    """Values that are not numbers, by their bits (ISO/IEEE 11073-20601 annex F, table F.1)."""

    NAN = 0x007FFFFF
    """Not a number: the device has no value."""
    NRES = 0x00800000
    """Not at this resolution."""
    POSITIVE_INFINITY = 0x007FFFFE
    NEGATIVE_INFINITY = 0x00800002


_SPECIAL_FLOATS: Final = {
    FloatSpecial.NAN: float("nan"),
    FloatSpecial.NRES: float("nan"),
    FloatSpecial.POSITIVE_INFINITY: float("inf"),
    FloatSpecial.NEGATIVE_INFINITY: float("-inf"),
}
_SPECIALS: Final = frozenset(int(special) for special in FloatSpecial)


def is_valid(raw: int) -> bool:
    """Return whether 32 bits are a number or a named special; `raw` is in [0, 2**32)."""
    mantissa = raw & 0xFFFFFF
    return not _MANTISSA_SPECIAL_FIRST <= mantissa <= _MANTISSA_SPECIAL_LAST or raw in _SPECIALS


def is_number(raw: int) -> bool:
    """Return whether 32 bits are a number, not a special; `raw` is in [0, 2**32)."""
    return not _MANTISSA_SPECIAL_FIRST <= (raw & 0xFFFFFF) <= _MANTISSA_SPECIAL_LAST


def to_decimal(raw: int) -> Decimal | FloatSpecial:
    """Read a FLOAT-Type without loss.

    Args:
        raw: The 32 bits as an unsigned integer.

    Returns:
        The number with its exponent as sent (36.60 stays 36.60), or the special.

    Raises:
        InputError: Not 32 bits, or a reserved bit pattern.

    Source: ISO/IEEE 11073-20101 annex, FLOAT-Type.
    """
    parts = _split(raw)
    if isinstance(parts, FloatSpecial):
        return parts
    mantissa, exponent = parts
    return Decimal(f"{mantissa}E{exponent}")  # Exact in every decimal context, unlike `scaleb`.


def to_float(raw: int) -> float:
    """Read a FLOAT-Type as the nearest double; NaN and NRes become `nan`.

    Args:
        raw: The 32 bits as an unsigned integer.

    Raises:
        InputError: Not 32 bits, or a reserved bit pattern.

    Source: ISO/IEEE 11073-20101 annex, FLOAT-Type.
    """
    parts = _split(raw)
    if isinstance(parts, FloatSpecial):
        return _SPECIAL_FLOATS[parts]
    mantissa, exponent = parts
    if -len(_POWERS) < exponent <= 0:
        return mantissa / _POWERS[-exponent]
    return float(f"{mantissa}e{exponent}")


def from_decimal(value: Decimal | FloatSpecial) -> int:
    """Write a number as FLOAT-Type, exactly or not at all.

    The exponent of `value` is kept where mantissa and exponent fit; else trailing zeros move
    between them. Negative zero becomes zero: two's complement has only one.

    Args:
        value: A finite or infinite Decimal, a Decimal NaN, or a special.

    Returns:
        The 32 bits as an unsigned integer.

    Raises:
        LimitExceeded: The number needs more than 24 bits of mantissa or 8 of exponent.

    Source: ISO/IEEE 11073-20101 annex, FLOAT-Type.
    """
    if isinstance(value, FloatSpecial):
        return int(value)
    if value.is_nan():
        return int(FloatSpecial.NAN)
    if value.is_infinite():
        return int(FloatSpecial.POSITIVE_INFINITY if value > 0 else FloatSpecial.NEGATIVE_INFINITY)
    sign, digits, exponent = value.as_tuple()
    if len(digits) > _DIGITS_MAX or not isinstance(exponent, int):
        raise LimitExceeded(f"a FLOAT-Type takes no number of {len(digits)} digits")
    return _join(int("".join(map(str, digits))) * (-1 if sign else 1), exponent)


_DIGITS_MAX: Final = 400  # Far above what can fit; keeps the digit loop bounded.


def from_float(value: float, *, decimals: int) -> int:
    """Write a double as FLOAT-Type with a fixed number of decimals, rounding half to even.

    Args:
        value: Any double; NaN and infinities become their specials.
        decimals: Digits after the point that the measurement has, 0 to 22.

    Returns:
        The 32 bits as an unsigned integer.

    Raises:
        InputError: `decimals` outside its range.
        LimitExceeded: The number needs more than 24 bits of mantissa.
    """
    if not 0 <= decimals < len(_POWERS):
        raise InputError("decimals must be between 0 and 22")
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - the NaN test
        return from_decimal(Decimal(value))
    # Fractions are exact, so that the value is rounded once, whatever the decimal context.
    return _join(round(Fraction(value) * 10**decimals), -decimals)


def _split(raw: int) -> tuple[int, int] | FloatSpecial:
    if not 0 <= raw <= 0xFFFFFFFF:
        raise InputError("a FLOAT-Type has 32 bits")
    mantissa = raw & 0xFFFFFF
    if _MANTISSA_SPECIAL_FIRST <= mantissa <= _MANTISSA_SPECIAL_LAST:
        if raw in _SPECIALS:
            return FloatSpecial(raw)
        raise InputError(f"reserved FLOAT-Type {raw:#010x}")
    exponent = raw >> 24
    return (
        mantissa - 0x1000000 if mantissa & 0x800000 else mantissa,
        exponent - 256 if exponent & 0x80 else exponent,
    )


def _join(mantissa: int, exponent: int) -> int:
    if mantissa == 0:
        exponent = min(max(exponent, EXPONENT_MIN), EXPONENT_MAX)
    while (abs(mantissa) > MANTISSA_MAX or exponent < EXPONENT_MIN) and mantissa % 10 == 0:
        mantissa, exponent = mantissa // 10, exponent + 1
    while exponent > EXPONENT_MAX and abs(mantissa) * 10 <= MANTISSA_MAX:
        mantissa, exponent = mantissa * 10, exponent - 1
    if abs(mantissa) > MANTISSA_MAX or not EXPONENT_MIN <= exponent <= EXPONENT_MAX:
        raise LimitExceeded("the number does not fit a FLOAT-Type exactly")
    return (exponent & 0xFF) << 24 | mantissa & 0xFFFFFF
