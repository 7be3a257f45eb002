"""A patient moves to another bed: ADT says so, and no device follows the wrong patient."""

import time
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.tools.simulator import cast
from asepsis.tools.simulator.acts.associating import associate
from asepsis.tools.simulator.stage import Stage

MOVE_S: Final = 15.0


def play(stage: Stage) -> None:
    """Send A02 and wait until the devices of both beds belong to whom they should."""
    before, after = _device_at(cast.MOVING.bed), _device_at(cast.FREE_BED)
    began_s = time.monotonic()
    try:
        stage.admissions.transfer(cast.MOVING, to=cast.place(cast.FREE_BED))
        asked = associate(stage, {after: cast.MOVING.number})
        stage.view.until(
            lambda: before not in stage.guest.confirmed(), "the move", timeout_s=MOVE_S
        )
    except AsepsisError as error:
        stage.fail("bed move", error)
        return
    stage.summary.move_s = round(time.monotonic() - began_s, 2)
    stage.tell(
        "A patient moves",
        f"from bed {cast.MOVING.bed} to bed {cast.FREE_BED} (ADT^A02): {stage.summary.move_s:.1f} "
        "s later the monitor that stays behind is nobody's, and the one at the new bed is the "
        f"patient's{', as a person confirmed' if asked else ''}",
    )


def _device_at(bed: str) -> str:
    return next(player.name for player in cast.PLAYERS if player.bed == bed)
