"""Devices become patients' own: by the ward's rule, or by a person where it leaves that to one."""

import contextlib
from typing import Final

from asepsis.core.errors import Unavailable
from asepsis.tools.simulator.stage import Stage

RULE_S: Final = 3.0
EVENT_S: Final = 15.0


def associate(stage: Stage, wanted: dict[str, str]) -> int:
    """Wait until these devices are these patients'; return how many a person had to confirm.

    Where anything speaks against the ward's rule, such as a batch that is not here yet, it leaves
    the decision to a person: here to the guest at the console.

    Raises:
        Unavailable: They are not associated in time.
    """

    def done() -> bool:
        return stage.guest.confirmed().items() >= wanted.items()

    with contextlib.suppress(Unavailable):
        stage.view.until(done, "the ward's rule", timeout_s=RULE_S)
    proposed = stage.guest.associations("proposed")
    asked = [one for device, one in proposed.items() if device in wanted]
    for association in asked:
        stage.guest.confirm(association)
    stage.view.until(done, "every patient's devices confirmed", timeout_s=EVENT_S)
    return len(asked)
