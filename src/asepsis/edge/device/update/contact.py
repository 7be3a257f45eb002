"""One contact with the repositories: fetcher and verifier, two processes and two pipes.

The supervisor starts both and waits for neither. The order goes to the verifier, and what came of
it comes back on a pipe that the fetcher does not have.
"""

import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from asepsis.core.errors import AsepsisError, Unavailable
from asepsis.edge.device.update.starting import VERIFIER
from asepsis.edge.device.update.talk import Kind, fields, receive, send

CONTACT_S_MAX: Final = 6 * 3_600.0
"""A contact that takes longer is ended; what was fetched is gone on with at the next one."""


class Running(Protocol):
    """The fetcher's process."""

    def kill(self) -> None:
        """End it."""
        ...


StartFetcher = Callable[[Mapping[str, int]], Running]
"""Given descriptors `asked` and `answers`, which stay ours, starts a fetcher."""


class Contact:
    """A contact under way.

    Args:
        order: What the verifier is to do.
        start_fetcher: Starts the fetcher.
        now_s: Monotonic seconds.

    Raises:
        AsepsisError: One of the two does not start.

    Resource handling: `close` ends both.
    """

    def __init__(self, order: dict[str, Any], *, start_fetcher: StartFetcher, now_s: float) -> None:
        self._until_s = now_s + CONTACT_S_MAX
        asked, asks = os.pipe()
        answers_in, answers = os.pipe()
        self._result, told = os.pipe()
        try:
            with os.fdopen(os.dup(answers), "wb") as first:
                send(first, Kind.ASSIGNMENTS, order)  # Before the fetcher could say anything.
            self._fetcher = start_fetcher({"asked": asked, "answers": answers})
            try:
                self._verifier = _start_verifier(answers_in, asks, told)
            except AsepsisError:
                self._fetcher.kill()
                raise
        except AsepsisError:
            os.close(self._result)
            raise
        finally:
            for descriptor in (asked, asks, answers_in, answers, told):
                os.close(descriptor)

    def poll(self, now_s: float) -> dict[str, Any] | None:
        """Return what came of it; None while it is under way."""
        if now_s >= self._until_s:
            return _unavailable("the contact took too long")
        readable, _, _ = select.select([self._result], [], [], 0)
        if not readable:
            return None
        try:
            with os.fdopen(os.dup(self._result), "rb") as result:
                kind, body = receive(result)
                return fields(body) if kind is Kind.RESULT else _unavailable("no result")
        except AsepsisError as error:
            return _unavailable(f"the verifier ended without a word ({error.code})")

    def close(self) -> None:
        """End both processes."""
        self._fetcher.kill()
        self._verifier.kill()
        self._verifier.wait()
        os.close(self._result)


def _unavailable(why: str) -> dict[str, Any]:
    return {"done": False, "code": Unavailable.code, "why": why}


def _start_verifier(reads: int, writes: int, told: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", VERIFIER, str(told)],
            stdin=reads,
            stdout=writes,
            pass_fds=(told,),
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable("the verifier does not start") from error
