"""The keeper as a process of its own: opens spool and identity, confines itself, serves the parser.

Source: docs/reference/imaging-gateway.md says what it may do and what holds where.
"""

import contextlib
import encodings.idna
import random
import signal
import socket
import time
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, FramingError
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.evidence import EvidenceReporter
from asepsis.edge.gateway.families import renews
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.hub_way import HubWay
from asepsis.edge.gateway.imaging import channel
from asepsis.edge.gateway.imaging.channel import Seen
from asepsis.edge.gateway.imaging.keeper import Keeper
from asepsis.edge.gateway.imaging.settings import ImagingSettings
from asepsis.edge.gateway.imaging.stow import StowConnection
from asepsis.edge.gateway.imaging.vault import Vault
from asepsis.edge.gateway.kek import open_kek
from asepsis.edge.gateway.settings import MIB, Settings
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.confine import Confinement, Limits, confine
from asepsis.edge.sandbox.seccomp import SyscallClass
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import HubConnection
from asepsis.edge.uplink.folder import IdentityFolder

BACKOFF_CAP_S: Final = 5.0
EVIDENCE_S: Final = 10.0
"""Longest wait for the answer to a report of evidence, seconds."""
MEMORY_MIB: Final = 2_048
FILES: Final = 256
_PRELOADED: Final = (encodings.idna,)


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
    dial = confinement.fork_broker(hospital, connections=imaging.connections + 1)
    images = Path(settings.data) / "spool" / "images"
    images.mkdir(mode=0o700, parents=True, exist_ok=True)
    kek = open_kek(settings.sealing, folder=images)
    vault = Vault(images, kek, bytes_max=imaging.spool_bytes_max, wall=time.time_ns)
    way = HubWay(settings, folder, dial, name="imaging", renews=renews(settings, "imaging"))
    rng = random.Random()  # noqa: S311 - jitter
    findings = Findings(time.monotonic_ns)
    evidence = EvidenceReporter(
        lambda: way.connect(HubConnection, answer_s=EVIDENCE_S),
        backoff=Backoff(rng=rng, cap_s=BACKOFF_CAP_S),
        findings=findings,
    )
    keeper = Keeper(
        parser,
        vault,
        connect=lambda: way.connect(StowConnection, answer_s=imaging.answer_s),
        backoff=lambda: Backoff(rng=rng, cap_s=BACKOFF_CAP_S),
        connections=imaging.connections,
        wait_s=imaging.wait_s,
        findings=findings,
        seen=lambda seen: _report(imaging, seen, evidence),
    )
    confinement.preload()
    confine(order(images, folder.path, bytes_max=imaging.spool_bytes_max))
    parser.send(channel.READY)
    way.start()
    evidence.start()
    with contextlib.closing(way), contextlib.closing(evidence):
        keeper.run()


def _report(imaging: ImagingSettings, seen: Seen, evidence: EvidenceReporter) -> None:
    """Have the hub told what the network shows of a modality.

    Raises:
        FramingError: The parser saw a peer that the settings do not name.
    """
    peer = next((one for one in imaging.peers if one.name == seen.peer), None)
    if peer is None:
        raise FramingError("the parser saw a peer where there is none")
    listener = next(one for one in imaging.listeners if one.name == peer.listener)
    network = {
        "address": seen.address,
        "port": listener.port,
        "vlan": listener.vlan,
        "tls_key_sha256": seen.key,
    }
    evidence.note((peer.device,), network)


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
