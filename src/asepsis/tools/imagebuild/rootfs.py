"""The read-only root as one file: squashfs, then the hash tree that every read is checked against.

Source: Documentation/admin-guide/device-mapper/verity.rst; veritysetup(8).
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import SignatureInvalid, Unavailable
from asepsis.tools.imagebuild.programs import run

BLOCK: Final = 4_096
COMPRESSION: Final = ("-comp", "zstd", "-Xcompression-level", "15")
"""Level 19 saves 0.1 % and takes twice as long."""
_ROOT_HASH: Final = re.compile(r"Root hash:\s+([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The finished root.

    Attributes:
        path: squashfs and hash tree in one file.
        hash: Root of the hash tree, hexadecimal.
        salt: Of the hash tree, hexadecimal.
        blocks: Blocks of data in front of the hash tree.
    """

    path: Path
    hash: str
    salt: str
    blocks: int

    @property
    def argument(self) -> str:
        """The kernel argument that names this root and no other."""
        return f"asepsis.verity={self.hash}:{self.salt}:{self.blocks}"


def make_root(tree: Path, target: Path, *, epoch: int) -> Root:
    """Pack a tree so that the same tree gives the same bytes.

    Args:
        tree: Files of the root; owners and times of this machine do not matter.
        target: File to write.
        epoch: Time of every file, seconds since 1970.

    Raises:
        Unavailable: A program failed.
    """
    target.unlink(missing_ok=True)
    run(
        ("mksquashfs", tree, target, "-all-root", "-xattrs", "-no-progress", *COMPRESSION),
        environment={"SOURCE_DATE_EPOCH": str(epoch)},
    )
    return add_tree(
        target, salt=hashlib.sha256(target.name.encode() + str(epoch).encode()).hexdigest()
    )


def add_tree(target: Path, *, salt: str) -> Root:
    """Put the hash tree behind a squashfs.

    Args:
        target: File with nothing but the squashfs.
        salt: Hexadecimal.

    Raises:
        Unavailable: A program failed.
    """
    blocks = target.stat().st_size // BLOCK  # mksquashfs fills the last block up.
    made = Root(path=target, hash="0" * 64, salt=salt, blocks=blocks)
    said = run(("veritysetup", "format", *_options(made), f"--salt={salt}", target, target))
    found = _ROOT_HASH.search(said)
    if found is None:
        raise Unavailable("veritysetup named no root hash")
    return Root(path=target, hash=found[1], salt=salt, blocks=blocks)


def verify_root(root: Root) -> None:
    """Check every block of a root against its root hash, as a device does at each read.

    Raises:
        SignatureInvalid: A block differs.
    """
    command = ("veritysetup", "verify", *_options(root), f"--salt={root.salt}")
    try:
        run((*command, root.path, root.path, root.hash))
    except Unavailable as error:
        raise SignatureInvalid(f"{root.path.name} does not match its root hash") from error


def _options(root: Root) -> tuple[str, ...]:
    offset = root.blocks * BLOCK
    return (
        "--no-superblock",
        "--hash=sha256",
        f"--data-block-size={BLOCK}",
        f"--hash-block-size={BLOCK}",
        f"--data-blocks={root.blocks}",
        f"--hash-offset={offset}",
    )
