"""The questions family: `python -m asepsis.edge.gateway.imaging.questions_app <gateway.toml>`.

It answers what modalities behind other gateways ask of the archives and worklists on this
gateway's segment. Two processes: this one holds the gateway's key and speaks with the hub alone;
the other speaks DICOM, through a broker that knows only what is declared, and holds nothing. Ends
on SIGTERM; exits with 5 for an operator's mistake.
"""

import asyncio
import contextlib
import encodings.idna
import ipaddress
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.core.wire.relay import ENTRY_MARK
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.families import renews
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.hub_way import HubWay
from asepsis.edge.gateway.imaging import datasets, hearing, without_patient
from asepsis.edge.gateway.imaging.answering import FRAME_BYTES_MAX, Lane
from asepsis.edge.gateway.imaging.archive_commitment import ArchiveCommitments
from asepsis.edge.gateway.imaging.archives_app import check_places, order, remote
from asepsis.edge.gateway.imaging.arriving import Moves
from asepsis.edge.gateway.imaging.bcp195 import provider_context
from asepsis.edge.gateway.imaging.hearing import Ear, EarServer
from asepsis.edge.gateway.imaging.inquirer import Inquirer
from asepsis.edge.gateway.imaging.relay_connection import RelayConnection
from asepsis.edge.gateway.imaging.requestor import Remote
from asepsis.edge.gateway.imaging.settings import ArchiveEntry, ImagingTls
from asepsis.edge.gateway.program import be_helper, run_program
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.sandbox.confine import confine
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import IdentityFolder

ANSWER_S: Final = 30.0
BACKOFF_CAP_S: Final = 5.0
_PRELOADED: Final = (encodings.idna,)


@dataclass(frozen=True, slots=True)
class Answerer:
    """One lane: an archive or worklist under one of its names.

    Attributes:
        archive: Its name in questions.
        entry: How it is reached.
    """

    archive: str
    entry: ArchiveEntry


def check(settings: Settings, gateway: str) -> Sequence[Answerer]:
    """Return what is to be answered.

    Args:
        settings: Of the gateway.
        gateway: Its own name, which its worklists are known by.

    Raises:
        ConfigError: Nothing, one name twice, an archive without a destination, or clear text
            outside the device segments.
    """
    found: list[Answerer] = []
    for entry in settings.archives:
        if (entry.queries or entry.commits) and not entry.destination:
            raise ConfigError(f"{entry.host}: it is asked as a destination; name it")
        _check_reports(entry, settings)
        without_patient.check(entry)
        if entry.queries or entry.commits:
            found.append(Answerer(entry.destination, entry))
        if entry.worklist:
            found.append(Answerer(f"{gateway}{ENTRY_MARK}{entry.worklist}", entry))
    names = [each.archive for each in found]
    if not found or len(set(names)) != len(names):
        raise ConfigError("[[archives]] gives each name that is asked once, and at least one")
    check_places([each.entry for each in found], settings)
    return found


def _check_reports(entry: ArchiveEntry, settings: Settings) -> None:
    """Check where an archive reports and stores to.

    Raises:
        ConfigError: Clear text outside the device segments, or nothing to tell the archive by.
    """
    if entry.retrieves == "move" and not entry.reports_port:
        raise ConfigError(
            f"{entry.host}: an archive that moves needs a place to store to",
            hint="reports_host and reports_port, which it knows by the title in `calling`",
        )
    if not entry.reports_port:
        return
    segments = [ipaddress.ip_network(text) for text in settings.device_segments]
    try:
        ours, theirs = ipaddress.ip_address(entry.reports_host), ipaddress.ip_address(entry.host)
    except ValueError as error:
        raise ConfigError(
            f"{entry.host}: reports need host and reports_host as addresses"
        ) from error
    if entry.ca_file and not entry.chain_file:
        raise ConfigError(f"{entry.host}: reports over TLS need chain_file and key_file")
    clear = not entry.ca_file
    if clear and not all(any(each in one for one in segments) for each in (ours, theirs)):
        raise ConfigError(f"{entry.host}: reports would cross clear text outside device_segments")


def _ear(entry: ArchiveEntry) -> Ear | None:
    """Return where an archive reports and stores to, bound; None where it needs no such place.

    Raises:
        ConfigError: A certificate does not load.
        Unavailable: The address cannot be had.
    """
    moves = entry.queries and entry.retrieves == "move"
    if not ((entry.commits or moves) and entry.reports_port):
        return None
    context = None
    if entry.ca_file:
        files = ImagingTls(
            chain_file=entry.chain_file, key_file=entry.key_file, client_ca_file=entry.ca_file
        )
        context = provider_context(files)
    return Ear(
        socket=hearing.bind(entry.reports_host, entry.reports_port),
        context=context,
        address=str(ipaddress.ip_address(entry.host)),
        calling=entry.called,
        called=entry.calling,
        answer_s=entry.answer_s,
    )


