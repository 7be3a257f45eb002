"""The exchange as one object: its lanes, its supervision, its background work."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from asepsis.core.wire.fhir import RestResource
from asepsis.hub.exchange.alarms import AlarmLane
from asepsis.hub.exchange.bundles import BundleLane
from asepsis.hub.exchange.http import Fenced, Lanes, routes
from asepsis.hub.exchange.identity_alarms import IdentityAlarms
from asepsis.hub.exchange.intake import Clocks, Intake
from asepsis.hub.exchange.limiter import RateLimiter
from asepsis.hub.exchange.message_alarms import MessageAlarms
from asepsis.hub.exchange.message_batches import BatchLane
from asepsis.hub.exchange.message_live import LiveMessages
from asepsis.hub.exchange.messages import MessageLane
from asepsis.hub.exchange.metadata import capability_statement
from asepsis.hub.exchange.ports import Audit, Directory, EventJournal, LiveFeed
from asepsis.hub.exchange.projection import AlarmProjection
from asepsis.hub.exchange.security import SecurityLane
from asepsis.hub.exchange.signed import SignedLane, UnitGuard
from asepsis.hub.exchange.supervisor import Supervisor
from asepsis.hub.exchange.update_reports import UpdateLane
from asepsis.hub.exchange.waveforms import WaveformLane
from asepsis.hub.web.routing import Route


@dataclass(frozen=True, slots=True)
class Exchange:
    """The receiving side of the hub.

    Attributes:
        intake: What the lanes share.
        supervisor: Leases and technical conditions.
        lanes: The lanes.
        identity_alarms: Alarms of the registry and the signer.
    """

    intake: Intake
    supervisor: Supervisor
    lanes: Lanes
    identity_alarms: IdentityAlarms

    def routes(self) -> Sequence[Route]:
        """Return the routes for the clinical listener."""
        return routes(self.lanes)

    def serving(self, readable: Iterable[RestResource]) -> "Exchange":
        """Return the same exchange, whose CapabilityStatement says what can be read beside it."""
        metadata = capability_statement(readable)
        return replace(self, lanes=replace(self.lanes, metadata=metadata))

    def fencing(self, fenced: Fenced) -> "Exchange":
        """Return the same exchange, which refuses what comes under an old lease of a pair."""
        return replace(self, lanes=replace(self.lanes, fenced=fenced))

    async def restore(self) -> None:
        """Read back open conditions and watched devices; call before the listeners open."""
        await self.supervisor.restore()

    async def run(self) -> None:
        """Watch leases and gaps until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.supervisor.run())
            tasks.create_task(self.intake.run())
            tasks.create_task(self.identity_alarms.run())

    async def removed(self, device: str) -> None:
        """Forget a revoked device and end its conditions."""
        self.lanes.signed.forget(device)
        self.lanes.batches.live.forget(device)
        await self.intake.removed(device)


def build_exchange(
    *,
    journal: EventJournal,
    directory: Directory,
    feed: LiveFeed,
    audit: Audit,
    clocks: Clocks,
    fresh_id: Callable[[], str],
    check_unit: Callable[[int, int], object],
    rate_factor: float = 1.0,
) -> Exchange:
    """Put the exchange together.

    Args:
        journal: The durable log.
        directory: The registry in memory.
        feed: Where live data goes.
        audit: Where refusals are written.
        clocks: Wall and monotonic time.
        fresh_id: Makes a condition id, 32 hexadecimal digits.
        check_unit: Raises ContentMismatch if a unit does not fit its metric.
        rate_factor: Multiplies every rate.
    """
    supervisor = Supervisor(
        journal,
        directory,
        read_alarms=AlarmProjection(directory),
        wall=clocks.wall,
        monotonic=clocks.monotonic,
        fresh_id=fresh_id,
    )
    intake = Intake(journal, directory, supervisor, feed, audit, clocks)
    signed = SignedLane(intake, UnitGuard(check_unit))
    lanes = Lanes(
        signed=signed,
        waveforms=WaveformLane(intake),
        alarms=AlarmLane(intake),
        bundles=BundleLane(intake, signed),
        messages=MessageLane(intake),
        batches=BatchLane(intake, LiveMessages(intake), MessageAlarms(intake)),
        security=SecurityLane(intake),
        updates=UpdateLane(intake),
        limiter=RateLimiter(factor=rate_factor),
        monotonic=clocks.monotonic,
        metadata=capability_statement(()),
    )
    identity_alarms = IdentityAlarms(journal, supervisor, directory, wall=clocks.wall)
    return Exchange(intake, supervisor, lanes, identity_alarms)
