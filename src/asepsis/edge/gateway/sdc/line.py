"""The processes of one SDC device: one that reads it and holds no key, one that holds its TLS key.

The line process reads messages; it has no key, no file and no socket call, and gets connections
from the cable process, which reads none. What it understood goes to the keeper over a channel, as
from every line process. A third, the broker, connects to the declared address and nowhere else.
"""

import os
import random
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from asepsis.core.errors import AsepsisError, ConfigError, Unavailable
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.drivers import channel
from asepsis.edge.gateway.drivers.channel import Report
from asepsis.edge.gateway.drivers.sdk import OUTPUTS_MAX, Unlinked
from asepsis.edge.gateway.sdc import bounded
from asepsis.edge.gateway.sdc.cable import Cable, CableClient
from asepsis.edge.gateway.sdc.credentials import proof
from asepsis.edge.gateway.sdc.plans import SdcPlan
from asepsis.edge.gateway.sdc.session import Ports, Session, silence_library
from asepsis.edge.gateway.sdc.sink import Sink
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.broker import Address, Broker, BrokerClient
from asepsis.edge.sandbox.confine import Confinement, Limits, confine
from asepsis.edge.sandbox.seccomp import SyscallClass
from asepsis.edge.uplink.backoff import Backoff

MEMORY_MIB: Final = 2_048
CABLE_MEMORY_MIB: Final = 1_024
FILES: Final = 128
CAP_S: Final = 5.0
DIAL_S: Final = 4.0
TURN_S: Final = 0.1
START_S: Final = 20.0
BACKLOG: Final = 16
WORD_BYTES_MAX: Final = 1_024
EXIT_GONE: Final = 1
_READY: Final = b"\0"


class Line:
    """Holds one session after the other.

    Args:
        plan: The device.
        end: Channel to the keeper.
        rng: Jitter.
        key: Returns the key that the device proved, as `Report.key`.
    """

    def __init__(
        self,
        plan: SdcPlan,
        end: socket.socket,
        *,
        rng: random.Random,
        key: Callable[[], str] = lambda: "",
    ) -> None:
        self._key = key
        self._plan = plan
        self._end = end
        self._backoff = Backoff(rng=rng, cap_s=CAP_S)
        self._lost = 0
        self._sink: Sink | None = None
        self.stopping = False

    def run(self, ports: Callable[[Callable[[Sequence[Any], int], None]], Ports]) -> None:
        """Hold sessions until told to stop."""
        made = ports(self._tell)
        self._sink = made.sink
        made.sink.start()
        while not self.stopping and not made.sink.has_ended:
            began_s = time.monotonic()
            try:
                Session(made).run(stopping=lambda: self.stopping)
                why = "released"
            except Unavailable as error:
                why = str(error)[:80]
            self._tell([Unlinked(why)], time.monotonic_ns())
            if time.monotonic() - began_s > 2 * CAP_S:
                self._backoff.succeeded()
            self._rest(self._backoff.failed())
        made.sink.stop()

    def _rest(self, seconds: float) -> None:
        deadline_s = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < deadline_s:
            select.select([], [], [], TURN_S)

    def _tell(self, told: Sequence[Any], at_ns: int) -> None:
        for start in range(0, len(told), OUTPUTS_MAX):
            strangers = self._sink.refused if self._sink is not None else 0
            report = Report(
                at_ns=at_ns,
                told=tuple(told[start : start + OUTPUTS_MAX]),
                strangers=strangers,
                lost=self._lost,
                key=self._key(),
            )
            self._lost += not channel.send(self._end, report)


def order(kind: SyscallClass, *, memory_mib: int) -> Confinement:
    """Return what a process takes away from itself.

    The schemas are read before; the standard library stays readable for what is loaded late.

    Args:
        kind: The cable takes connections, the line process none.
        memory_mib: Address space.
    """
    code = bubblewrap.code()
    return Confinement(
        layers=confinement.holding(),
        kind=kind,
        readable=(*code.libraries, code.package),
        limits=Limits(memory_mib=memory_mib, files=FILES, file_mib=1),
    )


def _fork(work: Callable[[], None]) -> None:
    """Run something in a process of its own, which never returns here."""
    if os.fork():
        return
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # It ends when the line process has hung up.
        work()
    finally:
        os._exit(0)


def _broker(plan: SdcPlan) -> BrokerClient:
    """Fork what connects to the device's address, and to nothing else."""
    broker = Broker([Address(plan.entry.address, plan.entry.port)], channels=1)
    parent = os.getpid()

    def serve() -> None:
        broker.start()
        while os.getppid() == parent:
            select.select([], [], [], TURN_S)

    _fork(serve)
    return BrokerClient(broker.hand_over())


def _serve_cable(plan: SdcPlan, ask: socket.socket, arrivals: socket.socket) -> None:
    """Prove and carry, until the line process has hung up; say first whether it can."""
    try:
        broker = _broker(plan)
        proved = proof(plan)
        listening = _listen(plan)
    except AsepsisError as error:
        ask.send(str(error).encode()[:WORD_BYTES_MAX] or b"?")
        return
    cable = Cable(
        proved,
        connect=lambda: broker.dial(0, timeout_s=DIAL_S),
        listening=listening,
        arrivals=arrivals,
    )
    confinement.preload()
    confine(order(SyscallClass.LISTENING, memory_mib=CABLE_MEMORY_MIB))
    host, port = listening.getsockname()[:2]
    ask.send(_READY + (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode())
    cable.run(ask)


def _listen(plan: SdcPlan) -> socket.socket:
    place = (plan.entry.local_address, plan.entry.local_port)
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    try:
        return socket.create_server(place, family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"sdc {plan.entry.name}: {error.strerror}") from error


def _fork_cable(plan: SdcPlan, end: socket.socket) -> tuple[CableClient, Sink]:
    """Start the cable; return how to ask it, and what takes reports from it.

    Raises:
        ConfigError: A file of the settings does not load, or the local address cannot be bound.
    """
    ask, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    arrivals, taken = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def serve_cable() -> None:
        for other in (end, ask, arrivals):  # Nothing of the keeper is within its reach.
            other.close()
        _serve_cable(plan, asked, taken)

    _fork(serve_cable)
    asked.close()
    taken.close()
    ask.settimeout(START_S)
    said = ask.recv(WORD_BYTES_MAX)
    if not said.startswith(_READY):
        raise ConfigError(said.decode(errors="replace") or f"sdc {plan.entry.name}: no cable")
    place = said.removeprefix(_READY).decode()
    return CableClient(ask), Sink(arrivals, base_url=f"https://{place}/")


def serve(plan: SdcPlan, end: socket.socket) -> int:
    """Run the processes of one device; return the exit code of the line process.

    Raises:
        ConfigError: A file of the settings does not load, or the local address cannot be bound.
    """
    silence_library()
    cable, sink = _fork_cable(plan, end)
    rng = random.Random()  # noqa: S311 - jitter
    line = Line(plan, end, rng=rng, key=lambda: cable.key)

    def stop(number: int, _frame: object) -> None:
        line.stopping = True
        del number

    signal.signal(signal.SIGTERM, stop)
    bounded.load_schemas()
    confinement.preload()
    confine(order(SyscallClass.NETWORK, memory_mib=MEMORY_MIB))
    url = f"https://{plan.netloc}/{plan.entry.path.lstrip('/')}"
    way = bounded.Way(plan.netloc, plan.local, cable.dial)
    line.run(lambda tell: Ports(way, sink, url, tell))
    return EXIT_GONE if sink.has_ended and not line.stopping else 0
