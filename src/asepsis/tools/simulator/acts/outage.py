"""The ward is cut off from the hub and comes back; later the hub itself is killed."""

import time
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.tools.simulator import cast
from asepsis.tools.simulator.stage import START_S, Stage

BLANK_S: Final = 12.0
RETURN_S: Final = 30.0
SILENT_S: Final = 10.5
"""Longer than the lease of a legacy device, 10 s."""
ALARM_S: Final = 3.0
SETTLE_S: Final = 1.5
CRASH_S: Final = 2.0


def play(stage: Stage) -> None:
    """Cut the network, let an alarm come and go meanwhile, join it again, and watch the view."""
    try:
        _join(stage, cut_s=_cut(stage))
    except AsepsisError as error:
        stage.network.join()
        stage.fail("outage", error)


def _cut(stage: Stage) -> float:
    stage.network.cut()
    cut_s = time.monotonic()
    stage.tell("The ward's network is cut", "devices and gateway measure, sign and spool on")
    bedside = stage.devices[cast.ALARMING.key]
    bedside.command("desaturation")
    time.sleep(ALARM_S)
    bedside.command("normal")
    names = stage.watched
    stage.view.until(
        lambda: not any(stage.view.live(name) for name in names),
        "blank tiles",
        timeout_s=BLANK_S,
    )
    stage.summary.blank_s = round(time.monotonic() - cut_s, 1)
    time.sleep(max(0.0, cut_s + SILENT_S - time.monotonic()))
    silent = [name for name in names if _is_silent(stage, name, cut_s)]
    stage.summary.silent = len(silent)
    stage.tell(
        "Nothing stale is shown as live",
        f"{stage.summary.blank_s:.1f} s after the cut no value stood in the live view any more; "
        f"the hub raised an alarm for {len(silent)} of {len(names)} devices: no data",
    )
    return cut_s


def _is_silent(stage: Stage, name: str, since_s: float) -> bool:
    return any(
        one["found_by"] == "hub" and one["phase"] == "onset"
        for _, one in stage.view.history(name, since_s=since_s)
    )


def _join(stage: Stage, *, cut_s: float) -> None:
    back_s = time.monotonic()
    stage.network.join()
    stage.summary.outage_s = round(back_s - cut_s, 1)
    names = stage.watched
    took_s = stage.view.until(
        lambda: all(stage.view.live(name) for name in names),
        "every device live again",
        timeout_s=RETURN_S,
    )
    stage.summary.live_again_s = round(took_s, 1)
    stage.summary.ended_shown_s = _ended_shown_s(stage, back_s)
    stage.tell(
        "The network is back",
        f"every device is live {took_s:.1f} s later; what was missed comes late, to the record "
        "only; the alarm that began and ended meanwhile stood in the view for "
        f"{stage.summary.ended_shown_s:.1f} s",
    )


def _ended_shown_s(stage: Stage, since_s: float) -> float:
    """Return how long the alarm that was over before the return stood in the view, seconds."""
    time.sleep(SETTLE_S)
    name = cast.ALARMING.name
    began: dict[str, float] = {}
    longest_s = 0.0
    for at_s, one in stage.view.history(name, since_s=since_s):
        if one["found_by"] != "device":
            continue
        if one["phase"] != "end":
            began.setdefault(one["condition_id"], at_s)
        elif one["condition_id"] in began:
            longest_s = max(longest_s, at_s - began.pop(one["condition_id"]))
    lasting = [time.monotonic() - at_s for at_s in began.values()]
    return round(max(longest_s, *lasting, 0.0), 2)


def crash(stage: Stage) -> None:
    """Kill the hub without warning and start it again."""
    stage.hub.kill()
    killed_s = time.monotonic()
    stage.tell("The hub is killed", "without warning (SIGKILL); the devices spool")
    time.sleep(CRASH_S)
    names = stage.watched
    try:
        stage.hub.start(timeout_s=START_S)
        stage.summary.crash_s = round(time.monotonic() - killed_s, 1)
        took_s = stage.view.until(
            lambda: all(stage.view.live(name) for name in names),
            "every device live after the crash",
            timeout_s=RETURN_S,
        )
    except AsepsisError as error:
        stage.fail("crash of the hub", error)
        return
    stage.tell(
        "The hub is back",
        f"after {stage.summary.crash_s:.1f} s; every device is live {took_s:.1f} s later",
    )
