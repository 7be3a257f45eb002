"""What a check is, and what comes out of one.

A check is named after the requirement that it judges and sees nothing but the network. It returns
if the requirement holds, raises `Violation` if it does not, and `NotShown` if this run cannot tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

from asepsis.core.errors import InputError

Bench = TypeVar("Bench")
OK: Final = 200
CREATED: Final = 201
NO_CONTENT: Final = 204
TOO_MANY: Final = 429


class Violation(InputError):  # noqa: N818 - names the finding
    """What was tested does not do what the requirement says."""


class NotShown(InputError):  # noqa: N818 - names the finding
    """This run cannot tell, for example because nobody gave it the right to revoke."""


class Outcome(StrEnum):
    """What came out of one check."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True, slots=True)
class Check(Generic[Bench]):
    """One requirement as something that can be tried.

    Attributes:
        requirement: Its id in the standard, such as `REQ-TLS-002`.
        run: Tries it; its docstring's first line says what is looked at.
    """

    requirement: str
    run: Callable[[Bench], None]

    @property
    def title(self) -> str:
        """What is looked at, in one sentence."""
        return (self.run.__doc__ or "").strip().split("\n", 1)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out of one check.

    Attributes:
        requirement: Its id.
        title: What was looked at.
        outcome: Pass, fail or not shown.
        reason: Why, unless it passed.
        seconds: How long it took.
    """

    requirement: str
    title: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0


def table(*rows: tuple[str, Callable[[Bench], None]]) -> Sequence[Check[Bench]]:
    """Return checks from pairs of number and function."""
    return tuple(Check(f"REQ-{number}", run) for number, run in rows)


def demand(holds: object, otherwise: str) -> None:
    """Go on if something holds.

    Raises:
        Violation: It does not; `otherwise` says what was seen instead.
    """
    if not holds:
        raise Violation(otherwise)
