"""What all acts of people have in common: one transaction, an audit entry, a look after it."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from asepsis.hub.audit.log import AuditLog
from asepsis.hub.fleet.ports import Releases
from asepsis.hub.store.store import Store

T = TypeVar("T")


class Acts:
    """Base of the use cases of people.

    Args:
        store: Where everything stands.
        audit: Gets an entry for each act.
        releases: What may be rolled out.
        wake: Called after an act, so that the engine looks at once.
    """

    def __init__(
        self,
        store: Store,
        *,
        audit: AuditLog,
        releases: Releases,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self.releases = releases
        self._audit = audit
        self.wake = wake

    async def done(self, work: Callable[[Connection], T]) -> T:
        """Run an act in one transaction; errors as `Store.write`."""
        found = await self.store.write(work)
        self.wake()
        return found

    def note(
        self, connection: Connection, action: str, subject: str, person: str, **detail: Any
    ) -> int:
        """Write the audit entry of an act; return its index."""
        return self._audit.note(
            connection, actor=f"person:{person}", action=action, subject=subject, **detail
        )
