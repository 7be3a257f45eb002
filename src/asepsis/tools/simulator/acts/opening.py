"""The ward comes to life: who holds the keys, which layers hold, who enrols, what is live."""

import time
from typing import Final

from asepsis.edge.sandbox.layers import detect
from asepsis.tools.simulator import cast
from asepsis.tools.simulator.stage import Stage

LIVE_S: Final = 60.0


def play(stage: Stage) -> None:
    """Tell what holds here, admit the patients and wait until every device is live.

    Raises:
        Unavailable: The ward did not come to life.
    """
    began_s = time.monotonic()
    _tell_layers(stage)
    stage.open()
    stage.tell(
        "Devices enrol",
        f"{len(stage.new)} devices and a gateway made their keys themselves and have "
        "certificates for 90 days",
    )
    for person in cast.PATIENTS:
        stage.admissions.admit(person)
    stage.tell(
        "Patients are admitted", f"{len(cast.PATIENTS)} ADT^A01 messages came through the gateway"
    )
    stage.view.until(
        lambda: all(stage.view.live(name) for name in stage.watched),
        "every device live",
        timeout_s=LIVE_S,
    )
    stage.summary.live_s = round(time.monotonic() - began_s, 1)
    stage.tell(
        "The ward is live",
        f"every device is seen {stage.summary.live_s:.0f} s after the start, as it signed it",
    )


def _tell_layers(stage: Stage) -> None:
    found = detect()
    summary = stage.summary
    summary.layers = [one.layer.value for one in found.findings if one.holds]
    summary.layers_absent = [one.layer.value for one in found.findings if not one.holds]
    stage.tell(
        "Layers that hold on this machine",
        f"{', '.join(summary.layers)}: whoever breaks into the network side of a device can "
        "neither disturb nor imitate the side that measures",
    )
    for one in found.findings:
        if not one.holds:
            stage.tell(f"Absent: {one.layer.value}", one.meaning)
