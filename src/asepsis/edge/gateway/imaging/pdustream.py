"""PDUs over a stream, with a clock that judges slow ones; both ends of an association use it.

Source: DICOM PS3.8 section 9; the ARTIM timer of 9.1.5 is the `within_s` of the caller.
"""

import asyncio
import socket
from typing import Final, cast

from asepsis.core.errors import InputError, Unavailable
from asepsis.edge.gateway.imaging import pdu
from asepsis.edge.gateway.imaging.pdu import HEAD_BYTES, PDV_HEAD_BYTES, PduType

UNSENT_BYTES_MAX: Final = 65_536
"""What may wait unsent for a peer that does not read."""
FRAGMENT_BYTES: Final = 131_066
"""Most data of one P-DATA-TF that we send, whatever more the peer would take."""


class PduStream:
    """One TCP or TLS connection.

    Args:
        reader: Its reading half.
        writer: Its writing half.
        pdu_bytes_max: Longest P-DATA-TF body taken.
        pdu_s: Longest time from the first to the last byte of a PDU, seconds.

    Attributes:
        peer_bytes_max: Longest P-DATA-TF body that the peer takes; 0 for no limit.
        pdu_s: As the argument; a provider knows it once it knows the peer.

    Resource handling: owns the connection; `close` ends it.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        pdu_bytes_max: int,
        pdu_s: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._bytes_max = pdu_bytes_max
        self.pdu_s = pdu_s
        self.peer_bytes_max = 0
        connection = cast("socket.socket", writer.get_extra_info("socket"))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)

    async def read(self, *, within_s: float) -> tuple[PduType, bytes]:
        """Return the next PDU.

        Args:
            within_s: Longest wait for its first byte, seconds.

        Raises:
            FramingError: No PDU.
            LimitExceeded: A longer one than may be.
            TimeoutError: Too slow.
            Unavailable: The connection is gone.
        """
        try:
            async with asyncio.timeout(within_s):
                first = await self._reader.readexactly(1)
            async with asyncio.timeout(self.pdu_s):
                head = first + await self._reader.readexactly(HEAD_BYTES - 1)
                kind, length = pdu.read_head(head, data_bytes_max=self._bytes_max)
                return kind, await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            if isinstance(error, TimeoutError):  # An OSError by inheritance, and no broken line.
                raise
            raise Unavailable("the peer is gone") from error

    async def send(self, *parts: bytes | memoryview) -> None:
        """Send bytes; waits while the peer does not read.

        Raises:
            TimeoutError: The peer does not read for `pdu_s`.
            Unavailable: The connection is gone.
        """
        try:
            self._writer.writelines(parts)
            async with asyncio.timeout(self.pdu_s):
                await self._writer.drain()
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise Unavailable("the peer is gone") from error

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
        while True:
            part, view = view[:size], view[size:]
            ends = last and not view
            await self.send(pdu.data_head(context, len(part), command=command, last=ends), part)
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
        self._writer.close()
        try:
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()
        except OSError:  # Also TimeoutError: a peer that does not say good-bye.
            self._writer.transport.abort()


def abort_reason(error: InputError) -> int:
    """Return the reason of an A-ABORT for what was wrong with a PDU (PS3.8 table 9-26)."""
    return 1 if "PDU of type" in str(error) else 6
