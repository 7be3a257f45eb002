"""Routes of witnesses: on the clinical listener what they see and sign, to people what was signed.

Hashes, keys and signatures are hexadecimal; certificates are base64.
"""

import base64
from collections.abc import Callable
from typing import Annotated, Any, Final, Protocol, cast

import msgspec
from sqlalchemy import Connection

from asepsis.core.trust import merkle
from asepsis.core.trust.answers import Authorities
from asepsis.core.trust.witness import CoSignature
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.audit import log, witnesses
from asepsis.hub.audit.http import numbers
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.service import AuditService
from asepsis.hub.store.store import Store
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.documents import read_document
from asepsis.hub.web.routing import Route

JSON: Final = b"application/json"
OCTETS: Final = b"application/octet-stream"
BODY_BYTES_MAX: Final = 2_048
Digits = Annotated[str, msgspec.Meta(max_length=400, pattern="^([0-9a-f]{2})+$")]


class CoSignatureBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a witness brings."""

    key: Digits
    size: Annotated[int, msgspec.Meta(ge=1, le=merkle.SIZE_MAX)]
    root: Digits
    at_ns: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    signature: Digits


class KnowsAuthorities(Protocol):
    """Tells the hospital's certificates; `asepsis.hub.keys.SignerClient` is one."""

    async def authorities(self) -> Authorities:
        """Return them."""
        ...


class WitnessRoutes:
    """The handlers.

    Args:
        store: Where the log stands.
        audit: Writes what was done.
        signer: Tells the certificate of the audit key.
        heads: Has the first head signed, should a witness ask before there is one.
    """

    def __init__(
        self, store: Store, audit: AuditLog, signer: KnowsAuthorities, *, heads: AuditService
    ) -> None:
        self._store = store
        self._audit = audit
        self._signer = signer
        self._service = heads

    def clinical(self) -> list[Route]:
        """Return the routes of machines."""
        return [
            Route("GET", "/audit/head", self._head, Action.WITNESS_AUDIT),
            Route("GET", "/audit/leaves", self._leaves, Action.WITNESS_AUDIT),
            Route("POST", "/audit/cosignatures", self._take, Action.WITNESS_AUDIT),
        ]

    def people(self) -> list[Route]:
        """Return the routes of people."""
        return [
            Route("GET", "/api/audit/leaves", self._told_leaves, Action.READ_AUDIT),
            Route("GET", "/api/audit/heads", self._heads, Action.READ_AUDIT),
            Route("GET", "/api/audit/witnesses", self._known, Action.READ_AUDIT),
            Route("POST", "/api/audit/witnesses/end", self._end, Action.REVOKE_DEVICE),
        ]

    async def _head(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?seen=0`: the newest signed head, and the proof that it grew out of that size."""
        seen = numbers(scope, seen=0)["seen"]
        known = await self._signer.authorities()
        if not await self._store.read(lambda c: log.signed_heads(c, last=1)):
            await self._service.sign_head()
        head, proof = await self._store.read(lambda c: witnesses.growth(c, seen))
        chain = witnesses.chain(known.audit_der, known.chain_der[:-1])
        said = {
            "head": head,
            "proof": [digest.hex() for digest in proof],
            "chain": [base64.b64encode(one).decode() for one in chain],
        }
        await answer(send, 200, msgspec.json.encode(said), media=JSON)

    async def _leaves(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?first=0&count=100`: leaf hashes, 32 bytes each."""
        given = numbers(scope, first=0, count=1)
        found = await self._store.read(
            lambda c: witnesses.leaves(c, first=given["first"], count=given["count"])
        )
        await answer(send, 200, found, media=OCTETS)

    async def _told_leaves(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?first=0&count=100`: the same in base64, as everything is JSON on this listener."""
        given = numbers(scope, first=0, count=1)
        found = await self._store.read(
            lambda c: witnesses.leaves(c, first=given["first"], count=given["count"])
        )
        said = {"first": given["first"], "leaves": base64.b64encode(found).decode()}
        await answer(send, 200, msgspec.json.encode(said), media=JSON)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a cosignature."""
        body = await read_document(scope, receive, CoSignatureBody, bytes_max=BODY_BYTES_MAX)
        who = cast("Principal", scope["asepsis.principal"])
        given = CoSignature(
            size=body.size,
            root=bytes.fromhex(body.root),
            at_ns=body.at_ns,
            signature=bytes.fromhex(body.signature),
        )
        await self._store.write(
            lambda c: witnesses.take(
                c,
                self._audit,
                given,
                name=who.name,
                kind=who.kind.value,
                spki_der=bytes.fromhex(body.key),
                now_ns=self._store.clock(),
            )
        )
        await answer(send, 204, b"", media=JSON)

    async def _heads(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """What witnesses signed."""
        await self._say(send, lambda c: {"cosignatures": witnesses.signed(c)})

    async def _known(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Who witnesses, with the audit key of now."""
        known = await self._signer.authorities()
        audit = base64.b64encode(known.audit_der).decode()
        await self._say(
            send, lambda c: {"witnesses": witnesses.known(c), "audit_certificate": audit}
        )

    async def _end(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forget a witness's key."""
        body = await read_document(scope, receive, EndBody, bytes_max=BODY_BYTES_MAX)
        who = cast("Principal", scope["asepsis.principal"])
        actor = f"{who.kind.value}:{who.name}"
        await self._store.write(
            lambda c: witnesses.end(c, self._audit, name=body.name, actor=actor)
        )
        await answer(send, 204, b"", media=JSON)

    async def _say(self, send: Send, read: Callable[[Connection], Any]) -> None:
        found = await self._store.read(read)
        await answer(send, 200, msgspec.json.encode(found), media=JSON)


class EndBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which witness."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
