"""The composition root: settings in, a running hub out.

Order of starting: top key, journal, state, identity book, signer, open conditions, listeners. Order
of stopping: listeners drain, background work ends, journal and state close. Vitals flow without the
signer: it is needed to enrol, to renew and to sign time, and never for a lane.
"""

import asyncio
import contextlib
import os
import secrets
import ssl
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import structlog

from asepsis.core.errors import ConfigError, TransientError, TrustError, Unavailable
from asepsis.core.journal.aio import AsyncJournal
from asepsis.core.mapping.nomenclature import check_unit
from asepsis.core.model.lanes import Lane
from asepsis.core.trust import tls
from asepsis.core.trust.sealing import KeyEncryptionKey
from asepsis.hub.access.http import bearer
from asepsis.hub.access.rules import decide
from asepsis.hub.access.service import PeopleService
from asepsis.hub.adapters import BookDirectory, StoreAudit
from asepsis.hub.audit.http import AuditRoutes
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.service import AuditService
from asepsis.hub.delivery.consumers import Consumers
from asepsis.hub.delivery.http import consumer_routes, live_route
from asepsis.hub.delivery.live import LiveHub
from asepsis.hub.exchange.intake import Clocks
from asepsis.hub.exchange.projection import AlarmProjection
from asepsis.hub.exchange.service import Exchange, build_exchange
from asepsis.hub.keys import SignerClient
from asepsis.hub.opening import (
    identity_files,
    identity_is_due,
    open_journal,
    open_store,
    read_certificate,
    renew_identity,
)
from asepsis.hub.registry.alarms import SignerAlarms
from asepsis.hub.registry.book import IdentityBook
from asepsis.hub.registry.http import EnrolmentRoutes, authenticate
from asepsis.hub.registry.http_people import DeviceRoutes, StatusSource
from asepsis.hub.registry.service import RegistryService
from asepsis.hub.revocation_list import FILE as CRL_FILE
from asepsis.hub.revocation_list import RevocationList
from asepsis.hub.settings import Settings
from asepsis.hub.store.relay import OutboxRelay
from asepsis.hub.store.store import Store
from asepsis.hub.web import limits
from asepsis.hub.web.listener import Listener
from asepsis.hub.web.routing import Check, Router
from asepsis.hub.web.server import Server, serve

CARE_EVERY_S: Final = 10.0
"""Pause between two looks at the hub's own certificate and the list of makers, in seconds."""
RETRY_S: Final = 5.0
READY_FILE: Final = "ready.json"
TOKEN_FILE: Final = "admin.token"  # noqa: S105 - the name of a file

log = structlog.get_logger("hub")


@dataclass(slots=True)
class _Parts:
    """Everything that stands between start and stop."""

    store: Store
    journal: AsyncJournal
    book: IdentityBook
    signer: SignerClient
    live: LiveHub
    exchange: Exchange
    registry: RegistryService
    people: PeopleService
    audit: AuditService
    relay: OutboxRelay
    alarms: SignerAlarms
    kek: str


