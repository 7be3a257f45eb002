"""The first file system: one static program and the kernel modules that find the root.

Source: Documentation/driver-api/early-userspace/buffer-format.rst ("newc").
"""

import gzip
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.tools.imagebuild.programs import run

_DEPENDS: Final = re.compile(rb"\0depends=([^\0]*)\0")
_MAGIC: Final = b"070701"
_TRAILER: Final = "TRAILER!!!"
_CONSOLE: Final = (5, 1)


def compile_stage1(source: Path, target: Path) -> None:
    """Compile the first program, static and without anything of this machine in it.

    Raises:
        ConfigError: No compiler.
        Unavailable: It does not compile.
    """
    flags = ("-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none")
    run(("gcc", *flags, "-o", target, source.name), cwd=source.parent)


def ordered_modules(names: Sequence[str], *, tree: Path) -> list[Path]:
    """Return kernel modules with what they depend on, in the order in which they load.

    Args:
        names: Wanted modules.
        tree: Folder of the kernel's modules.

    Raises:
        ConfigError: The kernel has no such module.
    """
    by_name = {path.stem.replace("_", "-"): path for path in sorted(tree.rglob("*.ko"))}
    order: list[Path] = []

    def add(name: str, above: tuple[str, ...]) -> None:
        key = name.replace("_", "-")
        if key not in by_name or key in above:
            raise ConfigError(f"the kernel has no module {name}")
        if by_name[key] in order:
            return
        found = _DEPENDS.search(b"\0" + by_name[key].read_bytes())
        for needed in (found[1].decode("ascii") if found else "").split(","):
            if needed:
                add(needed, (*above, key))
        order.append(by_name[key])

    for name in names:
        add(name, ())
    return order


def archive(files: Mapping[str, bytes], *, epoch: int) -> bytes:
    """Return a compressed archive whose bytes depend on nothing but its arguments.

    Args:
        files: Content by path; all are executable by root only.
        epoch: Time of every file, seconds since 1970.
    """
    folders = sorted({parent.as_posix() for name in files for parent in Path(name).parents} - {"."})
    entries = [(name, stat.S_IFDIR | 0o755, b"", (0, 0)) for name in (*folders, "dev")]
    entries.append(("dev/console", stat.S_IFCHR | 0o600, b"", _CONSOLE))
    entries += [(name, stat.S_IFREG | 0o700, body, (0, 0)) for name, body in sorted(files.items())]
    entries.append((_TRAILER, 0, b"", (0, 0)))
    parts = [
        _entry(number, name, mode=mode, body=body, device=device, epoch=epoch)
        for number, (name, mode, body, device) in enumerate(entries, start=1)
    ]
    return gzip.compress(b"".join(parts), compresslevel=9, mtime=0)


def _entry(
    number: int, name: str, *, mode: int, body: bytes, device: tuple[int, int], epoch: int
) -> bytes:
    encoded = name.encode("ascii") + b"\0"
    fields = (number, mode, 0, 0, 1, epoch, len(body), 0, 0, *device, len(encoded), 0)
    head = _MAGIC + b"".join(b"%08X" % field for field in fields) + encoded
    return _padded(head) + _padded(body)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
