"""Somebody takes over a device's network side, and can forge nothing. Then he is revoked."""

import time
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.hub.exchange.lease import TEXT, Cause
from asepsis.tools.simulator import cast
from asepsis.tools.simulator.intruder import SUCCEEDED
from asepsis.tools.simulator.stage import Stage

ATTACK_S: Final = 40.0
SEEN_S: Final = 15.0


def play(stage: Stage) -> None:
    """Put an intruder into one network compartment and count what he achieves."""
    device, name = stage.devices[cast.ATTACKED.key], cast.ATTACKED.name
    stage.tell(
        "An attack",
        f"somebody holds the network side of the monitor at bed {cast.ATTACKED.bed}, with its "
        "TLS key and its connections",
    )
    device.command("intrude")
    forged_s = 0.0
    tried: dict[str, str] = {}
    try:
        while (attack := device.wait_for("attack", timeout_s=ATTACK_S))["name"] != "done":
            tried[attack["name"]] = attack["outcome"]
            if "sequence" in attack and not forged_s:
                forged_s = time.monotonic()
        stage.view.until(
            lambda: _noticed(stage, name, forged_s), "the hub's alarm of forgery", timeout_s=SEEN_S
        )
    except AsepsisError as error:
        stage.fail("attack", error)
    else:
        _tell(stage, tried, forged_s)
    device.command("expel")
    try:
        # The compartment is started anew, and what it missed meanwhile is sent.
        device.wait_for("reachable", now=True, timeout_s=SEEN_S)
    except AsepsisError as error:
        stage.fail("end of the attack", error)


def _tell(stage: Stage, tried: dict[str, str], forged_s: float) -> None:
    summary = stage.summary
    summary.attacks = len(tried)
    summary.attacks_succeeded = [what for what, came_to in tried.items() if came_to == SUCCEEDED]
    noticed_s = _noticed(stage, cast.ATTACKED.name, forged_s)
    summary.forgery_ms = round((noticed_s - forged_s) * 1e3, 1)
    stage.tell(
        "It forges nothing",
        f"{len(tried)} attempts ({', '.join(tried)}): {len(summary.attacks_succeeded)} succeeded; "
        f"the hub refused what was forged and raised an alarm after {summary.forgery_ms:.0f} ms",
    )


def _noticed(stage: Stage, name: str, since_s: float) -> float:
    """Return when the view heard of the forgery, monotonic seconds; 0.0 before."""
    return next(
        (
            at_s
            for at_s, one in stage.view.history(name, since_s=since_s)
            if one["text"] == TEXT[Cause.FORGERY]
        ),
        0.0,
    )
