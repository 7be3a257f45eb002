"""The routes of QIDO-RS and WADO-RS, as bare ASGI; objects are streamed from their files.

Source: DICOM PS3.18 sections 8.7 (media types), 10.4 (retrieve), 10.6 (search).
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from asepsis.core.errors import UnsupportedMedia
from asepsis.core.wire import dicomweb
from asepsis.core.wire import dicomweb_search as qido
from asepsis.core.wire.dicomweb_search import Level
from asepsis.core.wire.dicomweb_store import MEDIA
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.imaging.finding import Object
from asepsis.hub.imaging.http import ROOT, STUDIES, base_of, uid_of
from asepsis.hub.imaging.reading import ImageReading
from asepsis.hub.imaging.storage import ObjectReader
from asepsis.hub.web.asgi import Headers, Receive, Scope, Send, answer, header
from asepsis.hub.web.problems import problem
from asepsis.hub.web.routing import Route

SERIES: Final = STUDIES + "/{study}/series"
INSTANCES: Final = SERIES + "/{series}/instances"
SENT_BYTES: Final = 1 << 20
"""Bytes of an object that are read at once."""
ACCEPT_CHARS_MAX: Final = 1_024
_ANY: Final = frozenset({"*/*", "multipart/*", "application/*"})
_JSON: Final = frozenset({"application/dicom+json", "application/json", "*/*", "application/*"})

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


class ReadRoutes:
    """The handlers; one for a hub.

    Args:
        reading: The use cases.
    """

    def __init__(self, reading: ImageReading) -> None:
        self._reading = reading

    def routes(self) -> Sequence[Route]:
        """Return the routes, the same for both listeners."""
        table: Sequence[tuple[str, Handler]] = (
            (STUDIES, self._search(Level.STUDY)),
            (ROOT + "/series", self._search(Level.SERIES)),
            (ROOT + "/instances", self._search(Level.INSTANCE)),
            (SERIES, self._search(Level.SERIES)),
            (STUDIES + "/{study}/instances", self._search(Level.INSTANCE)),
            (INSTANCES, self._search(Level.INSTANCE)),
            (STUDIES + "/{study}", self._retrieve),
            (STUDIES + "/{study}/metadata", self._metadata),
            (SERIES + "/{series}", self._retrieve),
            (SERIES + "/{series}/metadata", self._metadata),
            (INSTANCES + "/{instance}", self._retrieve),
            (INSTANCES + "/{instance}/metadata", self._metadata),
        )
        return [Route("GET", path, self._admitted(h), Action.READ_IMAGES) for path, h in table]

    def _admitted(self, handler: Handler) -> Handler:
        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            self._reading.admit(_principal(scope))
            await handler(scope, receive, send)

        return handle

    def _search(self, level: Level) -> Handler:
        async def handle(scope: Scope, _receive: Receive, send: Send) -> None:
            """`?{attribute}=&includefield=&fuzzymatching=&limit=&offset=`."""
            if not _accepted(scope, _JSON):
                await _not_acceptable(scope, send, "application/dicom+json")
                return
            tags = {"study": qido.STUDY_UID, "series": qido.SERIES_UID}
            within = {tags[name]: uid for name, uid in _uids(scope).items()}
            search = qido.parse(scope["query_string"], level, within=within)
            found = await self._reading.search(
                _principal(scope), search, base=base_of(scope) + ROOT
            )
            headers: Headers = []
            if found.more or found.cut:
                headers.append((b"warning", b'299 asepsis "There are additional results"'))
            if search.fuzzy:
                headers.append((b"warning", b'299 asepsis "Only literal matching is performed"'))
            body = msgspec.json.encode(found.answers)
            await answer(send, 200, body, media=MEDIA, headers=headers)

        return handle

    async def _retrieve(self, scope: Scope, _receive: Receive, send: Send) -> None:
        uids = _uids(scope)
        single = "instance" in uids
        form = _form(scope, single=single)
        if not form:
            await _not_acceptable(scope, send, dicomweb.RELATED)
            return
        with self._reading.retrieval():
            found = await self._objects(scope, uids)
            syntaxes = _syntaxes(scope)
            if syntaxes and not {each.transfer_syntax for each in found} <= syntaxes:
                # Bytes are given as they were stored; nothing is recoded here.
                await _not_acceptable(scope, send, "transfer-syntax=*")
            elif form == dicomweb.DICOM:
                await self._send_one(send, found[0])
            else:
                await self._send_all(scope, send, found)

    async def _metadata(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if not _accepted(scope, _JSON):
            await _not_acceptable(scope, send, "application/dicom+json")
            return
        with self._reading.retrieval():
            found = await self._objects(scope, _uids(scope), metadata=True)
            first = await self._reading.metadata(found[0])
            await _begin(send, MEDIA)
            await _send(send, b"[" + first)
            for each in found[1:]:
                await _send(send, b"," + await self._reading.metadata(each))
            await send({"type": "http.response.body", "body": b"]"})

    async def _objects(
        self, scope: Scope, uids: Mapping[str, str], *, metadata: bool = False
    ) -> Sequence[Object]:
        return await self._reading.objects(
            _principal(scope),
            study=uids["study"],
            series=uids.get("series", ""),
            sop_instance=uids.get("instance", ""),
            metadata=metadata,
        )

    async def _send_one(self, send: Send, found: Object) -> None:
        reader = await self._reading.open(found)
        try:
            media = f"{dicomweb.DICOM}; transfer-syntax={found.transfer_syntax}".encode()
            await _begin(send, media, length=found.length)
            await self._send_object(send, reader)
        finally:
            reader.close()
        await send({"type": "http.response.body", "body": b""})

    async def _send_all(self, scope: Scope, send: Send, found: Sequence[Object]) -> None:
        boundary = secrets.token_hex(20)
        # The first is opened before the answer begins: if it cannot be, there is a status for it.
        reader = await self._reading.open(found[0])
        media = f'{dicomweb.RELATED}; type="{dicomweb.DICOM}"; boundary={boundary}'
        await _begin(send, media.encode())
        base = base_of(scope) + ROOT
        for number, each in enumerate(found):
            if number:
                reader = await self._reading.open(each)
            try:
                # No empty line before the first delimiter: some readers take it for a part.
                await _send(send, (b"\r\n" if number else b"") + _part_head(each, boundary, base))
                await self._send_object(send, reader)
            finally:
                reader.close()
        await send({"type": "http.response.body", "body": f"\r\n--{boundary}--\r\n".encode()})

    async def _send_object(self, send: Send, reader: ObjectReader) -> None:
        for offset in range(0, reader.byte_count, SENT_BYTES):
            data = await self._reading.threads.call(
                lambda offset=offset: reader.read(offset, SENT_BYTES)
            )
            await _send(send, data)


def _part_head(found: Object, boundary: str, base: str) -> bytes:
    return (
        f"--{boundary}\r\n"
        f"Content-Type: {dicomweb.DICOM}; transfer-syntax={found.transfer_syntax}\r\n"
        f"Content-Location: {base}/studies/{found.study}/series/{found.series}"
        f"/instances/{found.sop_instance}\r\n\r\n"
    ).encode()


async def _begin(send: Send, media: bytes, *, length: int | None = None) -> None:
    headers: Headers = [(b"content-type", media)]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _principal(scope: Scope) -> Principal:
    principal: Principal = scope["asepsis.principal"]
    return principal


def _uids(scope: Scope) -> dict[str, str]:
    params: Mapping[str, str] = scope.get("asepsis.path_params", {})
    return {name: uid_of(value) for name, value in params.items()}


def _accepts(scope: Scope) -> list[tuple[str, Mapping[str, str]]]:
    value = header(scope, b"accept") or b"*/*"
    if len(value) > ACCEPT_CHARS_MAX:
        raise UnsupportedMedia("the Accept header is too long")
    return [dicomweb.parse_media(each) for each in value.decode("latin-1").split(",")]


def _accepted(scope: Scope, media: frozenset[str]) -> bool:
    return any(name in media for name, _ in _accepts(scope))


def _form(scope: Scope, *, single: bool) -> str:
    """Return how an object is sent: multipart, bare, or not at all."""
    for name, parameters in _accepts(scope):
        root = parameters.get("type", dicomweb.DICOM)
        if name in _ANY or (name == dicomweb.RELATED and root in {dicomweb.DICOM, "*/*"}):
            return dicomweb.RELATED
        if name == dicomweb.DICOM and single:
            return dicomweb.DICOM
    return ""


def _syntaxes(scope: Scope) -> set[str]:
    """Return the transfer syntaxes that are accepted; empty for any."""
    found = {parameters.get("transfer-syntax", "*") for _, parameters in _accepts(scope)}
    return set() if "*" in found else found


async def _not_acceptable(scope: Scope, send: Send, hint: str) -> None:
    connection = scope.get("asepsis.connection")
    error = UnsupportedMedia("nothing that is accepted can be sent", hint=hint)
    result = problem(
        error, status=406, instance="" if connection is None else connection.request_id
    )
    await send({"type": "http.response.start", "status": 406, "headers": result.headers})
    await send({"type": "http.response.body", "body": result.body})
