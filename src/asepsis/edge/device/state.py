"""Gives the network compartment a folder of its own: the TLS identity, never the origin key."""

import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.core.trust.sealing import CREDENTIAL_NAME, KEY_BYTES
from asepsis.edge.sandbox import domains
from asepsis.edge.uplink.files import write_durably
from asepsis.edge.uplink.folder import IdentityFolder

COMPARTMENTS: Final = "compartments"
SPOOL: Final = "spool"
_COPIED: Final = ("tls.key", "tls.pem", "root.der", "identity.json")
"""`identity.json` last: a folder without it is not complete."""
_PUBLIC: Final = ("origin.csr", "origin.pem")
"""With these it renews the certificate of the origin key, which it does not have."""


def prepare(folder: IdentityFolder, *, user: int | None) -> Path:
    """Make or refresh the network compartment's folder and return it.

    Its certificate may be newer than ours, because it renews it there; it is replaced only when the
    device was enrolled anew, with another key, root or hub.

    Args:
        folder: The enrolled device's folder.
        user: User who shall own it; None to leave it to this one.

    Raises:
        NotFound: The device is not enrolled.
        ConfigError: The folder cannot be made.
    """
    folder.load()
    state = folder.path / COMPARTMENTS / "network"
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_traps(state)
        if any(
            not _same(folder.path / name, state / name) for name in _COPIED if name != "tls.pem"
        ):
            (state / "identity.json").unlink(missing_ok=True)
            for name in (*_PUBLIC, *_COPIED):
                if name in _COPIED or (folder.path / name).exists():
                    write_durably(state / name, (folder.path / name).read_bytes())
        if not (state / CREDENTIAL_NAME).exists():
            write_durably(state / CREDENTIAL_NAME, secrets.token_bytes(KEY_BYTES))
        if user is not None:
            _give(state, user)
        domains.label_folder(state, "network")
        domains.label(folder.origin_key_path, "document", "origin-key")
    except OSError as error:
        raise ConfigError(f"cannot prepare {state}: {error.strerror}") from error
    return state


def code_link(folder: Path, package: Path) -> Path:
    """Make the folder that holds only a link to the package, and return it."""
    link = folder / COMPARTMENTS / "code" / "asepsis"
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink() or link.readlink() != package:
            link.unlink(missing_ok=True)
            link.symlink_to(package)
    except OSError as error:
        raise ConfigError(f"cannot make {link}: {error.strerror}") from error
    return link.parent


def _remove_traps(state: Path) -> None:
    """Remove links, pipes, sockets and odd folders that an owned compartment left to mislead us.

    It does not run now, so nothing comes back while we look.
    """
    for path in (state / found for found in sorted(state.rglob("*"))):
        kind = path.lstat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            path.unlink()
    for path in state.iterdir():
        # A folder in the place of a file would stop us from writing that file.
        if path.is_dir() and path.name != SPOOL:
            shutil.rmtree(path)


def _same(ours: Path, theirs: Path) -> bool:
    wanted = ours.read_bytes()
    if not theirs.is_file() or theirs.stat().st_size != len(wanted):
        return False
    return theirs.read_bytes() == wanted


def _give(state: Path, user: int) -> None:
    for path in (state, *state.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)
