"""Files of modules for update clients: whole, in ranges, or their sums.

Source: RFC 9110 sections 8.8 (validators), 13 (preconditions), 14 (ranges).
"""

import secrets
from collections.abc import Awaitable, Callable
from contextlib import closing
from email.utils import formatdate
from functools import partial
from typing import IO, Final

from sqlalchemy import Connection

from asepsis.core.errors import BackPressure, NotFound
from asepsis.core.wire.byte_ranges import (
    Parts,
    Span,
    content_range,
    matches,
    multipart,
    read_ranges,
)
from asepsis.hub.fleet.ddi import answers, records, records_actions
from asepsis.hub.fleet.ddi.files import Files, read_span
from asepsis.hub.fleet.ddi.held import Held
from asepsis.hub.fleet.ddi.model import CLOSED, File, Module
from asepsis.hub.fleet.ddi.requests import media_of, number_of, place_of, render
from asepsis.hub.fleet.ddi.rules import may_install
from asepsis.hub.fleet.ddi.service import ClientService
from asepsis.hub.web.asgi import Headers, Message, Receive, Scope, Send, answer, header
from asepsis.hub.web.heads import decode_segment

SUM: Final = ".MD5SUM"
OCTETS: Final = "application/octet-stream"
DOWNLOADS_MAX: Final = 64
"""Files given at once; more are told to come back."""
BUSY_S: Final = 10
NS: Final = 1_000_000_000
Ended = Callable[[], Awaitable[None]]


class FileRoutes:
    """The handlers of files.

    Args:
        service: The use cases of update clients.
        files: Where files are.
    """

    def __init__(self, service: ClientService, files: Files) -> None:
        self._service = service
        self._files = files
        self._downloads = 0

    async def list(self, held: Held, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer with the files of a module."""
        module = await self._module(held, scope, may_fetch=False)
        media = media_of(scope)
        body = render(answers.files(place_of(scope), module), media)
        await answer(send, 200, body, media=media.encode())

    async def give(self, held: Held, scope: Scope, _receive: Receive, send: Send) -> None:
        """Give a file, parts of it, or its MD5 sum."""
        name: str = decode_segment(scope["asepsis.path_params"]["file"])
        sums = name.endswith(SUM)
        module = await self._module(held, scope, may_fetch=not sums)
        wanted = name.removesuffix(SUM) if sums else name
        file = next((each for each in module.files if each.filename == wanted), None)
        if file is None:
            raise NotFound("no such file")
        if sums:
            line = f"{file.md5}  {file.filename}".encode()
            await answer(send, 200, line, media=b"text/plain; charset=utf-8")
            return
        if self._downloads >= DOWNLOADS_MAX:
            raise BackPressure("too many downloads at once", retry_after_s=BUSY_S)
        self._downloads += 1
        try:
            # Noted before its last bytes leave: who has them may report at once.
            ended = partial(self._service.served, held, module.id)
            await self._send(module, file, scope, send, ended)
        finally:
            self._downloads -= 1

    async def _module(self, held: Held, scope: Scope, *, may_fetch: bool) -> Module:
        """Return a module that this target may see.

        Raises:
            NotFound: Nothing of it is assigned, or the client would install it out of time.
        """
        number, now_ns = number_of(scope, "module"), self._service.clock()
        profile = held.target.profile

        def read(connection: Connection) -> Module:
            uses = records_actions.check_uses(connection, held.target.name, number)
            if may_fetch and profile.streams and scope["method"] == "GET":
                # This client installs while it downloads: outside its time there is no file.
                uses = [each for each in uses if may_install(each, profile, now_ns)]
            elif may_fetch:
                uses = [each for each in uses if each.stage not in CLOSED]
            found = records.read_modules(connection, [number]) if uses else []
            if not found:
                raise NotFound("no such module now")
            return found[0]

        return await self._service.store.read(read)

    async def _send(
        self, module: Module, file: File, scope: Scope, send: Send, ended: Ended
    ) -> None:
        """Send what was asked for; `ended` is awaited before the end of the file is sent."""
        etag = f'"{file.sha1}"'
        fields: Headers = [
            (b"etag", etag.encode()),
            (b"last-modified", formatdate(module.added_ns / NS, usegmt=True).encode()),
            (b"accept-ranges", b"bytes"),
            (b"content-disposition", b"attachment"),
        ]
        spans = _wanted(scope, file, etag, module)
        if isinstance(spans, int):
            if spans == 416:
                said = content_range(None, length=file.size).encode()
                fields.append((b"content-range", said))
            await _bare(send, spans, fields)
            return
        with closing(self._files.open(file)) as opened:
            if len(spans) > 1:
                boundary = secrets.token_hex(16)
                parts = multipart(spans, length=file.size, boundary=boundary, media=OCTETS)
                await _send_parts(scope, send, fields, opened, parts, boundary)
            else:
                await _send_span(scope, send, fields, opened, spans, file, ended)


def _wanted(scope: Scope, file: File, etag: str, module: Module) -> tuple[Span, ...] | int:
    """Return the ranges to send, none for the whole file, or the status that ends the request."""
    must = _text(scope, b"if-match")
    if must is not None and not matches(must, etag) and not matches(must, file.sha1):
        return 412
    known = _text(scope, b"if-none-match")
    if known is not None and matches(known, etag, weak=True):
        return 304
    asked, still = _text(scope, b"range"), _text(scope, b"if-range")
    if asked is None or scope["method"] != "GET":
        return ()
    stamp = formatdate(module.added_ns / NS, usegmt=True)
    if still is not None and not matches(still, etag) and still != stamp:
        return ()  # It has another version: it gets the whole of this one.
    spans = read_ranges(asked, length=file.size)
    if spans is None:
        return ()
    return spans or 416


async def _send_span(
    scope: Scope,
    send: Send,
    fields: Headers,
    opened: IO[bytes],
    spans: tuple[Span, ...],
    file: File,
    ended: Ended,
) -> None:
    span = spans[0] if spans else Span(0, file.size - 1)
    if spans:
        fields.append((b"content-range", content_range(span, length=file.size).encode()))
    fields += [
        (b"content-type", OCTETS.encode()),
        (b"content-length", b"%d" % len(span)),
    ]
    await send(_start(206 if spans else 200, fields))
    if scope["method"] == "GET":
        left, last = len(span), span.last == file.size - 1
        async for piece in read_span(opened, span.first, len(span)):
            if scope["asepsis.connection"].closed:
                return
            left -= len(piece)
            if last and not left:
                await ended()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _send_parts(
    scope: Scope, send: Send, fields: Headers, opened: IO[bytes], parts: Parts, boundary: str
) -> None:
    fields += [
        (b"content-type", f"multipart/byteranges; boundary={boundary}".encode()),
        (b"content-length", b"%d" % parts.length),
    ]
    await send(_start(206, fields))
    for head, span in zip(parts.heads, parts.spans, strict=True):
        await send({"type": "http.response.body", "body": head, "more_body": True})
        async for piece in read_span(opened, span.first, len(span)):
            if scope["asepsis.connection"].closed:
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": parts.tail})


async def _bare(send: Send, status: int, fields: Headers) -> None:
    await send(_start(status, [*fields, (b"content-length", b"0")]))
    await send({"type": "http.response.body", "body": b""})


def _start(status: int, fields: Headers) -> Message:
    return {"type": "http.response.start", "status": status, "headers": fields}


def _text(scope: Scope, name: bytes) -> str | None:
    value = header(scope, name)
    return None if value is None else value.decode("latin-1").strip()
