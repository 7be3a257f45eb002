"""The DICOM family as processes: `python -m asepsis.edge.gateway.imaging.app <gateway.toml>`.

Three, forked from one, none of which can do what the others can. The parser (this one) reads what
strangers write; it holds neither the hub's key nor any other secret of the gateway but the key of
its own TLS listeners, and can open no file. The keeper has the spool and the hub's key, and reads
nothing of strangers but sealed files. The prover, where users are asked to prove themselves, has
the keys for that and no network. Ends on SIGTERM; exits with 5 for an operator's mistake.
"""

import asyncio
import contextlib
import encodings.idna
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.core.wire.relay import CONTEXTS_MAX
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.families import EXIT_CONFIG
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.imaging import asking as asking_process
from asepsis.edge.gateway.imaging import (
    channel,
    datasets,
    identity_process,
    keeper_process,
    policy_reading,
    services,
)
from asepsis.edge.gateway.imaging.asker import Asker
from asepsis.edge.gateway.imaging.bcp195 import user_context
from asepsis.edge.gateway.imaging.deposit import Deposit
from asepsis.edge.gateway.imaging.keeper_process import imaging_of
from asepsis.edge.gateway.imaging.movement import MoveDestination
from asepsis.edge.gateway.imaging.operations import Inquiry
from asepsis.edge.gateway.imaging.policy import Door
from asepsis.edge.gateway.imaging.prover import RemoteProver
from asepsis.edge.gateway.imaging.provider import Port, Provider, bind
from asepsis.edge.gateway.imaging.requestor import Remote
from asepsis.edge.gateway.imaging.settings import ImagingSettings
from asepsis.edge.gateway.program import be_helper, run_program, say_ready
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.confine import Confinement, Limits, confine
from asepsis.edge.sandbox.seccomp import SyscallClass
from asepsis.edge.uplink.connection import Endpoint

CONNECT_S: Final = 10.0
MEMORY_MIB: Final = 2_048
FILES: Final = 4_096
STOP_S: Final = 7.0
"""Longest wait for the keeper to finish what is in flight, seconds."""
_PRELOADED: Final = (encodings.idna,)


@dataclass(frozen=True, slots=True)
class Asking:
    """What archives and worklists are asked with.

    Attributes:
        slots: Conversations with the process that asks the hub; empty where no peer may ask.
        destinations: AE title -> where images of a C-MOVE may go.
        answer_s: Longest silence of an archive, seconds.
        wait_s: Longest wait for the answer to a step, seconds.
    """

    slots: list[socket.socket]
    destinations: Mapping[str, MoveDestination]
    answer_s: float
    wait_s: float


