"""What every feature stands on: journal, state, identities, people, audit, lanes, live views."""

import asyncio
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from asepsis.core.journal.aio import AsyncJournal
from asepsis.core.mapping.nomenclature import check_unit
from asepsis.core.trust.sealing import KeyEncryptionKey
from asepsis.hub.access.access import Access, build_access
from asepsis.hub.adapters import BookDirectory, StoreAudit
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.service import AuditService
from asepsis.hub.delivery.live import LiveHub
from asepsis.hub.exchange.intake import Clocks
from asepsis.hub.exchange.projection import AlarmProjection
from asepsis.hub.exchange.service import Exchange, build_exchange
from asepsis.hub.imaging.inspector import Inspection
from asepsis.hub.keys import SignerClient
from asepsis.hub.opening import open_journal, open_store
from asepsis.hub.records.capabilities import readable
from asepsis.hub.records.client import Keeping
from asepsis.hub.records.http import READ
from asepsis.hub.registry.alarms import SignerAlarms
from asepsis.hub.registry.book import IdentityBook
from asepsis.hub.registry.http_people import StatusSource
from asepsis.hub.registry.service import RegistryService
from asepsis.hub.settings import Settings, session_limits
from asepsis.hub.store.relay import OutboxRelay
from asepsis.hub.store.store import Store


@dataclass(slots=True, kw_only=True)
class Core:
    """Everything that stands between start and stop.

    Attributes:
        settings: The configuration.
        clocks: Wall and monotonic time.
        kek: Key above all keys.
        holder: Name of this process for leases.
        store: State.
        journal: The durable log.
        book: Identities, in memory.
        signer: The process that holds the hub's keys.
        live: Live views.
        exchange: The lanes.
        registry: Enrolment and revocation.
        access: People, their tokens, passwords and sessions.
        audit_log: Writes entries of the one audit log.
        audit: Its signed heads.
        relay: Brings events from the state to the journal.
        alarms: What the signer reports.
        close_connections: Ends the connections of an identity at once and says how many.
        keeping: The process that keeps the record, if it was started early.
        inspection: The process that inspects images, if it was started early.
        status: Section -> what it says now; filled before the listeners open.
    """

    settings: Settings
    clocks: Clocks
    kek: KeyEncryptionKey
    holder: str
    store: Store
    journal: AsyncJournal
    book: IdentityBook
    signer: SignerClient
    live: LiveHub
    exchange: Exchange
    registry: RegistryService
    access: Access
    audit_log: AuditLog
    audit: AuditService
    relay: OutboxRelay
    alarms: SignerAlarms
    close_connections: Callable[[str], int]
    keeping: Keeping | None = None
    inspection: Inspection | None = None
    status: dict[str, StatusSource] = field(default_factory=dict[str, StatusSource])


async def open_core(
    settings: Settings,
    *,
    clocks: Clocks,
    kek: KeyEncryptionKey,
    count_connections: Callable[[str], int],
    close_connections: Callable[[str], int],
) -> Core:
    """Open what the features stand on.

    Raises:
        ConfigError: An operator's mistake.
        Unavailable: The state cannot be reached.
    """
    for folder in ("hub", "run"):
        (settings.folder() / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    store = await asyncio.to_thread(open_store, settings, kek, clock=clocks.wall)
    journal = AsyncJournal(
        await asyncio.to_thread(open_journal, settings, kek, clock=clocks.wall),
        asyncio.get_running_loop(),
    )
    book, audit_log = IdentityBook(), AuditLog(clocks.wall)
    signer = SignerClient(settings.folder() / "run" / "signer.sock")
    holder = f"hub-{os.getpid()}-{secrets.token_hex(4)}"
    relay = OutboxRelay(store, journal.append, holder=holder)
    registry = RegistryService(
        store,
        signer,
        audit=audit_log,
        book=book,
        wake_relay=relay.wake,
        count_connections=count_connections,
    )
    await registry.load()
    directory = BookDirectory(book, clocks.wall)
    live = LiveHub(journal, AlarmProjection(directory), monotonic=clocks.monotonic)
    exchange = build_exchange(
        journal=journal,
        directory=directory,
        feed=live,
        audit=StoreAudit(store, audit_log),
        clocks=clocks,
        fresh_id=lambda: secrets.token_hex(16),
        check_unit=check_unit,
        rate_factor=settings.exchange.rate_factor,
    ).serving(readable(READ))
    return Core(
        settings=settings,
        clocks=clocks,
        kek=kek,
        holder=holder,
        store=store,
        journal=journal,
        book=book,
        signer=signer,
        live=live,
        exchange=exchange,
        registry=registry,
        access=build_access(
            store,
            audit_log,
            limits=session_limits(settings),
            monotonic=clocks.monotonic,
        ),
        audit_log=audit_log,
        audit=AuditService(store, signer, holder=holder),
        relay=relay,
        alarms=SignerAlarms(store, signer, audit=audit_log, holder=holder),
        close_connections=close_connections,
    )
