"""Refused enrolments in the audit log; a flood must not fill the log that it wants to hide in."""

from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.core.trust.identity import Profile
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.store.store import Store

PER_MINUTE: Final = 60
"""Refusals a minute that get an entry of their own; the next entry counts the others."""
MINUTE_NS: Final = 60_000_000_000


class Refusals:
    """Writes refusals, at most `PER_MINUTE`.

    Args:
        store: Where the log stands.
        audit: Writes entries.
    """

    def __init__(self, store: Store, audit: AuditLog) -> None:
        self._store = store
        self._audit = audit
        self._since_ns = 0
        self._count = 0
        self._unwritten = 0

    async def note(self, error: AsepsisError, *, profile: Profile, actor: str) -> None:
        """Write one refusal, or count it."""
        now_ns = self._store.clock()
        if now_ns - self._since_ns >= MINUTE_NS:
            self._since_ns, self._count = now_ns, 0
        self._count += 1
        if self._count > PER_MINUTE:
            self._unwritten += 1
            return
        detail = {"profile": profile.value, "why": str(error), "unwritten": self._unwritten}
        self._unwritten = 0
        act = Act(actor=actor, action="enrol", subject="", outcome=error.code, detail=detail)
        await self._store.write(lambda connection: self._audit.record(connection, act))
