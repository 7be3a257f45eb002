"""What must be true of an image; a build that breaks one of these gives no image."""

import re
import stat
from pathlib import Path
from typing import Final

from asepsis.core.errors import ContentMismatch, LimitExceeded
from asepsis.tools.imagebuild.recipe import Recipe
from asepsis.tools.imagebuild.tree import elf_files

MIB: Final = 1 << 20
SHELLS: Final = re.compile(
    r"(?:ba|da|a|k|mk|z|c|tc|fi)?sh|busybox(?:-static)?|toybox|perl.*|tclsh.*|lua.*"
)
_LOADER: Final = "ld-linux"


def check_tree(root: Path, recipe: Recipe) -> None:
    """Check the files of a root.

    Raises:
        ContentMismatch: A setuid file, a shell, a program that the recipe does not name, a script,
            a file that everybody may write, or a special file; names it.
    """
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        found = path.lstat()
        if not (path.is_symlink() or path.is_dir() or path.is_file()):
            raise ContentMismatch(f"{name} is a special file")
        if path.is_symlink():
            continue
        if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
            raise ContentMismatch(f"{name} is setuid or setgid")
        if found.st_mode & stat.S_IWOTH:
            raise ContentMismatch(f"{name} may be written by everybody")
        if path.is_file():
            _check_file(path, name, recipe)


def programs_of(root: Path) -> list[str]:
    """Return every ELF file that may be executed, but the loader, relative to the root."""
    return [
        str(path.relative_to(root))
        for path in elf_files(root)
        if path.stat().st_mode & 0o111 and not path.name.startswith(_LOADER)
    ]


def check_sizes(*, root_bytes: int, device_bytes: int, recipe: Recipe) -> None:
    """Check sizes against the recipe.

    Raises:
        LimitExceeded: Too large; says by how much.
    """
    for what, size, limit in (
        ("root", root_bytes, recipe.limits.root_mib),
        ("device", device_bytes, recipe.limits.device_mib),
    ):
        if size > limit * MIB:
            raise LimitExceeded(f"the {what} has {size / MIB:.2f} MiB, allowed are {limit}")


def _check_file(path: Path, name: str, recipe: Recipe) -> None:
    if SHELLS.fullmatch(path.name):
        raise ContentMismatch(f"{name} is a shell")
    allowed = name in recipe.executables or path.name.startswith(_LOADER)
    if path.stat().st_mode & 0o111 and not allowed:
        raise ContentMismatch(f"{name} may be executed and stands not in the recipe")
