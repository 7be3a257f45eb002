"""The HL7 family as a process: `python -m asepsis.edge.gateway.app <gateway.toml>`.

A process that connects to the hub is forked, everything that needs rights is done, and then the
gateway confines itself and serves. Ends on SIGTERM; exits with 5 for an operator's mistake.
"""

import asyncio
import encodings.idna
import gc
import logging
import random
import signal
import sys
import time
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, ConfigError, Unavailable
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.service import Clocks, Gateway
from asepsis.edge.gateway.settings import Settings, read_settings
from asepsis.edge.sandbox.confine import confine
from asepsis.edge.uplink.folder import IdentityFolder

GARBAGE_THRESHOLDS: Final = (20_000, 50, 100)
"""Messages make no cycles; looking for them at Python's pace costs a tenth of the throughput."""
SWITCH_INTERVAL_S: Final = 0.0005
"""How long the event loop may keep the spool's writer waiting for the interpreter's lock, which it
gives up at every step of a commit; with Python's 5 ms a commit took twice as long as its sync."""
EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 5
_PRELOADED: Final = (encodings.idna,)
"""Nothing that brings machine code can be loaded once the gateway is confined."""


async def serve(gateway: Gateway) -> None:
    """Run a gateway until SIGTERM or SIGINT; errors as its `run`.

    Raises:
        Unavailable: The process that connects to the hub has ended.
    """
    told, alone = asyncio.Event(), asyncio.Event()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)

    def left_alone() -> None:
        alone.set()
        told.set()

    loop.add_signal_handler(signal.SIGCHLD, left_alone)
    await gateway.run(told)
    if alone.is_set():
        raise Unavailable("the process that connects to the hub has ended")


def start(settings: Settings) -> None:
    """Run a gateway confined; errors as `Gateway` and `serve`.

    Raises:
        ConfigError: Nothing to listen on, or nobody to listen to.
    """
    if not settings.listeners or not settings.peers:
        raise ConfigError("the HL7 family needs listeners and peers")
    _, hospital, _ = IdentityFolder(Path(settings.data) / "identity").load()
    dial = confinement.fork_broker(hospital, connections=settings.hub.connections)
    clocks = Clocks(wall=time.time_ns, monotonic=time.monotonic_ns)
    rng = random.Random()  # noqa: S311 - jitter
    limits = confinement.confinement(settings)
    gateway = Gateway(settings, clocks=clocks, rng=rng, dial=dial, layers=limits.layers)
    loop = asyncio.new_event_loop()  # It makes a pair of sockets, which is forbidden after this.
    confinement.preload()
    confine(limits)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(serve(gateway))


def main(arguments: list[str]) -> int:
    """Run the gateway of one settings file; return the exit code."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m asepsis.edge.gateway.app <gateway.toml>\n")
        return EXIT_CONFIG
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        start(read_settings(Path(arguments[0])))
    except AsepsisError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
