"""The record: its process, its reads, and how it follows the journal and the associations."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import AsepsisError, IdentityRevoked, InputError, NotFound
from asepsis.core.journal.aio import AsyncJournal
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.model.lanes import Lane
from asepsis.hub.app.core import Core
from asepsis.hub.app.feature import Feature
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.keyholder import Separation
from asepsis.hub.records import queries
from asepsis.hub.records.client import Keeping, RecordClient, settled_ends
from asepsis.hub.records.http import RecordRoutes
from asepsis.hub.records.ports import Declared, Histories, KnownDevice, Reach, Trends
from asepsis.hub.records.projection import LANES
from asepsis.hub.records.service import RecordService
from asepsis.hub.registry.book import DeviceEntry, IdentityBook
from asepsis.hub.store.leases import Lease, LeasedTask
from asepsis.hub.store.store import Store

MODULE: Final = "asepsis.hub.app.records_process"
CONSUMER: Final = "hub:records"
FOLLOW_S: Final = 0.2
"""Pause between two words about how far the lanes go: half of the usual lag."""
COMMIT_S: Final = 10.0
EXPIRE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Records:
    """The record, opened.

    Attributes:
        feature: Routes, background work and status.
        trends: What pages draw.
    """

    feature: Feature
    trends: Trends


def start_keeping(owner: Separation | None = None) -> Keeping:
    """Start the process that keeps the record; before root is given up, if it is.

    Args:
        owner: Whose user it becomes; None to stay who it is.
    """
    identity = () if owner is None else (str(owner.hub_uid), str(owner.hub_gid))
    return Keeping(MODULE, identity)


def setup_of(core: Core) -> queries.Setup:
    """Return the first message to the process."""
    kept = core.settings.records
    return queries.Setup(
        folder=str(core.settings.folder() / "hub"),
        kek_source=core.kek.source.value,
        kek_secret=core.kek.secret,
        numerics_s=kept.numerics_s,
        alarms_s=kept.alarms_s,
        waveforms_s=kept.waveforms_s,
        log_level=core.settings.log.level,
    )


def open_records(core: Core, histories: Histories, declared: Declared) -> Records:
    """Open the record.

    Args:
        core: What the hub stands on.
        histories: Who a device was used for, and when.
        declared: What devices declare that they measure.
    """
    client = RecordClient(core.keeping or start_keeping(), setup_of(core))
    service = RecordService(
        client=client,
        histories=histories,
        devices=BookDevices(core.book),
        audit=ReadAudit(core.store, core.audit_log),
        consumers={each.name: Reach(each.record) for each in core.settings.consumers},
        clock=core.clocks.wall,
        declared=declared,
    )
    followed = Followed(core.journal, client)

    async def expire(_lease: Lease) -> None:
        client.expire(core.clocks.wall())

    expiry = LeasedTask(
        core.store, "record expiry", holder=core.holder, work=expire, every_s=EXPIRE_S
    )

    async def status() -> object:
        return client.state or {"served": False}

    routes = RecordRoutes(service).routes()
    feature = Feature(
        clinical=routes,
        people=routes,
        restore=followed.register,
        work={
            "record": client.run,
            "record follows": followed.follow,
            "record cursors": followed.commit,
            "record expiry": expiry.run,
        },
        close=client.stop,
        status={"records": status},
    )
    return Records(feature, client)


@dataclass(slots=True)
class Followed:
    """The journal as the record follows it.

    Attributes:
        journal: The durable log.
        client: The record.
    """

    journal: AsyncJournal
    client: RecordClient

    async def register(self) -> None:
        """Keep every lane from expiring before the record has it."""
        await self.journal.register(CONSUMER, dict.fromkeys(LANES, True))

    async def follow(self) -> None:
        """Tell the record how far the lanes go, until cancelled."""
        tails = {lane: self.journal.subscribe(lane) for lane in LANES}
        while True:
            self.client.ends(settled_ends(lambda lane: tails[lane].position, LANES))
            await asyncio.sleep(FOLLOW_S)

    async def commit(self) -> None:
        """Let the journal expire what is in blocks on disk, until cancelled."""
        done: dict[str, int] = {}
        while True:
            await asyncio.sleep(COMMIT_S)
            state = self.client.state
            for lane, position in (state.durable if state else {}).items():
                if position > done.get(lane, 0):
                    try:
                        await self.journal.commit(CONSUMER, Lane(lane), position)
                    except InputError:
                        continue  # The journal was restored from an older copy: it catches up.
                    except AsepsisError:
                        break  # The journal is busy or the disk full; the next round asks again.
                    done[lane] = position


@dataclass(frozen=True, slots=True)
class BookDevices:
    """The identity book as the record's `Devices`.

    Attributes:
        book: Who may enter.
    """

    book: IdentityBook

    def known(self) -> Sequence[KnownDevice]:
        """Return every enrolled device."""
        return [
            _known(entry) for entry in self.book.devices() if entry.kind is PrincipalKind.DEVICE
        ]

    def named(self, name: str) -> KnownDevice | None:
        """Return the device of a name; None if it is not enrolled now."""
        try:
            entry = self.book.device(name)
        except (NotFound, IdentityRevoked):
            return None
        return _known(entry) if entry.kind is PrincipalKind.DEVICE else None


def _known(entry: DeviceEntry) -> KnownDevice:
    return KnownDevice(
        name=entry.name,
        model=entry.model,
        signs=entry.origin_required or entry.origin_spki is not None,
    )


@dataclass(frozen=True, slots=True)
class ReadAudit:
    """The audit log as reads use it.

    Attributes:
        store: Where it stands.
        log: Writes entries.
    """

    store: Store
    log: AuditLog

    async def read(self, *, actor: str, subject: str, detail: Mapping[str, object]) -> None:
        """Write one read."""
        act = Act(actor=actor, action="read-record", subject=subject, detail=dict(detail))
        await self.store.write(lambda connection: self.log.record(connection, act))
