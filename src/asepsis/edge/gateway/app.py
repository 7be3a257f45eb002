"""The HL7 family as processes: `python -m asepsis.edge.gateway.app <gateway.toml>`.

Four are forked, each confines itself before it reads a stranger's byte or a secret that is not its
own: the front listens and parses, the keeper has the spool, the uplink has the key, the broker
connects to the hub. Ends on SIGTERM; exits with 5 for an operator's mistake.
"""

import asyncio
import encodings.idna
import gc
import random
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import ConfigError
from asepsis.edge.gateway import confinement, policy, processes
from asepsis.edge.gateway.clocks import Clocks
from asepsis.edge.gateway.confinement import BrokerProcess, Role
from asepsis.edge.gateway.front import Front
from asepsis.edge.gateway.keeper import Keeper
from asepsis.edge.gateway.kek import open_kek
from asepsis.edge.gateway.listener import bind
from asepsis.edge.gateway.memory import make_folder
from asepsis.edge.gateway.pair import keys, places
from asepsis.edge.gateway.pair.page import LeasePage
from asepsis.edge.gateway.processes import Child
from asepsis.edge.gateway.program import run_program
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.gateway.uplinkside import Uplink
from asepsis.edge.sandbox.confine import confine
from asepsis.edge.uplink.folder import IdentityFolder

GARBAGE_THRESHOLDS: Final = (20_000, 50, 100)
"""Messages make no cycles; looking for them at Python's pace costs a tenth of the throughput."""
_PRELOADED: Final = (encodings.idna,)
"""Nothing that brings machine code can be loaded once a process is confined."""


def start(settings: Settings) -> int:
    """Run the family; return its exit code.

    Raises:
        ConfigError: Nothing to listen on, nobody to listen to, or a policy that contradicts itself.
        NotFound: The gateway is not enrolled.
    """
    if not settings.listeners or not settings.peers:
        raise ConfigError("the HL7 family needs listeners and peers")
    doors = policy.doors(settings)
    page = LeasePage.inherited() if settings.pair is not None else None
    holds = (lambda: True) if page is None else page.holds
    fence = None if page is None else page.fence
    data = Path(settings.data)
    _, hospital, _ = IdentityFolder(data / "identity").load()
    make_folder(data / "spool")
    (data / "run").mkdir(mode=0o700, exist_ok=True)
    clocks = Clocks(wall=time.time_ns, monotonic=time.monotonic_ns)
    front_end, keeper_front = socket.socketpair()
    uplink_end, keeper_uplink = socket.socketpair()
    peers = () if settings.pair is None else (settings.pair.place,)
    broker = BrokerProcess(hospital, connections=settings.hub.connections, peers=peers)
    link_keys = None
    if settings.pair is not None:
        make_folder(places.folder(data))
        link_keys = keys.read(data, data / settings.pair.certificate_file)
    ends = (front_end, keeper_front, uplink_end, keeper_uplink)

    def front() -> None:
        _close(ends, keep=(front_end,))
        broker.close()
        listens = page is None or page.holds()
        ports = [bind(door, lent=page is not None) for door in doors] if listens else []
        made = Front(settings, clocks, ports, confinement.holding(), holds)
        _serve(settings, Role.FRONT, lambda: made.run(front_end))

    def keeper() -> None:
        _close(ends, keep=(keeper_front, keeper_uplink))
        broker.close()
        made = Keeper(settings, clocks, open_kek(settings.sealing, folder=data / "spool"))
        _serve(settings, Role.KEEPER, lambda: made.run(keeper_front, keeper_uplink))

    def uplink() -> None:
        _close(ends, keep=(uplink_end,))
        rng = random.Random()  # noqa: S311 - jitter
        made = Uplink(settings, clocks, rng, broker.dial(), fence, link_keys)
        _serve(settings, Role.UPLINK, lambda: made.run(uplink_end))

    def connect() -> None:
        _close(ends, keep=())
        broker.serve()

    def forked() -> None:
        _close(ends, keep=())
        broker.close()

    return processes.run(
        (
            Child("broker", connect, helps=True),
            Child("uplink", uplink),
            Child("keeper", keeper),
            Child("front", front, told=True),
        ),
        forked=forked,
    )


def _close(ends: Sequence[socket.socket], *, keep: Sequence[socket.socket]) -> None:
    for end in ends:
        if end not in keep:
            end.close()


def _serve(settings: Settings, role: Role, serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Confine this process for its role, for good, and serve; errors as those of `serve`."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    loop = asyncio.new_event_loop()  # It makes a pair of sockets, which is forbidden after this.
    confinement.preload()
    confine(confinement.of_role(settings, role))
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(serve())


def main(arguments: list[str]) -> int:
    """Run the gateway of one settings file; return the exit code."""
    return run_program("asepsis.edge.gateway.app", arguments, start)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
