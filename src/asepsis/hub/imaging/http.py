"""The store route, as bare ASGI: its body is read as it comes and never held.

Source: DICOM PS3.18 section 10.5; docs/reference/imaging.md.
"""

import re
from collections.abc import Sequence
from typing import Final

from asepsis.core.errors import FramingError, InputError
from asepsis.core.wire import dicomweb, dicomweb_store
from asepsis.core.wire.dicomweb import MultipartReader, PartBegun, PartData
from asepsis.core.wire.dicomweb_store import Failure, Stored
from asepsis.core.wire.inspection import UID_CHARS_MAX
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.imaging.service import ImageService
from asepsis.hub.imaging.upload import Upload
from asepsis.hub.web.asgi import Headers, Receive, Scope, Send, answer, header
from asepsis.hub.web.routing import Route

ROOT: Final = "/dicom-web"
STUDIES: Final = f"{ROOT}/studies"
STREAMED: Final = frozenset({f"POST {STUDIES}"})
"""Requests whose bodies the listener gives on as they come."""
RETRY_AFTER_S: Final = 30
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_HOST: Final = re.compile(
    rb"[A-Za-z0-9.\-]{1,253}(?::\d{1,5})?|\[[0-9a-fA-F:.]{2,45}\](?::\d{1,5})?"
)


class StoreRoutes:
    """The handlers of the store service; one for a hub.

    Args:
        service: The use cases.
    """

    def __init__(self, service: ImageService) -> None:
        self._service = service

    def routes(self) -> Sequence[Route]:
        """Return the routes, for the clinical listener."""
        return (
            Route("POST", STUDIES, self._store, Action.STORE_IMAGES),
            Route("POST", STUDIES + "/{study}", self._store, Action.STORE_IMAGES),
        )

    async def _store(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal = scope["asepsis.principal"]
        if header(scope, b"content-encoding") not in {None, b"identity"}:
            raise dicomweb.UnsupportedMedia("compressed bodies are not accepted")
        boundary = dicomweb.related_boundary(_text(scope, b"content-type") or "")
        named: str = scope.get("asepsis.path_params", {}).get("study", "")
        sender = self._service.begin(
            principal,
            device=_text(scope, b"asepsis-device"),
            calling_ae=_text(scope, b"asepsis-calling-ae"),
            person=_text(scope, b"asepsis-user"),
            study=uid_of(named) if named else "",
        )
        upload = Upload(self._service, sender)
        try:
            await _receive_parts(MultipartReader(boundary), upload, receive)
            results = await upload.results()
        finally:
            await upload.close()
        await _answer(scope, send, results)


async def _receive_parts(reader: MultipartReader, upload: Upload, receive: Receive) -> None:
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise FramingError("the body ended early")
        more = message.get("more_body", False)
        for event in reader.feed(message.get("body", b"")):
            if isinstance(event, PartData):
                await upload.add(event.data)
            elif isinstance(event, PartBegun):
                _require_dicom(event)
                await upload.begin()
            else:
                await upload.finish()
    reader.finish()


def _require_dicom(part: PartBegun) -> None:
    media, _ = dicomweb.parse_media(part.headers.get("content-type", dicomweb.DICOM))
    if media != dicomweb.DICOM:
        raise dicomweb.UnsupportedMedia("a part is no DICOM file")


async def _answer(scope: Scope, send: Send, results: Sequence[Stored]) -> None:
    base = base_of(scope) + ROOT
    placed = [
        Stored(
            sop_class=each.sop_class,
            sop_instance=each.sop_instance,
            retrieve_url=base + each.retrieve_url if each.retrieve_url else "",
            failure=each.failure,
        )
        for each in results
    ]
    studies = {each.retrieve_url.partition("/series/")[0] for each in placed if each.retrieve_url}
    body = dicomweb_store.store_response(
        placed, study_url=studies.pop() if len(studies) == 1 else ""
    )
    status = dicomweb_store.status_of(placed)
    headers: Headers = []
    if placed and all(each.failure is Failure.NO_RESOURCES for each in placed):
        # Nothing of the request was stored, and it is not the request's fault.
        status = 503
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    await answer(send, status, body, media=dicomweb_store.MEDIA, headers=headers)


def uid_of(value: str) -> str:
    """Return a UID of a path.

    Raises:
        InputError: Not a UID.
    """
    if not (_UID.fullmatch(value) and len(value) <= UID_CHARS_MAX):
        raise InputError("the path names no UID")
    return value


def base_of(scope: Scope) -> str:
    """Return scheme and authority as the client wrote them; a strange one is left out."""
    host = header(scope, b"host") or b""
    return f"https://{host.decode('ascii')}" if _HOST.fullmatch(host) else ""


def _text(scope: Scope, name: bytes) -> str | None:
    value = header(scope, name)
    return None if value is None else value.decode("latin-1").strip()
