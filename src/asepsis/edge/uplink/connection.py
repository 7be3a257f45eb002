"""One kept HTTPS connection to one listener of the hub.

A device whose clock is wrong must still reach its hub, so OpenSSL does not judge validity times
here (its no-check-time flag); this module judges them itself, by trusted time, before the first
byte of a request leaves. Chain, name and revocation are never optional.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from asepsis.core.errors import (
    AsepsisError,
    BackPressure,
    ChainBroken,
    Conflict,
    ContentMismatch,
    IdentityExpired,
    IdentityInvalid,
    IdentityRevoked,
    InputError,
    LimitExceeded,
    NotAuthenticated,
    NotPermitted,
    RateLimited,
    SignatureInvalid,
    TransientError,
    Unavailable,
    UnsupportedMedia,
)

ANSWER_BYTES_MAX: Final = 1 << 20
TIMEOUT_S: Final = 10.0
RETRY_AFTER_S_MAX: Final = 3_600
"""Longest wait that a hub may ask for, seconds."""
_BY_STATUS: Final[Mapping[int, type[AsepsisError]]] = {
    400: InputError,
    401: NotAuthenticated,
    403: NotPermitted,
    404: InputError,
    409: Conflict,
    413: LimitExceeded,
    415: UnsupportedMedia,
    422: ContentMismatch,
}
_BY_CODE: Final[Mapping[str, type[AsepsisError]]] = {
    error.code: error
    for error in (IdentityRevoked, IdentityExpired, IdentityInvalid, ChainBroken, SignatureInvalid)
}
_TRANSIENT: Final[Mapping[int, type[TransientError]]] = {429: RateLimited, 503: BackPressure}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub said.

    Attributes:
        status: HTTP status, 200 to 299.
        content_type: Media type in lower case, without parameters.
        body: At most `ANSWER_BYTES_MAX` bytes.
    """

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a listener of the hub is, and the name its certificate must carry.

    Attributes:
        host: Address or DNS name to connect to, also the name in the certificate.
        port: TCP port.
    """

    host: str
    port: int


Dial = Callable[[Endpoint, float], socket.socket]
"""Given a listener and a timeout in seconds, returns a connected socket; raises TransientError."""


class HubConnection:
    """Posts and fetches over one kept TLS connection; reconnects on the next call after a failure.

    Args:
        endpoint: The listener.
        context: TLS settings: hospital root pinned, own certificate loaded where there is one.
        now_ns: Trusted wall time; None while the device has none (then only signed time and
            renewal may be asked for, on the enrolment listener).
        timeout_s: Longest wait for connect, send and answer, each.
        dial: Connects instead of this process, which may not be able to.
        answer_bytes_max: Largest answer that is taken.

    Attributes:
        reached: Whether somebody took the TCP connection that the last request used or tried.

    Resource handling: holds one socket; `close` releases it. Not thread-safe: one lane, one
    connection.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        context: ssl.SSLContext,
        *,
        now_ns: Callable[[], int] | None,
        timeout_s: float = TIMEOUT_S,
        dial: Dial | None = None,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        self._endpoint = endpoint
        self._context = context
        self._now_ns = now_ns
        self._timeout_s = timeout_s
        self._dial = dial
        self._answer_bytes_max = answer_bytes_max
        self._http: http.client.HTTPSConnection | None = None
        self.reached = False

    def open(self) -> bool:
        """Connect if there is no connection; returns whether one was made.

        Raises:
            TrustError: The hub's certificate does not hold.
            TransientError: No connection.
        """
        # After "Connection: close" the object is there and its socket is not; it would connect anew
        # by itself, past the check of validity.
        if self._http is not None and self._http.sock is not None:
            return False
        try:
            self._http = self._connect()
            self._check_validity(self._http.sock)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise IdentityInvalid(f"the hub's certificate: {error.verify_message}") from error
        except OSError as error:
            self.close()
            raise Unavailable(f"no connection to the hub ({type(error).__name__})") from error
        return True

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and return its successful answer.

        Raises:
            InputError: The hub says the content is wrong (400, 404, 409, 413, 415, 422): final.
            TrustError: The hub's certificate does not hold, or the hub refuses this identity.
            TransientError: No connection, a cut one, 429 or 503: keep the record, back off.
        """
        self.open()
        try:
            connection = self._http
            if connection is None:
                raise AssertionError("open, and nothing there")
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            data = response.read(self._answer_bytes_max + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unavailable(f"no answer from the hub ({type(error).__name__})") from error
        if len(data) > self._answer_bytes_max:
            self.close()
            raise LimitExceeded("the hub's answer is too long")
        media = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        if not 200 <= response.status < 300:
            raise refusal(response.status, data, response.getheader("Retry-After"))
        return Answer(response.status, media, data)

    def close(self) -> None:
        """Close the socket; the next request opens a new one."""
        if self._http:
            self._http.close()
            self._http = None

    def _connect(self) -> http.client.HTTPSConnection:
        self.reached = False
        plain = (self._dial or _dial)(self._endpoint, self._timeout_s)
        self.reached = True
        connection = http.client.HTTPSConnection(
            self._endpoint.host, self._endpoint.port, context=self._context, timeout=self._timeout_s
        )
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sock = self._context.wrap_socket(plain, server_hostname=self._endpoint.host)
        except OSError:
            plain.close()
            raise
        return connection

    def _check_validity(self, sock: ssl.SSLSocket) -> None:
        if self._now_ns is None:
            return
        certificate = sock.getpeercert() or {}
        now_s = self._now_ns() / 1e9
        begins_s = ssl.cert_time_to_seconds(str(certificate["notBefore"]))
        ends_s = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        if not begins_s <= now_s <= ends_s:
            self.close()
            raise IdentityExpired("the hub's certificate is outside its validity")


def _dial(endpoint: Endpoint, timeout_s: float) -> socket.socket:
    return socket.create_connection((endpoint.host, endpoint.port), timeout_s)


def refusal(status: int, body: bytes, retry_after: str | None) -> AsepsisError:
    """Turn an unsuccessful answer into the error that says what to do (RFC 9457, REQ-ERR-003)."""
    problem = _problem(body)
    text = f"the hub answered {status}: {str(problem.get('detail', ''))[:200]}"
    transient = _TRANSIENT.get(status) or (Unavailable if status >= 500 else None)
    if transient:
        return transient(text, retry_after_s=_seconds(retry_after))
    by_code = _BY_CODE.get(str(problem.get("code", "")))
    return (by_code or _BY_STATUS.get(status, InputError))(text)


def _seconds(retry_after: str | None) -> int:
    """Return the seconds of a Retry-After, 1 to `RETRY_AFTER_S_MAX`; a date counts as 1 s."""
    if not (retry_after and retry_after.isascii() and retry_after.isdigit()):
        return 1
    if len(retry_after) > len(str(RETRY_AFTER_S_MAX)):
        return RETRY_AFTER_S_MAX
    return min(max(int(retry_after), 1), RETRY_AFTER_S_MAX)


def _problem(body: bytes) -> dict[str, Any]:
    try:
        problem: object = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", problem) if isinstance(problem, dict) else {}
