"""Starts a verifier for one order and answers what it asks, as the fetcher."""

import subprocess
import sys
from typing import Any, Final

from asepsis.core.errors import Unavailable
from asepsis.edge.device.update.fetching import Fetcher
from asepsis.edge.device.update.talk import Kind, send

VERIFIER: Final = "asepsis.edge.device.update.verifying"
END_S: Final = 60.0


def verify(order: dict[str, Any], fetcher: Fetcher, *, kind: Kind = Kind.ORDER) -> dict[str, Any]:
    """Start a verifier, give it an order and answer what it asks; returns its result.

    Raises:
        Unavailable: It does not start, or ends without a word.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", VERIFIER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    except OSError as error:
        raise Unavailable("the verifier does not start") from error
    with process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        try:
            send(process.stdin, kind, order)
            result = fetcher.serve(process.stdout, process.stdin)
            process.wait(END_S)
        except subprocess.TimeoutExpired as error:
            raise Unavailable("the verifier does not end") from error
        finally:
            process.kill()
    return result
