"""Goal: a displayed 36.60 reaches the chart as 36.60, and what does not fit is refused."""

import math
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire import float_type
from asepsis.core.wire.float_type import (
    FloatSpecial,
    from_decimal,
    from_float,
    to_decimal,
    to_float,
)

mantissas = st.integers(-float_type.MANTISSA_MAX, float_type.MANTISSA_MAX)
exponents = st.integers(float_type.EXPONENT_MIN, float_type.EXPONENT_MAX)
raws = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (0xFF00016C, "36.4"),  # ISO/IEEE 11073-20601, thermometer example.
        (0xFF000173, "37.1"),
        (0xFE000E4C, "36.60"),
        (0x00000061, "97"),
        (0xFF00000A, "1.0"),
        (0x00FFFFFF, "-1"),
        (0x00000000, "0"),
        (0xFF000000, "0.0"),
        (0x0200000C, "1.2E+3"),
        (0x007FFFFD, "8388605"),
        (0x00800003, "-8388605"),
        (0x7F7FFFFD, "8388605E+127"),
        (0x80000001, "1E-128"),
    ],
)
def test_known_values(raw: int, text: str) -> None:
    assert to_decimal(raw) == Decimal(text)
    assert str(to_decimal(raw)) == str(Decimal(text))
    assert from_decimal(Decimal(text)) == raw


@given(mantissas, exponents)
def test_every_number_comes_back_with_its_zeros(mantissa: int, exponent: int) -> None:
    number = Decimal(f"{mantissa}E{exponent}")
    raw = from_decimal(number)
    assert to_decimal(raw).as_tuple() == number.as_tuple()  # type: ignore[union-attr]
    assert float_type.is_number(raw)


@given(raws)
def test_decode_then_encode_is_identity(raw: int) -> None:
    try:
        value = to_decimal(raw)
    except InputError:
        assert not float_type.is_valid(raw)
        with pytest.raises(InputError):
            to_float(raw)
        return
    assert float_type.is_valid(raw)
    assert from_decimal(value) == raw


@given(mantissas, exponents)
def test_the_fast_float_is_the_nearest(mantissa: int, exponent: int) -> None:
    number = Decimal(f"{mantissa}E{exponent}")
    assert to_float(from_decimal(number)) == float(number)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_encoding_is_exact_or_refused(number: Decimal) -> None:
    try:
        raw = from_decimal(number)
    except LimitExceeded:
        return
    assert to_decimal(raw) == number


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("83886050", "8388605E+1"),  # Zeros move to the exponent when the mantissa is full.
        ("10E-129", "1E-128"),
        ("1E+130", "1000E+127"),
        ("0E+500", "0E+127"),
        ("0E-500", "0E-128"),
        ("-0.0", "0.0"),
    ],
)
def test_zeros_move_where_they_must(text: str, back: str) -> None:
    assert str(to_decimal(from_decimal(Decimal(text)))) == str(Decimal(back))


@pytest.mark.parametrize(
    "text", ["8388606", "1.2345678", "1E-129", "1E+134", "1" * 401, "0." + "3" * 9]
)
def test_what_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(LimitExceeded):
        from_decimal(Decimal(text))


def test_specials() -> None:
    for special in FloatSpecial:
        assert to_decimal(int(special)) is special
        assert from_decimal(special) == int(special)
        assert float_type.is_valid(special)
        assert not float_type.is_number(special)
    assert from_decimal(Decimal("NaN")) == FloatSpecial.NAN
    assert from_decimal(Decimal("sNaN")) == FloatSpecial.NAN
    assert from_decimal(Decimal("Infinity")) == FloatSpecial.POSITIVE_INFINITY
    assert from_decimal(Decimal("-Infinity")) == FloatSpecial.NEGATIVE_INFINITY
    assert math.isnan(to_float(FloatSpecial.NAN))
    assert math.isnan(to_float(FloatSpecial.NRES))
    assert to_float(FloatSpecial.POSITIVE_INFINITY) == math.inf
    assert to_float(FloatSpecial.NEGATIVE_INFINITY) == -math.inf


@pytest.mark.parametrize("raw", [float_type.RESERVED, 0x017FFFFF, 0xFF800000, -1, 1 << 32])
def test_reserved_patterns_are_refused(raw: int) -> None:
    with pytest.raises(InputError):
        to_decimal(raw)


def test_the_decimal_context_changes_nothing() -> None:
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 2, 3, -3
        assert str(to_decimal(0xFE000E4C)) == "36.60"
        assert from_decimal(Decimal("36.60")) == 0xFE000E4C


@given(st.floats(-8_000, 8_000), st.integers(0, 3))
def test_floats_are_rounded_to_the_digits_of_the_display(value: float, decimals: int) -> None:
    expected = round(Decimal(value), decimals)
    assert to_decimal(from_float(value, decimals=decimals)) == expected


def test_odd_floats() -> None:
    assert from_float(math.nan, decimals=1) == FloatSpecial.NAN
    assert from_float(math.inf, decimals=1) == FloatSpecial.POSITIVE_INFINITY
    assert from_float(-math.inf, decimals=1) == FloatSpecial.NEGATIVE_INFINITY
    with pytest.raises(LimitExceeded):
        from_float(1e9 + 1, decimals=1)
    with pytest.raises(InputError):
        from_float(1.0, decimals=23)
