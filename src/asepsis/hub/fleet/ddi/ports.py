"""What campaigns may ask of the DDI interface; `hub/app/ddi.py` fills it in."""

from collections.abc import Sequence
from typing import Protocol

from asepsis.hub.fleet.ddi.model import Action
from asepsis.hub.fleet.ddi.orders import Order
from asepsis.hub.fleet.ddi.records_actions import Status


class DdiActions(Protocol):
    """Updates of devices with SWUpdate or RAUC."""

    async def assign(self, order: Order, *, person: str) -> Sequence[Action]:
        """Assign modules to targets; what they had open is taken back first.

        Raises:
            NotFound: A target or module is unknown.
            Conflict: A target's client can not do that.
            NotPermitted: This person brought one of the modules.
            InputError: The windows are not in order, or all over.
        """
        ...

    async def cancel(self, number: int, *, person: str, at_once: bool) -> Action:
        """Take an action back.

        Raises:
            NotFound: There is none.
            Conflict: It has ended.
        """
        ...

    async def action(self, number: int) -> tuple[Action, Sequence[Status]]:
        """Return an action, its `outcome` among it, with its newest reports.

        Raises:
            NotFound: There is none.
        """
        ...
