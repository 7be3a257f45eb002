"""Watches the waveform of a running device, as one more reader of its vitals ring."""

import os
from collections import deque
from itertools import pairwise
from typing import Final

from asepsis.edge.device import records
from asepsis.edge.device.rings import Feed
from asepsis.edge.sandbox.ring import RingReader

BLOCKS_KEPT: Final = 1_200
"""Two minutes of blocks."""


class Wave:
    """When vitals measured which block of samples, by its own monotonic clock.

    Resource handling: maps a ring until `close`.
    """

    def __init__(self) -> None:
        self._feed: Feed | None = None
        self._reader: RingReader | None = None
        self._blocks: deque[int] = deque(maxlen=BLOCKS_KEPT)

    @property
    def newest_ns(self) -> int:
        """When the last block was measured; 0 before the first."""
        return self._blocks[-1] if self._blocks else 0

    def follow(self, feed: Feed | None) -> None:
        """Read what was measured since the last call; `feed` is the newest vitals ring."""
        if feed is not None and feed is not self._feed:
            self._read()  # The last words of the writer before this one.
            self.close()
            self._reader = RingReader(os.dup(feed.readable))
            self._feed = feed
        self._read()

    def blocks(self, since_ns: int, until_ns: int) -> int:
        """Return how many blocks were measured between two instants."""
        return sum(since_ns <= at_ns <= until_ns for at_ns in self._blocks)

    def longest_ms(self, since_ns: int, until_ns: int) -> float:
        """Return the longest time between two blocks that overlaps a span of time, milliseconds.

        A block stands for 100 ms, so that is the least.
        """
        gaps = (
            after_ns - before_ns
            for before_ns, after_ns in pairwise(self._blocks)
            if after_ns > since_ns and before_ns < until_ns
        )
        return round(max(gaps, default=0) / 1e6, 1)

    def close(self) -> None:
        """Let go of the ring; what was seen is kept."""
        if self._reader:
            self._reader.close()
        self._reader = None

    def _read(self) -> None:
        while self._reader and (found := self._reader.read().records):
            for _, payload in found:
                record = records.decode(payload)
                if record.samples:
                    self._blocks.append(record.monotonic_ns)
