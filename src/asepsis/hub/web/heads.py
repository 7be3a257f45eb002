"""Judges the head of one request after the parser accepted its syntax. Pure.

The parser (llhttp, strict) refuses malformed syntax. This module refuses what is well-formed but
ambiguous between implementations, which is what request smuggling lives on, and what ADP/1 does
not use: upgrades, transfer codings other than chunked, HTTP/1.0, targets with encoded controls.

Source: RFC 9112 sections 3.2 (Host), 6.1 and 6.3 (framing), 11.2 (smuggling); RFC 9110 sections
7.8 (Upgrade), 10.1.1 (Expect).
"""

import urllib.parse
from typing import Final, NamedTuple

from asepsis.core.errors import AsepsisError, FramingError, InputError, LimitExceeded
from asepsis.hub.web.asgi import Headers

_DIGITS_MAX: Final = 18
_SINGLE: Final = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"content-type", b"expect", b"authorization")
)


class Refusal(NamedTuple):
    """Why a request is not given to the application.

    Attributes:
        error: What the peer is told.
        status: Status where the error's class alone does not say enough; else None.
    """

    error: AsepsisError
    status: int | None = None


class Target(NamedTuple):
    """A request target that can be routed.

    Attributes:
        path: Decoded path. A slash that was encoded stays `%2F`, so that a device name with
            slashes is one segment; a literal percent sign is refused, so undoing it is exact.
        raw_path: Path as received, ASCII.
        query: Query as received.
    """

    path: str
    raw_path: bytes
    query: bytes


def judge_head(version: str, headers: Headers, *, body_bytes_max: int) -> Refusal | None:
    """Return why a head is refused, or None.

    Args:
        version: Protocol version as the parser reports it, for example `1.1`.
        headers: Fields in order, names in lower case.
        body_bytes_max: Longest body that may be declared, in bytes.
    """
    if version != "1.1":
        return Refusal(InputError("only HTTP/1.1 is spoken here"), 505)
    seen: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _SINGLE:
            if name in seen:
                return Refusal(FramingError(f"more than one {name.decode()} header"))
            seen[name] = value
        elif name == b"upgrade":
            return Refusal(InputError("this listener takes no protocol upgrade"), 501)
    if not seen.get(b"host"):
        return Refusal(FramingError("no Host header"))
    return _judge_body(seen, body_bytes_max)


def _judge_body(seen: dict[bytes, bytes], body_bytes_max: int) -> Refusal | None:
    coding, length = seen.get(b"transfer-encoding"), seen.get(b"content-length")
    if coding is not None:
        if length is not None:
            return Refusal(FramingError("both Content-Length and Transfer-Encoding"))
        if coding.lower() != b"chunked":
            return Refusal(FramingError("only the chunked transfer coding is taken"), 501)
    if length is not None:
        if not length.isdigit() or len(length) > _DIGITS_MAX:
            return Refusal(FramingError("Content-Length is not a decimal number"))
        if int(length) > body_bytes_max:
            return Refusal(LimitExceeded(f"body is over {body_bytes_max} bytes"))
    if seen.get(b"expect", b"100-continue").lower() != b"100-continue":
        return Refusal(InputError("only Expect: 100-continue is met"), 417)
    return None


def read_target(url: bytes) -> Target | Refusal:
    """Split and decode an origin-form target.

    Args:
        url: Request target as received.
    """
    raw_path, _, query = url.partition(b"?")
    if raw_path[:1] != b"/" or b"#" in url:
        return Refusal(InputError("the request target must be a path"))
    try:
        path = raw_path.decode("ascii")
        query.decode("ascii")
        if "%" in path:
            path = "/".join(decode_segment(part) for part in path.split("/"))
    except (UnicodeDecodeError, InputError):
        return Refusal(InputError("the path holds a character that is not taken"))
    return Target(path, raw_path, query)


def decode_segment(segment: str) -> str:
    """Decode one path segment, keeping an encoded slash as `%2F`.

    Raises:
        InputError: Control character or literal percent sign.
        UnicodeDecodeError: Not UTF-8.
    """
    text = urllib.parse.unquote(segment, errors="strict")
    if "%" in text or any(char < " " or char == "\x7f" for char in text):
        raise InputError("the path holds a character that is not taken")
    return text.replace("/", "%2F")
