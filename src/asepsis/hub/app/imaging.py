"""Images: objects, their index, the workers that look at them, and their routes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.imaging.finding import ImageFinder
from asepsis.hub.imaging.http import StoreRoutes
from asepsis.hub.imaging.http_reading import ReadRoutes
from asepsis.hub.imaging.index import ImageIndex
from asepsis.hub.imaging.inspector import Inspection, Inspector
from asepsis.hub.imaging.reading import ImageReading
from asepsis.hub.imaging.service import ImageService, Threads
from asepsis.hub.imaging.storage import Vault
from asepsis.hub.imaging.telling import Teller
from asepsis.hub.keyholder import Separation
from asepsis.hub.store.store import Store

FOLDER: Final = "images"


def start_inspection(owner: Separation | None = None) -> Inspection:
    """Start the process that inspects images; before root is given up, if it is.

    Args:
        owner: Whose user it becomes; None to stay who it is.
    """
    return Inspection(() if owner is None else (str(owner.hub_uid), str(owner.hub_gid)))


def open_imaging(core: Core) -> Feature:
    """Open images."""
    settings = core.settings.images
    index = ImageIndex(core.store, core.audit_log)
    inspector = Inspector(core.inspection or start_inspection())
    threads = Threads()
    teller = Teller(core.journal, index, wall=core.clocks.wall)
    service = ImageService(
        vault=Vault(
            core.settings.folder() / "hub" / FOLDER,
            kek=core.kek,
            aead=CryptographyAead(),
            reserve_bytes=settings.reserve_bytes,
        ),
        index=index,
        teller=teller,
        inspector=inspector,
        threads=threads,
        wall=core.clocks.wall,
        bytes_max=settings.bytes_max,
    )

    reading = ImageReading(
        finder=ImageFinder(core.store),
        vault=service.vault,
        inspector=inspector,
        threads=threads,
        audit=StoreImageAudit(core.store, core.audit_log),
        readers=NamedReaders(frozenset(settings.readers)),
        wall=core.clocks.wall,
    )
    reads = ReadRoutes(reading).routes()

    async def close() -> None:
        threads.close()
        inspector.close()

    async def status() -> object:
        return {
            "held": service.held,
            "bytes": service.held_bytes,
            "bytes_max": service.bytes_max,
            "quarantined_bytes": service.quarantined_bytes,
        }

    return Feature(
        clinical=[*StoreRoutes(service).routes(), *reads],
        people=reads,
        restore=service.restore,
        work={"images told": teller.run},
        close=close,
        status={"images": status},
    )


@dataclass(frozen=True, slots=True)
class NamedReaders:
    """Machines that may read images.

    Attributes:
        names: Those that the operator named.
    """

    names: frozenset[str]

    def may_read(self, name: str) -> bool:
        """Whether this machine may read images."""
        return name in self.names


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
