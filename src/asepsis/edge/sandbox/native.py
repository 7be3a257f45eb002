"""Starts a compartment that is a program in machine code (C, C++), behind the same layers.

It gets orders in a fixed binary form instead of JSON, so that it needs no parser, and its system
call filter and Landlock rules ready made as descriptors. Like every compartment it takes its rights
away from itself, and here the code is a vendor's: so its supervisor asks the kernel whether it did.

Source: `docs/reference/ring-abi.md`; `standard/ring/asepsis_compartment.h` is the other side.
"""

import os
import struct
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from asepsis.core.errors import AsepsisError, ConfigError, InputError, LimitExceeded, Unavailable
from asepsis.core.model.syscall_class import SyscallClass
from asepsis.edge.sandbox import bubblewrap, control, domains, landlock, launcher, seccomp
from asepsis.edge.sandbox.confine import MIB, Confinement
from asepsis.edge.sandbox.door import process_context
from asepsis.edge.sandbox.launcher import START, Compartment
from asepsis.edge.sandbox.layer import Layer

MAGIC: Final = b"ASPNORD1"
NAME_BYTES: Final = 16
VALUES_MAX: Final = 24
DESCRIPTORS_MAX: Final = 16
_VALUE_MAX: Final = 2**64 - 1
_HEAD: Final = struct.Struct(f"<8s{NAME_BYTES}sII")
_VALUE: Final = struct.Struct(f"<{NAME_BYTES}sQ")
_STATUS_BYTES_MAX: Final = 16_384
_FILTERING: Final = "2"
"""`Seccomp:` of a process with a filter; proc(5)."""


def encode_order(what: str, body: Mapping[str, Any], names: tuple[str, ...]) -> bytes:
    """Return the bytes of an order.

    Args:
        what: Its name, 1 to 15 bytes.
        body: Its values: integers from 0 to 2**64 - 1, or booleans.
        names: Names of the descriptors that go with it, in their order.

    Raises:
        InputError: A name or a value that has no place in this form.
        LimitExceeded: Too many values or descriptors.
    """
    if len(body) > VALUES_MAX or len(names) > DESCRIPTORS_MAX:
        raise LimitExceeded(f"order {what} is too large")
    parts = [_HEAD.pack(MAGIC, _name(what), len(body), len(names))]
    for name, value in body.items():
        if not isinstance(value, int) or not 0 <= value <= _VALUE_MAX:
            raise InputError(f"order {what}: {name} is no unsigned number")
        parts.append(_VALUE.pack(_name(name), value))
    parts += map(_name, names)
    return b"".join(parts)


class Native(Compartment):
    """A running compartment that takes orders in binary form."""

    def order(
        self, what: str, body: Mapping[str, Any], *, descriptors: Mapping[str, int] | None = None
    ) -> None:
        """Send an order.

        Raises:
            Unavailable: It is gone or takes none.
            InputError: The order has no binary form.
            LimitExceeded: It is too large.
        """
        named = dict(descriptors or {})
        control.send_bytes(
            self.control, what, encode_order(what, body, tuple(named)), descriptors=named
        )


