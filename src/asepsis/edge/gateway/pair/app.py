"""The pair's process: `python -m asepsis.edge.gateway.pair.app <gateway.toml>`.

It asks the hub for the lease, the other gateway for its promise while the hub is away, keeps the
other's list of messages at risk, and writes the page of memory by which the supervisor starts and
stops the families. Ends on SIGTERM; exits with 5 for an operator's mistake.
"""

import encodings.idna
import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, ConfigError, TransientError, Unavailable
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.memory import make_folder
from asepsis.edge.gateway.pair import keys, places, promotion
from asepsis.edge.gateway.pair.hub_questions import HubQuestions
from asepsis.edge.gateway.pair.link import Asked, LinkClient, LinkServer, Promise, Reply
from asepsis.edge.gateway.pair.listing import RiskList, at_risk, read_again
from asepsis.edge.gateway.pair.member import Member, Part
from asepsis.edge.gateway.pair.page import LeasePage, boottime_ns
from asepsis.edge.gateway.pair.settings import PairSettings
from asepsis.edge.gateway.program import run_program
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.sandbox.confine import confine
from asepsis.edge.sandbox.seccomp import SyscallClass
from asepsis.edge.uplink.folder import IdentityFolder

EVERY_S: Final = 0.6
"""Pause between two questions to the hub, and to the other gateway while the hub is away."""
UNHEARD_NS: Final = 1_500_000_000
"""A standby that reached the hub later than this before now makes no promise: it could take over
itself, and then the hub hears of everything."""
TIDY_S: Final = 60.0
TICK_S: Final = 0.1
CONNECTIONS: Final = 2
_PRELOADED: Final = (encodings.idna,)
"""Nothing can be loaded once a process is confined."""


class PairProcess:
    """Everything of one member; `run` returns when it is told to end.

    Args:
        settings: Of the gateway.
        pair: Its section.
        page: What the other processes read.
        way: To the hub.
        link: To the other gateway.
        findings: Told what people should know.
    """

    def __init__(
        self,
        settings: Settings,
        pair: PairSettings,
        *,
        page: LeasePage,
        way: HubQuestions,
        link: LinkClient,
        findings: Findings,
    ) -> None:
        data = Path(settings.data)
        self._folder = places.folder(data)
        self._state = places.state(data)
        self._again = places.came_again(data)
        self._pair = pair
        self._page = page
        self._way = way
        self._link = link
        self._findings = findings
        self._list = RiskList(places.risk_list(data))
        self._list_turn = threading.Lock()
        self._turn = threading.Lock()
        self._ending = threading.Event()
        self._member = Member(token=page.token, end_ns=page.end_ns)
        self._reached_ns = 0
        self._part = Part.STANDBY

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told)
        self._way.start()
        threads = [
            threading.Thread(target=self._ask_hub, name="pair-hub", daemon=True),
            threading.Thread(target=self._ask_partner, name="pair-partner", daemon=True),
            threading.Thread(target=self._tidy, name="pair-list", daemon=True),
        ]
        for thread in threads:
            thread.start()
        while not self._ending.wait(TICK_S):
            self._look()
            if not all(thread.is_alive() for thread in threads):
                raise Unavailable("a thread of the pair's process has ended")
        self._way.close()

    def _told(self, _number: int, _frame: object) -> None:
        self._ending.set()

    def answer(self, asked: Asked) -> Reply:
        """Answer the other gateway; in any thread."""
        now_ns = boottime_ns()
        if isinstance(asked, Promise):
            with self._turn:
                active = self._member.part(now_ns) is Part.ACTIVE
                away = now_ns - self._reached_ns > UNHEARD_NS
                return Reply(away and self._member.promise(now_ns), active)
        with self._list_turn:
            try:
                self._list.add(asked.entries)
            except TransientError as error:
                self._findings.note(Finding.SPOOL, "pair", code=error.code)
                return Reply(False, False)
        return Reply(True, False)

    def _look(self) -> None:
        """Take note of what people decided, and tell of every change."""
        decided = promotion.read(self._folder) is not None
        with self._turn:
            now_ns = boottime_ns()
            if decided and not self._member.by_people and self._member.part(now_ns) is Part.STANDBY:
                self._member.promote()
            self._show(now_ns)

    def _show(self, now_ns: int) -> None:
        """Write the page; with the lock held."""
        part = self._member.part(now_ns)
        if part is Part.ACTIVE:
            self._page.give(token=self._member.token, end_ns=self._member.end_ns)
        else:
            self._page.end()
        if part is not self._part:
            self._part = part
            self._findings.note(Finding.PAIR, part.value, lease=self._member.token)
            state = {"part": part.value, "lease": self._member.token}
            with suppress(OSError):
                aside = self._state.with_suffix(".new")
                aside.write_text(json.dumps(state), "ascii")
                aside.replace(self._state)

    def _ask_hub(self) -> None:
        while not self._ending.wait(EVERY_S):
            with self._turn:
                may, token = self._member.may_ask(boottime_ns()), self._member.token
            try:
                if may:
                    self._ask_lease(token)
                else:
                    self._way.received(())
                self._reached_ns = boottime_ns()
            except TransientError:
                continue
            except AsepsisError as error:
                # The hub answered and does not want this gateway: others may be wanted.
                self._findings.note(Finding.IDENTITY_REFUSED, "pair", code=error.code)
                with self._turn:
                    self._member.refused()
                    self._show(boottime_ns())

    def _ask_lease(self, token: int) -> None:
        sent_ns = boottime_ns()
        promoted = promotion.read(self._folder)
        found = self._way.lease(token=token, promoted=promoted)
        with self._turn:
            now_ns = boottime_ns()
            if found.granted:
                self._member.granted(found.token, found.left_ms, sent_ns=sent_ns, now_ns=now_ns)
            elif not (self._member.by_people and found.holder != self._pair.partner):
                self._member.refused()
            self._show(now_ns)
        if found.granted and promoted is not None:
            promotion.settle(self._folder)

    def _ask_partner(self) -> None:
        """While the hub is away an active member needs the other one's word."""
        while not self._ending.wait(EVERY_S):
            sent_ns = boottime_ns()
            with self._turn:
                active = self._member.part(sent_ns) is Part.ACTIVE
            if not active or sent_ns - self._reached_ns < UNHEARD_NS // 2:
                self._link.close()
                continue
            try:
                reply = self._link.ask(Promise())
            except TransientError:
                self._findings.note(Finding.PARTNER_AWAY)
                continue
            with self._turn:
                now_ns = boottime_ns()
                if reply.done:
                    self._member.promised(sent_ns=sent_ns, now_ns=now_ns)
                elif reply.active:
                    self._member.other_active()
                    promotion.settle(self._folder)
                self._show(now_ns)

    def _tidy(self) -> None:
        """Now and then forget what the hub has meanwhile."""
        while not self._ending.wait(TIDY_S):
            with self._list_turn:
                entries = self._list.read()
            if not entries:
                continue
            way = self._way
            with suppress(AsepsisError):
                received = way.received(sorted({entry.epoch for entry in entries}))
                with self._list_turn:
                    entries = self._list.read()
                    again = read_again(self._again)
                    self._list.keep(at_risk(entries, received=received, again=again))