class Hub:
    """One hub in this process.

    Args:
        settings: Its configuration.
        clocks: Wall and monotonic time.
        kek: Key above all keys, opened while its source could still be read.

    Resource handling:
        `start` opens everything, `stop` closes everything; both once.
    """

    def __init__(self, settings: Settings, *, clocks: Clocks, kek: KeyEncryptionKey) -> None:
        self.settings = settings
        self._kek = kek
        self.clocks = clocks
        self.server: Server | None = None
        self._parts: _Parts | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._contexts: dict[tls.Listener, ssl.SSLContext] = {}
        self._files = identity_files(settings)
        self._issuing: Sequence[bytes] = ()
        self._makers: Sequence[bytes] = ()
        self.routers: dict[tls.Listener, Router] = {}
        self.failed = asyncio.Event()

    async def start(self) -> None:
        """Open everything and listen.

        Raises:
            ConfigError: An operator's mistake; nothing runs then.
            Unavailable: State, signer or an address cannot be reached.
        """
        parts = self._parts = await self._open()
        token = self.settings.folder() / "hub" / TOKEN_FILE
        await asyncio.to_thread(parts.people.ensure_first_administrator, token)
        await self._register_consumers(parts)
        await parts.live.restore()
        await parts.exchange.restore()
        self._background(parts)
        self.server = await serve(await self._listeners(parts), clock=self.clocks.wall)
        self._write_ready(self.server, parts)
        log.info("hub is ready", addresses=self.server.addresses, sealing=parts.kek)

    async def stop(self) -> None:
        """Drain, then close everything; what was acknowledged is durable all along."""
        parts = self._parts
        if parts is None:
            return
        with contextlib.suppress(FileNotFoundError):
            self._ready_file().unlink()
        parts.live.end_all("hub stops")
        if self.server is not None:
            await self.server.close(drain_s=self.settings.drain_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await parts.signer.close()
        await parts.journal.close()
        await asyncio.to_thread(parts.store.close)
        log.info("hub stopped")

    def revoked(self, name: str) -> int:
        """End the streams of a revoked identity and its supervision; return how many ended."""
        if self.server is None or self._parts is None:
            return 0
        ended = self.server.registry.close_identity(name)
        self._parts.live.removed(name)
        self._spawn("removal", self._removed(self._parts.exchange, name))
        return ended

    async def _removed(self, exchange: Exchange, name: str) -> None:
        while True:
            try:
                await exchange.removed(name)
            except TransientError:
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _connections_of(self, name: str) -> int:
        return 0 if self.server is None else len(self.server.registry.of_identity(name))

    async def _open(self) -> _Parts:
        settings, wall, kek = self.settings, self.clocks.wall, self._kek
        for folder in ("hub", "run"):
            (settings.folder() / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        store = await asyncio.to_thread(open_store, settings, kek, clock=wall)
        journal = AsyncJournal(
            await asyncio.to_thread(open_journal, settings, kek, clock=wall),
            asyncio.get_running_loop(),
        )
        book, audit_log = IdentityBook(), AuditLog(wall)
        signer = SignerClient(settings.folder() / "run" / "signer.sock")
        holder = f"hub-{os.getpid()}-{secrets.token_hex(4)}"
        relay = OutboxRelay(store, journal.append, holder=holder)
        registry = RegistryService(
            store,
            signer,
            audit=audit_log,
            book=book,
            wake_relay=relay.wake,
            count_connections=self._connections_of,
        )
        await registry.load()
        registry.on_revoked(self.revoked)
        directory = BookDirectory(book)
        live = LiveHub(journal, AlarmProjection(directory), monotonic=self.clocks.monotonic)
        exchange = build_exchange(
            journal=journal,
            directory=directory,
            feed=live,
            audit=StoreAudit(store, audit_log),
            clocks=self.clocks,
            fresh_id=lambda: secrets.token_hex(16),
            check_unit=check_unit,
            rate_factor=settings.exchange.rate_factor,
        )
        return _Parts(
            store=store,
            journal=journal,
            book=book,
            signer=signer,
            live=live,
            exchange=exchange,
            registry=registry,
            people=PeopleService(store, audit_log),
            audit=AuditService(store, signer, holder=holder),
            relay=relay,
            alarms=SignerAlarms(store, signer, audit=audit_log, holder=holder),
            kek=kek.describe(),
        )

    async def _register_consumers(self, parts: _Parts) -> None:
        for consumer in self.settings.consumers:
            unknown = set(consumer.mandatory) - set(consumer.lanes)
            if unknown:
                raise ConfigError(
                    f"consumer {consumer.name}: a mandatory lane is not among its lanes"
                )
            lanes: dict[Lane, bool] = {c: c in consumer.mandatory for c in consumer.lanes}
            await parts.journal.register(consumer.name, lanes)

    async def _listeners(self, parts: _Parts) -> list[Listener]:
        files = self._files
        if identity_is_due(files, now_ns=self.clocks.wall()):
            await renew_identity(self.settings, parts.signer, files)
        self._issuing = issuing = [read_certificate(self.settings.folder() / "ca" / "issuing.crt")]
        self._makers = await self._ask_makers(parts.signer)
        self._contexts = {
            tls.Listener.CLINICAL: tls.server_context(
                tls.Listener.CLINICAL, identity=files, issuing_der=issuing
            ),
            tls.Listener.ENROLMENT: tls.server_context(
                tls.Listener.ENROLMENT,
                identity=files,
                issuing_der=issuing,
                maker_der=self._makers,
            ),
            tls.Listener.PEOPLE: tls.server_context(tls.Listener.PEOPLE, identity=files),
        }
        self.routers = self._routers(parts)
        addresses = self.settings.listeners
        places = {
            tls.Listener.CLINICAL: (addresses.clinical, limits.CLINICAL),
            tls.Listener.ENROLMENT: (addresses.enrolment, limits.BEFORE_IDENTITY),
            tls.Listener.PEOPLE: (addresses.people, limits.PEOPLE),
        }
        return [
            Listener(
                name=name.value,
                host=address.host,
                port=address.port,
                context=self._contexts[name],
                app=self.routers[name],
                admission=parts.book,
                limits=limit,
                idevid=name is tls.Listener.ENROLMENT,
            )
            for name, (address, limit) in places.items()
        ]

    def _routers(self, parts: _Parts) -> dict[tls.Listener, Router]:
        check = cast("Check", decide)
        clock = self.clocks.wall
        return {
            tls.Listener.CLINICAL: Router(
                [
                    *parts.exchange.routes(),
                    *consumer_routes(Consumers(parts.journal)),
                    live_route(parts.live),
                ],
                check=check,
            ),
            tls.Listener.ENROLMENT: Router(
                EnrolmentRoutes(parts.registry, parts.signer, clock=clock).routes(),
                check=check,
                authenticate=authenticate,
            ),
            tls.Listener.PEOPLE: Router(
                [
                    *DeviceRoutes(parts.registry, status=self._status(parts)).routes(),
                    *AuditRoutes(parts.store, parts.audit).routes(),
                    live_route(parts.live),
                ],
                check=check,
                authenticate=bearer(parts.people),
            ),
        }

    def _status(self, parts: _Parts) -> Mapping[str, StatusSource]:
        async def lanes() -> object:
            return {lane.value: found for lane, found in (await parts.journal.status()).items()}

        async def listeners() -> object:
            return {} if self.server is None else self.server.status()

        async def conditions() -> object:
            return parts.exchange.supervisor.open_events()

        async def sealing() -> object:
            return parts.kek

        async def keys() -> object:
            try:
                return await parts.signer.status()
            except Unavailable as error:
                return {"error": error.code}

        return {
            "lanes": lanes,
            "listeners": listeners,
            "technical_conditions": conditions,
            "sealing": sealing,
            "keys": keys,
        }

    async def _follow_makers(self, signer: SignerClient) -> None:
        """Take the makers that a person listed since: the enrolment listener gets a new context."""
        makers = await self._ask_makers(signer)
        if set(makers) == set(self._makers) or self.server is None:
            return
        self._makers = makers
        context = tls.server_context(
            tls.Listener.ENROLMENT,
            identity=self._files,
            issuing_der=self._issuing,
            maker_der=makers,
        )
        self._contexts[tls.Listener.ENROLMENT] = context
        self.server.reload_context(tls.Listener.ENROLMENT.value, context)

    async def _ask_makers(self, signer: SignerClient) -> Sequence[bytes]:
        try:
            return (await signer.authorities()).makers_der
        except Unavailable:
            log.warning("the signer does not answer: the makers' certificates stay as they are")
            return self._makers

    async def _keep_identity(self, parts: _Parts) -> None:
        """Renew the hub's own certificate in time and follow the makers; connections go on."""
        crl = RevocationList(
            self.settings.folder() / "run" / CRL_FILE, parts.signer, clock=self.clocks.wall
        )
        while True:
            await crl.care()
            await asyncio.sleep(CARE_EVERY_S)
            try:
                if identity_is_due(self._files, now_ns=self.clocks.wall()):
                    await renew_identity(self.settings, parts.signer, self._files)
                    for context in self._contexts.values():
                        tls.reload_identity(context, self._files)
                await self._follow_makers(parts.signer)
            except (TransientError, TrustError) as error:
                log.warning("the hub's own certificate is not renewed", code=error.code)

    def _background(self, parts: _Parts) -> None:
        self._spawn("exchange", parts.exchange.run())
        self._spawn("live views", parts.live.run())
        self._spawn("outbox relay", parts.relay.run())
        self._spawn("registry", parts.registry.run())
        self._spawn("signer's alarms", parts.alarms.run())
        self._spawn("own certificate", self._keep_identity(parts))
        self._spawn("audit heads", parts.audit.run())
        self._spawn("expiry", self._expire(parts.journal))

    async def _expire(self, journal: AsyncJournal) -> None:
        while True:
            await asyncio.sleep(self.settings.journal.expire_every_s)
            try:
                removed = await journal.expire(self.clocks.wall())
            except TransientError as error:
                log.warning("expiry waits", code=error.code)
                continue
            if any(removed.values()):
                log.info("expired", records={lane.value: n for lane, n in removed.items()})

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.remove(task)
        if task.cancelled() or task.exception() is None:
            return
        # Half a hub is worse than none: the supervisor of this process starts a whole one.
        log.error("background work ended", work=task.get_name(), exc_info=task.exception())
        self.failed.set()

    def _ready_file(self) -> Path:
        return self.settings.folder() / "run" / READY_FILE

    def _write_ready(self, server: Server, parts: _Parts) -> None:
        document = {
            "pid": os.getpid(),
            "listeners": {
                name: {"host": host, "port": port}
                for name, (host, port) in server.addresses.items()
            },
            "sealing": parts.kek,
        }
        path = self._ready_file()
        partial = path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(document))
        partial.replace(path)
