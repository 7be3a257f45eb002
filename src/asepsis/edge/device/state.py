"""Gives the network compartment a folder of its own: the TLS identity, never the origin key."""

import os
import secrets
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.edge.uplink.files import write_durably
from asepsis.edge.uplink.folder import IdentityFolder

COMPARTMENTS: Final = "compartments"
PASSPHRASE: Final = "spool.passphrase"  # noqa: S105 - a file name
_COPIED: Final = ("tls.key", "tls.pem", "root.der", "identity.json")
"""`identity.json` last: a folder without it is not complete."""


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
        if any(
            not _same(folder.path / name, state / name) for name in _COPIED if name != "tls.pem"
        ):
            (state / "identity.json").unlink(missing_ok=True)
            for name in _COPIED:
                write_durably(state / name, (folder.path / name).read_bytes())
        if not (state / PASSPHRASE).exists():
            write_durably(state / PASSPHRASE, secrets.token_urlsafe(32).encode())
        if user is not None:
            _give(state, user)
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


def _same(ours: Path, theirs: Path) -> bool:
    return theirs.is_file() and ours.read_bytes() == theirs.read_bytes()


def _give(state: Path, user: int) -> None:
    # Links are not followed: what the compartment left behind must not lead us elsewhere.
    for path in (state, *state.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)