def start(settings: Settings) -> None:
    """Run the process, confined.

    Raises:
        ConfigError: No `[pair]`, no supervisor above, or keys that do not load.
        Unavailable: The link's address is taken or not ours.
        NotFound: The gateway is not enrolled.
    """
    pair = settings.pair
    page = LeasePage.inherited(writable=True)
    if pair is None or page is None:
        raise ConfigError("the pair's process runs below `asepsis gateway run` with [pair]")
    data = Path(settings.data)
    make_folder(places.folder(data))
    make_folder(data / "spool")
    link_keys = keys.read(data, data / pair.certificate_file)
    place = pair.place
    _, hospital, _ = IdentityFolder(data / "identity").load()
    dial = confinement.fork_broker(hospital, connections=CONNECTIONS, peers=(place,))
    way = HubQuestions(settings, partner=pair.partner, dial=dial)
    listening = _listen(pair)
    process = PairProcess(
        settings,
        pair,
        page=page,
        way=way,
        link=LinkClient(place, link_keys.client(), dial=dial),
        findings=Findings(time.monotonic_ns),
    )
    server = LinkServer(listening, link_keys.server(), answer=process.answer)
    confinement.preload()
    order = confinement.confinement(settings)
    writable = (data / "identity", places.folder(data))
    readable = (*order.readable, data / "spool")
    confine(replace(order, kind=SyscallClass.LISTENING, writable=writable, readable=readable))
    server.start()
    try:
        process.run()
    finally:
        server.close()


def _listen(pair: PairSettings) -> socket.socket:
    try:
        return socket.create_server((pair.listen_host, pair.listen_port), backlog=8)
    except OSError as error:
        raise Unavailable(
            f"pair: {pair.listen_host} port {pair.listen_port}: {error.strerror}"
        ) from error


def main(arguments: list[str]) -> int:
    """Run the process of one settings file; return the exit code."""
    return run_program("asepsis.edge.gateway.pair.app", arguments, start)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # Threads of connections end with it.
