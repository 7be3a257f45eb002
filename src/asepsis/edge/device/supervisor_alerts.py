"""The reminder at the bedside: alarm batches that the hub has not acknowledged in time.

The word that ends it is the network compartment's, and it may lie; the safe answer is the default.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from asepsis.edge.device.manifest import NETWORK, ORIGIN
from asepsis.edge.sandbox.supervision_parts import Tell

ANNUNCIATE_S: Final = 5.0
"""An alarm event that the hub has not acknowledged by then is told at the bedside (REQ-ALM-009)."""
ALERTS_MAX: Final = 1_024
_ACKNOWLEDGED: Final = (NETWORK, "fate", "origin", "acknowledged")


class Alerts:
    """Alarm batches on their way.

    Args:
        tell: Told what the hub has, and what it has not in time.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._signed_s: dict[int, float] = {}

    def began(self, name: str) -> None:
        """A compartment writes a new ring; numbers of batches start over with that of origin."""
        if name == ORIGIN:
            self._signed_s.clear()

    def heard(self, name: str, event: str, report: Mapping[str, Any]) -> None:
        """Take note of a report."""
        sequence = report.get("sequence")
        if not isinstance(sequence, int):
            return
        told = (name, event, report.get("account"), report.get("fate"))
        if event == "alert-signed" and name == ORIGIN:
            if len(self._signed_s) < ALERTS_MAX:
                self._signed_s[sequence] = time.monotonic()
        elif told == _ACKNOWLEDGED:
            self._acknowledged(sequence)

    def look(self, now_s: float) -> None:
        """Tell again what was not acknowledged in time."""
        for sequence, since_s in list(self._signed_s.items()):
            if now_s - since_s > ANNUNCIATE_S:
                del self._signed_s[sequence]
                self._tell(ORIGIN, "alert-not-acknowledged", {"sequence": sequence})

    def _acknowledged(self, sequence: int) -> None:
        since_s = self._signed_s.pop(sequence, None)
        if since_s is not None:
            took_ms = round((time.monotonic() - since_s) * 1_000, 1)
            self._tell(NETWORK, "alert-acknowledged", {"sequence": sequence, "ms": took_ms})