def start(settings: Settings) -> None:
    """Run the family, confined.

    Raises:
        ConfigError: An operator's mistake.
        Unavailable: The other process has ended.
    """
    folder = IdentityFolder(Path(settings.data) / "identity")
    name, hospital, _ = folder.load()
    lanes = [each for each in check(settings, name) for _ in range(each.entry.associations)]
    pairs = [socket.socketpair() for _ in lanes]
    if not os.fork():
        for own, _ in pairs:
            own.close()
        be_helper(lambda: _run_inquirers(lanes, [far for _, far in pairs]))
    for _, far in pairs:
        far.close()
    dial = confinement.fork_broker(hospital, connections=len(lanes))
    way = HubWay(settings, folder, dial, name="questions", renews=renews(settings, "questions"))
    run = Path(settings.data) / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    ready = {"pid": os.getpid(), "answers": [each.archive for each in lanes]}
    (run / "questions.json").write_text(json.dumps(ready))
    confinement.preload()
    confine(order(readable=(folder.path,), writable=(folder.path,)))
    findings = Findings(time.monotonic_ns)
    with contextlib.closing(way):
        way.start()
        _serve(lanes, [own for own, _ in pairs], way, findings)


def _serve(
    lanes: Sequence[Answerer], ends: Sequence[socket.socket], way: HubWay, findings: Findings
) -> None:
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: told.set())
    work = [
        Lane(
            each.archive,
            end,
            connect=lambda: way.connect(RelayConnection, answer_s=ANSWER_S),
            backoff=Backoff(rng=random.Random(), cap_s=BACKOFF_CAP_S),  # noqa: S311 - jitter
            findings=findings,
        )
        for each, end in zip(lanes, ends, strict=True)
    ]
    for lane in work:
        threading.Thread(target=lane.run, name="questions", daemon=True).start()
    while not told.wait(0.1):
        if any(lane.lost.is_set() for lane in work):
            raise Unavailable("the process that speaks DICOM has ended")
    for lane in work:
        lane.ended.set()


def _run_inquirers(lanes: Sequence[Answerer], ends: Sequence[socket.socket]) -> None:
    """Be the half that speaks DICOM."""
    entries = [each.entry for each in lanes]
    places = list(dict.fromkeys(Endpoint(entry.host, entry.port) for entry in entries))
    dial = confinement.fork_broker(None, connections=len(lanes), peers=places)
    remotes = [remote(entry, dial) for entry in entries]
    own = {each.archive: each.entry for each in lanes if each.archive == each.entry.destination}
    ears = {archive: _ear(entry) for archive, entry in own.items()}
    loop = asyncio.new_event_loop()  # It makes a pair of sockets, forbidden after this.
    datasets.preload()
    confinement.preload()
    confine(order(listening=any(ears.values())))
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_inquire(lanes, remotes, ends, ears))


async def _inquire(
    lanes: Sequence[Answerer],
    remotes: Sequence[Remote],
    ends: Sequence[socket.socket],
    ears: Mapping[str, Ear | None],
) -> None:
    committing: dict[str, ArchiveCommitments] = {}
    moving: dict[str, Moves] = {}
    for each, place in zip(lanes, remotes, strict=True):
        if each.archive != each.entry.destination:
            continue
        if each.entry.commits:
            committing.setdefault(each.archive, ArchiveCommitments(place))
        if each.entry.queries and each.entry.retrieves == "move":
            moving.setdefault(each.archive, Moves())
    for archive in dict.fromkeys((*committing, *moving)):
        ear, commitments = ears[archive], committing.get(archive)
        if ear is not None:
            hear = None if commitments is None else commitments.hear
            await EarServer(ear, hear, moving.get(archive)).open()

    async def one(each: Answerer, place: Remote, end: socket.socket) -> None:
        end.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=end, limit=FRAME_BYTES_MAX)
        inquirer = Inquirer(
            reader,
            writer,
            place,
            matches_max=each.entry.matches_max,
            queries=each.entry.queries or bool(each.entry.worklist),
            commitments=committing.get(each.archive),
            moves=moving.get(each.archive),
        )
        await inquirer.run()

    await asyncio.gather(*(one(*each) for each in zip(lanes, remotes, ends, strict=True)))


def main(arguments: list[str]) -> int:
    """Run the questions family of one settings file; return the exit code."""
    return run_program("asepsis.edge.gateway.imaging.questions_app", arguments, start)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
