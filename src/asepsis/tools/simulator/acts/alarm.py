"""An alarm condition: signed, durable, seen. And its end."""

import time
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.tools.simulator import cast
from asepsis.tools.simulator.stage import Stage

EVENT_S: Final = 20.0


def play(stage: Stage) -> None:
    """Let the heart race, and measure until the hub has it and the live view shows it."""
    device, name = stage.devices[cast.ALARMING.key], cast.ALARMING.name
    summary = stage.summary
    since_s = time.monotonic()
    device.command("tachycardia")
    try:
        acknowledged = device.wait_for("alert-acknowledged", timeout_s=EVENT_S)
        stage.view.until(lambda: _onsets(stage, name, since_s), "the alarm", timeout_s=EVENT_S)
    except AsepsisError as error:
        stage.fail("alarm", error)
        return
    summary.alarm_ms = float(acknowledged["ms"])
    summary.alarm_view_ms = round(stage.view.witness.alarm_ms_max, 1)
    stage.tell(
        "An alarm condition",
        f"bed {cast.ALARMING.bed}, heart rate: signed, durable at the hub after "
        f"{summary.alarm_ms:.0f} ms, in the live view after {summary.alarm_view_ms:.0f} ms; the "
        "device's own alarm signal waited for none of it",
    )


def end(stage: Stage) -> None:
    """Let the heart calm down and wait until no view shows the alarm as active."""
    stage.devices[cast.ALARMING.key].command("normal")
    name = cast.ALARMING.name
    try:
        took_s = stage.view.until(
            lambda: not [one for one in stage.view.alarms(name) if one["found_by"] == "device"],
            "the end of the alarm",
            timeout_s=EVENT_S,
        )
    except AsepsisError as error:
        stage.fail("end of the alarm", error)
        return
    stage.tell("The alarm ends", f"the live view shows none at that bed {took_s:.1f} s later")


def _onsets(stage: Stage, name: str, since_s: float) -> bool:
    return any(
        one["phase"] == "onset" and one["found_by"] == "device"
        for _, one in stage.view.history(name, since_s=since_s)
    )
