"""What a gateway fetches for a destination on its own segment, and what became of it.

Source: docs/reference/deliveries.md; the gateway's side is asepsis.edge.gateway.outbound.
"""

from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from asepsis.core.errors import InputError, NotPermitted
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.delivery.line import Line
from asepsis.hub.delivery.model import Item, ItemKind, Kind, Refusal
from asepsis.hub.delivery.progress import instance_of
from asepsis.hub.delivery.service import DeliveryService
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.bodies import bounded_body, require_media
from asepsis.hub.web.routing import Route

JSON: Final = b"application/json"
ITEMS_MAX: Final = 512
BYTES_MAX: Final = 1_572_864
"""Bytes of bodies in one answer, before Base64; one item is always sent."""
WAIT_S_MAX: Final = 15
OUTCOMES_BYTES_MAX: Final = 262_144


class OutcomeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of one item.

    Attributes:
        seq: Its number.
        outcome: `accepted`, `refused` for good, or `retry`: the gateway tries again.
        code: MSA-1, DIMSE status.
        text: The receiver's words.
    """

    seq: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    outcome: Literal["accepted", "refused", "retry"]
    code: Annotated[str, msgspec.Meta(max_length=20)] = ""
    text: Annotated[str, msgspec.Meta(max_length=500)] = ""


class OutcomesBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /outbound/{destination}/outcomes`."""

    outcomes: Annotated[tuple[OutcomeBody, ...], msgspec.Meta(max_length=1_024)]


class OutboundRoutes:
    """The handlers; one for a hub.

    Args:
        service: The lines.
    """

    def __init__(self, service: DeliveryService) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return the routes of the clinical listener."""
        path, action = "/outbound/{destination}", Action.FETCH_OUTBOUND
        return [
            Route("GET", path, self._fetch, action),
            Route("POST", path + "/outcomes", self._outcomes, action),
        ]

    async def _fetch(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """`?after=&wait=`: the next items; 200, perhaps none."""
        line = self._line(scope)
        after, wait_s = _query(scope["query_string"])
        await line.arrival(after, wait_s=wait_s)
        items: list[dict[str, Any]] = []
        size = 0
        for number, item in line.look(after, items_max=ITEMS_MAX):
            size += len(item.body)
            if items and size > BYTES_MAX:
                break
            items.append(_document(number, item))
        await answer(send, 200, msgspec.json.encode({"items": items}), media=JSON)

    async def _outcomes(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What became of items; 204."""
        line = self._line(scope)
        require_media(scope, "application/json")
        raw = await bounded_body(receive, OUTCOMES_BYTES_MAX, scope=scope)
        try:
            body = msgspec.json.decode(raw, type=OutcomesBody)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InputError('not {"outcomes": [{"seq": ..., "outcome": ...}]}') from error
        for one in body.outcomes:
            if one.outcome == "accepted":
                line.accept(one.seq)
            elif one.outcome == "refused":
                line.refused(one.seq, Refusal(one.code, one.text))
            else:
                line.trouble(f"the gateway tries again: {one.code}")
        await answer(send, 204, b"", media=JSON)

    def _line(self, scope: Scope) -> Line:
        """Return the line of the destination, for the gateway that an administrator named.

        Raises:
            NotFound: No such destination.
            NotPermitted: Another gateway's.
        """
        principal: Principal = scope["asepsis.principal"]
        line = self._service.line(scope["asepsis.path_params"]["destination"])
        destination = line.destination
        named = (destination.options.gateway, destination.options.partner)
        if destination.kind is not Kind.GATEWAY or principal.name not in named:
            raise NotPermitted("the destination is another's")
        return line


def _document(number: int, item: Item) -> dict[str, Any]:
    common = {"seq": number, "kind": item.kind.value, "key": item.key}
    if item.kind is ItemKind.INSTANCE:
        reference = msgspec.json.decode(item.body, type=dict[str, Any])
        path = (
            f"/dicom-web/studies/{reference['study']}/series/{reference['series']}"
            f"/instances/{instance_of(item.body)}"
        )
        shown = {name: reference.get(name) for name in ("sop_class", "transfer_syntax", "length")}
        return (
            common
            | shown
            | {
                "content_type": "application/dicom",
                "path": path,
                "sha256": reference["sha256"],
            }
        )
    # The encoder writes bytes as Base64.
    return common | {"content_type": "application/hl7-v2", "body": item.body}


def _query(query: bytes) -> tuple[int, float]:
    try:
        given = dict(parse_qsl(query.decode("ascii"), max_num_fields=2, strict_parsing=bool(query)))
        after, wait_s = int(given.pop("after", "0")), int(given.pop("wait", "0"))
    except ValueError as error:
        raise InputError("the parameters are after and wait") from error
    if given or after < 0 or not 0 <= wait_s <= WAIT_S_MAX:
        raise InputError(f"the parameters are after, and wait from 0 to {WAIT_S_MAX}")
    return after, float(wait_s)
