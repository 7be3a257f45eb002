"""Routes of delegations: what people decide, and what gateways report."""

from typing import Annotated, Any, Final, cast

import msgspec

from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.registry.delegations.lines import SourceKind
from asepsis.hub.registry.delegations.service import SEEN_MAX, DelegationService, Seen
from asepsis.hub.registry.rules import DECLARATION_DAYS_DEFAULT
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.documents import read_document, send_document
from asepsis.hub.web.routing import Route

BODY_BYTES_MAX: Final = 524_288


class SourceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body that names a gateway as a source.

    Attributes:
        kind: Of what.
        days: How long, 1 to 1 096.
        partner: The other gateway of its pair; empty for none.
    """

    kind: SourceKind
    days: Annotated[int, msgspec.Meta(ge=1, le=1_096)] = DECLARATION_DAYS_DEFAULT
    partner: Annotated[str, msgspec.Meta(max_length=NAME_CHARS_MAX)] = ""


class KindBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body that ends a source."""

    kind: SourceKind


class EvidenceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a gateway's report."""

    seen: Annotated[tuple[Seen, ...], msgspec.Meta(min_length=1, max_length=SEEN_MAX)]


class DelegationRoutes:
    """The handlers; one for a hub.

    Args:
        service: The use cases.
    """

    def __init__(self, service: DelegationService) -> None:
        self._service = service

    def people(self) -> list[Route]:
        """Return the routes of the people listener."""
        base = "/api/devices/{name}/sources"
        return [
            Route("GET", "/api/delegations", self._list, Action.LIST_DEVICES),
            Route("POST", base, self._name, Action.DECLARE_SOURCE),
            Route("POST", base + "/withdraw", self._withdraw, Action.DECLARE_SOURCE),
        ]

    def clinical(self) -> list[Route]:
        """Return the routes of the clinical listener."""
        return [Route("POST", "/gateway/evidence", self._evidence, Action.REPORT_EVIDENCE)]

    async def _list(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Every delegation and source, with what the network was declared to show and shows."""
        lines, sources = await self._service.listing()
        shown = [
            cast("dict[str, Any]", msgspec.to_builtins(line)) | {"observed": line.observed}
            for line in lines
        ]
        await send_document(send, {"delegations": shown, "sources": sources})

    async def _name(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name a gateway as a source of ADT, merges or worklists."""
        body = await read_document(scope, receive, SourceBody, bytes_max=BODY_BYTES_MAX)
        await self._service.name_source(
            _holder(scope),
            body.kind,
            person=_asking(scope).name,
            days=body.days,
            partner=body.partner,
        )
        await send_document(send, {"done": True})

    async def _withdraw(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, KindBody, bytes_max=BODY_BYTES_MAX)
        await self._service.withdraw_source(_holder(scope), body.kind, person=_asking(scope).name)
        await send_document(send, {"done": True})

    async def _evidence(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take what a gateway sees of its devices; the answer names what differs."""
        body = await read_document(scope, receive, EvidenceBody, bytes_max=BODY_BYTES_MAX)
        changed = await self._service.take_evidence(_asking(scope).name, body.seen)
        await send_document(send, {"differs": changed})


def _holder(scope: Scope) -> str:
    return cast("str", scope["asepsis.path_params"]["name"])


def _asking(scope: Scope) -> Principal:
    return cast("Principal", scope["asepsis.principal"])
