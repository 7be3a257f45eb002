"""The uplink of the HL7 family: the gateway's identity, its key, and the connections to the hub.

It reads what the hub answers and what the keeper hands over; no byte of a sender is parsed here.
"""

import asyncio
import contextlib
import random
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, TrustError, Unavailable
from asepsis.core.trust import tls
from asepsis.edge.gateway.clocks import Clocks
from asepsis.edge.gateway.evidence import EvidenceReporter
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.handover import (
    Ask,
    Channel,
    Ending,
    Evidence,
    LinkNews,
    Listed,
    Post,
    Ready,
    Risky,
    Said,
)
from asepsis.edge.gateway.hub_answers import Verdict, check_validity
from asepsis.edge.gateway.hublink import HubLink, LinkState
from asepsis.edge.gateway.pair.keys import LinkKeys
from asepsis.edge.gateway.pair.link import LinkClient
from asepsis.edge.gateway.pair.mirror import Mirror
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.caretaker import Caretaker
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.edge.uplink.connection import Dial, Endpoint, HubConnection
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.edge.uplink.witness import Witness, Witnessing

BUILD_NS: Final = 1_767_225_600 * 10**9
"""2026-01-01: no signed time can be older than the software."""
BACKOFF_CAP_S: Final = 5.0
TICK_S: Final = 0.05
TEXT_CHARS: Final = 400


