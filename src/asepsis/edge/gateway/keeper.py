"""The keeper of the HL7 family: the spool, its key, the memory of what was taken. No network.

It writes `<data>/run/ready.json` once the front listens.
"""

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, FramingError, TransientError
from asepsis.core.model.lanes import Lane
from asepsis.core.trust.sealing import KeyEncryptionKey
from asepsis.edge.gateway import policy, spool
from asepsis.edge.gateway.clocks import Clocks
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.forwarder import Forwarder
from asepsis.edge.gateway.handover import (
    Batcher,
    Channel,
    Ending,
    Evidence,
    LinkNews,
    Listed,
    Listening,
    Messages,
    Outcome,
    Outcomes,
    Ready,
    Risky,
    Said,
    Seen,
)
from asepsis.edge.gateway.ledger import Ledger
from asepsis.edge.gateway.memory import Memory
from asepsis.edge.gateway.pair import places
from asepsis.edge.gateway.pair.listing import RiskList
from asepsis.edge.gateway.pair.others import Others
from asepsis.edge.gateway.recall import recall
from asepsis.edge.gateway.remotelink import RemoteLink
from asepsis.edge.gateway.settings import Settings

HOUSEKEEPING_S: Final = 1.0
SWEEP_S: Final = 0.25
DRAIN_S: Final = 5.0


