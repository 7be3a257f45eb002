"""Takes from the gateway what an attacker would want of it: new connections, programs, other files.

The gateway reads what strangers write, so it runs confined: a small process that was forked before
any secret was read connects to the hub for it, and only there; the gateway itself keeps the sockets
that it listens on, its own folder and its code.

Source: landlock(7), seccomp(2); docs/reference/gateway.md says what holds where.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Final

from asepsis.core.errors import NotPermitted
from asepsis.edge.gateway.pair import places
from asepsis.edge.gateway.settings import MIB, Settings
from asepsis.edge.sandbox import bubblewrap, landlock, seccomp
from asepsis.edge.sandbox.broker import Address, Broker, BrokerClient
from asepsis.edge.sandbox.confine import Confinement, Limits
from asepsis.edge.sandbox.layers import Layer, Layers, detect
from asepsis.edge.sandbox.seccomp import SyscallClass
from asepsis.edge.uplink.connection import Dial, Endpoint
from asepsis.edge.uplink.folder import Hospital

USED: Final = (Layer.LANDLOCK, Layer.SECCOMP, Layer.NO_NEW_PRIVILEGES, Layer.LIMITS)
"""What a gateway uses of the layers of `asepsis.edge.sandbox`, where they hold."""
SPARE_CHANNELS: Final = 2
"""Beside the kept connections: one for the caretaker, one to spare."""
MEMORY_MIB: Final = 4_096
FILES: Final = 8_192
WATCH_S: Final = 0.25
_FILE_SPARE_MIB: Final = 1_024


def report() -> Layers:
    """Try on this machine every layer that a gateway uses; nothing is changed."""
    return Layers(tuple(found for found in detect().findings if found.layer in USED))


def holding() -> frozenset[Layer]:
    """Return the layers that hold here."""
    found = {Layer.NO_NEW_PRIVILEGES, Layer.LIMITS}
    if landlock.abi():
        found.add(Layer.LANDLOCK)
    if seccomp.available():
        found.add(Layer.SECCOMP)
    return frozenset(found)


def confinement(settings: Settings) -> Confinement:
    """Return what the gateway takes away from itself.

    Args:
        settings: Its settings.
    """
    code = bubblewrap.code()
    hard_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    hard_files = FILES if hard_files == resource.RLIM_INFINITY else hard_files
    spool_mib = (settings.spool.bytes_max + settings.spool.refused_bytes_max) // MIB
    return Confinement(
        layers=holding(),
        kind=SyscallClass.LISTENING,
        readable=(*code.libraries, code.package),
        writable=(Path(settings.data),),
        limits=Limits(
            memory_mib=MEMORY_MIB,
            files=min(FILES, hard_files),
            file_mib=2 * spool_mib + _FILE_SPARE_MIB,
        ),
    )


class Role(Enum):
    """A process of the HL7 family."""

    FRONT = "front"
    """Listens, parses, answers: reads what strangers write."""
    KEEPER = "keeper"
    """Has the spool, its key, and the memory of what was taken."""
    UPLINK = "uplink"
    """Has the gateway's key and the connections to the hub."""


def of_role(settings: Settings, role: Role) -> Confinement:
    """Return what a process of the HL7 family takes away from itself.

    Args:
        settings: Of the gateway.
        role: Which process.
    """
    data = Path(settings.data)
    writable = {
        Role.FRONT: (),
        Role.KEEPER: (data / "spool", data / "run"),
        Role.UPLINK: (data / "identity",),
    }
    listening = role is Role.FRONT
    order = confinement(settings)
    readable = order.readable
    if role is Role.KEEPER and settings.pair is not None:
        readable = (*readable, places.folder(data))  # What came again stands on the list there.
    return replace(
        order,
        kind=SyscallClass.LISTENING if listening else SyscallClass.NETWORK,
        writable=writable[role],
        readable=readable,
    )


def preload() -> None:
    """Load what the C library would load when a thread ends: nothing can be loaded later."""
    with contextlib.suppress(OSError):  # A C library without it does not need it.
        ctypes.CDLL("libgcc_s.so.1")


def fork_broker(
    hospital: Hospital | None, *, connections: int, peers: Sequence[Endpoint] = ()
) -> Dial:
    """Start the process that connects to the hub for this one; call before secrets and threads.

    It ends with this process. If it ends before, this process gets SIGCHLD.

    Args:
        hospital: The two places of the hub that it connects to; None where it never does.
        connections: Connections that are kept.
        peers: The only other places: what a person declared in the settings.
    """
    places = () if hospital is None else (hospital.clinical, hospital.enrolment)
    endpoints = (*places, *peers)
    addresses = [Address(endpoint.host, endpoint.port) for endpoint in endpoints]
    broker = Broker(addresses, channels=connections + SPARE_CHANNELS)
    parent = os.getpid()
    if not os.fork():
        _serve(broker, parent)
    client = BrokerClient(broker.hand_over())

    def dial(endpoint: Endpoint, timeout_s: float) -> socket.socket:
        if endpoint not in endpoints:
            raise NotPermitted(f"{endpoint.host} is no declared place")
        return client.dial(endpoints.index(endpoint), timeout_s=timeout_s)

    return dial


class BrokerProcess:
    """The broker of a family whose processes are all forked from one that does nothing.

    Args:
        hospital: The only two places of the hub that it connects to.
        connections: Connections that are kept.
        peers: The only other places: the other gateway of a pair.
    """

    def __init__(
        self, hospital: Hospital, *, connections: int, peers: Sequence[Endpoint] = ()
    ) -> None:
        self._endpoints = (hospital.clinical, hospital.enrolment, *peers)
        addresses = [Address(endpoint.host, endpoint.port) for endpoint in self._endpoints]
        self._broker = Broker(addresses, channels=connections + SPARE_CHANNELS)

    def serve(self) -> None:
        """Connect for the uplink until the family ends; in the broker's own process."""
        _serve(self._broker, os.getppid())

    def dial(self) -> Dial:
        """Return how to ask for connections; in the uplink's process, once."""
        client = BrokerClient(self._broker.hand_over())

        def dial(endpoint: Endpoint, timeout_s: float) -> socket.socket:
            return client.dial(self._endpoints.index(endpoint), timeout_s=timeout_s)

        return dial

    def close(self) -> None:
        """Let go of both ends; in every other process."""
        for descriptor in self._broker.hand_over():
            os.close(descriptor)


def _serve(broker: Broker, parent: int) -> None:
    """Connect for the gateway until it ends."""
    # A terminal tells both; the gateway still has to say good-bye to the hub.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    broker.start()
    # A signal at the gateway's death would be sent by the gateway, whose Landlock forbids it.
    # A wait of a length: `time.sleep` waits until a moment, which fails under a shifted clock.
    while os.getppid() == parent:
        select.select([], [], [], WATCH_S)
    os._exit(0)
