"""Sends a file to a device: entity tags, one range, nothing of it in memory at once.

Source: RFC 9110 sections 8.8.3, 13.1, 14 and 15.5.17.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from asepsis.core.errors import NotFound
from asepsis.core.wire.byte_ranges import Span, content_range, matches, read_ranges
from asepsis.hub.web.asgi import Headers, Scope, Send, answer, header

PIECE_BYTES: Final = 262_144
MEDIA: Final = b"application/octet-stream"


async def send_file(scope: Scope, send: Send, path: Path, *, etag: str) -> None:
    """Answer with a file, or the part of it that is asked for.

    Args:
        scope: The request's scope.
        send: Its ASGI send.
        path: The file; it never changes under its name.
        etag: Its strong entity tag, with quotes.

    Raises:
        NotFound: There is no such file.
    """
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise NotFound("there is no such file") from error
    with file:
        length = os.fstat(file.fileno()).st_size
        known = header(scope, b"if-none-match")
        tag = (b"etag", etag.encode("ascii"))
        if known is not None and matches(known.decode("latin-1"), etag, weak=True):
            await answer(send, 304, b"", media=MEDIA, headers=[tag])
            return
        spans = _asked(scope, length=length, etag=etag)
        if spans == ():
            shown = content_range(None, length=length).encode("ascii")
            await answer(send, 416, b"", media=MEDIA, headers=[tag, (b"content-range", shown)])
            return
        # Several ranges at once are answered with the whole file, as RFC 9110 14.2 allows.
        part = spans[0] if spans is not None and len(spans) == 1 else None
        span = part or Span(0, length - 1)
        headers: Headers = [
            (b"content-type", MEDIA),
            (b"content-length", b"%d" % len(span)),
            (b"accept-ranges", b"bytes"),
            (b"cache-control", b"private, no-transform"),
            tag,
        ]
        if part is not None:
            headers.append((b"content-range", content_range(part, length=length).encode("ascii")))
        status = 200 if part is None else 206
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await _send_span(send, file, span)


def _asked(scope: Scope, *, length: int, etag: str) -> tuple[Span, ...] | None:
    wanted, condition = header(scope, b"range"), header(scope, b"if-range")
    if wanted is None or scope["method"] != "GET":
        return None
    if condition is not None and not matches(condition.decode("latin-1"), etag):
        return None
    return read_ranges(wanted.decode("latin-1"), length=length)


async def _send_span(send: Send, file: IO[bytes], span: Span) -> None:
    read: Callable[[int, int, int], bytes] = os.pread
    first, left = span.first, len(span)
    while left > 0:
        piece = await asyncio.to_thread(read, file.fileno(), min(left, PIECE_BYTES), first)
        if not piece:
            raise NotFound("the file is shorter than it was")
        first, left = first + len(piece), left - len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
    if not len(span):
        await send({"type": "http.response.body", "body": b""})
