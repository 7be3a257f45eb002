"""Starts the key-holding process and says whether it is apart from the hub.

Who owns `<data>/signer` holds the keys and who owns `<data>/hub` is the hub: `asepsis hub init`
decided it once, and nothing else has to be configured. A hub that starts as root starts the signer
first and then gives root up; the signer gives it up by itself.
"""

import os
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, Unavailable

READY_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 10.0
HUB_USER: Final = "asepsis"
SIGNER_USER: Final = "asepsis-signer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """Who runs what, and what that is worth.

    Attributes:
        separated: Whether the keys have a user of their own.
        hub_uid: User of the hub.
        hub_gid: Group of the hub.
        signer_uid: User of the signer.
        signer_gid: Group of the signer.
    """

    separated: bool
    hub_uid: int
    hub_gid: int
    signer_uid: int
    signer_gid: int

    def describe(self) -> str:
        """Say it in plain words."""
        if self.separated:
            return f"keys separated: hub runs as user {self.hub_uid}, keys as {self.signer_uid}"
        return "keys not separated here: hub and signer run as one user"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerSettings:
    """How to start the signer.

    Attributes:
        data: Data folder of the hub.
        secret_file: Secret that opens the sealed keys; `None` for the one beside them.
        operator_uids: Users who may list devices, besides root and the signer's own.
    """

    data: Path
    secret_file: Path | None = None
    operator_uids: tuple[int, ...] = ()


def separation(data: Path) -> Separation:
    """Say who owns hub and keys in a data folder.

    Raises:
        ConfigError: The folder was not made by `asepsis hub init`.
    """
    try:
        hub, signer = (data / "hub").stat(), (data / "signer").stat()
    except OSError as error:
        raise ConfigError(f"{data} holds no hub", hint="run `asepsis hub init`") from error
    return Separation(
        separated=hub.st_uid != signer.st_uid,
        hub_uid=hub.st_uid,
        hub_gid=hub.st_gid,
        signer_uid=signer.st_uid,
        signer_gid=signer.st_gid,
    )


class SignerProcess:
    """A signer that was started here; it ends with this process or at `stop`.

    Args:
        process: The started process, whose stdin is its lifeline.
        data: Data folder.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", *, data: Path) -> None:
        self._process = process
        self.socket_path = data / "run" / "signer.sock"
        self.admin_socket_path = data / "run" / "signer-admin.sock"

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Return whether it still runs."""
        return self._process.poll() is None

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End it by its lifeline: a hub that gave root up may not send it a signal.

        Raises:
            Unavailable: It did not end in time.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise Unavailable("the signer does not end") from error


def start_signer(settings: SignerSettings) -> SignerProcess:
    """Start the key-holding process and wait until it takes requests.

    As root, the signer becomes the owner of `<data>/signer`; else it runs as this user.

    Resource handling:
        The caller keeps the handle; when it, or the calling process, ends, the signer ends.

    Raises:
        ConfigError: The signer refused to start; its own words are on stderr.
        Unavailable: It was not ready in time.
    """
    who = separation(settings.data)
    command = signer_command("serve", data=settings.data, who=who)
    if settings.secret_file is not None:
        command += ["--secret-file", str(settings.secret_file)]
    for uid in settings.operator_uids:
        command += ["--operator-uid", str(uid)]
    ready, told = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*command, "--lifeline", "--ready-fd", str(told)],
            stdin=subprocess.PIPE,
            pass_fds=(told,),
            cwd="/",
        )
    finally:
        os.close(told)
    try:
        _wait_ready(ready, process)
    finally:
        os.close(ready)
    return SignerProcess(process, data=settings.data)


def signer_command(action: str, *, data: Path, who: Separation) -> list[str]:
    """Return the command line of the signer for one of its actions."""
    command = [sys.executable, "-P", "-m", "asepsis.hub.signer", action, "--data", str(data)]
    if os.geteuid() == 0:
        command += ["--user", f"{who.signer_uid}:{who.signer_gid}"]
        command += ["--hub-user", f"{who.hub_uid}:{who.hub_gid}"]
    return command


def _wait_ready(ready: int, process: "subprocess.Popen[bytes]") -> None:
    readable, _, _ = select.select([ready], [], [], READY_TIMEOUT_S)
    if readable and os.read(ready, 16) == b"ready\n":
        return
    if process.poll() is None:
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    code = process.wait()
    if readable:
        raise ConfigError(f"the signer did not start (exit code {code})")
    raise Unavailable(f"the signer was not ready after {READY_TIMEOUT_S:.0f} s")
