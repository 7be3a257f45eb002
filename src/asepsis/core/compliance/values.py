"""Is one measured number what its device declares: code, metric, unit dimension, declared range.

*Range* is what the device says it can measure, never what a human body can do: an asystole of
0/min, a saturation of 35 % and a core temperature of 24 degrees are data.

Source: ISO/IEEE 11073-10101 (codes); UCUM section 3.1 (dimension); docs/reference/profiles.md.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Final

from asepsis.core.compliance.profile import Metric, Profile
from asepsis.core.compliance.verdict import Finding, Rule
from asepsis.core.errors import AsepsisError
from asepsis.core.mapping import nomenclature, ucum
from asepsis.core.model.observation import Numeric
from asepsis.core.wire import float_type

PLANS_MAX: Final = 4_096
"""Pairs of metric and unit that a judge remembers; a device has some dozens."""
UNKNOWN_UNIT: Final = ""
DIGITS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is known of one metric in one unit before its number is seen."""

    findings: tuple[Finding, ...]
    low: Fraction | None = None
    high: Fraction | None = None


@dataclass(slots=True)
class ValueJudge:
    """Judges the numbers of one profile; it belongs to one thread.

    Attributes:
        profile: What the device declares.
    """

    profile: Profile
    _metrics: dict[int, Metric] = field(default_factory=dict[int, Metric])
    _plans: dict[tuple[int, str], _Plan] = field(default_factory=dict[tuple[int, str], _Plan])

    def __post_init__(self) -> None:
        self._metrics = {metric.code: metric for metric in self.profile.metrics}

    def numeric(self, numeric: Numeric) -> tuple[Finding, ...]:
        """Judge a number as the record and live views hold it."""
        value = float_type.to_decimal(numeric.value)
        number = value if isinstance(value, Decimal) else None
        return self.value(numeric.mdc_code, unit_text(numeric.unit_code), number)

    def value(self, mdc_code: int, unit: str, number: Decimal | None) -> tuple[Finding, ...]:
        """Judge one value.

        Args:
            mdc_code: 32-bit MDC code of the metric.
            unit: UCUM expression; `UNKNOWN_UNIT` where it is absent or not known.
            number: None for a value that is none, such as a disconnected sensor: no range then.
        """
        key = (mdc_code, unit)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            plan = self._plans[key] = self._plan(mdc_code, unit)
        if number is None or (plan.low is None and plan.high is None):
            return plan.findings
        if not number.is_finite() or abs(number.adjusted()) > DIGITS_MAX:
            return (*plan.findings, self._found(Rule.RANGE, "no number that a device measures"))
        exact = Fraction(number)
        if plan.low is not None and exact < plan.low:
            return (*plan.findings, self._found(Rule.RANGE, "below what the device declares"))
        if plan.high is not None and exact > plan.high:
            return (*plan.findings, self._found(Rule.RANGE, "above what the device declares"))
        return plan.findings

    def _plan(self, mdc_code: int, unit: str) -> _Plan:
        found: list[Finding] = []
        known = nomenclature.metric_of(mdc_code)
        if known is None and not nomenclature.is_private(mdc_code):
            found.append(self._found(Rule.CODE, "the code is not in the tables of MDC"))
        declared = self._metrics.get(mdc_code)
        if declared is None and self._metrics:
            found.append(self._found(Rule.METRIC, "the device does not declare this metric"))
        dimension = _dimension(unit)
        if dimension is None:
            if declared is not None and (declared.low is not None or declared.high is not None):
                found.append(self._found(Rule.UNIT, "not known, so its range cannot be judged"))
            return _Plan(tuple(found))
        if known is not None and dimension not in known.dimensions:
            found.append(self._found(Rule.UNIT, f"not a unit of {known.refid}"))
            return _Plan(tuple(found))
        if declared is None or not declared.unit:
            return _Plan(tuple(found))
        if _dimension(declared.unit) != dimension:
            found.append(self._found(Rule.UNIT, f"the device declares {declared.unit}"))
            return _Plan(tuple(found))
        low, high = _converted(declared, unit)
        return _Plan(tuple(found), low, high)

    def _found(self, rule: Rule, reason: str) -> Finding:
        return Finding(rule, self.profile.severity(rule), reason)


def unit_text(unit_code: int) -> str:
    """Return the UCUM expression of an MDC unit code, `UNKNOWN_UNIT` if it is not in the table."""
    row = nomenclature.UNITS_BY_CODE.get(unit_code)
    return row.ucum if row else UNKNOWN_UNIT


def _dimension(unit: str) -> ucum.Dimension | None:
    if not unit:
        return None
    try:
        return ucum.parse(unit).dimension
    except AsepsisError:
        return None


def _converted(declared: Metric, unit: str) -> tuple[Fraction | None, Fraction | None]:
    """Return the declared bounds in another unit of the same dimension."""
    return tuple(
        None if bound is None else ucum.convert(bound, source=declared.unit, target=unit)
        for bound in (declared.low, declared.high)
    )  # pyright: ignore[reportReturnType] - two bounds give two
