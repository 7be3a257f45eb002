"""The port that chart delivery asks before it sends: what is held back, and why.

The hub's composition root gives the gate; delivery knows no profile and no association.
"""

from dataclasses import dataclass
from typing import Protocol

from asepsis.core.journal.ports import Record


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Why something is not sent to a chart.

    Attributes:
        reason: One sentence for the person who may release it, without patient data, such as
            `patient: the message names another patient than the association`.
        rule: The rule that decided, such as `patient`.
    """

    reason: str
    rule: str


class ChartGate(Protocol):
    """Says of a stored record whether charts may have it."""

    async def verdict(self, record: Record, *, index: int = 0) -> HeldBack | None:
        """Return None if a chart may have it.

        A message is held back or sent as a whole: its bytes are never changed.

        Args:
            record: As the journal holds it, of any lane.
            index: Which message of a group of HL7 v2 messages, from 0.

        Raises:
            TransientError: The associations cannot be read now; ask again.
        """
        ...
