"""Runs the programs of other Debian packages; says which package brings the one that is missing."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, Unavailable

PACKAGE_OF: Final[Mapping[str, str]] = {
    "apt-cache": "apt",
    "apt-config": "apt",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "gcc": "gcc and libc6-dev",
    "make": "make",
    "mcopy": "mtools",
    "mdir": "mtools",
    "mformat": "mtools",
    "mke2fs": "e2fsprogs",
    "mmd": "mtools",
    "mksquashfs": "squashfs-tools",
    "mmdebstrap": "mmdebstrap",
    "objcopy": "binutils",
    "qemu-system-x86_64": "qemu-system-x86",
    "readelf": "binutils",
    "secilc": "secilc",
    "sbsign": "sbsigntool",
    "swtpm": "swtpm",
    "veritysetup": "cryptsetup-bin",
    "/usr/lib/systemd/boot/efi/linuxx64.efi.stub": "systemd-boot-efi",
    "/usr/lib/systemd/boot/efi/systemd-bootx64.efi": "systemd-boot-efi",
    "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd": "ovmf",
    "/usr/share/OVMF/OVMF_VARS_4M.fd": "ovmf",
}
"""Which Debian package brings a program or file."""
SEARCH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Also where an ordinary user's own PATH does not look."""
TIMEOUT_S: Final = 600.0
_SAID_CHARS: Final = 400


def find(name: str) -> str:
    """Return the path of a program or file.

    Raises:
        ConfigError: It is not installed; the hint names the Debian package.
    """
    found = name if Path(name).is_file() else shutil.which(name, path=SEARCH)
    if found is None:
        package = PACKAGE_OF.get(name, name)
        raise ConfigError(
            f"{Path(name).name} is not installed",
            hint=f"apt-get install --no-install-recommends {package.replace(' and ', ' ')}",
        )
    return found


def require(names: Sequence[str]) -> None:
    """Check that programs and files are there, before long work begins.

    Raises:
        ConfigError: Some are not; the hint names all their packages at once.
    """
    missing = [name for name in names if not Path(name).is_file()]
    missing = [name for name in missing if shutil.which(name, path=SEARCH) is None]
    if missing:
        packages = sorted({word for n in missing for word in PACKAGE_OF.get(n, n).split(" and ")})
        raise ConfigError(
            f"not installed: {', '.join(Path(name).name for name in missing)}",
            hint=f"apt-get install --no-install-recommends {' '.join(packages)}",
        )


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> str:
    """Run a program to its end and return what it printed.

    Args:
        command: Program and arguments.
        cwd: Folder to run in.
        environment: Added to a small fixed environment; the caller's own is not passed on, but for
            what finds certificates.
        stdin: Its standard input.

    Raises:
        ConfigError: It is not installed.
        Unavailable: It failed or took too long; says what it said last.
    """
    program = find(str(command[0]))
    env = {"PATH": SEARCH, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/nonexistent"}
    env |= {name: os.environ[name] for name in ("SSL_CERT_FILE", "TMPDIR") if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - a program of the table above, no shell
            [program, *map(str, command[1:])],
            input=stdin,
            capture_output=True,
            cwd=cwd,
            env={**env, **(environment or {})},
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]} did not run: {type(error).__name__}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-_SAID_CHARS:]
        raise Unavailable(f"{Path(str(command[0])).name} failed with {done.returncode}: {said}")
    return done.stdout.decode("utf-8", "replace")
