"""The command line of the signer, read once into one frozen value."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asepsis.core.errors import ConfigError
from asepsis.hub.signer import sealed
from asepsis.hub.signer.confine import User


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the starter decided.

    Attributes:
        action: `init`, `install` or `serve`.
        data: Data folder of the hub; keys lie in its folder `signer`, sockets in `run`.
        own: User the keys belong to; this process becomes it if it is root.
        hub: User of the hub.
        operator_uids: Users who may list devices, besides root and `own`.
        secret: What opens the sealed keys, or `None` for the secret beside them.
        ready_fd: A line is written here once requests are taken.
        lifeline: Whether to end when standard input ends, so that no signer outlives its hub.
    """

    action: str
    data: Path
    own: User
    hub: User
    operator_uids: frozenset[int]
    secret: sealed.SealSecret | None
    ready_fd: int | None
    lifeline: bool

    @property
    def folder(self) -> Path:
        """Folder of the signer's user."""
        return self.data / "signer"

    @property
    def separated(self) -> bool:
        """Whether the keys have a user of their own."""
        return self.own.uid != self.hub.uid

    @property
    def changes_user(self) -> bool:
        """Whether this process is root and gives that up."""
        return os.geteuid() == 0 and self.own.uid != 0


def read_options(arguments: Sequence[str] | None, *, environment: Mapping[str, str]) -> Options:
    """Read the command line; secrets are read here, while root still can.

    Raises:
        ConfigError: A user that is none, or a secret file that does not read.
        SystemExit: argparse found a mistake, or was asked for help.
    """
    parser = argparse.ArgumentParser(prog="asepsis signer", allow_abbrev=False)
    parser.add_argument("action", nargs="?", default="serve", choices=("init", "install", "serve"))
    parser.add_argument("--data", type=Path, required=True, help="data folder of the hub")
    parser.add_argument("--user", help="UID:GID to become; only as root")
    parser.add_argument("--hub-user", help="UID:GID of the hub, who may use signer.sock")
    parser.add_argument("--operator-uid", type=int, action="append", default=[])
    parser.add_argument("--secret-file", type=Path, help="secret that opens the sealed keys")
    parser.add_argument("--ready-fd", type=int, help="a line is written here once it serves")
    parser.add_argument("--lifeline", action="store_true", help="end when stdin ends")
    given = parser.parse_args(arguments)
    self_user = User(os.geteuid(), os.getegid())
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    return Options(
        action=given.action,
        data=given.data,
        own=_user(given.user) or self_user,
        hub=_user(given.hub_user) or self_user,
        operator_uids=frozenset(given.operator_uid),
        secret=sealed.find_secret(
            secret_file=given.secret_file, credentials=Path(credentials) if credentials else None
        ),
        ready_fd=given.ready_fd,
        lifeline=given.lifeline,
    )


def _user(text: str | None) -> User | None:
    if text is None:
        return None
    uid, _, gid = text.partition(":")
    if not (uid.isdecimal() and gid.isdecimal()):
        raise ConfigError(f"not a numeric UID:GID: {text}")
    return User(int(uid), int(gid))
