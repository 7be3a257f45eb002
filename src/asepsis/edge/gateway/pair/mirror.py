"""Tells the other gateway what is at risk; a thread of the uplink, which has the way there.

What the other gateway could not be told stays in memory and is told first once it is back.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from asepsis.core.errors import TransientError
from asepsis.edge.gateway.pair.link import LinkClient, frames_of
from asepsis.edge.gateway.pair.listing import Entry

UNTOLD_MAX: Final = 200_000
"""Entries that wait for the other gateway; beyond it the oldest are forgotten."""
RETRY_S: Final = 1.0
Told = Callable[[int, bool], None]


class Mirror(threading.Thread):
    """Background thread of the uplink.

    Args:
        link: To the other gateway.
        told: Given a question's number and whether the other gateway has its entries; called in
            this thread.
    """

    def __init__(self, link: LinkClient, told: Told) -> None:
        super().__init__(name="uplink-mirror", daemon=True)
        self._link = link
        self._told = told
        self._asked: queue.SimpleQueue[tuple[int, Sequence[Entry]] | None] = queue.SimpleQueue()
        self._untold: deque[Entry] = deque(maxlen=UNTOLD_MAX)
        self._retry_s = 0.0

    def ask(self, number: int, entries: Sequence[Entry]) -> None:
        """Have entries told; returns at once."""
        self._asked.put((number, entries))

    def close(self) -> None:
        """End the thread."""
        self._asked.put(None)

    def run(self) -> None:
        """Tell until closed."""
        while True:
            try:
                first = self._asked.get(timeout=RETRY_S)
            except queue.Empty:
                if self._untold:
                    self._tell()
                continue
            taken = [first]
            while not self._asked.empty():
                taken.append(self._asked.get())
            numbers: list[int] = []
            for one in taken:
                if one is None:
                    self._link.close()
                    return
                numbers.append(one[0])
                self._untold.extend(one[1])
            done = self._tell()
            for number in numbers:
                self._told(number, done)

    def _tell(self) -> bool:
        """Tell everything that waits; return whether the other gateway has it."""
        if time.monotonic() < self._retry_s:
            return False
        try:
            for frame in frames_of(list(self._untold)):
                if not self._link.ask(frame).done:
                    raise TransientError("the other gateway cannot keep the list")  # noqa: TRY301
        except TransientError:
            self._retry_s = time.monotonic() + RETRY_S
            return False
        self._untold.clear()
        return True
