"""One running hub.

Order of starting: top key, journal, state, identity book, signer, open conditions, features,
listeners. Order of stopping: listeners drain, background work ends, features, journal and state
close. Vitals flow without the signer: it is needed to enrol, to renew and to sign time, and never
for a lane.
"""

import asyncio
import contextlib
import os
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from asepsis.core.errors import ConfigError, TransientError, Unavailable
from asepsis.core.journal.aio import AsyncJournal
from asepsis.core.model.lanes import Lane
from asepsis.core.trust import tls
from asepsis.core.trust.sealing import KeyEncryptionKey
from asepsis.hub.app.core import Core, open_core
from asepsis.hub.app.feature import Feature
from asepsis.hub.app.features import open_features
from asepsis.hub.app.listeners import ListenerSet, routers
from asepsis.hub.exchange.intake import Clocks
from asepsis.hub.exchange.service import Exchange
from asepsis.hub.imaging.inspector import Inspection
from asepsis.hub.records.client import Keeping
from asepsis.hub.registry.http_people import StatusSource
from asepsis.hub.settings import Settings
from asepsis.hub.web.routing import Router
from asepsis.hub.web.server import Server, serve

RETRY_S: Final = 5.0
READY_FILE: Final = "ready.json"
TOKEN_FILE: Final = "admin.token"  # noqa: S105 - the name of a file

log = structlog.get_logger("hub")


class Hub:
    """One hub in this process.

    Args:
        settings: Its configuration.
        clocks: Wall and monotonic time.
        kek: Key above all keys, opened while its source could still be read.
        keeping: The process that keeps the record, if it had to be started before.
        inspection: The same of the process that inspects images.

    Resource handling:
        `start` opens everything, `stop` closes everything; both once.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clocks: Clocks,
        kek: KeyEncryptionKey,
        keeping: Keeping | None = None,
        inspection: Inspection | None = None,
    ) -> None:
        self.settings = settings
        self._keeping = keeping
        self._inspection = inspection
        self._kek = kek
        self.clocks = clocks
        self.server: Server | None = None
        self._core: Core | None = None
        self._features: Sequence[Feature] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self.routers: dict[tls.Listener, Router] = {}
        self.failed = asyncio.Event()

    async def start(self) -> None:
        """Open everything and listen.

        Raises:
            ConfigError: An operator's mistake; nothing runs then.
            Unavailable: State, signer or an address cannot be reached.
        """
        core = self._core = await open_core(
            self.settings,
            clocks=self.clocks,
            kek=self._kek,
            count_connections=self._connections_of,
            close_connections=self._close_connections,
        )
        core.keeping = self._keeping
        core.inspection = self._inspection
        core.registry.on_revoked(self.revoked)
        token = self.settings.folder() / "hub" / TOKEN_FILE
        await asyncio.to_thread(core.access.people.ensure_first_administrator, token)
        await self._register_consumers(core)
        self._features = open_features(core)
        await core.exchange.restore()
        await core.live.restore(core.exchange.supervisor.active_alarms())
        for feature in self._features:
            if feature.restore is not None:
                await feature.restore()
        listeners = ListenerSet(core)
        core.status.update(self._status(core))
        self.routers = routers(core, self._features, core.status)
        opened = await listeners.open(self.routers)
        self._background(core)
        self.server = await serve(opened, clock=self.clocks.wall)
        self._spawn("own certificate", listeners.keep(self.server))
        self._write_ready(self.server, core)
        log.info("hub is ready", addresses=self.server.addresses, sealing=core.kek.describe())

    async def stop(self) -> None:
        """Drain, then close everything; what was acknowledged is durable all along."""
        core = self._core
        if core is None:
            return
        with contextlib.suppress(FileNotFoundError):
            self._ready_file().unlink()
        core.live.end_all("hub stops")
        if self.server is not None:
            await self.server.close(drain_s=self.settings.drain_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for feature in reversed(self._features):
            if feature.close is not None:
                await feature.close()
        await core.signer.close()
        await core.journal.close()
        await asyncio.to_thread(core.store.close)
        log.info("hub stopped")

    def revoked(self, name: str) -> int:
        """End the streams of a revoked identity and its supervision; return how many ended."""
        if self.server is None or self._core is None:
            return 0
        ended = self._close_connections(name)
        self._core.live.removed(name)
        for feature in self._features:
            if feature.revoked is not None:
                feature.revoked(name)
        self._spawn("removal", self._removed(self._core.exchange, name))
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

    def _close_connections(self, name: str) -> int:
        return 0 if self.server is None else self.server.registry.close_identity(name)

    async def _register_consumers(self, core: Core) -> None:
        for consumer in self.settings.consumers:
            unknown = set(consumer.mandatory) - set(consumer.lanes)
            if unknown:
                raise ConfigError(
                    f"consumer {consumer.name}: a mandatory lane is not among its lanes"
                )
            lanes: dict[Lane, bool] = {c: c in consumer.mandatory for c in consumer.lanes}
            await core.journal.register(consumer.name, lanes)

    def _status(self, core: Core) -> Mapping[str, StatusSource]:
        async def lanes() -> object:
            return {lane.value: found for lane, found in (await core.journal.status()).items()}

        async def listeners() -> object:
            return {} if self.server is None else self.server.status()

        async def conditions() -> object:
            return core.exchange.supervisor.open_events()

        async def sealing() -> object:
            return core.kek.describe()

        async def keys() -> object:
            try:
                return await core.signer.status()
            except Unavailable as error:
                return {"error": error.code}

        sources: dict[str, StatusSource] = {
            "lanes": lanes,
            "listeners": listeners,
            "technical_conditions": conditions,
            "sealing": sealing,
            "keys": keys,
        }
        for feature in self._features:
            sources.update(feature.status)
        return sources

    def _background(self, core: Core) -> None:
        self._spawn("exchange", core.exchange.run())
        self._spawn("live views", core.live.run())
        self._spawn("outbox relay", core.relay.run())
        self._spawn("registry", core.registry.run())
        self._spawn("signer's alarms", core.alarms.run())
        self._spawn("audit heads", core.audit.run())
        self._spawn("expiry", self._expire(core.journal))
        for feature in self._features:
            for name, work in feature.work.items():
                self._spawn(name, work())

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

    def _write_ready(self, server: Server, core: Core) -> None:
        document = {
            "pid": os.getpid(),
            "listeners": {
                name: {"host": host, "port": port}
                for name, (host, port) in server.addresses.items()
            },
            "sealing": core.kek.describe(),
        }
        path = self._ready_file()
        partial = path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(document))
        partial.replace(path)
