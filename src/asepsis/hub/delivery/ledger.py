"""How far a destination is: which records are dealt with, and what was done ahead of them. Pure.

A record is dealt with once everything that routes made of it is accepted, or is a dead letter. The
durable cursor stands before the first record that is not. What was accepted behind it is remembered
by its key, so that a hub that dies does not send it twice.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from asepsis.core.model.lanes import Lane

AHEAD_MAX: Final = 50_000
"""Keys remembered ahead of the cursor; beyond them a restart may send something twice."""

_UNNAMED: Final = frozenset((Lane.MESSAGE, Lane.IMAGE_INDEX))
"""Lanes that are the only one of their lines: keys do not name them."""


class Ledger:
    """The account of one destination.

    Args:
        position: The durable cursor.
        ahead: Keys that were accepted behind it.
    """

    def __init__(self, position: int, ahead: Iterable[str] = ()) -> None:
        self.committed = position
        self._open: deque[int] = deque()
        self._count: dict[int, int] = {}
        self._ahead = dict.fromkeys(ahead)
        self._reached = position

    @property
    def ahead(self) -> tuple[str, ...]:
        """Keys accepted behind the cursor."""
        return tuple(self._ahead)

    def knows(self, key: str) -> bool:
        """Say whether an item was accepted before."""
        return key in self._ahead

    def read(self, position: int, items: int) -> None:
        """Note that a record was read and what routes made of it.

        Args:
            position: Of the record, ascending.
            items: How many messages of it are on their way; 0 if there is nothing to send.
        """
        self._open.append(position)
        self._count[position] = items

    def add(self, position: int, items: int) -> None:
        """Note further messages of the record that was read last."""
        self._count[position] += items

    def settle(self, keys: Iterable[str]) -> None:
        """Note that messages are accepted, or that somebody else answers for them now."""
        for key in keys:
            position = position_of(key)
            if position in self._count:
                self._count[position] -= 1
                if len(self._ahead) < AHEAD_MAX:
                    self._ahead[key] = None

    def reach(self) -> int:
        """Return up to where everything is dealt with."""
        while self._open and not self._count[self._open[0]]:
            self._reached = self._open.popleft()
            del self._count[self._reached]
        return self._reached

    def moved(self, position: int) -> None:
        """Note that the cursor is durable there; forget what it passed."""
        self.committed = position
        passed = [key for key in self._ahead if position_of(key) <= position]
        for key in passed:
            del self._ahead[key]


def key_of(position: int, lane: Lane, *place: int) -> str:
    """Return the key of an item: of which record of which lane, and where in it."""
    parts = [str(position), *map(str, place)]
    return ".".join(parts if lane in _UNNAMED else [*parts, lane.value])


def lane_of(key: str, lanes: Sequence[Lane]) -> Lane:
    """Return the lane of an item's key: the one that it names, or the first of its line."""
    word = key.rpartition(".")[2]
    return next((lane for lane in lanes if lane.value == word), lanes[0])


def position_of(key: str) -> int:
    """Return the position of the record that an item's key begins with."""
    return int(key.partition(".")[0])