def launch(
    program: Path,
    *,
    name: str,
    confinement: Confinement,
    body: Mapping[str, int],
    descriptors: Mapping[str, int],
    log: IO[bytes],
) -> Native:
    """Start a program as a compartment and give it its first order.

    Args:
        program: The file; behind bubblewrap nothing else is there but the system's libraries.
        name: Its name.
        confinement: What it has to take away from itself. Of class `CORE`, without any path.
        body: Values of the first order.
        descriptors: Descriptors that go with it; the caller keeps its own.
        log: Takes its standard error.

    Raises:
        ConfigError: A class or path that programs in machine code do not get, or no such file.
        Unavailable: It did not start.
    """
    if confinement.kind is not SyscallClass.CORE or confinement.readable or confinement.writable:
        raise ConfigError(
            f"{name}: a program in machine code opens no file",
            hint='syscalls = "core", no folder; what it needs is handed to it as a descriptor',
        )
    if not os.access(program, os.X_OK) or not program.is_file():
        raise ConfigError(f"{name}: {program} is no program")
    wrapper = partial(_wrapper, program) if Layer.BUBBLEWRAP in confinement.layers else None
    command = [str(program)]
    started = launcher.spawn(name, command=command, wrapper=wrapper, log=log, kind=Native)
    made: dict[str, int] = {}
    try:
        if Layer.SECCOMP in confinement.layers:
            made["filter"] = _memory("filter", seccomp.compiled(confinement.kind))
        if Layer.LANDLOCK in confinement.layers:
            made["landlock"] = landlock.make()
        if confinement.domain:
            made["domain"] = _memory("domain", process_context(confinement.domain).encode("ascii"))
        full = {**body, **_values(confinement)}
        with domains.way_in(confinement.domain) as way:
            started.order(START, full, descriptors={**descriptors, **made, **way})
    except AsepsisError:
        started.kill()
        raise
    finally:
        for descriptor in made.values():
            os.close(descriptor)
    return started


def check_confined(compartment: Compartment, confinement: Confinement) -> None:
    """See that a compartment which says it is confined is so; ask after its "confined".

    The kernel is asked for the user, the capabilities, `no_new_privs`, the filter and the SELinux
    domain. Landlock cannot be asked for; the filter lets no file be opened without it either.

    Raises:
        ConfigError: It is not: it must be ended.
    """
    found = _status(compartment.pid)
    if confinement.domain:
        found["domain"] = domains.of(compartment.pid)
    wanted: dict[str, str] = {}
    if Layer.SECCOMP in confinement.layers:
        wanted["Seccomp"] = _FILTERING
    if confinement.layers & {Layer.SECCOMP, Layer.LANDLOCK, Layer.NO_NEW_PRIVILEGES}:
        wanted["NoNewPrivs"] = "1"
    if Layer.USERS in confinement.layers and confinement.user:
        wanted["Uid"] = wanted["Gid"] = "\t".join([str(confinement.user)] * 4)
        wanted["CapEff"] = wanted["CapPrm"] = wanted["CapBnd"] = "0" * 16
    if confinement.domain:
        wanted["domain"] = confinement.domain
    for key, value in wanted.items():
        if found.get(key) != value:
            raise ConfigError(
                f"{compartment.name} says that it is confined, and its {key} is {found.get(key)}",
                hint="it must call asepsis_confine before it reports that",
            )


def _status(pid: int) -> dict[str, str]:
    try:
        text = (
            Path(f"/proc/{pid}/status").read_bytes()[:_STATUS_BYTES_MAX].decode("ascii", "replace")
        )
    except OSError as error:
        raise ConfigError("the compartment is gone") from error
    return {key: rest.strip() for key, _, rest in (row.partition(":") for row in text.splitlines())}


def _values(confinement: Confinement) -> dict[str, int]:
    found = {"lock-memory": int(confinement.lock_memory)}
    if Layer.USERS in confinement.layers:
        found["user"] = confinement.user
    if Layer.LIMITS in confinement.layers:
        limits = confinement.limits
        found |= {
            "limit-core": 0,
            "limit-memory": limits.memory_mib * MIB,
            "limit-files": limits.files,
            "limit-file": limits.file_mib * MIB,
        }
    return found


def _memory(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    with open(descriptor, "wb", buffering=0, closefd=False) as file:
        file.write(content)
    return descriptor


def _wrapper(program: Path, tell: int) -> Sequence[str]:
    bwrap = bubblewrap.program()
    if bwrap is None:
        raise Unavailable("bubblewrap is gone")
    return bubblewrap.arguments(bwrap=bwrap, where=program, as_root=os.geteuid() == 0, info=tell)


def _name(text: str) -> bytes:
    raw = text.encode("ascii", "replace")
    if not 1 <= len(raw) < NAME_BYTES:
        raise InputError(f"not a name of 1 to {NAME_BYTES - 1} bytes: {text[:40]}")
    return raw.ljust(NAME_BYTES, b"\0")