@dataclass(slots=True)
class Keeper:
    """Everything that has the spool.

    Attributes:
        settings: From `read_settings`.
        clocks: Time.
        kek: Key of the spool, opened while its source could still be read.

    Resource handling: `run` opens and closes everything.
    """

    settings: Settings
    clocks: Clocks
    kek: KeyEncryptionKey
    _findings: Findings = field(init=False)
    _links: list[RemoteLink] = field(init=False, default_factory=list[RemoteLink])
    _ports: dict[str, int] = field(init=False, default_factory=dict[str, int])
    _early: list[LinkNews] = field(init=False, default_factory=list[LinkNews])
    _ledger: Ledger | None = field(init=False, default=None)
    _others: Others | None = field(init=False, default=None)
    _front: Channel = field(init=False)
    _uplink: Channel = field(init=False)
    _over: asyncio.Event = field(init=False)
    _epoch: "asyncio.Future[int]" = field(init=False)

    async def run(self, front: socket.socket, uplink: socket.socket) -> None:
        """Serve the front until it ends.

        Args:
            front: Our end of the pair with the front.
            uplink: Our end of the pair with the uplink.

        Raises:
            ConfigError: The spool belongs to another key, or another gateway runs.
        """
        loop = asyncio.get_running_loop()
        self._findings = Findings(self.clocks.monotonic)
        self._over = asyncio.Event()
        self._epoch = loop.create_future()
        folder = Path(self.settings.data) / "spool"
        journal = spool.open_journal(folder, self.settings.spool, self.kek, clock=self.clocks.wall)
        try:
            memory = self._open_memory(folder)
            await loop.run_in_executor(None, recall, journal, memory)
            self._uplink = Channel(self._from_uplink, self._over.set)
            await loop.create_connection(lambda: self._uplink, sock=uplink)
            waiting = [loop.create_task(self._over.wait()), self._epoch]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not self._epoch.done():
                return  # The uplink could not start, and has said why.
            store = spool.MessageSpool(
                journal, loop, epoch=self._epoch.result(), clock=self.clocks.wall
            )
            await self._serve(front, store, memory, journal.status()[Lane.MESSAGE].last)
        finally:
            await loop.run_in_executor(None, journal.close)

    async def _serve(
        self, front: socket.socket, store: spool.MessageSpool, memory: Memory, end: int
    ) -> None:
        loop = asyncio.get_running_loop()
        hub = self.settings.hub
        forwarder = Forwarder(store, answer_s=hub.answer_s, findings=self._findings)
        self._links = [
            RemoteLink(
                number,
                say=self._uplink.say,
                idle=forwarder.idle,
                answered=forwarder.answered,
                failed=forwarder.failed,
            )
            for number in range(hub.connections)
        ]
        self._front = Channel(self._from_front, self._over.set)
        self._others = self._open_others(loop)
        told = Batcher[Outcome](loop, lambda found: self._front.say(Outcomes(found)))
        self._ledger = Ledger(
            peers={p.name: p for door in policy.doors(self.settings) for p in door.peers},
            spool=store,
            memory=memory,
            forwarder=forwarder,
            findings=self._findings,
            wall=self.clocks.wall,
            loop_s=loop.time,
            wait_s=hub.wait_s,
            tell=told.add,
            others=self._others,
        )
        await forwarder.start(self._links)
        forwarder.resume_from(end)
        for news in self._early:
            self._from_uplink(news)
        await loop.create_connection(lambda: self._front, sock=front)
        self._front.say(Ready(store.epoch))
        background = [
            loop.create_task(forwarder.run()),
            loop.create_task(self._sweep(self._ledger)),
            loop.create_task(self._keep_house(store, memory, forwarder)),
        ]
        try:
            ended = [loop.create_task(self._over.wait()), *background]
            done, _ = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # A bug of our own ends the process; the spool is safe.
        finally:
            await self._drain(forwarder)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            with contextlib.suppress(AsepsisError):
                await self._tidy(store, memory, forwarder)
            self._uplink.say(Ending())
            self._uplink.close()
            self._front.close()

    def _open_others(self, loop: asyncio.AbstractEventLoop) -> Others | None:
        if self.settings.pair is None:
            return None
        data = Path(self.settings.data)
        return Others(
            loop,
            ask=lambda number, entries: self._uplink.say(Risky(number, tuple(entries))),
            listed=RiskList(places.risk_list(data)),
            again=places.came_again(data),
            findings=self._findings,
        )

    def _from_front(self, said: Said) -> None:
        if isinstance(said, Messages) and self._ledger is not None:
            try:
                for message in said.messages:
                    self._ledger.take(message)
            except FramingError as error:
                self._broken("front", str(error))
        elif isinstance(said, Seen):
            self._seen(said)
        elif isinstance(said, Listening):
            self._ports = _ports(said.document)
            self._say_ready(said.document)
        elif isinstance(said, Ending):
            self._over.set()
        else:
            self._broken("front", "it says what it may not")

    def _seen(self, said: Seen) -> None:
        """Have the hub told what the network shows of a peer's devices."""
        entry = next((p for p in self.settings.peers if p.name == said.peer), None)
        door = next((x for x in self.settings.listeners if x.name == said.listener), None)
        if entry is None or door is None or entry.listener != door.name:
            self._broken("front", "it saw a peer where there is none")
            return
        devices = tuple(sorted({device.name for device in entry.devices}))
        port = self._ports.get(door.name, door.port)
        self._uplink.say(Evidence(devices, said.address, port, door.vlan, said.key))

    def _from_uplink(self, said: Said) -> None:
        if isinstance(said, LinkNews) and 0 <= said.link < self.settings.hub.connections:
            if not self._links:
                self._early.append(said)
                return
            try:
                self._links[said.link].news(said)
            except FramingError as error:
                self._broken("uplink", str(error))
        elif isinstance(said, Listed) and self._others is not None:
            self._others.answered(said.number, done=said.done)
        elif isinstance(said, Ready) and not self._epoch.done():
            self._epoch.set_result(said.epoch)
        else:
            self._broken("uplink", "it says what it may not")

    def _broken(self, who: str, reason: str) -> None:
        """End: a process of this family is wrong, or taken over."""
        self._findings.note(Finding.BROKEN, who, reason=reason)
        self._over.set()

    async def _sweep(self, ledger: Ledger) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            ledger.tick()

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

    def _open_memory(self, folder: Path) -> Memory:
        settings = self.settings.spool
        return Memory(
            folder / "memory",
            key=self.kek.subkey("gateway memory"),
            messages_max=settings.memory_messages_max,
            age_s=settings.memory_s,
        )

    def _say_ready(self, document: str) -> None:
        run = Path(self.settings.data) / "run"
        aside = run / "ready.json.new"
        aside.write_text(document, "utf-8")
        aside.replace(run / "ready.json")


def _ports(document: str) -> dict[str, int]:
    """Return where the listeners listen, as the front says; nothing if it makes no sense."""
    try:
        listeners = json.loads(document)["listeners"]
        return {str(name): int(where["port"]) for name, where in listeners.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
