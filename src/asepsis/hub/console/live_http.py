"""The route of the ward view: one stream of Server-Sent Events for a whole ward.

Source: docs/reference/ward-stream.md.
"""

from contextlib import aclosing
from typing import Final

from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action, decide
from asepsis.hub.console.live import WardFeed
from asepsis.hub.console.live_rules import parse_ward_query
from asepsis.hub.web.asgi import Receive, Scope, Send, header
from asepsis.hub.web.routing import Route

EVENT_STREAM: Final = b"text/event-stream"
PATH: Final = "/views/ward"


def ward_route(feed: WardFeed) -> Route:
    """Return the route of the ward view, for the people listener."""

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
            async for data in stream:
                if connection.closed:
                    return
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return Route("GET", PATH, watch, Action.WATCH_LIVE)
