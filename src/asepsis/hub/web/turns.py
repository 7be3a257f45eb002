"""Turns: requests that can wait begin a few at a time; urgent ones never wait behind a crowd.

All connections share one event loop. Without turns a loop that finds a thousand requests begins a
thousand handlers before it looks again, and an alarm that comes then waits for them all. Here a
request that can wait begins at once while the turns of the loop are short; else it stands in line,
first come first served, and the number that begins in one turn follows what the last turn cost.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

TURN_S: Final = 0.015
"""What one turn of the event loop should cost at most, in processor time."""
STARTS_MIN: Final = 2
STARTS_MAX: Final = 64


class Turns:
    """Begins what can wait.

    Args:
        loop: Whose turns.
        cpu: Processor time of the loop's thread, in seconds: a busy machine is no reason to make
            peers wait longer still.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._loop = loop
        self._cpu = cpu
        self._waiting: deque[Callable[[], None]] = deque()
        self._most = float(STARTS_MAX)
        self._begun = 0
        self._turning = False
        self._cpu_s = 0.0

    def __len__(self) -> int:
        """Return how many stand in line."""
        return len(self._waiting)

    def begin(self, start: Callable[[], None]) -> None:
        """Call `start` now, or when it is its turn; connections bound how many can wait."""
        if not self._turning:
            self._turn_soon()
        if self._waiting or self._begun >= self._most:
            self._waiting.append(start)
            return
        self._begun += 1
        start()

    def _turn_soon(self) -> None:
        self._turning = True
        self._begun = 0
        self._cpu_s = self._cpu()
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        if self._cpu() - self._cpu_s > TURN_S:
            self._most = max(STARTS_MIN, self._most * 0.7)
        else:
            self._most = min(STARTS_MAX, self._most + 1)
        if not self._waiting:
            self._turning = False
            return
        self._turn_soon()
        while self._waiting and self._begun < self._most:
            self._begun += 1
            self._waiting.popleft()()
