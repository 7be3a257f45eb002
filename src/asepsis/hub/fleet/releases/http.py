"""Routes of the people listener: pin vendors, bring releases and approvals, list devices."""

import base64
import binascii
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, cast

import msgspec

from asepsis.core.errors import FramingError, InputError
from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.core.model.release import Sha256, Word
from asepsis.core.model.release_assessment import conclude
from asepsis.core.trust.metadata.authorisation import AUTHORISATION_BYTES_MAX
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.fleet.director.service import DirectorService
from asepsis.hub.fleet.ports import Fit
from asepsis.hub.fleet.releases.records import read_root, read_vendors
from asepsis.hub.fleet.releases.service import LISTED_MAX, Judged, ReleaseService
from asepsis.hub.web.asgi import Receive, Scope, Send
from asepsis.hub.web.bodies import require_media
from asepsis.hub.web.documents import read_document, send_document
from asepsis.hub.web.routing import Route

ROOT_BYTES_MAX: Final = 512_000
BODY_BYTES_MAX: Final = 1 << 20
BASE: Final = "/api/updates"
STREAMED: Final = frozenset({f"PUT {BASE}/vendors"})
"""Requests whose bodies the listener gives on as they come: what a vendor published."""


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every body: named fields, nothing unknown."""


class VendorBody(_Body, frozen=True, kw_only=True):
    """A vendor, and its root as base64 of the file."""

    name: Word
    root: Annotated[str, msgspec.Meta(max_length=ROOT_BYTES_MAX * 4 // 3 + 4)]


class FileBody(_Body, frozen=True, kw_only=True):
    """A signed document, as base64 of the file."""

    content: Annotated[str, msgspec.Meta(max_length=ROOT_BYTES_MAX * 4 // 3 + 4)]


class FitBody(_Body, frozen=True, kw_only=True):
    """What a device is for an update."""

    device: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    model: Word
    hardware: Word


class FitsBody(_Body, frozen=True, kw_only=True):
    """Devices that are listed."""

    devices: Annotated[tuple[FitBody, ...], msgspec.Meta(min_length=1, max_length=LISTED_MAX)]


class AssignBody(_Body, frozen=True, kw_only=True):
    """Which artefact a device is to have."""

    artefact: Sha256


class ClearBody(_Body, frozen=True, kw_only=True):
    """What is taken back from a device: of one component, or everything."""

    component: Word | None = None


class PeopleRoutes:
    """The handlers.

    Args:
        releases: The use cases of releases.
        director: Assigns them.
    """

    def __init__(self, releases: ReleaseService, director: DirectorService) -> None:
        self._releases = releases
        self._director = director

    def routes(self) -> list[Route]:
        """Return the routes."""
        manage, see = Action.MANAGE_UPDATES, Action.LIST_DEVICES
        vendor, device = BASE + "/vendors/{vendor}", BASE + "/devices/{name}"
        return [
            Route("GET", BASE, self._overview, see),
            Route("GET", BASE + "/releases/{sha256}", self._release, see),
            Route("POST", BASE + "/vendors", self._pin, manage),
            Route("PUT", vendor + "/files/{area}/{name}", self._bring, manage),
            Route("POST", vendor + "/import", self._import, manage),
            Route("POST", BASE + "/director/roots", self._put_root, manage),
            Route("POST", BASE + "/authorisations", self._approve, manage),
            Route("POST", BASE + "/devices", self._list, manage),
            Route("GET", device, self._device, see),
            Route("POST", device + "/assign", self._assign, manage),
            Route("POST", device + "/clear", self._clear, manage),
        ]

    async def _overview(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Show vendors, the director's root, and how far every release is."""
        store = self._releases.store
        vendors = await store.read(read_vendors)
        root = await store.read(read_root)
        document = {
            "vendors": [
                {"name": one.name, "person": one.person, "imported_ns": one.imported_ns}
                for one in vendors
            ],
            "director_root": root[0] if root else 0,
            "director": await self._director.status(),
            "releases": [_shown(one) for one in await self._releases.judged()],
        }
        await send_document(send, document)

    async def _release(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Show one release with its document and where the manufacturer's answers lead."""
        judged, document = await self._releases.document(_part(scope, "sha256"))
        pathways = document.assessment.pathways if document else ()
        await send_document(
            send,
            _shown(judged)
            | {
                "document": msgspec.to_builtins(document),
                "conclusions": {one.name: conclude(one).value for one in pathways},
            },
        )

    async def _pin(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, VendorBody, bytes_max=BODY_BYTES_MAX)
        await self._releases.pin(body.name, _bytes(body.root), person=_asking(scope).name)
        await send_document(send, {"vendor": body.name})

    async def _bring(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store one file of a vendor's published repository; nobody believes it yet."""
        require_media(scope, "application/octet-stream")
        length = await self._releases.bring(
            _part(scope, "vendor"), _part(scope, "area"), _part(scope, "name"), _pieces(receive)
        )
        await send_document(send, {"length": length})

    async def _import(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Verify what was brought, and serve it to devices."""
        found = await self._releases.import_(_part(scope, "vendor"), person=_asking(scope).name)
        await send_document(send, found)

    async def _put_root(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, FileBody, bytes_max=BODY_BYTES_MAX)
        version = await self._releases.put_root(_bytes(body.content), person=_asking(scope).name)
        await send_document(send, {"version": version})

    async def _approve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take an authorisation that somebody signed offline."""
        body = await read_document(scope, receive, FileBody, bytes_max=BODY_BYTES_MAX)
        content = _bytes(body.content)
        if len(content) > AUTHORISATION_BYTES_MAX:
            raise InputError(f"an authorisation is over {AUTHORISATION_BYTES_MAX} bytes")
        found = await self._releases.approve(content, person=_asking(scope).name)
        await send_document(send, _shown(found))

    async def _list(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_document(scope, receive, FitsBody, bytes_max=BODY_BYTES_MAX)
        listed = [
            Fit(device=one.device, model=one.model, hardware=one.hardware) for one in body.devices
        ]
        await self._releases.list_devices(listed, person=_asking(scope).name)
        await send_document(send, {"listed": len(listed)})

    async def _device(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Show what a device is for an update, and what is assigned to it."""
        name = _part(scope, "name")
        fit = (await self._releases.fit([name])).get(name)
        document = {
            "device": name,
            "model": fit.model if fit else "",
            "hardware": fit.hardware if fit else "",
            "assigned": list(await self._director.assigned(name)),
        }
        await send_document(send, document)

    async def _assign(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Assign a release to one device, outside every campaign: for the bench."""
        body, name = (
            await read_document(scope, receive, AssignBody, bytes_max=BODY_BYTES_MAX),
            _part(scope, "name"),
        )
        refused = await self._director.assign(body.artefact, [name])
        await self._releases.note_assigned(
            name, body.artefact, refused.get(name), person=_asking(scope).name
        )
        if name in refused:
            raise InputError(f"not assigned: {refused[name].why}")
        await send_document(send, {"assigned": list(await self._director.assigned(name))})

    async def _clear(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, name = (
            await read_document(scope, receive, ClearBody, bytes_max=BODY_BYTES_MAX),
            _part(scope, "name"),
        )
        await self._director.clear([name], component=body.component)
        await self._releases.note_cleared(name, body.component, person=_asking(scope).name)
        await send_document(send, {"assigned": list(await self._director.assigned(name))})


def _shown(one: Judged) -> dict[str, Any]:
    published, said = one.published, one.standing
    return {
        "sha256": published.sha256,
        "vendor": published.vendor,
        "path": published.path,
        "model": published.model,
        "component": published.component,
        "version": published.version,
        "counter": published.counter,
        "floor": published.floor,
        "reboot": published.reboot,
        "document_sha256": published.document,
        "eligible": not said.why,
        "why_not": said.why,
        "authorisation": said.approval.sha256 if said.approval else "",
        "approved_by": {"vendor": list(said.vendor), "hospital": list(said.hospital)},
        "until": said.authorisation.expires.isoformat() if said.authorisation else "",
    }


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise FramingError("the body ended early")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("a file is sent as base64") from error


def _part(scope: Scope, name: str) -> str:
    return cast("str", scope["asepsis.path_params"][name])


def _asking(scope: Scope) -> Principal:
    return cast("Principal", scope["asepsis.principal"])
