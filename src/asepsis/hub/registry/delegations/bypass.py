"""The direct route around a gateway for a downtime: two people, an end, and a place in the log.

The hub opens nothing: devices that must go on while their gateway cannot are pointed past it by
hand. What the hub does is to have two people say so, tell everybody, and remember it. The audit
log is where a proposal stands, so there is nothing besides it that could be forged.
"""

from typing import Annotated, Any, Final, cast

import msgspec
from sqlalchemy import Connection

from asepsis.core.errors import Conflict, InputError, NotFound, NotPermitted
from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.audit import log
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.registry.delegations.service import DelegationService
from asepsis.hub.registry.service import RegistryService
from asepsis.hub.store.store import Store
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.bodies import bounded_body, require_media
from asepsis.hub.web.documents import send_document
from asepsis.hub.web.routing import Route

PROPOSED: Final = "propose-bypass"
OPENED: Final = "open-bypass"
SECOND_PERSON_NS: Final = 15 * 60 * 10**9
"""How long a proposal waits for the second person."""
MINUTE_NS: Final = 60 * 10**9
BODY_BYTES_MAX: Final = 16_384
ROUTES_MAX: Final = 256
LOOKED_MAX: Final = 2_000
"""Entries after the proposal in which an earlier confirmation is looked for."""


class ProposeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a proposal.

    Attributes:
        gateway: Which gateway is gone around.
        routes: Who goes where, a line each.
        minutes: How long, 1 to 1 440.
        reason: Why.
    """

    gateway: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    routes: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=200)], ...],
        msgspec.Meta(min_length=1, max_length=ROUTES_MAX),
    ]
    minutes: Annotated[int, msgspec.Meta(ge=1, le=1_440)]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


_PROPOSE: Final = msgspec.json.Decoder(ProposeBody)


class BypassRoutes:
    """The handlers; one for a hub.

    Args:
        store: Where the log stands.
        audit: Writes entries.
        registry: Raises the technical alarm.
        delegations: Knows what a gateway is.
    """

    def __init__(
        self,
        store: Store,
        *,
        audit: AuditLog,
        registry: RegistryService,
        delegations: DelegationService,
    ) -> None:
        self._store = store
        self._audit = audit
        self._registry = registry
        self._delegations = delegations

    def routes(self) -> list[Route]:
        """Return the routes of the people listener."""
        return [
            Route("POST", "/api/bypasses", self._propose, Action.OPEN_BYPASS),
            Route("POST", "/api/bypasses/{id}/confirm", self._confirm, Action.OPEN_BYPASS),
        ]

    async def _propose(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The first person says what is gone around, for how long and why."""
        require_media(scope, "application/json")
        raw = await bounded_body(receive, BODY_BYTES_MAX, scope=scope)
        try:
            body = _PROPOSE.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"the body is not as it must be: {error}") from error
        await self._delegations.check_gateways(body.gateway)

        def work(connection: Connection) -> int:
            return self._audit.note(
                connection,
                actor=_actor(scope),
                action=PROPOSED,
                subject=body.gateway,
                routes=list(body.routes),
                minutes=body.minutes,
                reason=body.reason,
            )

        index = await self._store.write(work)
        await send_document(send, {"id": index, "wait_s": SECOND_PERSON_NS // 10**9})

    async def _confirm(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """A second person confirms; from then on it is open, and everybody is told."""
        index = _index(scope)
        person = _actor(scope)
        opened = await self._store.write(lambda c: self._open(c, index, person))
        await self._registry.raise_alarm(
            opened["gateway"],
            code="gateway-bypassed",
            text=f"devices go around this gateway for {opened['minutes']} minutes",
            until_ns=opened["until_ns"],
        )
        await send_document(send, opened)

    def _open(self, connection: Connection, index: int, person: str) -> dict[str, Any]:
        """Write that a bypass is open.

        Raises:
            NotFound: No such proposal.
            NotPermitted: The same person again.
            Conflict: It waited too long, or is open already.
        """
        found = log.page(connection, after=index - 1, entries_max=LOOKED_MAX)
        if not found or found[0].index != index or found[0].action != PROPOSED:
            raise NotFound("there is no such proposal")
        proposal, later = found[0], found[1:]
        if proposal.actor == person:
            raise NotPermitted("a second person must confirm")
        now_ns = self._store.clock()
        wanted = cast("dict[str, Any]", msgspec.json.decode(proposal.detail))
        if now_ns - proposal.at_ns > SECOND_PERSON_NS:
            raise Conflict("the proposal waited too long", hint="propose it again")
        if any(e.action == OPENED and _proposal_of(e.detail) == index for e in later):
            raise Conflict("this bypass is open already")
        opened = {
            "gateway": proposal.subject,
            "routes": wanted["routes"],
            "minutes": wanted["minutes"],
            "until_ns": now_ns + wanted["minutes"] * MINUTE_NS,
        }
        self._audit.note(
            connection,
            actor=person,
            action=OPENED,
            subject=proposal.subject,
            proposal=index,
            proposed_by=proposal.actor,
            routes=wanted["routes"],
            until_ns=opened["until_ns"],
        )
        return opened


def _proposal_of(detail: str) -> object:
    return cast("dict[str, Any]", msgspec.json.decode(detail)).get("proposal")


def _actor(scope: Scope) -> str:
    principal = cast("Principal", scope["asepsis.principal"])
    return f"{principal.kind.value}:{principal.name}"


def _index(scope: Scope) -> int:
    text: str = scope["asepsis.path_params"]["id"]
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound("there is no such proposal")
    return int(text)
