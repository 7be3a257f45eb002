"""The part of UCUM that bedside devices use: exact parsing, dimensions and conversion.

A unit is a dimension vector, an exact factor to the base units and, for the two temperature
scales, an offset. Everything is a `Fraction`: a comparison of two values is never off by a
rounding. Three choices are stricter than UCUM, so that a wrong unit cannot pass as a right one:
amount of substance (`mol`) and arbitrary units (`[iU]`, `[pH]`) are dimensions of their own, and
a mass above the line does not cancel one below it, so `ug/kg/min` is a dose and never a rate.

Source: UCUM 2.1, sections 2 (grammar), 3 (semantics) and 4 (tables 1 to 6).
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final

from asepsis.core.errors import ContentMismatch, InputError, LimitExceeded

EXPRESSION_CHARS_MAX: Final = 64
NESTING_MAX: Final = 4
EXPONENT_MAX: Final = 30
FACTOR_CHARS_MAX: Final = 12
_CACHED_EXPRESSIONS: Final = 1024

Dimension = tuple[int, ...]
"""Powers of metre, second, degree of angle, kelvin, coulomb, mole, [iU], [pH], and of gram twice.

The last two numbers are the powers of gram above and below the line; they do not cancel.
"""

_NAMES: Final = ("m", "s", "deg", "K", "C", "mol", "iU", "pH")
DIMENSIONLESS: Final[Dimension] = (0,) * (len(_NAMES) + 2)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of measure in base units: base value = (value + offset) * factor.

    Attributes:
        dimension: Power of each base unit.
        factor: Exact size in base units, above 0.
        offset: Added before scaling; 0 but for Cel and [degF].
    """

    dimension: Dimension
    factor: Fraction
    offset: Fraction = Fraction(0)

    def __mul__(self, other: "Unit") -> "Unit":
        dimension = tuple(a + b for a, b in zip(self.dimension, other.dimension, strict=True))
        return Unit(dimension, self.factor * other.factor)

    def power(self, exponent: int) -> "Unit":
        """Return this unit to an integer power; a negative one turns it upside down."""
        *powers, above, below = self.dimension
        grams = (above, below) if exponent >= 0 else (below, above)
        size = abs(exponent)
        dimension = (*(a * exponent for a in powers), *(a * size for a in grams))
        return Unit(dimension, self.factor**exponent)


ONE: Final = Unit(DIMENSIONLESS, Fraction(1))


def _unit(factor: str | Fraction, **powers: int) -> Unit:
    dimension = (*(powers.get(name, 0) for name in _NAMES), powers.get("g", 0), 0)
    return Unit(dimension, Fraction(factor))


_PREFIXES: Final = {
    "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15,
}  # fmt: skip

_METRIC_ATOMS: Final[dict[str, Unit]] = {
    "m": _unit("1", m=1),
    "s": _unit("1", s=1),
    "g": _unit("1", g=1),
    "K": _unit("1", K=1),
    "C": _unit("1", C=1),
    "mol": _unit("1", mol=1),
    "osm": _unit("1", mol=1),
    "eq": _unit("1", mol=1),
    "[iU]": _unit("1", iU=1),
    "[IU]": _unit("1", iU=1),
    "L": _unit("1/1000", m=3),
    "l": _unit("1/1000", m=3),
    "Hz": _unit("1", s=-1),
    "N": _unit("1000", g=1, m=1, s=-2),
    "dyn": _unit("1/100", g=1, m=1, s=-2),
    "Pa": _unit("1000", g=1, m=-1, s=-2),
    "bar": _unit("100000000", g=1, m=-1, s=-2),
    "m[Hg]": _unit("133322000", g=1, m=-1, s=-2),
    "m[H2O]": _unit("9806650", g=1, m=-1, s=-2),
    "J": _unit("1000", g=1, m=2, s=-2),
    "W": _unit("1000", g=1, m=2, s=-3),
    "A": _unit("1", C=1, s=-1),
    "V": _unit("1000", g=1, m=2, s=-2, C=-1),
    "Ohm": _unit("1000", g=1, m=2, s=-1, C=-2),
}

_PLAIN_ATOMS: Final[dict[str, Unit]] = {
    "%": _unit("1/100"),
    "[ppth]": _unit("1/1000"),
    "[ppm]": _unit("1/1000000"),
    "[ppb]": _unit("1/1000000000"),
    "deg": _unit("1", deg=1),
    "min": _unit("60", s=1),
    "h": _unit("3600", s=1),
    "d": _unit("86400", s=1),
    "wk": _unit("604800", s=1),
    "mo": _unit("2629800", s=1),
    "a": _unit("31557600", s=1),
    "[in_i]": _unit("127/5000", m=1),
    "[ft_i]": _unit("381/1250", m=1),
    "[lb_av]": _unit("45359237/100000", g=1),
    "[pH]": _unit("1", pH=1),
}

_SCALES: Final[dict[str, Unit]] = {
    "Cel": Unit(_unit("1", K=1).dimension, Fraction(1), Fraction("273.15")),
    "[degF]": Unit(_unit("1", K=1).dimension, Fraction(5, 9), Fraction("459.67")),
}

