"""The keeper as a process of its own: opens spool and identity, confines itself, serves the parser.

Source: docs/reference/imaging-gateway.md says what it may do and what holds where.
"""

import contextlib
import encodings.idna
import random
import secrets
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.core.trust import tls
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.imaging import channel
from asepsis.edge.gateway.imaging.keeper import Keeper
from asepsis.edge.gateway.imaging.settings import ImagingSettings
from asepsis.edge.gateway.imaging.stow import StowConnection
from asepsis.edge.gateway.imaging.vault import Vault
from asepsis.edge.gateway.recall import open_kek
from asepsis.edge.gateway.settings import MIB, Settings
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.confine import Confinement, Limits, confine
from asepsis.edge.sandbox.seccomp import SyscallClass
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.caretaker import Caretaker
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.edge.uplink.connection import Dial
from asepsis.edge.uplink.folder import IdentityFolder

BUILD_NS: Final = 1_767_225_600 * 10**9
"""2026-01-01: no signed time can be older than the software."""
BACKOFF_CAP_S: Final = 5.0
MEMORY_MIB: Final = 2_048
FILES: Final = 256
_PRELOADED: Final = (encodings.idna,)


class _Timekeeper(Caretaker):
    """Only asks for signed time: the HL7 family of this gateway renews the certificate."""

    def _renewal_due(self, name: str) -> bool:  # noqa: ARG002 - whatever its name
        return False


def imaging_of(settings: Settings) -> ImagingSettings:
    """Return the section.

    Raises:
        ConfigError: There is none.
    """
    if settings.imaging is None:
        raise ConfigError("the settings have no section [imaging]")
    return settings.imaging


def serve(settings: Settings, parser: socket.socket) -> None:
    """Keep spool and key for the parser until it is gone; call in a process of its own.

    Raises:
        ConfigError: An operator's mistake.
        NotFound: The gateway is not enrolled.
        FramingError: The parser says what it may not.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # It ends when the parser does.
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    imaging = imaging_of(settings)
    folder = IdentityFolder(Path(settings.data) / "identity")
    _, hospital, _ = folder.load()
    dial = confinement.fork_broker(hospital, connections=imaging.connections)
    images = Path(settings.data) / "spool" / "images"
    images.mkdir(mode=0o700, parents=True, exist_ok=True)
    kek = open_kek(settings.sealing, folder=images)
    vault = Vault(images, kek, bytes_max=imaging.spool_bytes_max, wall=time.time_ns)
    hub = _Hub(settings, folder, dial)
    rng = random.Random()  # noqa: S311 - jitter
    keeper = Keeper(
        parser,
        vault,
        connect=hub.connection,
        backoff=lambda: Backoff(rng=rng, cap_s=BACKOFF_CAP_S),
        connections=imaging.connections,
        wait_s=imaging.wait_s,
        findings=Findings(time.monotonic_ns),
    )
    confinement.preload()
    confine(order(images, folder.path, bytes_max=imaging.spool_bytes_max))
    parser.send(channel.READY)
    hub.start()
    with contextlib.closing(hub):
        keeper.run()


def order(images: Path, identity: Path, *, bytes_max: int) -> Confinement:
    """Return what the keeper takes away from itself: it connects nowhere and opens little."""
    code = bubblewrap.code()
    return Confinement(
        layers=confinement.holding(),
        kind=SyscallClass.NETWORK,
        readable=(*code.libraries, code.package),
        writable=(images, identity),
        limits=Limits(memory_mib=MEMORY_MIB, files=FILES, file_mib=bytes_max // MIB + 1),
    )


class _Hub:
    """The connections to the hub, and the time that judges them."""

    def __init__(self, settings: Settings, folder: IdentityFolder, dial: Dial) -> None:
        self._folder = folder
        self._dial = dial
        name, self._hospital, self._root_der = folder.load()
        self._answer_s = imaging_of(settings).answer_s
        self._caretaker: Caretaker | None = None
        self._clock: TrustedClock | None = None
        if settings.hub.clock == "system":
            return
        self._clock = TrustedClock(
            folder.path / "time-imaging.json",
            boot_id=secrets.token_bytes(16),
            monotonic=time.monotonic_ns,
            build_ns=BUILD_NS,
        )
        kind = _Timekeeper if settings.listeners else Caretaker
        self._caretaker = kind(
            folder,
            name=name,
            hospital=self._hospital,
            root_der=self._root_der,
            clock=self._clock,
            monotonic=time.monotonic_ns,
            backoff=Backoff(rng=random.Random()),  # noqa: S311 - jitter
            on_renewed=lambda: None,  # Every connection asks the folder anew.
            dial=dial,
        )

    def start(self) -> None:
        if self._caretaker is not None:
            self._caretaker.start()

    def close(self) -> None:
        if self._caretaker is not None:
            self._caretaker.close()

    def connection(self) -> StowConnection:
        """Return a connection with the certificates of now."""
        identity, clock = self._folder.identity, self._clock
        if clock is None:
            context = tls.client_context(root_der=self._root_der, identity=identity)
            now_ns = None
        else:
            context = tls.client_context_without_time_check(
                root_der=self._root_der, identity=identity
            )
            now_ns = _trusted(clock)
        return StowConnection(
            self._hospital.clinical,
            context,
            now_ns=now_ns,
            timeout_s=self._answer_s,
            dial=self._dial,
        )


def _trusted(clock: TrustedClock) -> Callable[[], int]:
    def now_ns() -> int:
        if not clock.synchronised:
            raise Unavailable("no trusted time yet")
        return clock.now_ns()

    return now_ns
