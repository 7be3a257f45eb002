"""Images: objects, their index, the workers that look at them, and their routes."""

from typing import Final

from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.imaging.http import StoreRoutes
from asepsis.hub.imaging.index import ImageIndex
from asepsis.hub.imaging.inspector import Inspection, Inspector
from asepsis.hub.imaging.service import ImageService, Threads
from asepsis.hub.imaging.storage import Vault
from asepsis.hub.imaging.telling import Teller
from asepsis.hub.keyholder import Separation

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
        clinical=StoreRoutes(service).routes(),
        restore=service.restore,
        work={"images told": teller.run},
        close=close,
        status={"images": status},
    )
