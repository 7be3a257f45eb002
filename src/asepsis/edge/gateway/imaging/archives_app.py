"""The archives family: `python -m asepsis.edge.gateway.imaging.archives_app <gateway.toml>`.

Two processes. This one holds the gateway's key, fetches from the hub and reads nothing else; the
other speaks DICOM with the PACS, through a broker that knows only the declared ones, and holds
nothing. Ends on SIGTERM; exits with 5 for an operator's mistake.
"""

import asyncio
import contextlib
import encodings.idna
import ipaddress
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.families import renews
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.hub_way import HubWay
from asepsis.edge.gateway.imaging import fetcher, without_patient
from asepsis.edge.gateway.imaging.bcp195 import user_context
from asepsis.edge.gateway.imaging.delivery import FRAME_BYTES_MAX, DimseSender
from asepsis.edge.gateway.imaging.fetcher import Destination, Lane
from asepsis.edge.gateway.imaging.requestor import Remote
from asepsis.edge.gateway.imaging.settings import ArchiveEntry
from asepsis.edge.gateway.imaging.wado import RetrieveConnection
from asepsis.edge.gateway.imaging.without_patient import Protect
from asepsis.edge.gateway.program import be_helper, run_program, say_ready
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.confine import Confinement, Limits, confine
from asepsis.edge.sandbox.seccomp import SyscallClass
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import Dial, Endpoint
from asepsis.edge.uplink.folder import IdentityFolder

ANSWER_S: Final = 30.0
BACKOFF_CAP_S: Final = 5.0
CONNECT_S: Final = 10.0
MEMORY_MIB: Final = 1_024
FILES: Final = 256
FILE_MIB: Final = 16
_PRELOADED: Final = (encodings.idna,)


def check(settings: Settings) -> Sequence[ArchiveEntry]:
    """Return what is to be delivered.

    Raises:
        ConfigError: Nothing, one destination twice, clear text outside the device segments, a
            certificate without its key, or a destination without patients that is asked about them.
    """
    entries = [entry for entry in settings.archives if entry.destination]
    names = [entry.destination for entry in entries]
    if not names or len(set(names)) != len(names):
        raise ConfigError("[[archives]] names each destination once, and at least one")
    check_places(entries, settings)
    for entry in entries:
        without_patient.check(entry)
    return entries


def check_places(entries: Sequence[ArchiveEntry], settings: Settings) -> None:
    """Check how archives and worklists are reached.

    Raises:
        ConfigError: Clear text outside the device segments, or a certificate without its key.
    """
    segments = [ipaddress.ip_network(text) for text in settings.device_segments]
    for entry in entries:
        if bool(entry.chain_file) != bool(entry.key_file):
            raise ConfigError(f"{entry.host}: chain_file and key_file belong together")
        if entry.ca_file:
            continue
        try:
            address = ipaddress.ip_address(entry.host)
        except ValueError as error:
            raise ConfigError(f"{entry.host}: clear text needs an address") from error
        if not entry.cleartext or not any(address in segment for segment in segments):
            raise ConfigError(
                f"{entry.host}: no TLS",
                hint="name ca_file, or cleartext = true for an address in device_segments",
            )


def start(settings: Settings) -> None:
    """Run the family, confined.

    Raises:
        ConfigError: An operator's mistake.
        Unavailable: The other process has ended.
    """
    entries = check(settings)
    lanes = [entry for entry in entries for _ in range(entry.associations)]
    pairs = [socket.socketpair() for _ in lanes]
    if not os.fork():
        for own, _ in pairs:
            own.close()
        be_helper(lambda: _run_sender(settings, lanes, [far for _, far in pairs]))
    for _, far in pairs:
        far.close()
    folder = IdentityFolder(Path(settings.data) / "identity")
    _, hospital, _ = folder.load()
    dial = confinement.fork_broker(hospital, connections=len(lanes) + len(entries))
    way = HubWay(settings, folder, dial, name="archives", renews=renews(settings, "archives"))
    findings = Findings(time.monotonic_ns)
    ready = Path(settings.data) / "run" / "archives.json"
    say_ready(ready, {"pid": os.getpid(), "lanes": len(lanes)})
    confinement.preload()
    confine(order(readable=(folder.path,), writable=(folder.path,)))
    ends = [own for own, _ in pairs]
    with contextlib.closing(way):
        way.start()
        _serve(entries, lanes, ends, way, findings)


