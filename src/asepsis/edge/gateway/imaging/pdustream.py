"""PDUs over a stream, with a clock that judges slow ones; both ends of an association use it.

Source: DICOM PS3.8 section 9; the ARTIM timer of 9.1.5 is the `within_s` of the caller.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

from asepsis.core.errors import InputError, Unavailable
from asepsis.edge.gateway.imaging import pdu
from asepsis.edge.gateway.imaging.pdu import HEAD_BYTES, PDV_HEAD_BYTES
from asepsis.edge.gateway.imaging.pdu_values import PduType

UNSENT_BYTES_MAX: Final = 65_536
"""What may wait unsent for a peer that does not read."""
FIRST_BYTES: Final = 16_384
"""Buffer of a connection before anything is known of it."""
ROOM_PDUS: Final = 2
"""PDUs that a buffer holds once their size is known."""
FRAGMENT_BYTES: Final = 131_066
"""Most data of one P-DATA-TF that we send, whatever more the peer would take."""


class PduStream(asyncio.BufferedProtocol):
    """One TCP or TLS connection.

    Received bytes stay where the kernel put them until the next `read`: pieces of this size cost
    more to copy than to decrypt.

    Args:
        pdu_bytes_max: Longest P-DATA-TF body taken.
        pdu_s: Longest time from the first to the last byte of a PDU, seconds.
        begun: Told when the connection is there; None if somebody waits for it anyway.

    Attributes:
        peer_bytes_max: Longest P-DATA-TF body that the peer takes; 0 for no limit.
        pdu_s: As the argument; a provider knows it once it knows the peer.

    Resource handling: owns the connection; `close` ends it.
    """

    def __init__(
        self,
        *,
        pdu_bytes_max: int,
        pdu_s: float,
        begun: "Callable[[PduStream], None] | None" = None,
    ) -> None:
        self._bytes_max = pdu_bytes_max
        self.pdu_s = pdu_s
        self.peer_bytes_max = 0
        self._begun = begun
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(FIRST_BYTES)
        self._begin = self._end = 0
        self._taken = 0  # Bytes of the PDU that was returned last.
        self._wanted = 0
        self._arrived: asyncio.Future[None] | None = None
        self._paused = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._over = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; of a TLS connection after its handshake."""
        self._transport = cast("asyncio.Transport", transport)
        connection = cast("socket.socket", transport.get_extra_info("socket"))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)
        if self._begun is not None:
            self._begun(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: whoever waits is told."""
        del exc
        self._over.set()
        self._writable.set()
        self._wake()

    def eof_received(self) -> bool:
        """Close: half an association is none."""
        return False

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It reads again."""
        self._writable.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where received bytes go."""
        del sizehint
        return memoryview(self._buffer)[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of received bytes."""
        self._end += nbytes
        if self._end == len(self._buffer) and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        if self._end - self._begin >= self._wanted:
            self._wake()

    @property
    def transport(self) -> asyncio.Transport:
        """The connection.

        Raises:
            Unavailable: There is none yet.
        """
        if self._transport is None:
            raise Unavailable("not connected")
        return self._transport

    async def read(self, *, within_s: float) -> tuple[PduType, memoryview]:
        """Return the next PDU; its body is valid until the next call.

        Args:
            within_s: Longest wait for its first byte, seconds.

        Raises:
            FramingError: No PDU.
            LimitExceeded: A longer one than may be.
            TimeoutError: Too slow.
            Unavailable: The connection is gone.
        """
        self._begin += self._taken
        self._taken = 0
        if self._begin == self._end:
            self._begin = self._end = 0
        if self._end - self._begin < HEAD_BYTES:
            async with asyncio.timeout(within_s):
                await self._wait_for(1)
            async with asyncio.timeout(self.pdu_s):
                await self._wait_for(HEAD_BYTES)
        head = bytes(self._buffer[self._begin : self._begin + HEAD_BYTES])
        kind, length = pdu.read_head(head, data_bytes_max=self._bytes_max)
        whole = HEAD_BYTES + length
        if self._end - self._begin < whole:
            async with asyncio.timeout(self.pdu_s):
                await self._wait_for(whole)
        self._taken = whole
        body = memoryview(self._buffer)[self._begin + HEAD_BYTES : self._begin + whole]
        return kind, body.toreadonly()

    async def send(self, *parts: bytes | memoryview) -> None:
        """Send bytes; waits while the peer does not read.

        Raises:
            TimeoutError: The peer does not read for `pdu_s`.
            Unavailable: The connection is gone.
        """
        if self._over.is_set():
            raise Unavailable("the peer is gone")
        self.transport.writelines(parts)
        if not self._writable.is_set():
            async with asyncio.timeout(self.pdu_s):
                await self._writable.wait()
        if self._over.is_set():
            raise Unavailable("the peer is gone")

    async def send_message(
        self, context: int, data: bytes | memoryview, *, command: bool, last: bool = True
    ) -> None:
        """Send a command or a part of a data set, in PDUs no longer than the peer takes.

        Args:
            context: Presentation context.
            data: At least one byte unless it is the last part.
            command: Command, or else data set.
            last: Whether nothing of it follows.

        Raises:
            TimeoutError: The peer does not read.
            Unavailable: The connection is gone.
        """
        view = memoryview(data)
        size = FRAGMENT_BYTES
        if self.peer_bytes_max:
            size = max(1, min(size, self.peer_bytes_max - PDV_HEAD_BYTES))
        waiting: list[bytes | memoryview] = []
        left = FRAGMENT_BYTES
        while True:
            part, view = view[:size], view[size:]
            ends = last and not view
            waiting += (pdu.data_head(context, len(part), command=command, last=ends), part)
            left -= size
            if not view or left < size:  # Short PDUs leave together: each call costs its share.
                await self.send(*waiting)
                waiting, left = [], FRAGMENT_BYTES
            if not view:
                return

    async def abort(self, *, by_user: bool = False, reason: int = 0) -> None:
        """Say that the association is over, as far as the peer still listens."""
        try:
            await self.send(pdu.encode_abort(by_user=by_user, reason=reason))
        except (Unavailable, TimeoutError):
            return

    async def close(self) -> None:
        """End the connection."""
        if self._transport is None:
            return
        self._transport.close()
        try:
            async with asyncio.timeout(1.0):
                await self._over.wait()
        except TimeoutError:  # A peer that does not say good-bye.
            self._transport.abort()

    async def _wait_for(self, count: int) -> None:
        """Wait until so many bytes are there.

        Raises:
            Unavailable: The connection ended before.
        """
        self._make_room(count)
        self._wanted = count
        while self._end - self._begin < count:
            if self._over.is_set():
                raise Unavailable("the peer is gone")
            self._arrived = asyncio.get_running_loop().create_future()
            try:
                await self._arrived
            finally:
                self._arrived = None

    def _make_room(self, count: int) -> None:
        """Let the buffer hold so many bytes from the present PDU on."""
        if self._begin + count > len(self._buffer):
            kept = self._end - self._begin
            size = len(self._buffer)
            if count > size:
                size = max(count, ROOM_PDUS * min(self._bytes_max + HEAD_BYTES, 2 * count))
            fresh = bytearray(size)  # A view of the old one may still be in use.
            fresh[:kept] = memoryview(self._buffer)[self._begin : self._end]
            self._buffer, self._begin, self._end = fresh, 0, kept
        if self._paused and self._end < len(self._buffer):
            self._paused = False
            self.transport.resume_reading()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


def abort_reason(error: InputError) -> int:
    """Return the reason of an A-ABORT for what was wrong with a PDU (PS3.8 table 9-26)."""
    return 1 if "PDU of type" in str(error) else 6
