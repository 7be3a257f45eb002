"""UCUM: what a unit is, how large it is, and what is no unit."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ContentMismatch, InputError, LimitExceeded
from asepsis.core.mapping.nomenclature import UNITS_BY_CODE
from asepsis.core.mapping.ucum import DIMENSIONLESS, convert, parse, same_dimension

SYMBOLS = sorted({unit.ucum for unit in UNITS_BY_CODE.values()})


@pytest.mark.parametrize(
    ("value", "source", "target", "result"),
    [
        ("120", "mm[Hg]", "kPa", "15.99864"),
        ("98.6", "[degF]", "Cel", "37"),
        ("37", "Cel", "K", "310.15"),
        ("-40", "[degF]", "Cel", "-40"),
        ("1", "bar", "mbar", "1000"),
        ("10", "cm[H2O]", "hPa", "9.80665"),
        ("60", "{beat}/min", "Hz", "1"),
        ("3", "mL/h", "uL/min", "50"),
        ("2.5", "ug/kg/min", "mg/kg/h", "0.15"),
        ("1", "[lb_av]", "g", "453.59237"),
        ("98", "%", "1", "0.98"),
        ("5", "cm[H2O].s/L", "cm[H2O]/(L/s)", "5"),
        ("7", "10*3/uL", "10*9/L", "7"),
        ("1", "dyn.s/cm5", "Pa.s/m3", "100000"),
        ("1", "mV", "uV", "1000"),
        ("1", "Ohm.A", "V", "1"),
        ("1", "wk", "d", "7"),
        ("1", "[in_i]", "cm", "2.54"),
        ("1", "[ft_i]", "[in_i]", "12"),
        ("1", "dam", "m", "10"),
    ],
)
def test_conversions_are_exact(value: str, source: str, target: str, result: str) -> None:
    assert convert(Decimal(value), source=source, target=target) == Fraction(result)


@given(
    st.sampled_from(SYMBOLS),
    st.sampled_from(SYMBOLS),
    st.decimals(
        allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=6
    ),
)
def test_a_conversion_and_its_way_back_lose_nothing(
    source: str, target: str, value: Decimal
) -> None:
    if not same_dimension(source, target):
        with pytest.raises(ContentMismatch):
            convert(value, source=source, target=target)
        return
    there = convert(value, source=source, target=target)
    assert convert(there, source=target, target=source) == Fraction(value)


@pytest.mark.parametrize(
    "text",
    ["", "/", "mmHg", "m/", "(m", "m)", "()", "{", "{a", "m s", "m..s", "0", "[iU", "µg",
     "mm%", "m--2", "1e3", "kCel", "Cel/min", "m\n", "m/s/", "-1", "2m", "10+3", "\x00"],
)  # fmt: skip
def test_what_is_no_unit_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse(text)


@pytest.mark.parametrize("text", ["m" * 65, "((((((m))))))", "10*99", "m99", "1234567890123"])
def test_limits_hold(text: str) -> None:
    with pytest.raises(LimitExceeded):
        parse(text)


@given(st.text(max_size=70) | st.text("mgLskK/.()[]{}%10*-2Hg", max_size=20))
def test_any_text_is_a_unit_or_our_error(text: str) -> None:
    try:
        unit = parse(text)
    except InputError:
        return
    assert unit.factor > 0


@given(st.sampled_from(SYMBOLS), st.integers(0, 20))
def test_a_truncated_unit_never_has_the_same_meaning_by_chance(text: str, cut: int) -> None:
    """Goal: what is left of `ug/kg/min` after a cut is another unit or none."""
    short = text[:cut]
    if short == text or short not in SYMBOLS:
        return
    assert parse(short) != parse(text)


def test_a_dose_is_no_rate_and_a_mole_no_number() -> None:
    """Goal: where UCUM's dimensions cancel, ours do not, so that a swapped unit shows."""
    assert not same_dimension("ug/kg/min", "/min")
    assert not same_dimension("mmol/L", "/L")
    assert not same_dimension("[iU]/h", "/h")
    assert not same_dimension("mg/g", "%")
    assert same_dimension("{beat}/min", "{breath}/min")
    assert same_dimension("mL/cm[H2O]", "mL/mbar")
    assert parse("{anything}").dimension == DIMENSIONLESS
