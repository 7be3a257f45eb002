"""A tap: one further reader of everything live, beside the views that name devices.

The ward view of the console is one. It sees each event once, whoever watches, and decides by bed
who is told; so the cost of an event does not grow with its viewers.
"""

from collections.abc import Sequence
from typing import Protocol

from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.identity import Assurance
from asepsis.core.wire.frames import WaveformFrame
from asepsis.hub.delivery.ports import LiveNumerics


class LiveTap(Protocol):
    """Gets everything live, on the event loop; every method must return at once."""

    def numerics(self, batch: LiveNumerics) -> None:
        """Take an accepted live batch."""
        ...

    def waveforms(self, device: str, frames: Sequence[WaveformFrame], assurance: Assurance) -> None:
        """Take proven frames."""
        ...

    def alarms(self, notices: Sequence[AlarmNotice], position: int) -> None:
        """Take the alarm events of one record of the alert lane, in its order.

        Args:
            notices: All of them, of one or several devices.
            position: The record's place in the lane.
        """
        ...

    def end_all(self, reason: str) -> None:
        """Cut every view, for example because the hub stops."""
        ...
