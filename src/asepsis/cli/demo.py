"""`asepsis demo`: the main job on loopback, told in plain words."""

import os
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from asepsis.cli.output import console, problems, show_facts, show_json
from asepsis.tools.simulator.story import Story, Summary


def demo(
    *,
    seconds: Annotated[int, Parameter(help="How long the ward runs once all are enrolled.")] = 30,
    headless: Annotated[bool, Parameter(help="Tell nothing on the way.")] = False,
    json: Annotated[bool, Parameter(help="End with one JSON summary.")] = False,
    keep: Annotated[bool, Parameter(help="Keep the folder with logs and ledgers.")] = False,
    drop_one: Annotated[
        bool, Parameter(help="Let the subscriber drop one record, to see that it is noticed.")
    ] = False,
) -> int:
    """Play the main job: a hub, ten devices, a subscriber, a revocation and a killed hub.

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

    try:
        story = Story(folder, seconds=seconds, tell=tell, drop=1 if drop_one else 0)
        summary = story.play()
    finally:
        if keep:
            problems.print(f"logs and ledgers: {folder}", style="dim")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return _conclude(summary, json=json)


def _conclude(summary: Summary, *, json: bool) -> int:
    document = {**asdict(summary), "user": "root" if os.geteuid() == 0 else "ordinary"}
    if json:
        show_json(document)
    else:
        show_facts("Summary", document)
    bad = summary.lost or summary.duplicated or summary.foreign or summary.failures
    return 1 if bad else 0
