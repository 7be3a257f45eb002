"""Routes of the audit log on the people listener: entries, heads and proofs.

Hashes and signatures are hexadecimal. `docs/explanation/state.md` says how to check them.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from sqlalchemy import Connection

from asepsis.core.errors import InputError
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.audit import log
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.service import AuditService
from asepsis.hub.store.store import Store
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.routing import Route

JSON: Final = b"application/json"
DIGITS_MAX: Final = 18
PARAMETERS_MAX: Final = 8
T = TypeVar("T")


class AuditRoutes:
    """The handlers; one for a hub.

    Args:
        store: Where the log stands.
        audit: Has heads signed.
        log_: Gets an entry for each read.
    """

    def __init__(self, store: Store, audit: AuditService, *, log_: AuditLog) -> None:
        self._store = store
        self._audit = audit
        self._log = log_

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", "/api/audit", self._entries, Action.READ_AUDIT),
            Route("GET", "/api/audit/proof", self._inclusion, Action.READ_AUDIT),
            Route("GET", "/api/audit/consistency", self._consistency, Action.READ_AUDIT),
            Route("POST", "/api/audit/head", self._head, Action.READ_AUDIT),
        ]

    async def _entries(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?after=-1&limit=100`: entries ascending, the log's size and its newest signed head."""
        given = numbers(scope, after=-1, limit=100)
        principal: Principal = scope["asepsis.principal"]
        who = f"{principal.kind.value}:{principal.name}"
        await self._store.write(lambda c: log.note_read(c, self._log, reader=who))
        limit = max(1, min(given["limit"], log.PAGE_MAX))

        def read(connection: Connection) -> dict[str, Any]:
            newest = log.signed_heads(connection, last=1)
            return {
                "entries": log.page(connection, after=given["after"], entries_max=limit),
                "size": log.size(connection),
                "head": newest[0] if newest else None,
            }

        await self._answer(send, read)

    async def _inclusion(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?index=3&size=9`: the hashes that lead from an entry to the root of that size."""
        given = numbers(scope, index=-1, size=-1)

        def read(connection: Connection) -> dict[str, Any]:
            size = given["size"] if given["size"] >= 0 else log.size(connection)
            proof = log.inclusion(connection, given["index"], count=size)
            return {
                "index": given["index"],
                "size": size,
                "proof": [digest.hex() for digest in proof],
                "root": log.root(connection, size).hex(),
            }

        await self._answer(send, read)

    async def _consistency(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?first=4&second=9`: the hashes that lead from an older root to a newer one."""
        given = numbers(scope, first=-1, second=-1)

        def read(connection: Connection) -> dict[str, Any]:
            proof = log.consistency(connection, given["first"], given["second"])
            return given | {"proof": [digest.hex() for digest in proof]}

        await self._answer(send, read)

    async def _head(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Have the present state signed now."""
        head = await self._audit.sign_head()
        await answer(send, 200, msgspec.json.encode(head), media=JSON)

    async def _answer(self, send: Send, read: Callable[[Connection], T]) -> None:
        found = await self._store.read(read)
        await answer(send, 200, msgspec.json.encode(found), media=JSON)


def numbers(scope: Scope, **defaults: int) -> dict[str, int]:
    """Return integer query parameters.

    Args:
        scope: The request's scope.
        defaults: Parameter -> value if it is absent.

    Raises:
        InputError: Another parameter, one given twice, or not an integer.
    """
    query: bytes = scope["query_string"]
    found = dict(defaults)
    try:
        given = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query),
            max_num_fields=PARAMETERS_MAX,
        )
        for name, value in given:
            if name not in defaults or len(value) > DIGITS_MAX:
                raise InputError(f"the parameters are {', '.join(defaults)}")
            found[name] = int(value)
    except ValueError as error:
        raise InputError("a parameter is not a number") from error
    return found
