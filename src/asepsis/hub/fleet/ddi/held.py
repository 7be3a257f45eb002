"""Targets in memory: a poll reads no database, however many targets there are.

What is held is the newest of what was asked for lately. A change by this hub drops its entry at
once; a change by another hub is seen by its number within `FOLLOW_S`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from asepsis.core.errors import RateLimited, TransientError
from asepsis.hub.fleet.ddi import records
from asepsis.hub.fleet.ddi.model import Action, Target
from asepsis.hub.fleet.ddi.records_actions import current_action
from asepsis.hub.store.store import Store

HELD_MAX: Final = 200_000
FOLLOW_S: Final = 1.0
SEEN_EVERY: Final = 10
"""How many rounds of `FOLLOW_S` pass until it is written down who asked last."""
SEEN_MAX: Final = 50_000
REQUESTS_PER_S: Final = 10.0
BURST: Final = 200.0
ANSWERS_MAX: Final = 4
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """A poll's answer, ready to be sent."""

    body: bytes
    etag: bytes


@dataclass(slots=True)
class Held:
    """One target with the action that it has to look at.

    Attributes:
        target: The target.
        action: What it has to look at, or None.
        answers: Ready answers of its poll, by authority and media type.
        until_ns: Wall time up to which they hold.
    """

    target: Target
    action: Action | None
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict[tuple[str, str], Answer])
    until_ns: int = 0
    _tokens: float = BURST
    _at_ns: int = 0

    def take(self, now_ns: int) -> None:
        """Count one request.

        Args:
            now_ns: Monotonic nanoseconds.

        Raises:
            RateLimited: The target asks too often.
        """
        refilled = (now_ns - self._at_ns) * REQUESTS_PER_S / _NS if self._at_ns else BURST
        self._tokens, self._at_ns = min(BURST, self._tokens + refilled), now_ns
        if self._tokens < 1:
            raise RateLimited("this target asks too often", hint="follow Retry-After")
        self._tokens -= 1

    def keep(self, key: tuple[str, str], answer: Answer, until_ns: int) -> None:
        """Keep a ready answer; few authorities are honest, so few are kept."""
        if len(self.answers) >= ANSWERS_MAX:
            self.answers.clear()
        self.answers[key] = answer
        self.until_ns = until_ns


class Targets:
    """What is held.

    Args:
        store: Where targets stand.
        clock: Wall time in nanoseconds since 1970.
    """

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._seen: dict[str, tuple[int, str]] = {}
        self._number = 0
        self.gateways: dict[str, str] = {}
        """Hash of a token -> name of its gateway."""

    def __len__(self) -> int:
        return len(self._held)

    async def get(self, name: str) -> Held | None:
        """Return a target, or None if there is none.

        Raises:
            Unavailable: It is not held and the state does not answer.
        """
        held = self._held.get(name)
        if held is not None:
            return held
        number = self._number
        found = await self._store.read(lambda connection: _read(connection, name))
        if found is not None and number == self._number:
            self._held[name] = found
            while len(self._held) > HELD_MAX:
                self._held.popitem(last=False)
        return found

    def drop(self, name: str) -> None:
        """Forget a target that has changed; the next request reads it anew."""
        self._held.pop(name, None)

    def seen(self, name: str, address: str) -> None:
        """Note that a target asked."""
        if name in self._seen or len(self._seen) < SEEN_MAX:
            self._seen[name] = (self._clock(), address)

    async def load(self) -> None:
        """Read what is needed before the first request."""
        self._number, _ = await self._store.read(lambda c: records.changed_since(c, 0))
        await self.load_gateways()

    async def load_gateways(self) -> None:
        """Read the gateways' tokens anew."""
        found = await self._store.read(records.read_gateways)
        self.gateways = {sha256: name for name, sha256, _, _ in found}

    async def follow(self) -> None:
        """Follow changes of other hubs and write down who asked last; runs until cancelled."""
        rounds = 0
        while True:
            await asyncio.sleep(FOLLOW_S)
            rounds += 1
            try:
                await self._look()
                if rounds % SEEN_EVERY == 0:
                    await self._write_seen()
            except TransientError:
                continue  # The state does not answer: what is held goes on being served.

    async def _look(self) -> None:
        before = self._number
        newest, names = await self._store.read(lambda c: records.changed_since(c, before))
        self._number = newest
        if names is None:
            self._held.clear()
        for name in names or ():
            self.drop(name)
        await self.load_gateways()

    async def _write_seen(self) -> None:
        seen, self._seen = self._seen, {}
        if seen:
            rows = [(name, at_ns, address) for name, (at_ns, address) in seen.items()]
            await self._store.write(lambda c: records.note_seen(c, rows))


def _read(connection: Connection, name: str) -> Held | None:
    target = records.read_target(connection, name)
    return None if target is None else Held(target, current_action(connection, name))
