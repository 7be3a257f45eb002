"""The route of the ward view: one stream of Server-Sent Events for a whole ward.

Source: docs/reference/ward-stream.md.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

import structlog

from asepsis.core.errors import TransientError
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action, decide
from asepsis.hub.console.live import WardFeed
from asepsis.hub.console.live_rules import parse_ward_query
from asepsis.hub.web.asgi import Receive, Scope, Send, header
from asepsis.hub.web.routing import Route

EVENT_STREAM: Final = b"text/event-stream"
PATH: Final = "/views/ward"
EVERY_WARD: Final = "every ward"

Opened = Callable[[str, str], Awaitable[None]]
"""Told who opened a view of which ward, for the audit log; raises `TransientError`."""

log = structlog.get_logger("console.ward")


def ward_route(feed: WardFeed, *, opened: Opened) -> Route:
    """Return the route of the ward view, for the people listener.

    Args:
        feed: Makes the streams.
        opened: Writes the audit log.
    """

    async def watch(scope: Scope, _receive: Receive, send: Send) -> None:
        """GET /views/ward?ward=&waveforms=1: Server-Sent Events until somebody ends them."""
        principal: Principal = scope["asepsis.principal"]
        decide(principal, Action.READ_PATIENT)  # A tile names its patient.
        query = parse_ward_query(scope["query_string"], header(scope, b"last-event-id"))
        connection = scope["asepsis.connection"]
        async with aclosing(feed.open(query)) as stream:
            first = await anext(stream)  # Refusals come before the status is sent.
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-type", EVENT_STREAM), (b"x-accel-buffering", b"no")],
                }
            )
            await send({"type": "http.response.body", "body": first, "more_body": True})
            try:
                await opened(principal.name, query.ward or EVERY_WARD)
            except TransientError as error:
                # A log that cannot be written never takes a patient out of sight.
                log.warning("a view is open without its audit entry", code=error.code)
            async for data in stream:
                if connection.closed:
                    return
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return Route("GET", PATH, watch, Action.WATCH_LIVE)