def _serve(
    entries: Sequence[ArchiveEntry],
    lanes: Sequence[ArchiveEntry],
    ends: Sequence[socket.socket],
    way: HubWay,
    findings: Findings,
) -> None:
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: told.set())
    destinations = {
        entry.destination: Destination(
            entry.destination,
            connect=lambda: way.connect(RetrieveConnection, answer_s=ANSWER_S),
            backoff=_backoff,
            tries=entry.tries,
            findings=findings,
        )
        for entry in entries
    }
    work = [destination.fetch_forever for destination in destinations.values()]
    work += [
        Lane(destinations[entry.destination], end).run
        for entry, end in zip(lanes, ends, strict=True)
    ]
    for task in work:
        threading.Thread(target=task, name="archives", daemon=True).start()
    while not told.wait(0.1):
        if any(destination.lost.is_set() for destination in destinations.values()):
            raise fetcher.gone()
    for destination in destinations.values():
        destination.ended.set()


def order(
    *,
    readable: tuple[Path, ...] = (),
    writable: tuple[Path, ...] = (),
    listening: bool = False,
    memory_mib: int = MEMORY_MIB,
) -> Confinement:
    """Return what a process of the family takes away from itself."""
    code = bubblewrap.code()
    return Confinement(
        layers=confinement.holding(),
        kind=SyscallClass.LISTENING if listening else SyscallClass.NETWORK,
        readable=(*code.libraries, code.package, *readable),
        writable=writable,
        limits=Limits(memory_mib=memory_mib, files=FILES, file_mib=FILE_MIB),
    )


def _run_sender(
    settings: Settings, lanes: Sequence[ArchiveEntry], ends: Sequence[socket.socket]
) -> None:
    """Be the half that speaks DICOM."""
    _, hospital, _ = IdentityFolder(Path(settings.data) / "identity").load()
    places = list(dict.fromkeys(Endpoint(entry.host, entry.port) for entry in lanes))
    dial = confinement.fork_broker(hospital, connections=len(lanes), peers=places)
    remotes = [remote(entry, dial) for entry in lanes]
    protections = [without_patient.protection(entry) for entry in lanes]
    loop = asyncio.new_event_loop()  # It makes a pair of sockets, forbidden after this.
    confinement.preload()
    changing = sum(protect is not None for protect in protections)
    confine(order(memory_mib=MEMORY_MIB + changing * without_patient.MEMORY_MIB))
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_send_all(remotes, protections, ends))


async def _send_all(
    remotes: Sequence[Remote],
    protections: Sequence[Protect | None],
    ends: Sequence[socket.socket],
) -> None:
    async def one(place: Remote, protect: Protect | None, end: socket.socket) -> None:
        end.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=end, limit=FRAME_BYTES_MAX)
        await DimseSender(reader, writer, place, protect=protect).run()

    lanes = zip(remotes, protections, ends, strict=True)
    await asyncio.gather(*(one(*lane) for lane in lanes))


def remote(entry: ArchiveEntry, dial: Dial) -> Remote:
    """Return how an archive is reached.

    Raises:
        ConfigError: A certificate does not load.
    """
    place = Endpoint(entry.host, entry.port)
    return Remote(
        host=entry.host,
        port=entry.port,
        called=entry.called,
        calling=entry.calling,
        tls=user_context(entry),
        server_name=entry.server_name,
        answer_s=entry.answer_s,
        dial=lambda: dial(place, CONNECT_S),
    )


def _backoff() -> Backoff:
    return Backoff(rng=random.Random(), cap_s=BACKOFF_CAP_S)  # noqa: S311 - jitter


def main(arguments: list[str]) -> int:
    """Run the archives family of one settings file; return the exit code."""
    return run_program("asepsis.edge.gateway.imaging.archives_app", arguments, start)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
