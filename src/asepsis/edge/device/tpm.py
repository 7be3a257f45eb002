"""The way to a TPM: the kernel's resource manager, or the socket of a software TPM in trials.

One command, one answer; whoever holds the file is alone with it. No library is needed.

Source: TCG Trusted Platform Module Library, part 1 clause 18 and part 3 clause 5 (command and
response headers); Linux tpmrm(4), which swaps handles of several users.
"""

import os
import socket
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from asepsis.core.errors import (
    ConfigError,
    Conflict,
    FramingError,
    InputError,
    NotFound,
    Unavailable,
)
from asepsis.core.trust.tpm import RS_PASSWORD, STRUCTURE_BYTES_MAX, TpmReader, sized

DEVICE: Final = Path("/dev/tpmrm0")
ANSWER_S_MAX: Final = 30.0
"""Longest answer: making a key takes a slow TPM seconds."""
_HEADER: Final = struct.Struct(">HII")
_NO_SESSIONS: Final = 0x8001
_SESSIONS: Final = 0x8002
_SUCCESS: Final = 0
_RETRY: Final = 0x922
"""TPM_RC_RETRY: it was not ready; the same command again."""
_RETRIES_MAX: Final = 20
_HANDLE: Final = 0x8B
"""TPM_RC_HANDLE: there is no such object or index."""
_HANDLE_MASK: Final = 0xBF
"""Of a code of format one, without the number of the handle."""
_NV_UNWRITTEN: Final = 0x14A
_NV_DEFINED: Final = 0x14C


class Tpm:
    """One TPM.

    Args:
        where: A character device, or the unix socket of swtpm; or either, open already, which is
            owned from now on.

    Raises:
        ConfigError: There is no TPM at this path, or this user may not use it.

    Resource handling: holds one file; `close`, or use it in a with statement.
    """

    def __init__(self, where: Path | int = DEVICE) -> None:
        self._socket: socket.socket | None = None
        self._fd = -1
        try:
            if isinstance(where, int):
                self._take(where)
            elif where.is_socket():
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.settimeout(ANSWER_S_MAX)
                self._socket.connect(os.fspath(where))
            else:
                self._fd = os.open(where, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            self.close()
            raise ConfigError(
                f"no TPM at {where} ({error.strerror})", hint="name it: --tpm /dev/tpmrm0"
            ) from error

    def _take(self, descriptor: int) -> None:
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            self._socket = socket.socket(fileno=descriptor)
            self._socket.settimeout(ANSWER_S_MAX)
        else:
            self._fd = descriptor

    def release(self) -> int:
        """Return the open file, to hand it over; it is the caller's from now on."""
        descriptor = self._fd if self._socket is None else self._socket.detach()
        self._fd, self._socket = -1, None
        return descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def run(
        self,
        code: int,
        *,
        handles: Sequence[int] = (),
        parameters: bytes = b"",
        sessions: Sequence[int] = (),
        returned: int = 0,
    ) -> tuple[tuple[int, ...], TpmReader]:
        """Run one command.

        Args:
            code: Of the command (part 2 clause 6.5.2).
            handles: What it acts on.
            parameters: As the command wants them.
            sessions: One for each handle that needs authorisation: `RS_PASSWORD` for an empty
                password, or a policy session.
            returned: How many handles the answer begins with.

        Returns:
            The handles of the answer, and a reader of its parameters.

        Raises:
            NotFound: There is no such index, or nothing was written to it yet.
            Conflict: There is such an index already.
            InputError: The TPM refused.
            Unavailable: It does not answer.
            FramingError: Its answer is none.
        """
        body = struct.pack(f">{len(handles)}I", *handles)
        if sessions:
            areas = b"".join(struct.pack(">IHBH", session, 0, 1, 0) for session in sessions)
            body += struct.pack(">I", len(areas)) + areas
        body += parameters
        tag = _SESSIONS if sessions else _NO_SESSIONS
        command = _HEADER.pack(tag, _HEADER.size + len(body), code) + body
        answered, answer = self._exchange(command)
        for _ in range(_RETRIES_MAX):
            if answered != _RETRY:
                break
            answered, answer = self._exchange(command)
        if answered != _SUCCESS:
            raise _refusal(code, answered)
        reader = TpmReader(answer)
        found = tuple(reader.number(4) for _ in range(returned))
        if sessions:
            reader = TpmReader(reader.take(reader.number(4)))
        return found, reader

    def _exchange(self, command: bytes) -> tuple[int, bytes]:
        try:
            raw = self._through_socket(command) if self._socket else self._through_file(command)
        except OSError as error:
            raise Unavailable(f"the TPM does not answer ({type(error).__name__})") from error
        if len(raw) < _HEADER.size:
            raise FramingError("the answer of the TPM is cut off")
        _, size, code = _HEADER.unpack_from(raw)
        if size != len(raw):
            raise FramingError("the answer of the TPM has another length than it says")
        return code, raw[_HEADER.size :]

    def _through_file(self, command: bytes) -> bytes:
        os.write(self._fd, command)
        return os.read(self._fd, STRUCTURE_BYTES_MAX)

    def _through_socket(self, command: bytes) -> bytes:
        line = self._socket
        if line is None:
            raise AssertionError("the TPM is closed")
        line.sendall(command)
        head = self._exactly(line, _HEADER.size)
        size = _HEADER.unpack(head)[1]
        if not _HEADER.size <= size <= STRUCTURE_BYTES_MAX:
            raise FramingError("the answer of the TPM is too long")
        return head + self._exactly(line, size - _HEADER.size)

    @staticmethod
    def _exactly(line: socket.socket, size: int) -> bytes:
        found = b""
        while len(found) < size:
            chunk = line.recv(size - len(found))
            if not chunk:
                raise ConnectionResetError
            found += chunk
        return found


def _refusal(command: int, code: int) -> InputError:
    """Turn an answer (part 2 clause 6.6.3) into the error that says what to do."""
    text = f"the TPM refused command {command:#x} with {code:#x}"
    if code & _HANDLE_MASK == _HANDLE or code == _NV_UNWRITTEN:
        return NotFound(text)
    return Conflict(text) if code == _NV_DEFINED else InputError(text)


def password(*handles: int) -> tuple[int, ...]:
    """Return a session with an empty password for each handle."""
    return (RS_PASSWORD,) * len(handles)


def empty_sensitive() -> bytes:
    """Return what is given of a key that the TPM makes itself: no password, no data."""
    return sized(sized(), sized())
