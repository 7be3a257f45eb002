"""Takes away from this process what its compartment does not need; the order matters.

Everything is imported and every descriptor is held before this. Then limits, user, no new
privileges, Landlock, the SELinux domain, and seccomp last, because each of the others needs system
calls that seccomp refuses.
"""

import gc
import os
import resource
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from asepsis.core.errors import ConfigError
from asepsis.edge.sandbox import kernel, landlock, seccomp
from asepsis.edge.sandbox.door import Door
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.seccomp import SyscallClass

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Resources of one compartment.

    Attributes:
        memory_mib: Address space, MiB.
        files: Open descriptors.
        file_mib: Largest file written, MiB.
    """

    memory_mib: int = 512
    files: int = 64
    file_mib: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What a compartment takes away from itself.

    Attributes:
        layers: Layers to apply; others are left off.
        user: Number of the user to become, with the group of the same number; 0 to stay.
        kind: System call class.
        readable: Paths that stay readable.
        writable: Folders that stay writable.
        limits: Resources.
        lock_memory: Whether its memory must not be swapped.
        domain: SELinux domain to enter; empty for none.
    """

    layers: frozenset[Layer]
    kind: SyscallClass
    user: int = 0
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    limits: Limits = Limits()
    lock_memory: bool = False
    domain: str = ""

    def to_document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "layers": sorted(layer.name for layer in self.layers),
            "kind": self.kind.name,
            "user": self.user,
            "readable": [str(path) for path in self.readable],
            "writable": [str(path) for path in self.writable],
            "limits": asdict(self.limits),
            "lock_memory": self.lock_memory,
            "domain": self.domain,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """Read what `to_document` wrote; the supervisor is trusted.

        Raises:
            ConfigError: Another form.
        """
        try:
            return cls(
                layers=frozenset(Layer[name] for name in document["layers"]),
                kind=SyscallClass[document["kind"]],
                user=document["user"],
                readable=tuple(map(Path, document["readable"])),
                writable=tuple(map(Path, document["writable"])),
                limits=Limits(**document["limits"]),
                lock_memory=document["lock_memory"],
                domain=document["domain"],
            )
        except (KeyError, TypeError) as error:
            raise ConfigError("not a confinement") from error


def confine(order: Confinement, *, proc: int | None = None, witness: int | None = None) -> bool:
    """Apply an order to this process, for good.

    Args:
        order: What to take away.
        proc: Descriptor of /proc for the way into the domain, owned from now on.
        witness: See `seccomp.install`.

    Returns:
        Whether its memory is locked. Where that is not allowed it runs all the same, with worse
        timing, and somebody should be told; no protection depends on it.

    Raises:
        ConfigError: A layer that was asked for does not take hold; the process must end.
    """
    os.umask(0o077)
    door = _door(order, proc)
    locked = order.lock_memory and kernel.lock_memory()
    if Layer.LIMITS in order.layers:
        _limit(order.limits)
    if Layer.USERS in order.layers and order.user:
        kernel.drop_bounding_set()
        _become(order.user)
    # After the change of user, which resets it: no core dump, no tracing by the same user.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    if order.layers & {Layer.NO_NEW_PRIVILEGES, Layer.LANDLOCK, Layer.SECCOMP}:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    gc.collect()
    gc.freeze()
    if Layer.LANDLOCK in order.layers:
        landlock.restrict(readable=order.readable, writable=order.writable)
    _last(order, door, witness)
    return locked


def _last(order: Confinement, door: Door | None, witness: int | None) -> None:
    if door is not None:
        door.enter(order.domain)
    if Layer.SECCOMP in order.layers:
        seccomp.install(order.kind, witness=witness)
    elif witness is not None:
        os.close(witness)


def _door(order: Confinement, proc: int | None) -> Door | None:
    if order.domain and proc is None:
        raise ConfigError(f"no way into the domain {order.domain}")
    return None if proc is None else Door(proc)


def _limit(limits: Limits) -> None:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: limits.memory_mib * MIB,
        resource.RLIMIT_NOFILE: limits.files,
        resource.RLIMIT_FSIZE: limits.file_mib * MIB,
    }
    for which, value in wanted.items():
        resource.setrlimit(which, (value, value))


def _become(user: int) -> None:
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except OSError as error:
        raise ConfigError(f"cannot become user {user}") from error
    if os.getresuid() != (user,) * 3:
        raise ConfigError("privileges were not dropped")
