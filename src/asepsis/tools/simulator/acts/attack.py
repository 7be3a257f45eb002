"""Attack this monitor: somebody takes over its network side while its waveform is watched.

He tries what `asepsis device attack` tries, forges towards the hub, and tries again with one layer
removed. Then he is put out.
"""

import time
from typing import Any, Final

from asepsis.core.errors import AsepsisError
from asepsis.edge.sandbox.layers import detect
from asepsis.hub.exchange.lease import TEXT, Cause
from asepsis.tools.attack.payload import SUCCEEDED
from asepsis.tools.simulator import break_in, cast
from asepsis.tools.simulator.intruder import DONE, FORGERIES
from asepsis.tools.simulator.stage import Stage
from asepsis.tools.simulator.summary import Attempt

ATTACK_S: Final = 40.0
SEEN_S: Final = 15.0
COLUMNS: Final = ("attack", "all layers", "no seccomp", "stopped by each", "gap, ms")
EVERY, WITHOUT = 1, 2
"""Rounds of the intruder."""


def play(stage: Stage) -> None:
    """Put an intruder into one network compartment and count what he achieves."""
    device = stage.devices[cast.ATTACKED.key]
    stage.tell(
        "Attack this monitor",
        f"somebody holds the network side of the monitor at bed {cast.ATTACKED.bed}, with its "
        "TLS key and its connections; its waveform is watched",
    )
    try:
        device.command("intrude")
        tried, forged_s = _round(stage)
        stage.view.until(
            lambda: _noticed(stage, forged_s), "the hub's alarm of forgery", timeout_s=SEEN_S
        )
        device.command("intrude-without-filter")
        again, _ = _round(stage)
    except AsepsisError as error:
        stage.fail("attack", error)
        device.command("expel")
    else:
        device.command("expel")
        _tell(stage, tried, again, forged_s)
    try:
        # The compartment is started anew, and what it missed meanwhile is sent.
        device.wait_for("reachable", now=True, timeout_s=SEEN_S)
    except AsepsisError as error:
        stage.fail("end of the attack", error)


def _round(stage: Stage) -> tuple[dict[str, str], float]:
    """Return what each attempt of a round came to, and when the first forged batch was sent."""
    device = stage.devices[cast.ATTACKED.key]
    tried: dict[str, str] = {}
    forged_s = 0.0
    while (attack := device.wait_for("attack", timeout_s=ATTACK_S))["name"] != DONE:
        tried[attack["name"]] = attack["outcome"]
        if "sequence" in attack and not forged_s:
            forged_s = time.monotonic()
    return tried, forged_s


def _tell(stage: Stage, tried: dict[str, str], again: dict[str, str], forged_s: float) -> None:
    summary = stage.summary
    try:
        watched = stage.devices[cast.ATTACKED.key].wait_for("watched", timeout_s=SEEN_S)
    except AsepsisError as error:
        stage.fail("attack", error)
        return
    summary.attempts = _attempts(tried, again, watched["gaps_ms"])
    summary.attacks = len(tried)
    summary.attacks_succeeded = [name for name, word in tried.items() if word == SUCCEEDED]
    summary.attacks_without_seccomp = [name for name, word in again.items() if word == SUCCEEDED]
    summary.waveform_gap_ms = watched["gap_ms"]
    summary.waveform_peace_ms = watched["peace_ms"]
    summary.forgery_ms = round((_noticed(stage, forged_s) - forged_s) * 1e3, 1)
    _judge(stage, watched, again)
    if stage.show:
        stage.show(
            "Attack this monitor",
            COLUMNS,
            [
                (one.name, one.every, one.without, one.stopped_by, one.gap_ms)
                for one in summary.attempts
            ],
        )
    stage.tell(
        "The waveform is unmoved",
        f"a block every 100 ms; longest gap {summary.waveform_gap_ms:.0f} ms under attack, "
        f"{summary.waveform_peace_ms:.0f} ms before it",
    )
    stage.tell(
        "It forges nothing",
        f"{len(tried)} attempts: {len(summary.attacks_succeeded)} succeeded; the hub refused what "
        f"was forged ({', '.join(FORGERIES)}) and raised an alarm after "
        f"{summary.forgery_ms:.0f} ms. With the filter of system calls removed, "
        f"{len(summary.attacks_without_seccomp)} of {len(again)} succeed: that layer carried them",
    )


def _attempts(
    tried: dict[str, str], again: dict[str, str], gaps_ms: list[list[Any]]
) -> list[Attempt]:
    layers = detect().holding
    longest = {(number, name): gap for number, name, gap in gaps_ms}
    return [
        Attempt(
            name=attack.name,
            title=attack.title,
            every=_word(tried.get(attack.name, "")),
            without=_word(again.get(attack.name, "")),
            stopped_by=break_in.stoppers(attack, layers=layers),
            gap_ms=max(longest.get((number, attack.name), 0.0) for number in (EVERY, WITHOUT)),
        )
        for attack in break_in.CHOICE
    ]


def _word(outcome: str) -> str:
    return outcome.partition(":")[0] or "not tried"


def _judge(stage: Stage, watched: dict[str, Any], again: dict[str, str]) -> None:
    """Note what is worse than the table of layers says."""
    layers = detect().holding - {break_in.REMOVED}
    worse = [
        attack.name
        for attack in break_in.CHOICE
        if again.get(attack.name) == SUCCEEDED
        and break_in.expect(attack, layers=layers) != SUCCEEDED
    ]
    if worse:
        stage.summary.failures.append(f"attack: stopped by no other layer: {', '.join(worse)}")
    if watched["starts_of_vitals"]:
        stage.summary.failures.append("attack: vitals was started anew")


def _noticed(stage: Stage, since_s: float) -> float:
    """Return when the view heard of the forgery, monotonic seconds; 0.0 before."""
    return next(
        (
            at_s
            for at_s, one in stage.view.history(cast.ATTACKED.name, since_s=since_s)
            if one["text"] == TEXT[Cause.FORGERY]
        ),
        0.0,
    )
