"""The routes of delivery, as bare ASGI: the durable lane and live views.

Source: ADP/1 REQ-SUB; docs/reference/lanes.md.
"""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated, Final

import msgspec

from asepsis.core.errors import FramingError
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.delivery import records, rules
from asepsis.hub.delivery.consumers import Consumers
from asepsis.hub.delivery.live import LiveHub
from asepsis.hub.web.asgi import Receive, Scope, Send, answer, header
from asepsis.hub.web.bodies import bounded_body, require_media
from asepsis.hub.web.routing import Route

COMMIT_BYTES_MAX: Final = 1_024
JSON: Final = b"application/json"
EVENT_STREAM: Final = b"text/event-stream"


class CommitDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /consumers/{id}/commit`.

    Attributes:
        lane: Which stream.
        position: Everything up to here is dealt with.
    """

    lane: str
    position: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


def consumer_routes(consumers: Consumers) -> Sequence[Route]:
    """Return the routes of the durable lane, for the clinical listener."""

    async def batch(scope: Scope, _receive: Receive, send: Send) -> None:
        """GET /consumers/{id}/batch?lane=&max=&wait_s=: the next records; 200, perhaps none."""
        principal: Principal = scope["asepsis.principal"]
        query = rules.parse_batch_query(scope["query_string"])
        found = await consumers.batch(principal, scope["asepsis.path_params"]["id"], query)
        if records.BINARY.encode() in (header(scope, b"accept") or b""):
            await answer(send, 200, records.to_binary(found), media=records.BINARY.encode())
        else:
            await answer(send, 200, records.to_json(found), media=JSON)

    async def commit(scope: Scope, receive: Receive, send: Send) -> None:
        """POST /consumers/{id}/commit: move the cursor durably; 204."""
        principal: Principal = scope["asepsis.principal"]
        require_media(scope, "application/json")
        body = await bounded_body(receive, COMMIT_BYTES_MAX, scope=scope)
        try:
            document = msgspec.json.decode(body, type=CommitDocument)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FramingError('not {"lane": ..., "position": ...}') from error
        await consumers.commit(
            principal,
            scope["asepsis.path_params"]["id"],
            rules.parse_lane(document.lane),
            document.position,
        )
        await answer(send, 204, b"", media=JSON)

    return (
        Route("GET", "/consumers/{id}/batch", batch, Action.CONSUME),
        Route("POST", "/consumers/{id}/commit", commit, Action.COMMIT_CURSOR),
    )


def live_route(live: LiveHub) -> Route:
    """Return the route of live views, for the clinical and the people listener."""

    async def watch(scope: Scope, _receive: Receive, send: Send) -> None:
        """GET /views/live?device=...: Server-Sent Events until somebody ends them."""
        query = rules.parse_live_query(scope["query_string"], header(scope, b"last-event-id"))
        connection = scope["asepsis.connection"]
        async with aclosing(live.stream(query)) as stream:
            first = await anext(stream)  # Refusals come before the status is sent.
            await _start(send)
            await _send(send, first)
            async for data in stream:
                if connection.closed:
                    return
                await _send(send, data)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return Route("GET", "/views/live", watch, Action.WATCH_LIVE)


async def _start(send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", EVENT_STREAM), (b"x-accel-buffering", b"no")],
        }
    )


async def _send(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})
