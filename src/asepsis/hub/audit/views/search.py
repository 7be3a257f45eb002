"""Search of the log for its readers: a bounded look, page by page, in the order of the log."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from asepsis.core.errors import NotFound
from asepsis.hub.audit import log
from asepsis.hub.audit.views.acts import View, view

COUNT_MAX: Final = 500
LOOKED_MAX: Final = 20_000
"""Entries that one request looks at; the next page goes on behind them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is searched for; empty or None says nothing.

    Attributes:
        from_ns: Not before, nanoseconds since 1970.
        until_ns: Before this.
        agent: Name of who acted, whole.
        patient: `authority|value`, or the value alone.
        action: C, R, U, D or E.
        outcome: 0, 4 or 8.
    """

    from_ns: int = 0
    until_ns: int = (1 << 63) - 1
    agent: str = ""
    patient: str = ""
    action: str = ""
    outcome: int | None = None

    def takes(self, found: View) -> bool:
        """Whether an entry is searched for."""
        entry = found.entry
        return (
            self.from_ns <= entry.at_ns < self.until_ns
            and self.agent in ("", found.actor.name)
            and self.action in ("", found.kind.action)
            and (self.outcome is None or self.outcome == found.outcome)
            and (not self.patient or self._names(found))
        )

    def _names(self, found: View) -> bool:
        return any(self.patient in (p, p.rpartition("|")[2]) for p in found.patients)


@dataclass(frozen=True, slots=True)
class Page:
    """What was found.

    Attributes:
        views: Ascending by place.
        after: Where the next page begins; None at the end of the log.
    """

    views: list[View]
    after: int | None


def find(connection: Connection, wanted: Wanted, *, after: int, count: int) -> Page:
    """Return entries behind a place.

    Args:
        connection: A consistent view.
        wanted: Which.
        after: -1 for the start.
        count: At most so many, 1 to `COUNT_MAX`.

    Raises:
        SignatureInvalid: A sealed detail was changed.
    """
    found: list[View] = []
    return _collect(connection, found, wanted.takes, after=after, count=count)


def one(connection: Connection, index: int) -> View:
    """Return one entry.

    Raises:
        NotFound: The log has no such entry.
    """
    page = log.page(connection, after=index - 1, entries_max=1)
    if not page or page[0].index != index:
        raise NotFound("the audit log has no such entry")
    return view(page[0])


def _collect(
    connection: Connection,
    found: list[View],
    takes: Callable[[View], bool],
    *,
    after: int,
    count: int,
) -> Page:
    looked = 0
    while looked < LOOKED_MAX:
        entries = log.page(connection, after=after)
        if not entries:
            return Page(found, None)
        for entry in entries:
            after = entry.index
            looked += 1
            seen = view(entry)
            if takes(seen):
                found.append(seen)
                if len(found) == count:
                    return Page(found, after)
    return Page(found, after)
