"""The six services, DELIBERATELY VULNERABLE. Standard library only; never to be served to anybody.

The same text runs in the monolith and, carried in as text, in a compartment. Each serves one
connection: lines in, one line out. Source: see the package.
"""

import base64
import hashlib
import hmac
import json
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote

LINE_BYTES_MAX: Final = 65_536
CONNECTION_S: Final = 5.0
SHARED_KEY: Final = b"the same on every device of this make"
"""CVE-2020-6961: whoever takes one device apart has it for all."""
SHARE_LOGIN: Final = "LOGIN share share"
"""CVE-2020-6963: hard-coded."""
SERVICE_LOGIN: Final = "LOGIN service service"
SCREEN_MASK: Final = 0x5A
"""CVE-2020-6966: what hides the password is the same for everybody."""
SCREEN_PASSWORD: Final = "monitor"  # noqa: S105 - that it stands here is the flaw
AUTORUN: Final = "autorun.py"
INSTALL: Final = "install.py"


class World(Protocol):
    """What a service is part of."""

    @property
    def folder(self) -> Path:
        """Its own folder."""
        ...

    def press(self, key: str) -> str:
        """Press a key of the device's own interface; returns what came of it."""
        ...


class Line:
    """One connection, in lines."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rwb")

    def read(self) -> str:
        """Return the next line."""
        return self._file.readline(LINE_BYTES_MAX).decode("utf-8", "replace").strip()

    def write(self, text: str) -> None:
        """Send a line."""
        self._file.write(text.encode() + b"\n")
        self._file.flush()


def _run(code: str, world: World) -> str:
    names: dict[str, Any] = {"world": world, "result": {}}
    exec(code, names)  # noqa: S102 - remote execution is the flaw that is shown
    return json.dumps(names["result"])


def remote_shell(line: Line, world: World) -> None:
    """CVE-2020-6961, as SSH: one key for all devices opens it."""
    nonce = os.urandom(8).hex()
    line.write(nonce)
    if line.read() == hmac.new(SHARED_KEY, nonce.encode(), hashlib.sha256).hexdigest():
        line.write(_run(base64.b64decode(line.read()).decode(), world))


def web_config(line: Line, world: World) -> None:
    """CVE-2020-6962, as a web page for settings: what is typed becomes part of a program."""
    value = unquote(line.read().removeprefix("GET /set?name=").removesuffix(" HTTP/1.0"))
    line.write(_run(f"settings = {{}}\nsettings['name'] = '{value}'", world))


def file_share(line: Line, world: World) -> None:
    """CVE-2020-6963, as SMB: a password for all, any path, and one file that is run."""
    if line.read() != SHARE_LOGIN:
        return
    share = world.folder / "share"
    share.mkdir(exist_ok=True)
    _, name, text = line.read().split(" ", 2)
    (share / name).write_bytes(base64.b64decode(text))
    line.write(_run((share / AUTORUN).read_text("utf-8"), world))


def keyboard(line: Line, world: World) -> None:
    """CVE-2020-6964, as a shared keyboard: whoever connects, types."""
    line.write(world.press(line.read().removeprefix("KEY ")))


def update(line: Line, world: World) -> None:
    """CVE-2020-6965, as an update: a package writes where it likes, and its program is run."""
    if line.read() != SERVICE_LOGIN:
        return
    place = world.folder / "update"
    place.mkdir(exist_ok=True)
    for name, text in json.loads(line.read()).items():
        (place / name).write_text(text, "utf-8")
    line.write(_run((place / INSTALL).read_text("utf-8"), world))


def screen(line: Line, world: World) -> None:
    """CVE-2020-6966, as a remote screen: a password that the wire gives away, then keys."""
    hidden = bytes.fromhex(line.read())
    if bytes(byte ^ SCREEN_MASK for byte in hidden).decode("ascii", "replace") == SCREEN_PASSWORD:
        line.write(world.press(line.read().removeprefix("KEY ")))


SERVICES: Final[dict[str, Callable[[Line, World], None]]] = {
    "CVE-2020-6961": remote_shell,
    "CVE-2020-6962": web_config,
    "CVE-2020-6963": file_share,
    "CVE-2020-6964": keyboard,
    "CVE-2020-6965": update,
    "CVE-2020-6966": screen,
}


def serve(listeners: dict[str, socket.socket], world: World, *, beat: Callable[[], bool]) -> None:
    """Serve one connection after the other until `beat` says that it is over.

    Args:
        listeners: By name of `SERVICES`, on loopback.
        world: What the services are part of.
        beat: Called several times a second; False ends.
    """
    names = {listener: name for name, listener in listeners.items()}
    while beat():
        readable, _, _ = select.select(list(names), [], [], 0.1)
        for listener in readable:
            connection, _ = listener.accept()
            connection.settimeout(CONNECTION_S)
            with connection:
                try:
                    SERVICES[names[listener]](Line(connection), world)
                except Exception as error:  # noqa: BLE001 - a vulnerable service lives on
                    _apologise(connection, error)


def _apologise(connection: socket.socket, error: Exception) -> None:
    try:
        connection.send(json.dumps({"service": f"denied: {type(error).__name__}"}).encode())
    except OSError:
        return
