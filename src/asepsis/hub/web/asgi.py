"""The ASGI types that this package and its callers share.

Source: ASGI specification 3.0, HTTP connection scope.

Keys that this server adds to every scope:

* `asepsis.peer`: `PeerCertificate` of a hospital certificate, or None.
* `asepsis.peer_der`: the peer's certificate as DER bytes, or None.
* `asepsis.idevid`: `IDevId` of a maker's certificate on an enrolment listener, or None.
* `asepsis.connection`: the `Connection` that carries the request.
* `asepsis.principal`: what the listener's `Admission` answered for this request.
* `asepsis.path_params`: decoded path parameters, set by `Router`.
"""

from collections.abc import Awaitable, Callable
from typing import Any

# A decode boundary: ASGI defines these as plain dictionaries.
Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first value of a request header, or None.

    Args:
        scope: The request's ASGI scope.
        name: Header name in lower case.
    """
    headers: Headers = scope["headers"]
    for key, value in headers:
        if key == name:
            return value
    return None


async def answer(
    send: Send, status: int, body: bytes, *, media: bytes, headers: Headers | None = None
) -> None:
    """Send one complete response.

    Args:
        send: The request's ASGI send.
        status: HTTP status, 200 to 599.
        body: Whole body; may be empty.
        media: Value of Content-Type.
        headers: Further headers, names in lower case.
    """
    fields: Headers = [
        (b"content-type", media),
        (b"content-length", b"%d" % len(body)),
        *(headers or ()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
