"""The channel between gateways of imaging: queries, worklists, performed steps, commitments."""

from collections.abc import Callable
from dataclasses import dataclass

from asepsis.core.errors import NotPermitted
from asepsis.core.wire import relay
from asepsis.core.wire.relay import Asked, Page
from asepsis.hub.app.core import Core
from asepsis.hub.app.delivery import Delivery
from asepsis.hub.app.feature import Feature
from asepsis.hub.app.imaging import BookSources, StoreImageAudit
from asepsis.hub.delivery.commitment import Progress, WebCommitter
from asepsis.hub.delivery.model import Kind
from asepsis.hub.delivery.service import DeliveryService
from asepsis.hub.imaging.giving import OpenImages
from asepsis.hub.imaging.http_relay import RelayRoutes
from asepsis.hub.imaging.relay import Relay
from asepsis.hub.imaging.relay_durable import DurableRelay
from asepsis.hub.imaging.relay_memory import MemoryRelay
from asepsis.hub.registry.book import IdentityBook
from asepsis.hub.registry.delegations.lines import SourceKind


def open_relay(core: Core, delivery: Delivery, images: OpenImages) -> Feature:
    """Open the channel.

    Args:
        core: What the hub stands on.
        delivery: Knows which gateways an administrator named for which archive.
        images: What is held.
    """
    deliveries = delivery.service
    progress = Progress(deliveries, core.store, images)
    durable = DurableRelay(core.store, core.clocks.wall)
    service = Relay(
        memory=MemoryRelay(core.clocks.monotonic),
        durable=durable,
        archives=DeclaredArchives(deliveries, core.book, core.clocks.wall),
        commitments=DeclaredCommitments(deliveries, progress),
        sources=BookSources(core.book),
        audit=StoreImageAudit(core.store, core.audit_log),
        monotonic=core.clocks.monotonic,
    )
    committer = WebCommitter(deliveries, delivery.out, images, questions=durable, progress=progress)
    return Feature(
        clinical=RelayRoutes(service).routes(),
        restore=durable.restore,
        work={"questions between gateways": service.run, "commitments": committer.run},
        status={"relay": service.status},
    )


@dataclass(frozen=True, slots=True)
class DeclaredCommitments:
    """Destinations as commitments ask for them.

    Attributes:
        deliveries: Destinations.
        progress: How far instances are.
    """

    deliveries: DeliveryService
    progress: Progress

    def check_commit(self, archive: str) -> None:
        """Let an archive be asked to commit; errors as the port."""
        if self.deliveries.line(archive).destination.options.carries != "images":
            raise NotPermitted(f"{archive} takes no images, so it commits none")

    async def revoke(self, asked: Asked, page: Page) -> None:
        """Take back what the archive does not keep; errors as the port."""
        await self.progress.revoke(asked, page)

    async def settled(self, asked: Asked) -> bool:
        """Say whether nothing of it is on its way any more; errors as the port."""
        return await self.progress.settled(asked)


@dataclass(frozen=True, slots=True)
class DeclaredArchives:
    """Destinations and named sources as the channel asks them.

    Attributes:
        deliveries: Destinations.
        book: Named sources.
        wall: Nanoseconds since 1970.
    """

    deliveries: DeliveryService
    book: IdentityBook
    wall: Callable[[], int]

    def check(self, archive: str, gateway: str | None, *, worklist: bool) -> None:
        """Let an archive be asked or a gateway speak for it; errors as the port."""
        if worklist:
            holder = archive.partition(relay.ENTRY_MARK)[0]
            self.book.delegations.check_source(
                holder, gateway or holder, SourceKind.WORKLIST, now_ns=self.wall()
            )
            return
        destination = self.deliveries.line(archive).destination
        options = destination.options
        if destination.kind is not Kind.GATEWAY or options.carries != "images":
            raise NotPermitted(f"no gateway brings images to {archive}, so none can be asked")
        if gateway is not None and gateway not in (options.gateway, options.partner):
            raise NotPermitted("the destination is another's")
