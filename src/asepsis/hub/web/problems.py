"""Problem details: what the peer is told when a request is refused.

Every `AsepsisError` class has one status, by the first class of its ancestry that the table names.
An error that nobody raised on purpose is a 500 without details.

Source: RFC 9457 (problem details), RFC 9110 section 15 (status), 10.2.3 (Retry-After), 11.6.1
(WWW-Authenticate).
"""

import http
import logging
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from asepsis.core.errors import (
    AsepsisError,
    BackPressure,
    Conflict,
    ContentMismatch,
    InputError,
    LimitExceeded,
    NotAuthenticated,
    NotFound,
    RateLimited,
    SafetyRefusal,
    TransientError,
    TrustError,
    Unavailable,
    UnsupportedMedia,
)
from asepsis.hub.web.asgi import Headers, Scope, Send

MEDIA: Final = b"application/problem+json"
TYPE_PREFIX: Final = "urn:asepsis:problem:"

STATUS: Final[Mapping[type[AsepsisError], int]] = {
    InputError: 400,
    NotAuthenticated: 401,
    TrustError: 403,
    NotFound: 404,
    Conflict: 409,
    SafetyRefusal: 409,
    LimitExceeded: 413,
    UnsupportedMedia: 415,
    ContentMismatch: 422,
    RateLimited: 429,
    BackPressure: 503,
    TransientError: 503,
    Unavailable: 503,
}
_log: Final = logging.getLogger("asepsis.hub.web")
_encoder: Final = msgspec.json.Encoder()


class Problem(NamedTuple):
    """One refusal, ready to be sent.

    Attributes:
        status: HTTP status.
        headers: Content-Type, Content-Length and, where they apply, Retry-After and
            WWW-Authenticate.
        body: JSON of RFC 9457 with the members type, title, status and, for a deliberate error,
            detail, code, retry and hint; `instance` names the request for the log.
    """

    status: int
    headers: Headers
    body: bytes


def status_of(error: BaseException) -> int:
    """Return the HTTP status of an error: the table's nearest ancestor, else 500."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def problem(
    error: BaseException,
    *,
    instance: str = "",
    challenge: str = "Bearer",
    status: int | None = None,
) -> Problem:
    """Describe an error to the peer without leaking anything that nobody wrote for peers.

    Args:
        error: What was raised; only an `AsepsisError` is described.
        instance: Name of this request in the log, for example `Connection.request_id`.
        challenge: WWW-Authenticate of a 401.
        status: A status that says more than the class's own, for example 431.
    """
    code = status_of(error) if status is None else status
    members: dict[str, object] = {"title": _title(code), "status": code}
    headers: Headers = []
    if isinstance(error, AsepsisError) and code != 500:
        members = {"type": TYPE_PREFIX + error.code.lower()} | members
        members |= {"detail": str(error), "code": error.code, "retry": error.retry}
        if error.hint:
            members["hint"] = error.hint
    if instance:
        members["instance"] = instance
    if isinstance(error, TransientError):
        headers.append((b"retry-after", b"%d" % max(1, error.retry_after_s)))
    if code == 401:
        headers.append((b"www-authenticate", challenge.encode("latin-1", "replace")))
    body = _encoder.encode(members)
    headers += [(b"content-type", MEDIA), (b"content-length", b"%d" % len(body))]
    return Problem(code, headers, body)


async def send_problem(send: Send, scope: Scope, error: BaseException) -> None:
    """Answer a request with the problem details of an error; a 500 is logged with its cause.

    Args:
        send: The request's ASGI send; nothing was sent yet.
        scope: The request's scope.
        error: What the handler raised.
    """
    connection = scope.get("asepsis.connection")
    instance = "" if connection is None else connection.request_id
    result = problem(error, instance=instance, challenge=scope.get("asepsis.challenge", "Bearer"))
    if result.status == 500:
        _log.error("request %s failed", instance, exc_info=error)
    await send({"type": "http.response.start", "status": result.status, "headers": result.headers})
    await send({"type": "http.response.body", "body": result.body})


def _title(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"
