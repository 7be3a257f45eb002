"""Landlock: a process takes away from itself what it will not need. No library, three system calls.

What the running kernel does not know is left out, and `abi` says which it knows: 1 files, 2 moving
between folders, 3 truncation, 4 TCP bind and connect, 5 device ioctl, 6 signals and abstract unix
sockets.

Source: Linux `include/uapi/linux/landlock.h`; landlock(7).
"""

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.edge.sandbox import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # The same on every architecture.
_VERSION_FLAG: Final = 1
_PATH_BENEATH: Final = 1

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
TRUNCATE: Final = 1 << 14
_MAKE_AND_REMOVE: Final = sum(1 << bit for bit in (4, 5, 7, 8))  # Folders and regular files only.
_FILES_BY_ABI: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_OF_A_FILE: Final = WRITE_FILE | READ_FILE | TRUNCATE
READ: Final = READ_FILE | READ_DIR
WRITE: Final = READ | WRITE_FILE | TRUNCATE | _MAKE_AND_REMOVE | 1 << 13
TCP_BOTH: Final = 0b11
SCOPES_BOTH: Final = 0b11


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """What is refused, as far as a kernel knows it.

    Attributes:
        files: File rights that need a rule; none is given outside the listed paths.
        network: TCP rights refused altogether.
        scoped: Signals and abstract sockets refused beyond this sandbox.
        size: Bytes of the kernel's structure.
    """

    files: int
    network: int
    scoped: int
    size: int


def abi() -> int:
    """Return the Landlock version of the running kernel, 0 for none."""
    version, _ = kernel.system_call(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    return max(version, 0)


def ruleset(version: int) -> Ruleset:
    """Return everything that a kernel of this version can refuse."""
    files = _FILES_BY_ABI[max(known for known in _FILES_BY_ABI if known <= version)]
    return Ruleset(
        files=files,
        network=TCP_BOTH if version >= 4 else 0,
        scoped=SCOPES_BOTH if version >= 6 else 0,
        size=8 if version < 4 else 16 if version < 6 else 24,
    )


def restrict(*, readable: tuple[Path, ...] = (), writable: tuple[Path, ...] = ()) -> int:
    """Refuse this thread, and all it starts, everything but these paths; no execution anywhere.

    `no_new_privs` must be set. For good: nothing lifts it.

    Args:
        readable: Files and folders that stay readable.
        writable: Folders that stay readable and writable.

    Returns:
        The Landlock version in force.

    Raises:
        ConfigError: No Landlock, or the kernel refuses.
    """
    version = abi()
    handle = make(readable=readable, writable=writable)
    try:
        _checked(kernel.system_call(_RESTRICT_SELF, handle, 0), "restrict itself")
    finally:
        os.close(handle)
    return version


def make(*, readable: tuple[Path, ...] = (), writable: tuple[Path, ...] = ()) -> int:
    """Return a descriptor of the rules that `restrict` puts in force, for another process.

    Raises:
        ConfigError: No Landlock, or the kernel refuses.
    """
    version = abi()
    if not version:
        raise ConfigError("this kernel has no Landlock")
    rules = ruleset(version)
    attributes = _RulesetAttributes(rules.files, rules.network, rules.scoped)
    handle = _checked(
        kernel.system_call(_CREATE_RULESET, ctypes.byref(attributes), rules.size, 0), "make rules"
    )
    try:
        for paths, rights in ((readable, READ), (writable, WRITE)):
            for path in paths:
                _allow(handle, path, rights & rules.files)
    except ConfigError:
        os.close(handle)
        raise
    return handle


def _allow(handle: int, path: Path, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"no {path} to allow", hint=error.strerror or "") from error
    try:
        if not path.is_dir():
            rights &= _OF_A_FILE
        rule = _PathBeneath(rights, parent)
        _checked(
            kernel.system_call(_ADD_RULE, handle, _PATH_BENEATH, ctypes.byref(rule), 0),
            f"allow {path}",
        )
    finally:
        os.close(parent)


def _checked(outcome: tuple[int, int], what: str) -> int:
    result, error = outcome
    if result < 0:
        raise ConfigError(f"Landlock cannot {what}: {os.strerror(error)}")
    return result
