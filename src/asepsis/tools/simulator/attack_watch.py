"""Watches the waveform of a device while somebody attacks it, and says how long it stood still."""

import time
from dataclasses import dataclass
from typing import Any, Final

from asepsis.edge.device.rings import Feed
from asepsis.tools.attack.wave import Wave

PEACE_NS: Final = 10 * 10**9
"""How far back the waveform before the attack is looked at."""


@dataclass(frozen=True, slots=True)
class _Tried:
    name: str
    round: int
    since_ns: int
    until_ns: int


class AttackWatch:
    """Follows the waveform all the time, and notes attacks between `begin` and `end`.

    Resource handling: maps a ring until `close`.
    """

    def __init__(self) -> None:
        self._wave = Wave()
        self._tried: list[_Tried] = []
        self._rounds = 0
        self._starts = 0
        self._began_ns = self._last_ns = self._over_ns = 0

    def begin(self, *, starts: int) -> None:
        """Somebody gets in; `starts` are those of vitals."""
        self._last_ns = time.monotonic_ns()
        if not self._rounds:
            self._began_ns, self._starts = self._last_ns, starts
        self._rounds += 1

    def note(self, name: str) -> None:
        """He has tried something; it lasted from the last note on."""
        now_ns = time.monotonic_ns()
        self._tried.append(_Tried(name, self._rounds, self._last_ns, now_ns))
        self._last_ns = now_ns

    def end(self) -> None:
        """He is put out; `look` tells what came of it once the next block is there."""
        self._over_ns = time.monotonic_ns()

    def look(self, feed: Feed | None, *, starts: int) -> dict[str, Any] | None:
        """Follow the waveform.

        Args:
            feed: The newest vitals ring.
            starts: Starts of vitals.

        Returns:
            Once, after `end`: what came of it.
        """
        self._wave.follow(feed)
        if not self._over_ns or self._wave.newest_ns <= self._over_ns:
            return None
        told = {
            "gaps_ms": [
                [one.round, one.name, self._wave.longest_ms(one.since_ns, one.until_ns)]
                for one in self._tried
            ],
            "gap_ms": self._wave.longest_ms(self._began_ns, self._over_ns),
            "peace_ms": self._wave.longest_ms(self._began_ns - PEACE_NS, self._began_ns),
            "starts_of_vitals": starts - self._starts,
        }
        self._over_ns = self._rounds = 0
        self._tried.clear()
        return told

    def close(self) -> None:
        """Let go."""
        self._wave.close()
