"""The other gateway, as the keeper of a spool sees it: told what is at risk before it is said.

The keeper asks through its uplink and waits `WAIT_S` at most; a gateway whose partner is gone still
acknowledges, and says that the list is short.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.pair.listing import ENTRIES_MAX, Entry, RiskList, digest_of

WAIT_S: Final = 1.0
_CHARS_MAX: Final = 1_000
Done = Callable[[bool], None]


class Others:
    """In the keeper's one thread.

    Args:
        loop: The loop.
        ask: Has entries told to the other gateway, under a number.
        listed: What the other gateway acknowledged on its own disk, as it was when this one began.
        again: Where to write what of that comes here once more.
        findings: Told when that cannot be written.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        ask: Callable[[int, Sequence[Entry]], None],
        listed: RiskList,
        again: Path,
        findings: Findings,
    ) -> None:
        self._loop = loop
        self._ask = ask
        self._again = again
        self._findings = findings
        self._expected = {entry.digest for entry in listed.read()}
        self._collected: list[tuple[Entry, Done]] = []
        self._asked: dict[int, list[Done]] = {}
        self._number = 0

    def tell(self, entry: Entry, done: Done) -> None:
        """Tell the other gateway with all else of this turn; `done` hears whether it knows."""
        if not self._collected:
            self._loop.call_soon(self._flush)
        self._collected.append((entry, done))
        if len(self._collected) >= ENTRIES_MAX:
            self._flush()

    def answered(self, number: int, *, done: bool) -> None:
        """The uplink has the other gateway's answer, or gave it up."""
        for told in self._asked.pop(number, ()):
            told(done)

    def stored(self, body: bytes) -> None:
        """A message is durable here: if it was at risk there, it is so no more."""
        if not self._expected:
            return
        digest = digest_of(body)
        if digest in self._expected:
            self._expected.discard(digest)
            try:
                with self._again.open("a", encoding="ascii") as file:
                    file.write(digest + "\n")
            except OSError as error:
                # Then the list names a message too many, never one too few.
                self._findings.note(Finding.SPOOL, "pair", code=error.errno)

    def _flush(self) -> None:
        collected, self._collected = self._collected, []
        if not collected:
            return
        self._number += 1
        number = self._number
        self._asked[number] = [done for _, done in collected]
        self._ask(number, [entry for entry, _ in collected])
        self._loop.call_later(WAIT_S, partial(self.answered, number, done=False))


def entry_of(identity: bytes, received_ns: int, place: tuple[int, int], body: bytes) -> Entry:
    """Return the line of one message.

    Args:
        identity: MSH-3, MSH-4 and MSH-10, separated by CR.
        received_ns: Wall time of arrival.
        place: Epoch and sequence of its group.
        body: Its bytes.
    """
    words = [part.decode("utf-8", "replace")[:_CHARS_MAX] for part in identity.split(b"\r")]
    application, facility, control = (*words, "", "", "")[:3]
    return Entry(application, facility, control, received_ns, *place, digest_of(body))
