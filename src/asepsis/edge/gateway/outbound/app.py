"""The outbound family: `python -m asepsis.edge.gateway.outbound.app <gateway.toml>`.

Two processes. The sender reads what receivers answer; it holds no key and opens no file. The
courier (this one) holds the gateway's key and reads nothing but what the hub says. Ends on SIGTERM;
exits with 5 for an operator's mistake.
"""

import asyncio
import contextlib
import encodings.idna
import functools
import ipaddress
import os
import random
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.families import renews
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.hub_way import HubWay
from asepsis.edge.gateway.outbound import sender
from asepsis.edge.gateway.outbound.courier import Courier, lost_error
from asepsis.edge.gateway.outbound.settings import OutboundEntry
from asepsis.edge.gateway.program import be_helper, run_program, say_ready
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.confine import Confinement, Limits, confine
from asepsis.edge.sandbox.seccomp import SyscallClass
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import Dial, Endpoint, HubConnection
from asepsis.edge.uplink.folder import IdentityFolder

MEMORY_MIB: Final = 1_024
FILES: Final = 512
FILE_MIB: Final = 16
BACKOFF_CAP_S: Final = 5.0
ANSWER_S: Final = 20.0
"""Longer than the hub keeps a question open."""
ANSWER_BYTES_MAX: Final = 4_194_304
"""What the hub gives at once, with Base64 and room to spare."""
CONNECTIONS_EACH: Final = 2
CONNECTION: Final = functools.partial(HubConnection, answer_bytes_max=ANSWER_BYTES_MAX)
_PRELOADED: Final = (encodings.idna,)


def check(settings: Settings) -> Sequence[OutboundEntry]:
    """Return what is to be delivered.

    Raises:
        ConfigError: Nothing, one destination twice, or clear text outside the device segments.
    """
    entries = settings.outbound
    names = [entry.destination for entry in entries]
    if not names or len(set(names)) != len(names):
        raise ConfigError("[[outbound]] names each destination once, and at least one")
    segments = [ipaddress.ip_network(text) for text in settings.device_segments]
    for entry in entries:
        if entry.ca_file:
            continue
        try:
            address = ipaddress.ip_address(entry.host)
        except ValueError as error:
            raise ConfigError(f"{entry.destination}: clear text needs an address") from error
        if not entry.cleartext or not any(address in segment for segment in segments):
            raise ConfigError(
                f"{entry.destination}: no TLS",
                hint="name ca_file, or cleartext = true for an address in device_segments",
            )
    return entries


def start(settings: Settings) -> None:
    """Run the family, confined; errors as `check` and `serve`."""
    entries = check(settings)
    folder = IdentityFolder(Path(settings.data) / "identity")
    _, hospital, _ = folder.load()
    pairs = [socket.socketpair() for _ in entries]
    child = os.fork()
    if not child:
        for own, _ in pairs:
            own.close()
        be_helper(lambda: _run_sender(settings, entries, [far for _, far in pairs]))
    for _, far in pairs:
        far.close()
    dial = confinement.fork_broker(hospital, connections=CONNECTIONS_EACH * len(entries))
    way = HubWay(settings, folder, dial, name="outbound", renews=renews(settings, "outbound"))
    told = threading.Event()
    (Path(settings.data) / "run").mkdir(mode=0o700, exist_ok=True)
    findings = Findings(time.monotonic_ns)
    couriers = [
        Courier(
            entry.destination,
            own,
            connect=lambda: way.connect(CONNECTION, answer_s=ANSWER_S),
            backoff=lambda: Backoff(rng=random.Random(), cap_s=BACKOFF_CAP_S),  # noqa: S311 - jitter
            failed=lambda error: findings.note(Finding.HUB_AWAY, code=error.code),
        )
        for entry, (own, _) in zip(entries, pairs, strict=True)
    ]
    confinement.preload()
    confine(order(Path(settings.data)))
    serve(couriers, way, told, Path(settings.data))


def serve(couriers: Sequence[Courier], way: HubWay, told: threading.Event, data: Path) -> None:
    """Fetch and report until SIGTERM or SIGINT.

    Raises:
        Unavailable: The sender has ended.
    """

    def tell(_number: int, _frame: object) -> None:
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    way.start()
    for courier in couriers:
        courier.start()
    say_ready(data / "run" / "outbound.json", {"pid": os.getpid(), "destinations": len(couriers)})
    with contextlib.closing(way):
        while not told.wait(0.1):
            if any(courier.lost.is_set() for courier in couriers):
                raise lost_error()
        for courier in couriers:
            courier.close()


def order(data: Path) -> Confinement:
    """Return what the courier takes away from itself."""
    code = bubblewrap.code()
    return Confinement(
        layers=confinement.holding(),
        kind=SyscallClass.NETWORK,
        readable=(*code.libraries, code.package),
        writable=(data / "identity", data / "run"),
        limits=Limits(memory_mib=MEMORY_MIB, files=FILES, file_mib=FILE_MIB),
    )


def sender_order() -> Confinement:
    """Return what the sender takes away from itself: every file."""
    code = bubblewrap.code()
    return Confinement(
        layers=confinement.holding(),
        kind=SyscallClass.NETWORK,
        readable=(*code.libraries, code.package),
        limits=Limits(memory_mib=MEMORY_MIB, files=FILES, file_mib=FILE_MIB),
    )


def _run_sender(
    settings: Settings, entries: Sequence[OutboundEntry], ends: Sequence[socket.socket]
) -> None:
    """Be the sender."""
    _, hospital, _ = IdentityFolder(Path(settings.data) / "identity").load()
    places = [Endpoint(entry.host, entry.port) for entry in entries]
    dial = confinement.fork_broker(hospital, connections=len(entries), peers=places)
    loop = asyncio.new_event_loop()  # It makes a pair of sockets, forbidden after this.
    contexts = [sender.tls_context(entry) for entry in entries]
    confinement.preload()
    confine(sender_order())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_send_all(entries, ends, dial, contexts))


async def _send_all(
    entries: Sequence[OutboundEntry],
    ends: Sequence[socket.socket],
    dial: Dial,
    contexts: Sequence[ssl.SSLContext | None],
) -> None:
    loop = asyncio.get_running_loop()
    lost: list[asyncio.Task[object]] = []
    for entry, end, context in zip(entries, ends, contexts, strict=True):
        end.setblocking(False)
        _, courier = await loop.create_unix_connection(
            lambda e=entry: sender.CourierEnd(e), sock=end
        )
        backoff = Backoff(rng=random.Random(), cap_s=BACKOFF_CAP_S)  # noqa: S311 - jitter
        lost.append(loop.create_task(courier.lost.wait()))
        sending = sender.send(entry, courier, dial=dial, context=context, backoff=backoff)
        lost.append(loop.create_task(sending))
    done, _ = await asyncio.wait(lost, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def main(arguments: list[str]) -> int:
    """Run the family of one settings file; return the exit code."""
    return run_program("asepsis.edge.gateway.outbound.app", arguments, start)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
