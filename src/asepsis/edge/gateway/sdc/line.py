"""The process of one SDC device: its TLS key, its reports, nothing of the hub's.

It holds the gateway's SDC key, never the key that the gateway shows the hub; it connects to the
declared address only, by a broker, and takes connections on one socket that was bound before. What
it understood goes to the keeper over a channel, as from every line process.
"""

import os
import random
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.drivers import channel
from asepsis.edge.gateway.drivers.channel import Report
from asepsis.edge.gateway.drivers.sdk import OUTPUTS_MAX, Unlinked
from asepsis.edge.gateway.sdc import bounded
from asepsis.edge.gateway.sdc.credentials import check_provider, contexts
from asepsis.edge.gateway.sdc.plans import SdcPlan
from asepsis.edge.gateway.sdc.session import Ports, Session, silence_library
from asepsis.edge.gateway.sdc.sink import Sink, listen
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.broker import Address, Broker, BrokerClient
from asepsis.edge.sandbox.confine import Confinement, Limits, confine
from asepsis.edge.sandbox.seccomp import SyscallClass
from asepsis.edge.uplink.backoff import Backoff

MEMORY_MIB: Final = 2_048
FILES: Final = 128
CAP_S: Final = 5.0
CHANNELS: Final = 2
DIAL_S: Final = 4.0
TURN_S: Final = 0.1
EXIT_GONE: Final = 1


class Line:
    """Holds one session after the other.

    Args:
        plan: The device.
        end: Channel to the keeper.
        rng: Jitter.
    """

    def __init__(self, plan: SdcPlan, end: socket.socket, *, rng: random.Random) -> None:
        self._plan = plan
        self._end = end
        self._backoff = Backoff(rng=rng, cap_s=CAP_S)
        self._lost = 0
        self.stopping = False

    def run(self, ports: Callable[[Callable[[Sequence[Any], int], None]], Ports]) -> None:
        """Hold sessions until told to stop."""
        made = ports(self._tell)
        made.sink.start()
        while not self.stopping:
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
            part = tuple(told[start : start + OUTPUTS_MAX])
            self._lost += not channel.send(
                self._end, Report(at_ns=at_ns, told=part, lost=self._lost)
            )


def order() -> Confinement:
    """Return what this process takes away from itself.

    The schemas are read before; the standard library stays readable for what is loaded late.
    """
    code = bubblewrap.code()
    return Confinement(
        layers=confinement.holding(),
        kind=SyscallClass.LISTENING,
        readable=(*code.libraries, code.package),
        limits=Limits(memory_mib=MEMORY_MIB, files=FILES, file_mib=1),
    )


def _fork_broker(plan: SdcPlan) -> Callable[[], socket.socket]:
    """Fork what connects to the device's address, and to nothing else."""
    broker = Broker([Address(plan.entry.address, plan.entry.port)], channels=CHANNELS)
    parent = os.getpid()
    if not os.fork():
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            broker.start()
            while os.getppid() == parent:
                select.select([], [], [], TURN_S)
        finally:
            os._exit(0)
    client = BrokerClient(broker.hand_over())
    return lambda: client.dial(0, timeout_s=DIAL_S)


def serve(plan: SdcPlan, end: socket.socket) -> int:
    """Run the process of one device; return its exit code.

    Raises:
        ConfigError: A file of the settings does not load, or the local address cannot be bound.
    """
    silence_library()
    dial = _fork_broker(plan)
    found = contexts(plan)
    try:
        listening = listen(plan.entry.local_address, plan.entry.local_port)
    except OSError as error:
        raise ConfigError(f"sdc {plan.entry.name}: {error.strerror}") from error
    sink = Sink(listening, found.server, address=plan.entry.address)
    way = bounded.Way(
        plan.netloc,
        dial,
        found.client,
        plan.entry.host or plan.entry.address,
        lambda leaf: check_provider(leaf, identity=plan.entry.identity),
    )
    line = Line(plan, end, rng=random.Random())  # noqa: S311 - jitter

    def stop(number: int, _frame: object) -> None:
        line.stopping = True
        del number

    signal.signal(signal.SIGTERM, stop)
    bounded.load_schemas()
    confinement.preload()
    confine(order())
    url = f"https://{plan.netloc}/{plan.entry.path.lstrip('/')}"
    line.run(lambda tell: Ports(way, sink, url, tell))
    return 0
