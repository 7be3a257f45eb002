"""Images: objects, their index, the workers that look at them, and their routes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.delivery.service import DeliveryService
from asepsis.hub.imaging.finding import ImageFinder
from asepsis.hub.imaging.giving import OpenImages
from asepsis.hub.imaging.http import StoreRoutes
from asepsis.hub.imaging.http_office import OfficeRoutes
from asepsis.hub.imaging.http_reading import ReadRoutes
from asepsis.hub.imaging.index import ImageIndex
from asepsis.hub.imaging.inspector import Inspection, Inspector
from asepsis.hub.imaging.reading import ImageReading
from asepsis.hub.imaging.releasing import Releases
from asepsis.hub.imaging.retention import Retention
from asepsis.hub.imaging.rules import Keeping, PrivateTags
from asepsis.hub.imaging.service import ImageService, Threads
from asepsis.hub.imaging.storage import Vault
from asepsis.hub.imaging.telling import Teller
from asepsis.hub.keyholder import Separation
from asepsis.hub.registry.book import IdentityBook
from asepsis.hub.store.leases import Lease, LeasedTask
from asepsis.hub.store.store import Store

FOLDER: Final = "images"
NS: Final = 1_000_000_000


def start_inspection(owner: Separation | None = None) -> Inspection:
    """Start the process that inspects images; before root is given up, if it is.

    Args:
        owner: Whose user it becomes; None to stay who it is.
    """
    return Inspection(() if owner is None else (str(owner.hub_uid), str(owner.hub_gid)))


def build_images(core: Core) -> OpenImages:
    """Return what is held, as deliveries open it."""
    vault = Vault(
        core.settings.folder() / "hub" / FOLDER,
        kek=core.kek,
        aead=CryptographyAead(),
        reserve_bytes=core.settings.images.reserve_bytes,
    )
    return OpenImages(core.store, vault, Threads())


def open_imaging(core: Core, deliveries: DeliveryService, images: OpenImages) -> Feature:
    """Open images.

    Args:
        core: What the hub stands on.
        deliveries: Says what archives accepted, and which gateways fetch images for them.
        images: What is held.
    """
    inspector = Inspector(core.inspection or start_inspection())
    threads = images.threads
    service = _service(core, inspector, images)
    reads = ReadRoutes(_reading(core, service, deliveries)).routes()
    task = _retention(core, service, deliveries)
    releases = Releases(core.store, core.audit_log, service)

    async def close() -> None:
        threads.close()
        inspector.close()

    return Feature(
        clinical=[*StoreRoutes(service).routes(), *reads],
        people=[*reads, *OfficeRoutes(core.store, releases).routes()],
        restore=service.restore,
        work={"images told": service.teller.run, "image retention": task.run},
        close=close,
        status={"images": service.status},
    )


def _service(core: Core, inspector: Inspector, images: OpenImages) -> ImageService:
    settings = core.settings.images
    index = ImageIndex(core.store, core.audit_log)
    return ImageService(
        vault=images.vault,
        index=index,
        teller=Teller(core.journal, index, wall=core.clocks.wall),
        inspector=inspector,
        threads=images.threads,
        wall=core.clocks.wall,
        sources=BookSources(core.book),
        bytes_max=settings.bytes_max,
        private_tags=PrivateTags(settings.private_tags, settings.private_tags_of),
    )


def _reading(core: Core, service: ImageService, deliveries: DeliveryService) -> ImageReading:
    return ImageReading(
        finder=ImageFinder(core.store),
        vault=service.vault,
        inspector=service.inspector,
        threads=service.threads,
        audit=StoreImageAudit(core.store, core.audit_log),
        readers=NamedReaders(frozenset(core.settings.images.readers), deliveries),
        wall=core.clocks.wall,
    )


def _retention(core: Core, service: ImageService, deliveries: DeliveryService) -> LeasedTask:
    settings = core.settings.images
    retention = Retention(
        store=core.store,
        audit=core.audit_log,
        service=service,
        deliveries=deliveries,
        keeping=Keeping(
            keep_ns=settings.keep_s * NS,
            keep_full_ns=settings.keep_full_s * NS,
            quarantine_ns=settings.quarantine_s * NS,
        ),
        wall=core.clocks.wall,
    )

    async def keep(_lease: Lease) -> None:
        await retention.round()

    return LeasedTask(
        core.store, "image retention", holder=core.holder, work=keep, every_s=settings.purge_every_s
    )


@dataclass(frozen=True, slots=True)
class BookSources:
    """The identity book as imaging asks it.

    Attributes:
        book: Who may enter, and what was declared.
    """

    book: IdentityBook

    def check_images(self, gateway: str, device: str) -> None:
        """Let a gateway bring images of a device; errors as the port."""
        self.book.delegations.check_type(gateway, device, "dicom")


@dataclass(frozen=True, slots=True)
class NamedReaders:
    """Machines that may read images.

    Attributes:
        names: Those that the operator named.
        deliveries: Knows the gateways that an administrator named to fetch images for archives.
    """

    names: frozenset[str]
    deliveries: DeliveryService

    def may_read(self, name: str) -> bool:
        """Whether this machine may read images."""
        if name in self.names:
            return True
        options = [line.destination.options for line in self.deliveries.lines()]
        return any(
            name in {each.gateway, each.partner} for each in options if each.carries == "images"
        )


@dataclass(frozen=True, slots=True)
class StoreImageAudit:
    """The audit log as images use it.

    Attributes:
        store: Where it stands.
        log: Writes entries.
    """

    store: Store
    log: AuditLog

    async def note(
        self, *, actor: str, action: str, subject: str, outcome: str, detail: Mapping[str, object]
    ) -> None:
        """Write one entry durably."""
        act = Act(actor=actor, action=action, subject=subject, outcome=outcome, detail=dict(detail))
        await self.store.write(lambda connection: self.log.record(connection, act))
