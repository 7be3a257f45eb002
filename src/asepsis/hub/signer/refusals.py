"""Writes refusals down and turns them into alarms, without letting a flood fill the disk."""

from collections.abc import Mapping
from typing import Final, Protocol

from asepsis.core import errors
from asepsis.hub.signer import entries
from asepsis.hub.signer.rates import MINUTE_NS

WRITTEN_PER_MINUTE: Final = 300
"""Refusals written one by one in a minute; further ones are counted."""
COUNTED_PER_ENTRY: Final = 100
"""Counted refusals after which their number is written."""
ALARMS_PER_MINUTE: Final = 30
TEXT_CHARS_MAX: Final = 300
_ALARM_CODES: Final[Mapping[type[errors.AsepsisError], str]] = {
    errors.IssuanceRefused: "issuance-refused",
    errors.RateLimited: "rate-exceeded",
    errors.NotAuthenticated: "token-refused",
    errors.IdentityRevoked: "revoked-identity-asks",
    errors.IdentityInvalid: "foreign-certificate",
    errors.NotPermitted: "foreign-process",
    errors.Conflict: "audit-log-rewound",
    errors.LimitExceeded: "oversized-request",
}


class _Append(Protocol):
    def __call__(self, *batch: entries.AnyEntry) -> None: ...


class Refusals:
    """Keeps the book of what was refused.

    Args:
        append: Writes entries durably.
    """

    def __init__(self, append: _Append) -> None:
        self._append = append
        self._minute: int = 0
        self._written = 0
        self._alarms: set[tuple[str, str]] = set()
        self.pending = 0

    def note(self, error: errors.AsepsisError, *, request: str, name: str, now_ns: int) -> None:
        """Log one refusal; raise an alarm unless the same one was raised this minute."""
        if isinstance(error, errors.Unavailable):
            return  # The disk takes nothing, so this would not be written either.
        self._turn_minute(now_ns)
        batch: list[entries.AnyEntry] = []
        if self._written < WRITTEN_PER_MINUTE:
            self._written += 1
            text = str(error)[:TEXT_CHARS_MAX]
            batch.append(entries.Denied(request=request, code=error.code, message=text, name=name))
        else:
            self.pending += 1
        batch.extend(self._alarm(error, name=name))
        if self.pending >= COUNTED_PER_ENTRY:
            batch.append(self._count())
        if batch:
            self._append(*batch)

    def _turn_minute(self, now_ns: int) -> None:
        minute = now_ns // MINUTE_NS
        if minute == self._minute:
            return
        self._minute, self._written = minute, 0
        self._alarms.clear()
        if self.pending:
            self._append(self._count())

    def _count(self) -> entries.DeniedMore:
        count, self.pending = self.pending, 0
        return entries.DeniedMore(count=count)

    def _alarm(self, error: errors.AsepsisError, *, name: str) -> list[entries.AnyEntry]:
        code = next((c for kind, c in _ALARM_CODES.items() if isinstance(error, kind)), "")
        if not code or (code, name) in self._alarms or len(self._alarms) >= ALARMS_PER_MINUTE:
            return []
        self._alarms.add((code, name))
        return [entries.Alarmed(code=code, text=str(error)[:TEXT_CHARS_MAX], name=name)]