@dataclass(slots=True)
class Uplink:
    """Everything that has the key.

    Attributes:
        settings: From `read_settings`.
        clocks: Time.
        rng: Jitter.
        dial: Connects to the hub.
        fence: What `Asepsis-Fence` says; None for a gateway that is none of a pair.
        link_keys: For the other gateway of a pair; None without one.

    Resource handling: `run` opens and closes everything.
    """

    settings: Settings
    clocks: Clocks
    rng: random.Random
    dial: Dial
    fence: Callable[[], bytes] | None = None
    link_keys: LinkKeys | None = None

    async def run(self, line: socket.socket) -> None:
        """Serve the keeper until it ends.

        Args:
            line: Our end of the pair.

        Raises:
            ConfigError: Key or chain do not load.
            NotFound: The gateway is not enrolled.
        """
        folder = IdentityFolder(Path(self.settings.data) / "identity")
        name, hospital, root_der = folder.load()
        clock = TrustedClock(
            folder.path / "time.json",
            boot_id=secrets.token_bytes(16),
            monotonic=self.clocks.monotonic,
            build_ns=BUILD_NS,
        )
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        judge = _Judge(self.settings, folder, root_der, clock)
        exchange = _Exchange(loop, over)
        links = exchange.links = [
            HubLink(
                hospital.clinical,
                dial=self.dial,
                context=judge.context,
                check=judge.check,
                backoff=Backoff(rng=self.rng, cap_s=BACKOFF_CAP_S),
                idle=exchange.idle,
                answered=exchange.answered,
                failed=lambda error, number=number: exchange.failed(number, error),
                fence=self.fence,
            )
            for number in range(self.settings.hub.connections)
        ]
        judge.context()  # A key that does not load is an operator's mistake, said at the start.
        exchange.channel = Channel(exchange.take, over.set)
        await loop.create_connection(lambda: exchange.channel, sock=line)
        exchange.channel.say(Ready(folder.next_epoch(wall_s=self.clocks.wall() // 10**9)))

        def renewed() -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda: [link.renew() for link in links])

        caretaker = Caretaker(
            folder,
            name=name,
            hospital=hospital,
            root_der=root_der,
            clock=clock,
            monotonic=self.clocks.monotonic,
            backoff=Backoff(rng=self.rng),
            on_renewed=renewed,
            dial=self.dial,
        )
        caretaker.start()
        self._start_telling(exchange, judge, hospital.clinical)
        exchange.witnessing = Witnessing(
            lambda: Witness(folder.path, root_der=root_der, now_ns=judge.wall_ns),
            lambda: judge.connection(hospital.clinical, self.dial),
            report=self._tell_of_the_log,
        )
        exchange.witnessing.start()
        exchange.mirror = self._open_mirror(loop, exchange)
        try:
            await _until(over, *(link.run() for link in links), exchange.mind_time())
        finally:
            caretaker.close()
            exchange.close()

    def _start_telling(self, exchange: "_Exchange", judge: "_Judge", hub: Endpoint) -> None:
        exchange.reporter = EvidenceReporter(
            lambda: judge.connection(hub, self.dial),
            backoff=Backoff(rng=self.rng, cap_s=BACKOFF_CAP_S),
            findings=Findings(self.clocks.monotonic),
        )
        exchange.reporter.start()

    def _tell_of_the_log(self, error: AsepsisError) -> None:
        """Say that the hub's audit log was changed; that the hub is away is told by others."""
        if isinstance(error, TrustError):
            findings = Findings(self.clocks.monotonic)
            findings.note(Finding.AUDIT_LOG, "hub", code=error.code, why=str(error)[:TEXT_CHARS])

    def _open_mirror(self, loop: asyncio.AbstractEventLoop, exchange: "_Exchange") -> Mirror | None:
        """Start what tells the other gateway of a pair; None for a gateway alone."""
        pair, link_keys = self.settings.pair, self.link_keys
        if pair is None or link_keys is None:
            return None

        def told(number: int, done: bool) -> None:  # noqa: FBT001 - as `Told`
            with contextlib.suppress(RuntimeError):  # The loop has ended, and nobody waits.
                loop.call_soon_threadsafe(exchange.channel.say, Listed(number, done))

        mirror = Mirror(LinkClient(pair.place, link_keys.client(), dial=self.dial), told)
        mirror.start()
        return mirror


async def _until(over: asyncio.Event, *works: Coroutine[None, None, None]) -> None:
    """Let all of them work until the event; one that fails is a bug, and ends them all."""
    tasks = [asyncio.ensure_future(work) for work in works]
    ended = asyncio.ensure_future(over.wait())
    done, _ = await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (ended, *tasks):
        task.cancel()
    await asyncio.gather(ended, *tasks, return_exceptions=True)
    for task in done:
        task.result()  # A bug of our own ends the process; the spool is safe.


class _Exchange:
    """What keeper and connections say to each other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
        self._loop = loop
        self._over = over
        self.links: list[HubLink] = []
        self.channel: Channel
        self.reporter: EvidenceReporter
        self.witnessing: Witnessing
        self.mirror: Mirror | None = None

    def close(self) -> None:
        """End the threads that speak for the keeper."""
        self.reporter.close()
        self.witnessing.close()
        if self.mirror is not None:
            self.mirror.close()

    def take(self, said: Said) -> None:
        """Do what the keeper asks; whatever is no request ends this process."""
        if isinstance(said, (Post, Ask)) and 0 <= said.link < len(self.links):
            self._ask(said)
        elif isinstance(said, Evidence):
            network = {
                "address": said.address,
                "port": said.port,
                "vlan": said.vlan,
                "tls_key_sha256": said.key,
            }
            self.reporter.note(said.devices, network)
        elif isinstance(said, Risky) and self.mirror is not None:
            self.mirror.ask(said.number, said.entries)
        else:
            if not isinstance(said, Ending):
                self.channel.close()
            self._over.set()

    def _ask(self, said: Post | Ask) -> None:
        link = self.links[said.link]
        deadline_s = self._loop.time() + said.wait_s
        if link.state is not LinkState.IDLE:
            if isinstance(said, Post):
                self._news(said.link, Unavailable("the connection has ended"), answers=True)
        elif isinstance(said, Post):
            link.post(said.body, epoch=said.epoch, count=said.count, deadline_s=deadline_s)
        else:
            link.ask(deadline_s=deadline_s)

    def idle(self, link: HubLink) -> None:
        """A link can take a batch."""
        number = self.links.index(link)
        self.channel.say(LinkNews(number, link.state.value, "idle"))

    def answered(self, link: HubLink, verdict: Verdict) -> None:
        """A batch has its answer."""
        number = self.links.index(link)
        if isinstance(verdict, AsepsisError):
            self._news(number, verdict, answers=True)
            return
        refused = tuple(
            (sequence, index, str(error)[:TEXT_CHARS])
            for (sequence, index), error in verdict.items()
        )
        state = link.state.value
        self.channel.say(LinkNews(number, state, "stored", answers=True, refused=refused))

    def failed(self, number: int, error: AsepsisError) -> None:
        """A link could not connect, or the hub pushed back."""
        self._news(number, error, answers=False)

    async def mind_time(self) -> None:
        """Cut connections whose answer is overdue, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            now_s = self._loop.time()
            for link in self.links:
                if link.deadline_s <= now_s:
                    link.abort()

    def _news(self, number: int, error: AsepsisError, *, answers: bool) -> None:
        state = self.links[number].state.value
        kind, text = type(error).__name__, str(error)[:TEXT_CHARS]
        self.channel.say(LinkNews(number, state, kind, answers=answers, text=text))


@dataclass(frozen=True, slots=True)
class _Judge:
    """Who may be the hub."""

    settings: Settings
    folder: IdentityFolder
    root_der: bytes
    clock: TrustedClock

    def context(self) -> ssl.SSLContext:
        """Return the TLS context of now."""
        identity = self.folder.identity
        if self.settings.hub.clock == "system":
            return tls.client_context(root_der=self.root_der, identity=identity)
        return tls.client_context_without_time_check(root_der=self.root_der, identity=identity)

    def connection(self, endpoint: Endpoint, dial: Dial) -> HubConnection:
        """Return a connection for single requests; errors as `context`."""
        system = self.settings.hub.clock == "system"
        return HubConnection(
            endpoint,
            self.context(),
            now_ns=None if system else self._now_ns,
            timeout_s=self.settings.hub.answer_s,
            dial=dial,
        )

    def wall_ns(self) -> int:
        """Return the time that is believed here; errors as `connection` has them."""
        return time.time_ns() if self.settings.hub.clock == "system" else self._now_ns()

    def _now_ns(self) -> int:
        if not self.clock.synchronised:
            raise Unavailable("no trusted time yet")
        return self.clock.now_ns()

    def check(self, layer: ssl.SSLObject) -> None:
        """Judge the hub's certificate by trusted time.

        Raises:
            IdentityExpired: It is outside its validity.
            Unavailable: There is no trusted time yet.
        """
        if self.settings.hub.clock == "system":
            return  # OpenSSL has judged the dates by this computer's clock.
        if not self.clock.synchronised:
            raise Unavailable("no trusted time yet")
        check_validity(layer, self.clock.now_ns())
