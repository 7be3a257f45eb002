"""The attacks as a table: what each tries, and which layers stop it, each by itself.

From that follows what any set of layers must come to on any version of Landlock. A trial compares
what it measured with this; a difference is a finding, in either direction.

Source: landlock(7), "Landlock ABI versions"; design of the device, "which layer stops what".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from asepsis.core.model.syscall_class import SyscallClass
from asepsis.edge.sandbox.layer import Layer
from asepsis.tools.attack import payload_held, payload_system
from asepsis.tools.attack.payload import ABSENT, DENIED, SUCCEEDED

LANDLOCK_VERSIONS: Final = (2, 4, 6, 9)
"""Versions whose expected outcomes the report lists: Debian 12; TCP; signals; sockets by path."""


class Group(StrEnum):
    """What an attack is aimed at."""

    PROCESS = "another process"
    RING = "the ring"
    FILE = "files"
    KERNEL = "the kernel"
    CODE = "running other code"
    NETWORK = "the network"
    BROKER = "the connect broker"


class Vantage(StrEnum):
    """The compartment that the attacker holds."""

    NETWORK = "network"
    DISPLAY = "display"
    VERIFIER = "verifier"
    GATEWAY = "gateway parser"


CALLS: Final[Mapping[Vantage, SyscallClass]] = {
    Vantage.NETWORK: SyscallClass.NETWORK,
    Vantage.DISPLAY: SyscallClass.CORE,
    Vantage.VERIFIER: SyscallClass.CORE,
    Vantage.GATEWAY: SyscallClass.LISTENING,
}
WRAPPED: Final = frozenset({Vantage.NETWORK, Vantage.DISPLAY, Vantage.VERIFIER})
"""Vantages behind bubblewrap, and users of their own where the device runs as root."""
RINGED: Final = frozenset({Vantage.NETWORK, Vantage.DISPLAY})
BROKERED: Final = frozenset({Vantage.NETWORK})
EVERYWHERE: Final = frozenset(Vantage)
_OUTER: Final = frozenset({Layer.BUBBLEWRAP, Layer.USERS})
"""Layers that a gateway does not use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack.

    Attributes:
        name: Of its function in the payload.
        group: What it is aimed at.
        stops: Layers that stop it, each by itself.
        landlock: Version from which Landlock stops it; 0 for never.
        core: Whether the system call filter stops it only in a compartment that opens no file.
        root: Whether only root could do it anyway, on a machine without any layer.
        always: Whether it comes to nothing without any layer, by how the thing is made.
        why: Why then.
        held: Vantages that hold what it attacks.
    """

    name: str
    group: Group
    stops: frozenset[Layer] = field(default_factory=frozenset[Layer])
    landlock: int = 0
    core: bool = False
    root: bool = False
    always: bool = False
    why: str = ""
    held: frozenset[Vantage] = EVERYWHERE

    @property
    def title(self) -> str:
        """What it tries, in a sentence."""
        functions = payload_system.ATTACKS | payload_held.ATTACKS
        return (functions[self.name].__doc__ or "").strip().removesuffix(".")

    def stopped_by(self, vantage: Vantage, *, abi: int) -> frozenset[Layer]:
        """Return the layers each of which stops it there, on a version of Landlock."""
        found = set(self.stops)
        if self.core and CALLS[vantage] is SyscallClass.CORE:
            found.add(Layer.SECCOMP)
        if self.landlock and abi >= self.landlock:
            found.add(Layer.LANDLOCK)
        return frozenset(found if vantage in WRAPPED else found - _OUTER)


def expected(
    attack: Attack, *, vantage: Vantage, layers: frozenset[Layer], abi: int, as_root: bool
) -> str:
    """Return what an attack must come to: denied, SUCCEEDED, or absent.

    Args:
        attack: Which.
        vantage: From where.
        layers: Layers that are on.
        abi: Landlock's version.
        as_root: Whether the device was started as root.
    """
    if vantage not in attack.held:
        return ABSENT
    if (
        attack.always
        or (attack.root and not as_root)
        or attack.stopped_by(vantage, abi=abi) & layers
    ):
        return DENIED
    return SUCCEEDED


_B, _U, _S = Layer.BUBBLEWRAP, Layer.USERS, Layer.SECCOMP
_SEALED: Final = "the ring is sealed"


def _row(
    name: str,
    group: Group,
    *stops: Layer,
    landlock: int = 0,
    core: bool = False,
    root: bool = False,
) -> Attack:
    return Attack(
        name=name, group=group, stops=frozenset(stops), landlock=landlock, core=core, root=root
    )


def _held(name: str, why: str) -> Attack:
    return Attack(name=name, group=Group.RING, always=True, why=why, held=RINGED)


def _broker(
    name: str, *stops: Layer, landlock: int = 0, always: bool = False, why: str = ""
) -> Attack:
    return Attack(
        name=name,
        group=Group.BROKER,
        stops=frozenset(stops),
        landlock=landlock,
        always=always,
        why=why,
        held=BROKERED,
    )


ATTACKS: Final = (
    _row("trace", Group.PROCESS, _S, _B, _U, landlock=1),
    _row("read_memory", Group.PROCESS, _S, _B, _U, landlock=1),
    _row("write_memory", Group.PROCESS, _S, _B, _U, landlock=1),
    _row("open_memory", Group.PROCESS, _B, _U, landlock=1, core=True),
    _row("steal_descriptor", Group.PROCESS, _S, _B, _U, landlock=1),
    _row("signal", Group.PROCESS, _S, _B, _U, landlock=6),
    _row("signal_by_handle", Group.PROCESS, _S, _B, _U, landlock=6),
    _row("slow", Group.PROCESS, _S, _B, _U),
    _row("pin", Group.PROCESS, _S, _B, _U),
    _row("limit", Group.PROCESS, _S, _B, _U),
    _held("map_ring", _SEALED),
    _held("unlock_ring", _SEALED),
    _held("reopen_ring", _SEALED),
    _held("write_ring", _SEALED),
    _held("shorten_ring", _SEALED),
    _held("seal_ring", "the seals themselves are sealed"),
    _held("widen_ring", _SEALED),
    _held("lock_ring", "the writer takes no lock"),
    _held("never_drain", "a wake-up that does not fit is dropped"),
    _held("answer_wake", "the other end is shut for reading"),
    _row("read_key", Group.FILE, _B, _U, landlock=1, core=True),
    _row("write_outside", Group.FILE, _B, _U, landlock=1, core=True),
    _row("raw_memory", Group.FILE, _B, _U, landlock=1, core=True, root=True),
    _row("path_socket", Group.FILE, _S, _B, _U),
    _row("user_namespace", Group.KERNEL, _S),
    _row("io_uring", Group.KERNEL, _S),
    _row("userfaultfd", Group.KERNEL, _S),
    _row("bpf", Group.KERNEL, _S, _B, _U, root=True),
    _row("module", Group.KERNEL, _S, _B, _U, root=True),
    _row("mount", Group.KERNEL, _S, _B, _U, landlock=1, root=True),
    _row("chroot", Group.KERNEL, _S, _B, _U, root=True),
    _row("host_name", Group.KERNEL, _S, _B, _U, root=True),
    _row("become_root", Group.KERNEL, _S, _B, _U, root=True),
    _row("writable_code", Group.CODE, _S),
    _row("turn_into_code", Group.CODE, _S),
    _row("fork", Group.CODE, _S),
    _row("shell", Group.CODE, _S, _B, landlock=1),
    _row("interpreter", Group.CODE, _S, landlock=1),
    _row("memory_program", Group.CODE, _S),
    _row("any_socket", Group.NETWORK, _S),
    _row("packet_socket", Group.NETWORK, _S, _B, _U, root=True),
    _row("netlink", Group.NETWORK, _S),
    _row("other_host", Group.NETWORK, _S, _B, landlock=4),
    _row("same_port", Group.NETWORK, _S, _B, landlock=4),
    _row("other_family", Group.NETWORK, _S, _B, landlock=4),
    _row("datagram", Group.NETWORK, _S, _B),
    _row("name_service", Group.NETWORK, _S, _B),
    _row("abstract_socket", Group.NETWORK, _S, _B, landlock=6),
    _broker("reconnect", _S, landlock=4),
    _broker("reconnect_by_sending", _S, always=True, why="a connected socket stays connected"),
    _broker("other_endpoint", always=True, why="the broker knows only the pinned places"),
    _broker("listen", _S),
)
