"""One order for the late lane, whose records lie in two files.

Late origin batches must be stored with the account of the signed lanes and late waveform packets
with that of the waveform lane, each in one transaction of its own file. Both take positions from
here, and readers see the lane only up to the lowest position that is not settled yet: a reader
that has passed a position never finds a lower one afterwards.
"""

import threading


class LateOrder:
    """Gives positions of the late lane to both writers.

    Args:
        last: Highest position ever stored in either file, 0 if none.
    """

    def __init__(self, last: int) -> None:
        self._lock = threading.Lock()
        self._next = last + 1
        self._open: dict[str, int] = {}

    def take(self, part: str) -> int:
        """Return the next position for the writer of `part`, open until it settles."""
        with self._lock:
            position = self._next
            self._next += 1
            self._open.setdefault(part, position)
            return position

    def settle(self, part: str) -> None:
        """Say that the group of `part` is durable, or will never be."""
        with self._lock:
            self._open.pop(part, None)

    def is_open(self, part: str) -> bool:
        """Return whether the group of `part` has taken positions and is not settled."""
        with self._lock:
            return part in self._open

    def visible(self) -> int:
        """Return the highest position up to which everything is settled."""
        with self._lock:
            return min(self._open.values(), default=self._next) - 1
