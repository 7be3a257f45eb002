"""Everything of one gateway, put together: identity, spool, memory, links, listeners.

Writes `<data>/run/ready.json` when it listens, and logs findings as JSON lines.
"""

import asyncio
import contextlib
import json
import os
import random
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, TransientError, Unavailable
from asepsis.core.model.lanes import Lane
from asepsis.core.trust import tls
from asepsis.core.trust.sealing import KeyEncryptionKey
from asepsis.edge.gateway import policy, spool
from asepsis.edge.gateway.desk import Desk
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.forwarder import Forwarder
from asepsis.edge.gateway.hub_answers import check_validity
from asepsis.edge.gateway.hublink import HubLink
from asepsis.edge.gateway.listener import MllpListener, bind, sweep_forever
from asepsis.edge.gateway.memory import Memory, make_folder
from asepsis.edge.gateway.recall import open_kek, recall
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.sandbox.layers import Layer
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.caretaker import Caretaker
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.edge.uplink.connection import Dial
from asepsis.edge.uplink.folder import IdentityFolder

BUILD_NS: Final = 1_767_225_600 * 10**9
"""2026-01-01: no signed time can be older than the software."""
HOUSEKEEPING_S: Final = 1.0
DRAIN_S: Final = 5.0
BACKOFF_CAP_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Clocks:
    """Wall and monotonic time, nanoseconds."""

    wall: Callable[[], int]
    monotonic: Callable[[], int]


