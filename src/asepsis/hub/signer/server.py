"""Serves the two unix sockets. Who may ask is decided by the kernel's word on the peer's user."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, ConfigError, InputError, LimitExceeded, NotPermitted
from asepsis.core.trust import answers, signer_values
from asepsis.core.trust import requests as typed
from asepsis.hub.signer.confine import User
from asepsis.hub.signer.service import Signer

CONNECTIONS_MAX: Final = 64
BODY_TIMEOUT_S: Final = 10.0
"""A peer that announced a request sends it within this time."""
BACKLOG: Final = 64
HUB_SOCKET: Final = "signer.sock"
ADMIN_SOCKET: Final = "signer-admin.sock"
_CREDENTIALS: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One listening socket.

    Attributes:
        listener: Bound and listening unix socket.
        uids: Users who may ask here.
        answer: Decodes one request and answers it.
    """

    listener: socket.socket
    uids: frozenset[int]
    answer: Callable[[bytes], answers.Answer]


def bind(path: Path, *, owner: User) -> socket.socket:
    """Bind a unix socket that only its owner (and root) may connect to.

    Connecting needs write permission (unix(7)), so mode and owner are a first door before the
    check of the peer's user.

    Raises:
        ConfigError: The folder is missing or not writable.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        if os.geteuid() == 0:
            os.chown(path, owner.uid, owner.gid)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {path}") from error
    listener.setblocking(False)
    return listener


def peer_uid(connection: socket.socket) -> int:
    """Return the user of the connected process (SO_PEERCRED, unix(7))."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(packed)[1])


class Server:
    """Answers on all doors, one request at a time, until `stop`.

    Args:
        signer: Decides and logs.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._open = 0
        self._stopping = asyncio.Event()

    async def run(self, doors: Iterable[Door], *, ready: Callable[[], None]) -> None:
        """Serve until `stop`; calls `ready` once requests are taken."""
        servers = [
            await asyncio.start_unix_server(
                lambda reader, writer, door=door: self._serve(reader, writer, door),
                sock=door.listener,
                limit=signer_values.MESSAGE_BYTES_MAX,
            )
            for door in doors
        ]
        ready()
        await self._stopping.wait()
        for server in servers:
            server.close()

    def stop(self) -> None:
        """Take no more requests; the one being answered is finished first."""
        self._stopping.set()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, door: Door
    ) -> None:
        self._open += 1
        try:
            self._admit(writer, door)
            while await self._serve_one(reader, writer, door):
                pass
        except AsepsisError as error:
            writer.write(typed.encode_message(self._signer.refuse(error, request="connection")))
        except (OSError, EOFError, TimeoutError):
            pass  # The peer went away or stalled; it may connect anew.
        finally:
            self._open -= 1
            writer.close()

    def _admit(self, writer: asyncio.StreamWriter, door: Door) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        uid = peer_uid(connection)
        if uid not in door.uids:
            raise NotPermitted(f"user {uid} may not ask the signer here")
        if self._open > CONNECTIONS_MAX:
            raise LimitExceeded(f"over {CONNECTIONS_MAX} connections to the signer")

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, door: Door
    ) -> bool:
        prefix = await reader.read(1)
        if not prefix:
            return False
        async with asyncio.timeout(BODY_TIMEOUT_S):
            prefix += await reader.readexactly(signer_values.LENGTH.size - 1)
            body = await reader.readexactly(typed.message_length(prefix))
        try:
            answer = door.answer(body)
        except InputError as error:  # Not a request of this socket; framing still holds.
            answer = self._signer.refuse(error, request="undecodable")
        writer.write(typed.encode_message(answer))
        await writer.drain()
        return True
