"""Routes of the clinical listener: what enrolled devices fetch of releases, and nobody else.

Nothing here is secret and a device trusts nothing of it for where it came from; it is closed all
the same, because who may not ask cannot learn which device lacks which update.
"""

from typing import Final, cast

from asepsis.core.errors import NotFound
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.fleet.director.service import DirectorService
from asepsis.hub.fleet.releases.folders import VendorFolder, checked
from asepsis.hub.fleet.releases.records import read_approvals, read_root
from asepsis.hub.fleet.releases.sending import send_file
from asepsis.hub.fleet.releases.service import ReleaseService
from asepsis.hub.web.asgi import Receive, Scope, Send, answer
from asepsis.hub.web.routing import Route

JSON: Final = b"application/json"
_ROOT: Final = ".root.json"
IMAGES: Final = "/updates/images/{vendor}"
DIRECTOR: Final = "/updates/director"


class DeviceRoutes:
    """The handlers.

    Args:
        releases: What vendors published.
        director: What is said to each device.
    """

    def __init__(self, releases: ReleaseService, director: DirectorService) -> None:
        self._releases = releases
        self._director = director

    def routes(self) -> list[Route]:
        """Return the routes."""
        fetch = Action.FETCH_UPDATES
        return [
            Route("GET", IMAGES + "/metadata/{name}", self._metadata, fetch),
            Route("GET", IMAGES + "/metadata/documents/{name}", self._document, fetch),
            Route("GET", IMAGES + "/targets/{model}/{name}", self._target, fetch),
            Route("GET", DIRECTOR + "/{name}", self._directed, fetch),
            Route("GET", DIRECTOR + "/authorisations/{name}", self._authorisation, fetch),
        ]

    async def _metadata(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send metadata of a vendor; its name says its version, but for the timestamp."""
        place = checked(self._folder(scope).served / "metadata", _part(scope, "name"))
        try:
            content = place.read_bytes()
        except OSError as error:
            raise NotFound("there is no such metadata") from error
        await answer(send, 200, content, media=JSON)

    async def _document(self, scope: Scope, _receive: Receive, send: Send) -> None:
        name = _part(scope, "name")
        place = checked(self._folder(scope).served / "metadata" / "documents", name)
        await send_file(scope, send, place, etag=f'"{name.removesuffix(".json")}"')

    async def _target(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send an artefact; its name begins with its hash, which is its entity tag."""
        name = f"{_part(scope, 'model')}/{_part(scope, 'name')}"
        place = checked(self._folder(scope).served / "targets", name)
        await send_file(scope, send, place, etag=f'"{place.name.partition(".")[0]}"')

    async def _directed(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send what the director says to this very device, or a version of the shared root."""
        name = _part(scope, "name")
        if name.endswith(_ROOT):
            await answer(send, 200, await self._root(name), media=JSON)
            return
        asking = cast("Principal", scope["asepsis.principal"])
        content = await self._director.file(asking.name, name)
        await answer(send, 200, content, media=JSON)

    async def _authorisation(self, scope: Scope, _receive: Receive, send: Send) -> None:
        sha256 = _part(scope, "name").removesuffix(".json")
        found = await self._releases.store.read(lambda c: read_approvals(c, sha256=sha256))
        if not found:
            raise NotFound("there is no such authorisation")
        await answer(send, 200, found[0].content, media=JSON)

    async def _root(self, name: str) -> bytes:
        version = name.removesuffix(_ROOT)
        if not (version.isascii() and version.isdigit() and len(version) <= 9):
            raise NotFound("there is no such root")
        found = await self._releases.store.read(lambda c: read_root(c, int(version)))
        if found is None:
            raise NotFound("there is no such root")
        return found[1]

    def _folder(self, scope: Scope) -> VendorFolder:
        return self._releases.folder(_part(scope, "vendor"))


def _part(scope: Scope, name: str) -> str:
    return cast("str", scope["asepsis.path_params"][name])