class Gateway:
    """Everything of one gateway.

    Args:
        settings: From `read_settings`.
        clocks: Time.
        rng: Jitter.
        dial: Connects to the hub.
        layers: What this process is confined by while it runs; `ready.json` says it.

    Raises:
        ConfigError: An operator's mistake.
        NotFound: The gateway is not enrolled.
        Unavailable: An address cannot be had.

    Resource handling: binds its ports at once; `run` opens the rest, and closes everything.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clocks: Clocks,
        rng: random.Random,
        dial: Dial,
        layers: frozenset[Layer],
    ) -> None:
        self._layers = sorted(layer.value for layer in layers)
        self._settings = settings
        self._dial = dial
        self._clocks = clocks
        self._rng = rng
        self._data = Path(settings.data)
        self._folder = IdentityFolder(self._data / "identity")
        self._name, self._hospital, self._root_der = self._folder.load()
        self._findings = Findings(clocks.monotonic)
        self._links: list[HubLink] = []
        self._clock = TrustedClock(
            self._folder.path / "time.json",
            boot_id=secrets.token_bytes(16),
            monotonic=clocks.monotonic,
            build_ns=BUILD_NS,
        )
        make_folder(self._data / "spool")
        self._kek = open_kek(settings.sealing, folder=self._data / "spool")
        self._ports = [bind(door) for door in policy.doors(settings)]

    async def run(self, told: asyncio.Event) -> None:
        """Serve until `told` is set.

        Raises:
            ConfigError: The spool belongs to another key, or another gateway runs.
        """
        loop = asyncio.get_running_loop()
        folder, kek = self._data / "spool", self._kek
        journal = spool.open_journal(folder, self._settings.spool, kek, clock=self._clocks.wall)
        try:
            memory = self._open_memory(folder, kek)
            await loop.run_in_executor(None, recall, journal, memory)
            store = spool.MessageSpool(
                journal, loop, epoch=self._next_epoch(), clock=self._clocks.wall
            )
            await self._serve(store, memory, journal.status()[Lane.MESSAGE].last, told)
        finally:
            await loop.run_in_executor(None, journal.close)

    async def _serve(
        self, store: spool.MessageSpool, memory: Memory, end: int, told: asyncio.Event
    ) -> None:
        hub = self._settings.hub
        loop = asyncio.get_running_loop()
        forwarder = Forwarder(store, answer_s=hub.answer_s, findings=self._findings)
        desk = Desk(
            spool=store,
            memory=memory,
            forwarder=forwarder,
            findings=self._findings,
            wall=self._clocks.wall,
            loop_s=loop.time,
            wait_s=hub.wait_s,
        )
        self._links = [self._link(forwarder) for _ in range(hub.connections)]
        await forwarder.start(self._links)
        forwarder.resume_from(end)
        caretaker = self._caretaker(loop)
        caretaker.start()
        listeners = [MllpListener(p, desk=desk, findings=self._findings) for p in self._ports]
        background = [
            loop.create_task(forwarder.run()),
            loop.create_task(sweep_forever(listeners, desk)),
            loop.create_task(self._keep_house(store, memory, forwarder)),
        ]
        try:
            ports = [await listener.open() for listener in listeners]
            self._say_ready(ports)
            ended = [loop.create_task(told.wait()), *background]
            done, _ = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # A bug of our own ends the process; the spool is safe.
        finally:
            for listener in listeners:
                listener.close()
            caretaker.close()
            await self._drain(forwarder)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            with contextlib.suppress(AsepsisError):
                await self._tidy(store, memory, forwarder)

    async def _drain(self, forwarder: Forwarder) -> None:
        """Give the hub a moment to take what waits; the rest waits in the spool."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + DRAIN_S
        # Two numbers decide, not one event, and this runs once in the life of a process.
        while forwarder.current and forwarder.waiting and loop.time() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def _keep_house(
        self, store: spool.MessageSpool, memory: Memory, forwarder: Forwarder
    ) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                await self._tidy(store, memory, forwarder)
            except AsepsisError as error:
                self._findings.note(Finding.SPOOL, code=error.code)

    async def _tidy(self, store: spool.MessageSpool, memory: Memory, forwarder: Forwarder) -> None:
        """First the memory, then the spool lets go of what the hub has.

        Raises:
            TransientError: The disk refuses; the spool keeps everything.
        """
        position = forwarder.delivered
        entries, whole = memory.take_unsaved()
        if entries or whole:
            try:
                await asyncio.get_running_loop().run_in_executor(
                    None, lambda: memory.write(entries, whole=whole)
                )
            except TransientError:
                memory.not_written()
                raise
        await store.delivered(position)

    def _open_memory(self, folder: Path, kek: KeyEncryptionKey) -> Memory:
        settings = self._settings.spool
        return Memory(
            folder / "memory",
            key=kek.subkey("gateway memory"),
            messages_max=settings.memory_messages_max,
            age_s=settings.memory_s,
        )

    def _next_epoch(self) -> int:
        return self._folder.next_epoch(wall_s=self._clocks.wall() // 10**9)

    def _link(self, forwarder: Forwarder) -> HubLink:
        return HubLink(
            self._hospital.clinical,
            dial=self._dial,
            context=self._context,
            check=self._check,
            backoff=Backoff(rng=self._rng, cap_s=BACKOFF_CAP_S),
            idle=forwarder.idle,
            answered=forwarder.answered,
            failed=forwarder.failed,
        )

    def _context(self) -> ssl.SSLContext:
        identity = self._folder.identity
        if self._settings.hub.clock == "system":
            return tls.client_context(root_der=self._root_der, identity=identity)
        return tls.client_context_without_time_check(root_der=self._root_der, identity=identity)

    def _check(self, layer: ssl.SSLObject) -> None:
        if self._settings.hub.clock == "system":
            return  # OpenSSL has judged the dates by this computer's clock.
        if not self._clock.synchronised:
            raise Unavailable("no trusted time yet")
        check_validity(layer, self._clock.now_ns())

    def _caretaker(self, loop: asyncio.AbstractEventLoop) -> Caretaker:
        def renewed() -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._renew_links)

        return Caretaker(
            self._folder,
            name=self._name,
            hospital=self._hospital,
            root_der=self._root_der,
            clock=self._clock,
            monotonic=self._clocks.monotonic,
            backoff=Backoff(rng=self._rng),
            on_renewed=renewed,
            dial=self._dial,
        )

    def _renew_links(self) -> None:
        for link in self._links:
            link.renew()

    def _say_ready(self, ports: list[int]) -> None:
        run = self._data / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        found = zip(self._settings.listeners, ports, strict=True)
        document = {
            listener.name: {"host": listener.host, "port": port} for listener, port in found
        }
        aside = run / "ready.json.new"
        aside.write_text(
            json.dumps({"pid": os.getpid(), "listeners": document, "layers": self._layers}), "utf-8"
        )
        aside.replace(run / "ready.json")
