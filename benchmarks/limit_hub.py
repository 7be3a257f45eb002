"""The limit beside the hub: same TLS, same bytes, one group commit with fsync, no checks at all.

Nothing that must be on disk before the answer can be faster on this machine in this language; the
distance between this figure and the hub's is what all our checks, keys and books cost.

Usage: limit_hub.py CHAIN KEY ISSUING_CRT FILE  (prints its port)
"""

import asyncio
import os
import ssl
import sys
import threading
from pathlib import Path
from typing import cast

import uvloop

from asepsis.core.trust.tls import KeyAndChain, Listener, server_context

ANSWER = b'HTTP/1.1 201 Created\r\ncontent-length: 33\r\n\r\n{"outcome":"stored","position":1}'


class GroupWriter:
    """Appends whole groups to one file and syncs each once."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._loop = loop
        self._changed = threading.Condition()
        self._waiting: list[tuple[bytes, asyncio.Transport]] = []
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, body: bytes, transport: asyncio.Transport) -> None:
        """Queue a body; its sender is answered once it is on disk."""
        with self._changed:
            self._waiting.append((body, transport))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                self._changed.wait(0.005)
                group, self._waiting = self._waiting, []
            os.writev(self._descriptor, [body for body, _ in group[:1_000]])
            for start in range(1_000, len(group), 1_000):
                os.writev(self._descriptor, [body for body, _ in group[start : start + 1_000]])
            os.fdatasync(self._descriptor)
            self._loop.call_soon_threadsafe(self._answer, group)

    @staticmethod
    def _answer(group: list[tuple[bytes, asyncio.Transport]]) -> None:
        for _, transport in group:
            transport.write(ANSWER)


class Receiver(asyncio.Protocol):
    """Reads requests with a Content-Length and nothing else."""

    def __init__(self, writer: GroupWriter) -> None:
        self._writer = writer
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass.

    def data_received(self, data: bytes) -> None:
        """Pass on every whole body."""
        self._buffer = self._buffer + data if self._buffer else data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            at = self._buffer.rfind(b"Content-Length: ", 0, end)
            length = int(self._buffer[at + 16 : end])
            stop = end + 4 + length
            if len(self._buffer) < stop:
                return
            assert self._transport is not None
            self._writer.add(self._buffer[end + 4 : stop], self._transport)
            self._buffer = self._buffer[stop:]


async def main() -> None:
    """Serve until killed."""
    chain, key, issuing, file = (Path(a) for a in sys.argv[1:5])
    context = server_context(
        Listener.CLINICAL,
        identity=KeyAndChain(chain_path=chain, key_path=key),
        issuing_der=[ssl.PEM_cert_to_DER_cert(issuing.read_text())],
    )
    loop = asyncio.get_running_loop()
    writer = GroupWriter(file, loop)
    server = await loop.create_server(
        lambda: Receiver(writer), "127.0.0.1", 0, ssl=context, backlog=2_048
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
