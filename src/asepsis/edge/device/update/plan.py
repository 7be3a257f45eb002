"""The plan of a release: what a device must know to install it, as the manufacturer signed it.

The verifier takes it out of the release document, whose hash the signed metadata names, and lays
it beside what it unpacked. A device that does not understand all of it refuses the release.

    {"format": 1, "states": ["idle"], "run_s": 60, "rollback_s": 60, "consent": false,
     "acceptance": false, "changes": ["alarm-limits"],
     "tests": [{"name": "heart-rate", "low": 59, "high": 61, "unit": "/min"}]}
"""

import json
import math
from dataclasses import dataclass
from typing import Any, Final, cast

from asepsis.core.errors import FramingError
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.update import TESTS_MAX, TestResult

NAME: Final = "install.json"
PLAN_BYTES_MAX: Final = 65_536
FORMAT: Final = 1
SECONDS_MAX: Final = 86_400
NAME_CHARS_MAX: Final = 64
UNIT_CHARS_MAX: Final = 32
CHANGES_MAX: Final = 64
_FIELDS: Final = frozenset(
    {"format", "states", "run_s", "rollback_s", "consent", "acceptance", "changes", "tests"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTest:
    """One self-test.

    Attributes:
        name: Its name; the device knows how to measure it, or it fails.
        low: Lowest value that passes.
        high: Highest value that passes.
        unit: UCUM code.
    """

    name: str
    low: float
    high: float
    unit: str

    def result(self, measured: float | None) -> TestResult:
        """Return the test with its value; without one it is not-a-number, which never passes."""
        value = math.nan if measured is None else measured
        return TestResult(
            name=self.name, measured=value, low=self.low, high=self.high, unit=self.unit
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a device must know to install a release.

    Attributes:
        states: Clinical states in which the manufacturer allows it.
        run_s: Seconds that it takes at most, self-tests included.
        rollback_s: Seconds that going back takes at most.
        consent: Whether a person at the device has to agree.
        acceptance: Whether biomedical engineering has to accept the device before it is used.
        changes: What of the fingerprint it changes on purpose.
        tests: Self-tests; at least one: nothing is verified without a measured value.
    """

    states: frozenset[ClinicalState]
    run_s: int
    rollback_s: int
    consent: bool
    acceptance: bool
    changes: frozenset[str]
    tests: tuple[PlannedTest, ...]


def read_plan(data: bytes) -> Plan:
    """Read a plan, strictly.

    Raises:
        FramingError: Another form, an unknown field, or no self-test.
    """
    if len(data) > PLAN_BYTES_MAX:
        raise FramingError("the plan of a release is too long")
    try:
        found: object = json.loads(data)
        document = cast("dict[str, Any]", found)
        if document.keys() != _FIELDS or document["format"] != FORMAT:
            raise FramingError("the plan of this release has fields that this device does not know")
        tests = tuple(_test(one) for one in cast("list[dict[str, Any]]", document["tests"]))
        states = cast("list[str]", document["states"])
        changes = cast("list[str]", document["changes"])
        plan = Plan(
            states=frozenset(ClinicalState[s.upper().replace("-", "_")] for s in states),
            run_s=_seconds(document["run_s"]),
            rollback_s=_seconds(document["rollback_s"]),
            consent=_flag(document["consent"]),
            acceptance=_flag(document["acceptance"]),
            changes=frozenset(_word(name, NAME_CHARS_MAX) for name in changes[: CHANGES_MAX + 1]),
            tests=tests,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FramingError("the plan of a release has another form") from error
    names = {test.name for test in tests}
    if not 1 <= len(tests) <= TESTS_MAX or len(names) != len(tests):
        raise FramingError(f"a release has 1 to {TESTS_MAX} self-tests, each with its own name")
    if not plan.states or len(plan.changes) > CHANGES_MAX:
        raise FramingError("a release may be installed in no state, or changes too much")
    return plan


def _test(document: dict[str, Any]) -> PlannedTest:
    low, high = float(document["low"]), float(document["high"])
    if set(document) != {"name", "low", "high", "unit"} or not low <= high:
        raise FramingError("a self-test has another form, or nothing can pass it")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise FramingError("the tolerance of a self-test is finite")
    name, unit = _word(document["name"], NAME_CHARS_MAX), _word(document["unit"], UNIT_CHARS_MAX)
    return PlannedTest(name=name, low=low, high=high, unit=unit)


def _seconds(value: object) -> int:
    if type(value) is not int or not 1 <= value <= SECONDS_MAX:
        raise FramingError("a time of the plan is outside its range")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise FramingError("a choice of the plan is neither true nor false")
    return value


def _word(value: object, chars_max: int) -> str:
    """Printable ASCII: it is shown to people and stands in reports."""
    if not isinstance(value, str) or not 1 <= len(value) <= chars_max:
        raise FramingError("a word of the plan is too long, or none")
    if not (value.isascii() and value.isprintable()):
        raise FramingError("a word of the plan is not printable")
    return value
