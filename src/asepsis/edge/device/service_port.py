"""When the service port is open: in maintenance, by a person at the device, for a time. Pure.

Nothing else opens it: no word from the hub, no start of the device. It closes by itself when its
time is over, when the clinical state is another one, and when nobody knows the state.

Source: IEC 62443-4-2:2019, EDR 2.13 (physical diagnostic interfaces); docs/reference/supervisor.md.
"""

from typing import Final

from asepsis.core.errors import InputError, SafetyRefusal
from asepsis.core.model.clinical import ClinicalState

OPEN_S_MIN: Final = 1.0
OPEN_S_MAX: Final = 3_600.0
"""Longest time for which it is opened at once, seconds; a person may open it again."""


class ServicePort:
    """Whether it is open, and until when."""

    def __init__(self) -> None:
        self._until_s: float | None = None

    def open(self, seconds: float, *, state: ClinicalState | None, now_s: float) -> None:
        """Open it, or open it for longer.

        Args:
            seconds: For how long, `OPEN_S_MIN` to `OPEN_S_MAX`.
            state: Clinical state now; None where nobody knows.
            now_s: Monotonic time, seconds.

        Raises:
            InputError: Another length.
            SafetyRefusal: The device is not in maintenance.
        """
        if not OPEN_S_MIN <= seconds <= OPEN_S_MAX:
            raise InputError(
                f"the service port is open for {OPEN_S_MIN:.0f} to {OPEN_S_MAX:.0f} seconds"
            )
        if state is not ClinicalState.MAINTENANCE:
            raise SafetyRefusal(
                "the service port is opened in maintenance only",
                hint="at the device: the key `maintenance`, with no patient attached",
            )
        self._until_s = now_s + seconds

    def left_s(self, *, now_s: float) -> float:
        """Return for how long it stays open, seconds; 0 where it is closed."""
        return 0.0 if self._until_s is None else max(0.0, self._until_s - now_s)

    def why_closed(self, *, state: ClinicalState | None, now_s: float) -> str | None:
        """Return once why it closes now; None where nothing changes."""
        if self._until_s is None:
            return None
        if state is not ClinicalState.MAINTENANCE:
            why = "the device is not in maintenance any more"
        elif now_s >= self._until_s:
            why = "its time is over"
        else:
            return None
        self._until_s = None
        return why

    def close(self) -> bool:
        """Close it; returns whether it was open."""
        was_open, self._until_s = self._until_s is not None, None
        return was_open