async def serve(
    ports: list[Port],
    keeper: socket.socket,
    prover: socket.socket | None,
    findings: Findings,
    asking: Asking,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        Unavailable: Another process of the family has ended.
    """
    told, lost = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    deposit = Deposit(keeper, lost=lost)
    deposit.listen()
    judge = RemoteProver(prover, lost=lost)
    judge.listen()
    asker = Asker(asking.slots, lost=lost) if asking.slots else None
    if asker is not None:
        await asker.open()
    inquiry = Inquiry(
        asker=asker,
        destinations=asking.destinations,
        answer_s=asking.answer_s,
        wait_s=asking.wait_s,
    )
    providers = [
        Provider(port, deposit=deposit, prover=judge, findings=findings, inquiry=inquiry)
        for port in ports
    ]
    for provider in providers:
        await provider.open()
    waiting = [asyncio.ensure_future(event.wait()) for event in (told, lost)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for waiter in waiting:
        waiter.cancel()
    for provider in providers:
        await provider.close()
    if lost.is_set():
        raise Unavailable("another process of the imaging family has ended")


def start(settings: Settings) -> None:
    """Run the family, confined.

    Raises:
        ConfigError: An operator's mistake.
        Unavailable: An address cannot be had, or another process of the family has ended.
    """
    imaging = imaging_of(settings)
    doors = policy_reading.doors(imaging, segments=settings.device_segments)
    policy_reading.check_destinations(imaging, segments=settings.device_segments)
    ours, theirs = channel.pair()
    keeper = _fork(lambda: keeper_process.serve(settings, theirs), close=[ours])
    theirs.close()
    judge: socket.socket | None = None
    if any(peer.forms for door in doors for peer in door.peers):
        judge, other = channel.pair()
        child = _fork(
            lambda: identity_process.serve(
                imaging.identity, other, folder=Path(settings.data) / "run" / "imaging-users"
            ),
            close=[ours, judge],
        )
        other.close()
        _await(child, judge)
    _await(keeper, ours)
    asking = _begin_asking(settings, doors, close=[ours, *([judge] if judge is not None else [])])
    ports = [bind(door) for door in doors]
    findings = Findings(time.monotonic_ns)
    loop = asyncio.new_event_loop()  # It makes a pair of sockets, which is forbidden after this.
    limits = order()
    _say_ready(Path(settings.data), ports, limits)
    confinement.preload()
    confine(limits)
    gc.set_threshold(20_000, 50, 100)
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve(ports, ours, judge, findings, asking))
    finally:
        _let_finish(ours)


def _begin_asking(
    settings: Settings, doors: Sequence[Door], *, close: list[socket.socket]
) -> Asking:
    """Start what asks archives and worklists, if a peer may ask at all.

    Raises:
        ConfigError: It cannot run with these settings.
        Unavailable: It ended for another reason.
    """
    imaging = imaging_of(settings)
    if not any(peer.asks for door in doors for peer in door.peers):
        return Asking([], {}, imaging.answer_s, imaging.wait_s)
    datasets.preload()
    pairs = [socket.socketpair() for _ in range(imaging.questions)]
    slots, others = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    ready, theirs = channel.pair()
    child = _fork(
        lambda: asking_process.serve(settings, others, theirs),
        close=[*close, ready, *slots],
    )
    for other in (*others, theirs):
        other.close()
    _await(child, ready)
    ready.close()
    return Asking(slots, _destinations(imaging), imaging.answer_s, imaging.wait_s)


def _destinations(imaging: ImagingSettings) -> dict[str, MoveDestination]:
    """Return where images of a C-MOVE may go; a broker that knows nothing else connects there."""
    entries = imaging.destinations
    if not entries:
        return {}
    places = [Endpoint(entry.host, entry.port) for entry in entries]
    dial = confinement.fork_broker(None, connections=len(entries), peers=places)
    found: dict[str, MoveDestination] = {}
    for entry, place in zip(entries, places, strict=True):
        classes = entry.sop_classes or services.COMMON_STORAGE
        pairs = [(uid, syntax) for syntax in entry.transfer_syntaxes for uid in classes]
        remote = Remote(
            host=entry.host,
            port=entry.port,
            called=entry.title,
            calling=entry.calling,
            tls=user_context(entry),
            server_name=entry.server_name,
            answer_s=entry.answer_s,
            dial=lambda place=place: dial(place, CONNECT_S),
        )
        found[entry.title] = MoveDestination(remote, tuple(pairs[:CONTEXTS_MAX]))
    return found


def order() -> Confinement:
    """Return what the parser takes away from itself: every file, and every new connection."""
    code = bubblewrap.code()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return Confinement(
        layers=confinement.holding(),
        kind=SyscallClass.LISTENING,
        readable=(*code.libraries, code.package),
        limits=Limits(
            memory_mib=MEMORY_MIB,
            files=FILES if hard == resource.RLIM_INFINITY else min(FILES, hard),
            file_mib=1 << 40 >> 20,
        ),
    )


def _fork(work: Callable[[], None], *, close: list[socket.socket]) -> int:
    """Run a function in a child process that has only its own end of a conversation."""
    child = os.fork()
    if not child:
        for other in close:
            other.close()
        be_helper(work)
    return child


def _await(child: int, end: socket.socket) -> None:
    """Wait until a child has opened what it needs and confined itself.

    Raises:
        ConfigError: It cannot run with these settings.
        Unavailable: It ended for another reason.
    """
    if end.recv(len(channel.READY)):
        return
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == EXIT_CONFIG:
        raise ConfigError("a process of the imaging family cannot run with these settings")
    raise Unavailable("a process of the imaging family has ended")


def _let_finish(keeper: socket.socket) -> None:
    """Wait for what is in flight; the spool is safe whatever happens."""
    keeper.settimeout(STOP_S)
    with contextlib.suppress(OSError):
        keeper.shutdown(socket.SHUT_WR)
        while keeper.recv(channel.PACKET_BYTES_MAX):
            continue
    keeper.close()


def _say_ready(data: Path, ports: list[Port], limits: Confinement) -> None:
    document = {
        "pid": os.getpid(),
        "listeners": {
            port.door.listener.name: {
                "host": port.door.listener.host,
                "port": port.socket.getsockname()[1],
            }
            for port in ports
        },
        "layers": sorted(layer.value for layer in limits.layers),
    }
    say_ready(data / "run" / "imaging.json", document)


def main(arguments: list[str]) -> int:
    """Run the DICOM family of one settings file; return the exit code."""
    return run_program("asepsis.edge.gateway.imaging.app", arguments, start)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
