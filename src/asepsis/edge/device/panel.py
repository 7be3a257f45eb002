"""Local sockets of a device: the panel, which stands for screen and keys, and the orders' one.

Whoever may use it is a person at the device: the file belongs to the supervisor's user with mode
0600, the peer's user is asked of the kernel, and no compartment can make a socket, see the folder
or open the file. One line of JSON in, one out, then it is over.

Source: unix(7), SO_PEERCRED.
"""

import contextlib
import json
import os
import socket
import stat
import struct
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from asepsis.core.errors import (
    AsepsisError,
    ConfigError,
    Conflict,
    FramingError,
    InputError,
    LimitExceeded,
    NotFound,
    SafetyRefusal,
    Unavailable,
)

NAME: Final = "panel.sock"
LINE_BYTES_MAX: Final = 2_048
ANSWER_BYTES_MAX: Final = 65_536
CONNECTIONS_MAX: Final = 4
PATIENCE_S: Final = 2.0
"""A peer that has not sent its line by then is cut."""
ACCEPTS_A_STEP: Final = 4
CONNECT_S: Final = 5.0
_PEER: Final = struct.Struct("=iII")
_ERRORS: Final[Mapping[str, type[AsepsisError]]] = {
    error.code: error for error in (Conflict, NotFound, SafetyRefusal, Unavailable)
}


class Panel:
    """Serves one such socket without waiting for anybody.

    Args:
        folder: The device's folder.
        answer: Given the word `do` and the whole line, returns the answer or raises AsepsisError.
        name: Name of the socket's file.

    Raises:
        ConfigError: The socket cannot be made.

    Resource handling: `close` removes the file.
    """

    def __init__(
        self,
        folder: Path,
        *,
        answer: Callable[[str, Mapping[str, Any]], dict[str, Any]],
        name: str = NAME,
    ) -> None:
        self._path = folder / name
        self._answer = answer
        self._open: dict[socket.socket, tuple[float, bytes]] = {}
        self.refused = 0
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(self._path.lstat().st_mode):
                    self._path.unlink()
            old = os.umask(0o177)
            try:
                with _short(folder, name) as short:
                    self._server.bind(short)
            finally:
                os.umask(old)
            self._server.listen(CONNECTIONS_MAX)
            self._server.setblocking(False)
        except OSError as error:
            self._server.close()
            raise ConfigError(f"cannot make {self._path}: {error.strerror}") from error

    def step(self, now_s: float) -> None:
        """Take and answer what is there."""
        for _ in range(ACCEPTS_A_STEP):
            if not self._accept(now_s):
                break
        for peer in list(self._open):
            self._serve(peer, now_s)

    def close(self) -> None:
        """End it."""
        for peer in self._open:
            peer.close()
        self._open.clear()
        self._server.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _accept(self, now_s: float) -> bool:
        if len(self._open) >= CONNECTIONS_MAX:
            return False
        try:
            peer, _ = self._server.accept()
        except OSError:
            return False
        peer.setblocking(False)
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        user = _PEER.unpack(credentials)[1]
        if user not in {0, os.geteuid()}:
            self.refused += 1
            peer.close()
        else:
            self._open[peer] = (now_s, b"")
        return True

    def _serve(self, peer: socket.socket, now_s: float) -> None:
        since_s, got = self._open[peer]
        try:
            part = peer.recv(LINE_BYTES_MAX + 1)
        except BlockingIOError:
            if now_s - since_s >= PATIENCE_S:
                self._end(peer)
            return
        except OSError:
            self._end(peer)
            return
        got += part
        if part and b"\n" not in got and len(got) <= LINE_BYTES_MAX:
            self._open[peer] = (since_s, got)
            return
        try:
            answer = self._answer_to(got)
        except AsepsisError as error:
            answer = {"code": error.code, "error": str(error)[:300]}
        with contextlib.suppress(OSError):
            peer.send(json.dumps(answer).encode() + b"\n", socket.MSG_NOSIGNAL)
        self._end(peer)

    def _answer_to(self, got: bytes) -> dict[str, Any]:
        line, end, _ = got.partition(b"\n")
        if not end:
            raise LimitExceeded(f"a line of the panel has at most {LINE_BYTES_MAX} bytes")
        try:
            document: object = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FramingError("the panel takes one line of JSON") from error
        if not isinstance(document, dict):
            raise FramingError("the panel takes a JSON object")
        body = cast("dict[str, Any]", document)
        return self._answer(str(body.get("do", "")), body)

    def _end(self, peer: socket.socket) -> None:
        del self._open[peer]
        peer.close()


def ask_panel(folder: Path, do: str, **body: Any) -> dict[str, Any]:
    """Say one line to the panel of a running device and return its answer.

    Raises:
        Unavailable: No device runs there with requests on.
        AsepsisError: What the device answered.
    """
    return ask_socket(folder, NAME, do, body, hint="start it: asepsis device run --requests")


def ask_socket(
    folder: Path, name: str, do: str, body: Mapping[str, Any], *, hint: str
) -> dict[str, Any]:
    """Say one line to a local socket of a running device and return its answer.

    Args:
        folder: The device's folder.
        name: Name of the socket's file.
        do: The word.
        body: What comes with it.
        hint: What to do where nobody answers.

    Raises:
        Unavailable: Nobody answers there.
        AsepsisError: What the device answered.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as panel:
        panel.settimeout(CONNECT_S)
        got = b""
        try:
            with _short(folder, name) as short:
                panel.connect(short)
            panel.sendall(json.dumps({"do": do, **body}).encode() + b"\n")
            while len(got) < ANSWER_BYTES_MAX and (part := panel.recv(8_192)):
                got += part
            answer: dict[str, Any] = json.loads(got)
        except (OSError, ValueError) as error:
            raise Unavailable(f"nobody answers at {folder / name}", hint=hint) from error
    if "error" in answer:
        raise _ERRORS.get(str(answer.get("code")), InputError)(str(answer["error"]))
    return answer


@contextlib.contextmanager
def _short(folder: Path, name: str) -> Generator[str]:
    """Name the socket by way of the open folder: a path in an address has at most 107 bytes."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)
