"""A person revokes a device: it is refused at once, and goes on monitoring its patient."""

import time
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.tools.simulator import cast
from asepsis.tools.simulator.stage import Stage

EVENT_S: Final = 20.0


def play(stage: Stage) -> None:
    """Revoke the attacked device and wait until it says that it is refused."""
    device, name = stage.devices[cast.ATTACKED.key], cast.ATTACKED.name
    started_s = time.monotonic()
    try:
        stage.people.revoke(name, reason="broken into (demonstration)", confirm=True)
        device.wait_for("refused", now=True, timeout_s=EVENT_S)
    except AsepsisError as error:
        stage.fail("revocation", error)
        return
    stage.summary.revoked_ms = round((time.monotonic() - started_s) * 1e3, 1)
    stage.tell(
        "A device is revoked",
        f"the monitor at bed {cast.ATTACKED.bed} is refused {stage.summary.revoked_ms:.0f} ms "
        "after a person said so; it goes on monitoring",
    )
