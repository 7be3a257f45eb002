"""`asepsis device attack`: take over every compartment of a device, and see what comes of it."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from asepsis.cli.output import console, problems, show_json, show_table
from asepsis.edge.sandbox import landlock
from asepsis.edge.sandbox.layers import detect
from asepsis.tools.attack import sets
from asepsis.tools.attack.mdhex.replay import Replay
from asepsis.tools.attack.payload import SUCCEEDED
from asepsis.tools.attack.report import Report, predictions, write_reports
from asepsis.tools.attack.rig import Trial
from asepsis.tools.attack.run import run
from asepsis.tools.attack.table import ATTACKS, Attack

EXIT_WEAKER: Final = 1


def attack(
    *,
    layers: Annotated[
        list[str] | None,
        Parameter(
            help="all, none, -seccomp (or another), only-landlock, each; repeat or use commas. "
            "By default all."
        ),
    ] = None,
    landlock_version: Annotated[
        int | None, Parameter(help="Make Landlock look no newer than this.")
    ] = None,
    guest: Annotated[
        bool,
        Parameter(
            help="Also boot a kernel with the SELinux policy, and attack it as root; needs the "
            "packages user-mode-linux and secilc."
        ),
    ] = False,
    mdhex: Annotated[
        bool,
        Parameter(help="Also replay six flaws in the shape of MDhex, in one process and apart."),
    ] = False,
    out: Annotated[Path | None, Parameter(help="Folder for attack.json and attack.html.")] = None,
    dry_run: Annotated[
        bool, Parameter(help="Start nothing; say what the table of layers leads to expect.")
    ] = False,
    json: bool = False,
) -> int:
    """Attack a device of your own on this machine from the inside of every compartment.

    A device with a simulated patient is started in a folder of its own, and an attacker is put into
    its network, display and verifier compartments and into a process confined as a gateway's
    parser, after all their rights are gone. He attacks other processes, the ring, files, the
    kernel, the network and the connect broker. Nothing outside that folder and loopback is touched.

    `--layers each` also tries with every layer removed, one at a time, and with none: then the
    attacks are real, and succeed. A trial takes about five seconds. The exit code is 0 if every
    outcome is as good as the table of layers says, 1 if one is worse.

    `-LAYER` begins like an option: write `--layers=-seccomp`.
    """
    labels = sets.labels(layers or [sets.ALL])
    found = detect()
    if dry_run:
        _show_expected(predictions(found.holding), json=json)
        return 0
    problems.print(f"Landlock version {landlock.abi() or 'none'} on this machine")
    report = run(
        labels,
        found=found,
        at=datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds"),
        abi=landlock_version,
        with_guest=guest,
        with_replay=mdhex,
        progress=lambda step: problems.print(f"trying: {step}", markup=False),
    )
    if out is not None:
        for path in write_reports(report, out).values():
            problems.print(f"wrote {path}", markup=False, soft_wrap=True)
    if json:
        show_json(report.document())
    else:
        _show(report)
    return EXIT_WEAKER if report.findings() else 0


def _show(report: Report) -> None:
    labels = [label for label, _ in report.trials]
    rows = [
        (
            attack.name,
            attack.group.value,
            *(_cell(report, attack, trial) for _, trial in report.trials),
        )
        for attack in ATTACKS
    ]
    show_table("Attacks: who succeeded", ("attack", "aimed at", *labels), rows)
    show_table(
        "Trials",
        ("layers", "denied", "succeeded", "nothing to attack", "starts of vitals", "skipped"),
        [
            (label, *report.counts(trial).values(), trial.vitals_starts, trial.skipped)
            for label, trial in report.trials
        ],
    )
    show_table(
        "What travels, and the supervisor",
        ("attack", "outcome", "seen"),
        [(row.title, row.outcome, row.detail) for row in report.rows],
    )
    if report.replay:
        _show_replay(report.replay)
    if report.guest:
        tried = report.guest.outcomes
        console.print(
            f"As root in a guest with SELinux: {len(tried) - 1} attempts from each of "
            f"{len(next(iter(tried.values())))} domains, {len(report.guest.findings())} not refused"
        )
    findings = report.findings()
    for finding in findings:
        console.print(f"WORSE THAN EXPECTED {finding}", markup=False)
    if not findings:
        console.print("Every outcome is as the table of layers says, or better.")


def _show_replay(replay: Replay) -> None:
    rows = [
        (
            flaw,
            "; ".join(replay.monolith.succeeded(flaw)),
            "; ".join(replay.compartments.succeeded(flaw)) or "nothing",
        )
        for flaw, _ in replay.flaws
    ]
    rows.append(
        (
            "longest gap",
            f"{replay.monolith.gap_ms_max} ms (a sample every 20 ms)",
            f"{replay.compartments.gap_ms_max} ms (a block every 100 ms)",
        )
    )
    show_table("Six MDhex-shaped flaws", ("flaw", "in one process", "in compartments"), rows)
    console.print(
        f"Remote keys that a maker wires to the bedside: {replay.wired}. No layer helps; "
        f"a manifest with such a way breaks {', '.join(replay.claims)} and does not start."
    )


def _cell(report: Report, attack: Attack, trial: Trial) -> str:
    cells = report.cells(attack, trial)
    winners = [cell.vantage.value for cell in cells if cell.measured == SUCCEEDED]
    if winners:
        return "all" if len(winners) == len(cells) > 1 else ", ".join(winners)
    return "-" if any(cell.measured == "denied" for cell in cells) else "nothing there"


def _show_expected(lines: list[dict[str, Any]], *, json: bool) -> None:
    if json:
        show_json(lines)
        return
    rows = [
        (line["landlock"], line["layers"], len(line["succeed"]), ", ".join(line["succeed"]))
        for line in lines
    ]
    show_table("What is expected to succeed", ("Landlock", "layers", "number", "attacks"), rows)
