"""Which connections bear whose credential, so that the end of a credential ends them at once.

A browser's connection carries one request at a time, so whatever it carries now, a stream above
all, is of the credential that it showed last.
"""

from collections.abc import Callable
from typing import Protocol


class Bearer(Protocol):
    """A connection as this register uses it; `hub.web.registry.Connection` is one."""

    def close(self) -> None:
        """End it at once."""
        ...

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back when it has ended."""
        ...


class HeldConnections:
    """Connections by credential: `session:<id>` or `token:<id>`, and by the person behind it."""

    def __init__(self) -> None:
        self._of: dict[str, set[Bearer]] = {}
        self._borne: dict[Bearer, tuple[str, str]] = {}

    def note(self, connection: Bearer, *, credential: str, person: str) -> None:
        """Remember what a connection showed last; forgotten when it ends."""
        keys = (credential, _person(person))
        if self._borne.get(connection) == keys:
            return
        if connection in self._borne:
            self._drop(connection)
        else:
            connection.on_close(lambda: self._drop(connection))
        self._borne[connection] = keys
        for key in keys:
            self._of.setdefault(key, set()).add(connection)

    def credentials(self) -> set[str]:
        """Return the credentials that open connections bear."""
        return {credential for credential, _ in self._borne.values()}

    def end(self, credential: str, *, besides: Bearer | None = None) -> int:
        """End the connections of a credential; return how many there were.

        Args:
            credential: `session:<id>` or `token:<id>`.
            besides: One that may still carry the answer to who asked for the end.
        """
        return self._end(credential, besides)

    def end_person(self, person: str, *, besides: Bearer | None = None) -> int:
        """End the connections of everything that a person holds; return how many there were."""
        return self._end(_person(person), besides)

    def __len__(self) -> int:
        return len(self._borne)

    def _end(self, key: str, besides: Bearer | None) -> int:
        ended = [each for each in self._of.get(key, ()) if each is not besides]
        for each in ended:
            each.close()
        return len(ended)

    def _drop(self, connection: Bearer) -> None:
        for key in self._borne.pop(connection, ()):
            same = self._of[key]
            same.discard(connection)
            if not same:
                del self._of[key]


def _person(name: str) -> str:
    return f"person:{name}"
