"""What access needs from outside."""

from typing import Protocol

from sqlalchemy import Connection


class AuditWriter(Protocol):
    """Writes what was done in the same transaction; `asepsis.hub.audit.log.AuditLog` is one."""

    def note(
        self, connection: Connection, *, actor: str, action: str, subject: str, **detail: object
    ) -> int:
        """Write one entry; return its index."""
        ...
