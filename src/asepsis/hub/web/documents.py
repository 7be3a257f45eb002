"""JSON documents: read from a request, sent as an answer."""

from typing import Final, TypeVar

import msgspec

from asepsis.core.errors import InputError
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.bodies import bounded_body, require_media

JSON: Final = "application/json"
_Kind = TypeVar("_Kind")


async def read_document(
    scope: Scope, receive: Receive, kind: type[_Kind], *, bytes_max: int
) -> _Kind:
    """Read the body of a request.

    Args:
        scope: The request's scope.
        receive: Its receive.
        kind: What the body must be; unknown fields are its own business.
        bytes_max: Largest body in bytes that is accepted.

    Raises:
        UnsupportedMedia: Not `application/json`.
        LimitExceeded: The body is longer than `bytes_max`.
        FramingError: The peer went away before the body was complete.
        InputError: Not JSON, or not of that kind.
    """
    require_media(scope, JSON)
    raw = await bounded_body(receive, bytes_max, scope=scope)
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the body is not as it must be: {error}") from error


async def send_document(send: Send, found: object) -> None:
    """Answer 200 with a document.

    Args:
        send: The request's send.
        found: What JSON can say.
    """
    await answer(send, 200, msgspec.json.encode(found), media=JSON.encode())
