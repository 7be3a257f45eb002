"""`asepsis demo`: a hospital on loopback, told in plain words."""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from rich.text import Text

from asepsis.cli.output import console, problems, show_facts, show_json, show_table
from asepsis.tools.simulator.story import Story
from asepsis.tools.simulator.summary import Summary

PEACE_S: Final = 30


def demo(
    *,
    seconds: Annotated[
        int | None,
        Parameter(
            help="How long the ward lives in peace between the acts; then it ends. Without it: "
            f"{PEACE_S}, and on a terminal the ward goes on until Ctrl-C."
        ),
    ] = None,
    headless: Annotated[bool, Parameter(help="Tell nothing on the way.")] = False,
    json: Annotated[bool, Parameter(help="End with one JSON summary.")] = False,
    keep: Annotated[bool, Parameter(help="Keep the folder with logs and ledgers.")] = False,
    drop_one: Annotated[
        bool, Parameter(help="Let the subscriber drop one record, to see that it is noticed.")
    ] = False,
) -> int:
    """Play a ward: hub, gateways, devices new and old; an alarm, outage, attack and revocation.

    Everything runs on loopback with throw-away keys; the patients are simulated. At the end the
    ledgers of senders and receiver, kept by separate processes, are compared.
    """
    folder = Path(tempfile.mkdtemp(prefix="asepsis-demo-"))
    folder.chmod(0o755)  # As root, hub and signer run as users of their own.
    started_s = time.monotonic()

    def tell(headline: str, sentence: str) -> None:
        if not headless:
            # With --json, standard output holds the summary and nothing else.
            (problems if json else console).print(
                Text.assemble(
                    (f"{time.monotonic() - started_s:6.1f} s  ", "dim"),
                    (f"{headline}. ", "bold"),
                    sentence,
                ),
                soft_wrap=True,
            )

    _leave_nothing_behind()
    linger = seconds is None and not headless and sys.stdout.isatty()
    try:
        summary = Story(
            folder,
            seconds=PEACE_S if seconds is None else seconds,
            tell=tell,
            drop=1 if drop_one else 0,
            linger=_until_interrupted() if linger else None,
            show=None if headless or json else show_table,
        ).play()
    finally:
        if keep:
            problems.print(f"logs and ledgers: {folder}", style="dim")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return _conclude(summary, json=json)


def _leave_nothing_behind() -> None:
    """Let a request to end, or a closed terminal, end every process of the story too."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def _until_interrupted() -> threading.Event:
    """Return an event that the first Ctrl-C sets; the second ends the command at once."""
    told = threading.Event()

    def interrupted(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        told.set()

    signal.signal(signal.SIGINT, interrupted)
    return told


def _conclude(summary: Summary, *, json: bool) -> int:
    document = {**asdict(summary), "user": "root" if os.geteuid() == 0 else "ordinary"}
    if json:
        show_json(document)
    else:
        del document["attempts"]  # They were shown as a table of their own.
        show_facts("Summary", document)
    return 1 if summary.bad else 0
