"""What the hub has asked and waits for: one question a device, answered once, soon, or never.

Belongs to one event loop. Nothing is kept over a restart: a device then asks to be asked anew.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from asepsis.core.errors import Conflict, RateLimited

WAIT_NS: Final = 60 * 10**9
"""How long a question waits for its answer."""
WAITING_MAX: Final = 20_000
"""Questions at one time; a hospital has fewer devices."""
T = TypeVar("T")


@dataclass(slots=True)
class Questions(Generic[T]):
    """Open questions of one kind.

    Attributes:
        monotonic: Monotonic clock, nanoseconds.
    """

    monotonic: Callable[[], int]
    _open: dict[str, tuple[T, int]] = field(default_factory=dict[str, tuple[T, int]])

    def ask(self, device: str, question: T) -> None:
        """Ask; an older question to the same device is void.

        Raises:
            RateLimited: Too many questions are open.
        """
        now_ns = self.monotonic()
        if len(self._open) >= WAITING_MAX:
            self._open = {d: q for d, q in self._open.items() if q[1] > now_ns}
        if len(self._open) >= WAITING_MAX:
            raise RateLimited("too many devices are asked at once")
        self._open[device] = question, now_ns + WAIT_NS

    def take(self, device: str) -> T:
        """Return the open question of a device; it is closed by this, whatever the answer is.

        Raises:
            Conflict: None is open: never asked, answered already, or too late.
        """
        found = self._open.pop(device, None)
        if found is None or found[1] <= self.monotonic():
            raise Conflict("nothing was asked, or too long ago", hint="ask for a question first")
        return found[0]
