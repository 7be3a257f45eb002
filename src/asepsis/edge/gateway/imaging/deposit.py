"""The parser's side of the spool: asks for files, fills them, and hears what became of them."""

import asyncio
import os
import socket
from typing import Final

from asepsis.core.errors import BackPressure, InputError, Unavailable
from asepsis.edge.gateway.imaging import channel
from asepsis.edge.gateway.imaging.channel import Drop, File, Open, Outcome, Seen, Written
from asepsis.edge.gateway.imaging.sealedfile import SealedWriter

OPEN_S: Final = 5.0
"""Longest wait for a file, seconds."""
SEEN_MAX: Final = 4_096
"""Places of modalities that were told of once; beyond it they are told of again."""


class Deposit:
    """Files of the spool, as far as the parser may have them; for one event loop.

    Args:
        keeper: Conversation with the keeper.
        lost: Told once when the keeper is gone.

    Resource handling: `listen` watches the conversation; descriptors belong to the writers.
    """

    def __init__(self, keeper: socket.socket, *, lost: asyncio.Event) -> None:
        self._keeper = keeper
        self._lost = lost
        self._tokens = 0
        self._seen: dict[Seen, None] = {}
        self._files: dict[int, asyncio.Future[tuple[File, int]]] = {}
        self._outcomes: dict[int, asyncio.Future[Outcome]] = {}

    def listen(self) -> None:
        """Begin to hear the keeper."""
        self._keeper.setblocking(False)
        asyncio.get_running_loop().add_reader(self._keeper.fileno(), self._hear)

    async def open(self, *, bytes_max: int) -> tuple[int, SealedWriter]:
        """Return a token and a file to fill.

        Args:
            bytes_max: Most plaintext bytes that the peer may send.

        Raises:
            BackPressure: The spool is full, or its disk fails.
            Unavailable: The keeper is gone.
        """
        self._tokens += 1
        token = self._tokens
        future: asyncio.Future[tuple[File, int]] = asyncio.get_running_loop().create_future()
        self._files[token] = future
        channel.send(self._keeper, Open(token))
        try:
            async with asyncio.timeout(OPEN_S):
                file, descriptor = await future
        except TimeoutError as error:
            raise BackPressure("the gateway's disk is slow") from error
        finally:
            self._files.pop(token, None)
        return token, SealedWriter(descriptor, file.key, bytes_max=min(bytes_max, file.room))

    async def finish(self, written: Written) -> Outcome:
        """Say that a file is complete and return what the peer is told.

        Raises:
            Unavailable: The keeper is gone: nobody may say anything.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._outcomes[written.token] = future
        try:
            channel.send(self._keeper, written)
            return await future
        finally:
            self._outcomes.pop(written.token, None)

    def seen(self, peer: str, address: str, key: str) -> None:
        """Say where a modality came from; once for each place."""
        found = Seen(peer, address.partition("%")[0], key)
        if found in self._seen or self._lost.is_set():
            return
        if len(self._seen) >= SEEN_MAX:
            self._seen.clear()
        self._seen[found] = None
        channel.send(self._keeper, found)

    def drop(self, token: int) -> None:
        """Say that a file will not be completed."""
        if not self._lost.is_set():
            channel.send(self._keeper, Drop(token))

    def _hear(self) -> None:
        try:
            message, descriptor = channel.receive_from_keeper(self._keeper)
        except BlockingIOError:
            return
        except (Unavailable, InputError) as error:
            self._give_up(error)
            return
        if isinstance(message, File):
            self._got_file(message, descriptor)
            return
        waiting = self._files.get(message.token)
        if waiting is not None and not waiting.done():
            waiting.set_exception(BackPressure(message.comment))
        outcome = self._outcomes.get(message.token)
        if outcome is not None and not outcome.done():
            outcome.set_result(message)

    def _got_file(self, file: File, descriptor: int) -> None:
        waiting = self._files.get(file.token)
        if waiting is not None and not waiting.done():
            waiting.set_result((file, descriptor))
            return
        os.close(descriptor)  # Nobody waits any more.
        self.drop(file.token)

    def _give_up(self, error: Exception) -> None:
        asyncio.get_running_loop().remove_reader(self._keeper.fileno())
        self._lost.set()
        gone = Unavailable(f"the keeper is gone: {error}")
        for future in (*self._files.values(), *self._outcomes.values()):
            if not future.done():
                future.set_exception(gone)
