"""Runs checks one after the other; one that fails or cannot tell does not end the run."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import httpx

from asepsis.core.errors import AsepsisError
from asepsis.tools.conformance.checks import Check, NotShown, Outcome, Result, Violation

Bench = TypeVar("Bench")
Told = Callable[[Result], None]


def run(
    bench: Bench, checks: Sequence[Check[Bench]], *, only: frozenset[str] = frozenset()
) -> Iterator[Result]:
    """Yield the result of each check as soon as it is there.

    Args:
        bench: What the checks look at.
        checks: In their order.
        only: Requirements to try; all if empty.
    """
    for check in checks:
        if not only or check.requirement in only:
            yield _tried(bench, check)


def _tried(bench: Bench, check: Check[Bench]) -> Result:
    began_s = time.monotonic()
    outcome, reason = Outcome.PASS, ""
    try:
        check.run(bench)
    except NotShown as error:
        outcome, reason = Outcome.NOT_SHOWN, str(error)
    except Violation as error:
        outcome, reason = Outcome.FAIL, str(error)
    except AsepsisError as error:
        outcome, reason = Outcome.FAIL, f"{error.code}: {error}"
    except httpx.HTTPError as error:
        outcome, reason = Outcome.FAIL, f"no answer: {type(error).__name__}: {error}"
    except (OSError, ValueError, LookupError, TypeError) as error:
        # What comes back from a peer under test may have any form; it is the peer's failure.
        outcome, reason = Outcome.FAIL, f"an answer in another form: {error!r}"
    return Result(
        requirement=check.requirement,
        title=check.title,
        outcome=outcome,
        reason=reason,
        seconds=round(time.monotonic() - began_s, 3),
    )
