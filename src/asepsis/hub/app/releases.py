"""Releases and the director: what vendors published, both parties approved, a device is to have."""

from dataclasses import dataclass

from asepsis.core.errors import NotFound
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.fleet.campaigns.opening import signed_windows
from asepsis.hub.fleet.director.service import EVERY_S, TASK, DirectorService
from asepsis.hub.fleet.releases.http import PeopleRoutes
from asepsis.hub.fleet.releases.http_devices import DeviceRoutes
from asepsis.hub.fleet.releases.service import ReleaseService
from asepsis.hub.store.leases import LeasedTask

FOLDER = "updates"


@dataclass(frozen=True, slots=True)
class OpenReleases:
    """What campaigns stand on.

    Attributes:
        releases: See `fleet.ports.Releases`.
        director: See `fleet.ports.Director`.
        renewal: Signs anew what is behind or comes to its end.
    """

    releases: ReleaseService
    director: DirectorService
    renewal: LeasedTask


def build_releases(core: Core) -> OpenReleases:
    """Return the use cases; nothing runs yet."""

    async def director_der() -> bytes:
        return (await core.signer.authorities()).director_der

    def admit(device: str) -> None:
        if core.book.is_revoked(device):
            raise NotFound("the device is revoked")
        core.book.device(device)

    releases = ReleaseService(
        store=core.store,
        audit=core.audit_log,
        base=core.settings.folder() / "hub" / FOLDER,
        director_der=director_der,
    )
    director = DirectorService(
        store=core.store,
        signer=core.signer,
        releases=releases,
        admit=admit,
        opening=signed_windows,
    )
    renewal = LeasedTask(core.store, TASK, holder=core.holder, work=director.renew, every_s=EVERY_S)
    releases.changed = renewal.wake
    return OpenReleases(releases, director, renewal)


def open_releases(opened: OpenReleases) -> Feature:
    """Open the routes of devices and people, and the renewal."""
    return Feature(
        clinical=DeviceRoutes(opened.releases, opened.director).routes(),
        people=PeopleRoutes(opened.releases, opened.director).routes(),
        work={"director": opened.renewal.run},
        status={"director": opened.director.status},
    )
