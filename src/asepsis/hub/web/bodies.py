"""Request bodies with a limit, and media types that are what they say."""

from typing import Final

from asepsis.core.errors import FramingError, LimitExceeded, UnsupportedMedia
from asepsis.hub.web.asgi import Receive, Scope, header

_DIGITS_MAX: Final = 18


def content_length(scope: Scope) -> int | None:
    """Return the declared length of the body in bytes, or None if it was not declared.

    Raises:
        FramingError: Not a plain decimal number.
    """
    value = header(scope, b"content-length")
    if value is None:
        return None
    if not value.isdigit() or len(value) > _DIGITS_MAX:
        raise FramingError("Content-Length is not a decimal number")
    return int(value)


async def bounded_body(receive: Receive, bytes_max: int, *, scope: Scope | None = None) -> bytes:
    """Read a whole request body, or stop at the limit.

    Args:
        receive: The request's ASGI receive.
        bytes_max: Largest body in bytes that is accepted.
        scope: The request's scope; with it a declared length over the limit is refused before
            a byte is read.

    Raises:
        LimitExceeded: The body is, or says it is, longer than `bytes_max`.
        FramingError: The peer went away before the body was complete.
    """
    if scope is not None and (content_length(scope) or 0) > bytes_max:
        raise LimitExceeded(f"body is over {bytes_max} bytes")
    message = await receive()
    first: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False):
        # The usual case: the whole body in one event, no copy.
        _check(len(first), bytes_max)
        return first
    parts = bytearray()
    while message["type"] == "http.request":
        parts += message.get("body", b"")
        _check(len(parts), bytes_max)
        if not message.get("more_body", False):
            return bytes(parts)
        message = await receive()
    raise FramingError("the body ended early")


def media_type(scope: Scope) -> str:
    """Return the request's media type in lower case without parameters; empty if absent."""
    value = header(scope, b"content-type") or b""
    return value.partition(b";")[0].strip().lower().decode("latin-1")


def require_media(scope: Scope, *allowed: str) -> str:
    """Return the request's media type if the route takes it.

    Args:
        scope: The request's scope.
        allowed: Media types in lower case, without parameters.

    Raises:
        UnsupportedMedia: Another type, none, or a Content-Encoding other than identity.
    """
    encoding = header(scope, b"content-encoding")
    if encoding is not None and encoding.strip().lower() != b"identity":
        raise UnsupportedMedia("compressed bodies are not accepted")
    found = media_type(scope)
    if found not in allowed:
        raise UnsupportedMedia("media type not accepted here", hint="send " + " or ".join(allowed))
    return found


def _check(size: int, bytes_max: int) -> None:
    if size > bytes_max:
        raise LimitExceeded(f"body is over {bytes_max} bytes")
