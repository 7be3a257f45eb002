"""SELinux of a device: labels for what the supervisor makes, and the way into a domain.

Everything here does nothing on a machine where the supervisor does not run in its own domain, so
the host tier and the booted image share one code. What a label allows stands in the generated
policy (`generate.selinux`) and nowhere else.

A compartment enters its domain by itself (`door`), through a descriptor of /proc that comes with
its first order, because its own view of the file system has none.

Source: Linux `security/selinux/hooks.c` (setprocattr); proc(5); xattr(7).
"""

import contextlib
import os
from collections.abc import Generator
from functools import lru_cache
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.edge.sandbox.door import PROC, process_context
from asepsis.edge.sandbox.generate.selinux_base import LOG, SUPERVISOR
from asepsis.edge.sandbox.generate.selinux_types import thing

ATTRIBUTE: Final = "security.selinux"
_ENFORCE: Final = Path("/sys/fs/selinux/enforce")
_OWN: Final = Path("/proc/thread-self/attr")
_ENTRIES_MAX: Final = 10_000


def object_context(type_: str) -> str:
    """Return the context of things of a type."""
    return f"system_u:object_r:{type_}"


@lru_cache(maxsize=1)
def active() -> bool:
    """Return whether this process is the supervisor under an enforced policy of a device."""
    return state() == "enforcing"


def state() -> str:
    """Return `enforcing`, `permissive`, `another policy` or `off`."""
    try:
        enforced = _ENFORCE.read_text("ascii").strip() == "1"
        own = (_OWN / "current").read_text("ascii").rstrip("\0\n")
    except (OSError, UnicodeDecodeError):
        return "off"
    if own != process_context(SUPERVISOR):
        return "another policy"
    return "enforcing" if enforced else "permissive"


def of(pid: int) -> str:
    """Return the SELinux type of a process; empty if it cannot be told."""
    try:
        context = Path(f"/proc/{pid}/attr/current").read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
    return context.rstrip("\0\n").rpartition(":")[2]


@contextlib.contextmanager
def sockets_as(kind: str, name: str) -> Generator[None]:
    """Label sockets that this thread makes meanwhile, for example as wake-ups of a ring.

    Raises:
        ConfigError: The kernel does not take the label.
    """
    if not active():
        yield
        return
    _set("sockcreate", object_context(thing(kind, name)))
    try:
        yield
    finally:
        _set("sockcreate", "")


def label(where: int | Path, kind: str, name: str) -> None:
    """Label a file, folder or socket that is there already.

    Raises:
        ConfigError: The kernel or the file system does not take the label.
    """
    if active():
        _label(where, thing(kind, name))


def label_log(where: int) -> None:
    """Label the file that takes what compartments write to standard error.

    Raises:
        ConfigError: The kernel or the file system does not take the label.
    """
    if active():
        _label(where, LOG)


def label_folder(folder: Path, name: str) -> None:
    """Label a compartment's own folder with all that is in it; new files get it by themselves.

    Raises:
        ConfigError: The file system does not take the label, or there is too much in it.
    """
    if not active():
        return
    for number, path in enumerate((folder, *folder.rglob("*"))):
        if number > _ENTRIES_MAX:
            raise ConfigError(f"more than {_ENTRIES_MAX} files in {folder}")
        _label(path, thing("folder", name))


@contextlib.contextmanager
def way_in(domain: str) -> Generator[dict[str, int]]:
    """Yield what a compartment's first order brings so that it can enter a domain.

    Args:
        domain: Its domain; empty for none, which needs nothing.
    """
    if not domain:
        yield {}
        return
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield {PROC: proc}
    finally:
        os.close(proc)


def _set(which: str, context: str) -> None:
    try:
        # One unbuffered write: an empty one takes the label back, and a file object would drop it.
        descriptor = os.open(_OWN / which, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, context.encode("ascii") or b"\0")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigError(f"SELinux does not take {context}: {error.strerror}") from error


def _label(where: int | Path, type_: str) -> None:
    context = object_context(type_).encode("ascii") + b"\0"
    try:
        if isinstance(where, Path):
            os.setxattr(where, ATTRIBUTE, context, follow_symlinks=False)
        else:
            os.setxattr(where, ATTRIBUTE, context)
    except OSError as error:
        raise ConfigError(f"cannot label {where} as {type_}: {error.strerror}") from error