_TOKEN: Final = re.compile(
    r"(?P<ten>10[*^])(?P<ten_exponent>[+-]?[0-9]{1,2})?"
    r"|(?P<number>[0-9]+)(?![0-9*^])"
    r"|(?P<atom>(?:\[[A-Za-z0-9_]{1,12}\]|[A-Za-z%_])+)(?P<exponent>[+-]?[0-9]{1,2})?"
    r"|(?P<annotation>\{[!-z|~]*\})"
    r"|(?P<mark>[./()])",
    re.ASCII,
)


@lru_cache(maxsize=_CACHED_EXPRESSIONS)
def parse(expression: str) -> Unit:
    """Read a case-sensitive UCUM expression such as `mm[Hg]`, `ug/kg/min` or `{beat}/min`.

    Raises:
        LimitExceeded: Over `EXPRESSION_CHARS_MAX` characters, nesting or exponents.
        InputError: Not UCUM, or a unit that no bedside metric of ours is measured in.

    Source: UCUM section 2, case-sensitive ("c/s") symbols.
    """
    if len(expression) > EXPRESSION_CHARS_MAX:
        raise LimitExceeded(f"unit is over {EXPRESSION_CHARS_MAX} characters")
    if expression in _SCALES:
        return _SCALES[expression]
    return _Parser(expression).whole()


def same_dimension(first: str, second: str) -> bool:
    """Tell whether two UCUM expressions measure the same kind of quantity.

    Raises:
        InputError: One of them cannot be read.

    Source: UCUM section 3.1 (commensurability).
    """
    return parse(first).dimension == parse(second).dimension


def convert(value: Decimal | Fraction, *, source: str, target: str) -> Fraction:
    """Convert a value between two units, exactly.

    Raises:
        ContentMismatch: The units measure different kinds of quantity.
        InputError: One of the expressions cannot be read.

    Source: UCUM section 3; special units section 3.2 (Cel, [degF]).
    """
    old, new = parse(source), parse(target)
    if old.dimension != new.dimension:
        raise ContentMismatch(f"{source} and {target} are units of different dimensions")
    return (Fraction(value) + old.offset) * old.factor / new.factor - new.offset


class _Parser:
    """Recursive descent over tokens; depth is bounded by `NESTING_MAX`."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = self._tokenise()
        self._next = 0

    def whole(self) -> Unit:
        unit = self._term(0)
        if self._next != len(self._tokens):
            raise self._refusal()
        return unit

    def _refusal(self) -> InputError:
        return InputError("not a unit of measure that is known here", hint="use UCUM, c/s symbols")

    def _tokenise(self) -> list[re.Match[str]]:
        tokens: list[re.Match[str]] = []
        position = 0
        while position < len(self._expression):
            token = _TOKEN.match(self._expression, position)
            if token is None:
                raise self._refusal()
            tokens.append(token)
            position = token.end()
        if not tokens:
            raise self._refusal()
        return tokens

    def _mark(self) -> str:
        if self._next < len(self._tokens):
            return self._tokens[self._next]["mark"] or ""
        return ""

    def _term(self, depth: int) -> Unit:
        if depth > NESTING_MAX:
            raise LimitExceeded(f"unit is nested over {NESTING_MAX} deep")
        unit = ONE if self._mark() == "/" else self._component(depth)
        while (mark := self._mark()) in {".", "/"}:
            self._next += 1
            unit *= self._component(depth).power(1 if mark == "." else -1)
        return unit

    def _component(self, depth: int) -> Unit:
        if self._mark() == "(":
            self._next += 1
            unit = self._term(depth + 1)
            if self._mark() != ")":
                raise self._refusal()
            self._next += 1
            return unit
        unit = self._simple()
        if self._next < len(self._tokens) and self._tokens[self._next]["annotation"]:
            self._next += 1  # A comment in braces carries no meaning, UCUM section 2.2.
        return unit

    def _simple(self) -> Unit:
        if self._next >= len(self._tokens):
            raise self._refusal()
        token = self._tokens[self._next]
        if token["annotation"]:
            return ONE  # The caller consumes it: an annotation alone is the unity.
        self._next += 1
        if token["ten"]:
            return Unit(DIMENSIONLESS, Fraction(10) ** _exponent(token["ten_exponent"]))
        if token["number"]:
            return self._factor(token["number"])
        if token["atom"]:
            return self._atom(token["atom"]).power(_exponent(token["exponent"]))
        raise self._refusal()

    def _factor(self, digits: str) -> Unit:
        if len(digits) > FACTOR_CHARS_MAX:
            raise LimitExceeded(f"factor in a unit is over {FACTOR_CHARS_MAX} digits")
        if not int(digits):
            raise self._refusal()
        return Unit(DIMENSIONLESS, Fraction(int(digits)))

    def _atom(self, symbol: str) -> Unit:
        known = _PLAIN_ATOMS.get(symbol) or _METRIC_ATOMS.get(symbol)
        if known is not None:
            return known
        for size in (2, 1):
            power = _PREFIXES.get(symbol[:size])
            stem = _METRIC_ATOMS.get(symbol[size:])
            if power is not None and stem is not None and len(symbol) > size:
                return Unit(stem.dimension, stem.factor * Fraction(10) ** power)
        raise self._refusal()


def _exponent(text: str | None) -> int:
    exponent = int(text) if text else 1
    if abs(exponent) > EXPONENT_MAX:
        raise LimitExceeded(f"exponent in a unit is over {EXPONENT_MAX}")
    return exponent
