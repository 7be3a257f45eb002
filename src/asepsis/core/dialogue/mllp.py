"""Sends a queue over one MLLP connection, in order, and tells it what became of each message.

The hub uses it towards an EHR, a gateway towards an old one on its own segment. It opens no
connection: who does decides where to.

Source: MLLP Release 1; HL7 v2.8.2 section 2.9.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from asepsis.core.errors import AsepsisError, InputError, Unavailable
from asepsis.core.wire.mllp_client import MllpClient, Verdict

WRITE_BYTES_MAX: Final = 1_048_576
"""Bytes handed to the kernel's side before more is taken from the queue."""


class Outgoing(Protocol):
    """The queue of one destination; every method returns at once, in the loop's thread."""

    def take(self, after: int, *, items_max: int) -> Sequence[tuple[int, bytes]]:
        """Return messages with a number above `after`, in order, ascending; perhaps none."""
        ...

    def settled(self, verdict: Verdict) -> bool:
        """Take an answer; False ends the connection, and the message is sent again later."""
        ...

    def refuse(self, number: int, error: AsepsisError) -> None:
        """Take back a message that cannot be sent at all."""
        ...

    def listen(self, arrived: Callable[[], None] | None) -> None:
        """Call `arrived` whenever `take` may have more; None ends that."""
        ...


class MllpSession(asyncio.Protocol):
    """One connection, from its opening to its end.

    Args:
        outgoing: What is sent.
        in_flight_max: Messages that may wait for their answer.
        answer_s: Longest wait for one, seconds.
    """

    def __init__(self, outgoing: Outgoing, *, in_flight_max: int, answer_s: float) -> None:
        self._outgoing = outgoing
        self._client = MllpClient(in_flight_max=in_flight_max, answer_s=answer_s)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[AsepsisError] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._after = 0
        self._full = False

    async def run(self) -> None:
        """Wait for the end.

        Raises:
            TransientError: Always: why the connection ended. What has no answer is sent again.
        """
        try:
            error = await self._ended
        finally:
            self.close()
        raise error

    def close(self) -> None:
        """End the connection; safe to repeat."""
        self._outgoing.listen(None)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to send."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BYTES_MAX)
        self._outgoing.listen(self._pump)
        self._pump()

    def data_received(self, data: bytes) -> None:
        """Take answers, and send what has room now."""
        if self._ended.done():
            return
        try:
            for verdict in self._client.receive(data):
                if not self._outgoing.settled(verdict):
                    self._end(Unavailable(f"the receiver answers {verdict.code}; trying again"))
                    return
        except AsepsisError as error:
            self._end(Unavailable(f"the receiver's answer: {error}"))
            return
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so."""
        name = type(exc).__name__ if exc else "it closed"
        self._end(Unavailable(f"the connection to the receiver ended ({name})"))

    def pause_writing(self) -> None:
        """Take no more from the queue."""
        self._full = True

    def resume_writing(self) -> None:
        """Go on."""
        self._full = False
        self._pump()

    def _pump(self) -> None:
        transport = self._transport
        if transport is None or self._ended.done() or self._full:
            return
        blocks: list[bytes] = []
        room = self._client.room
        for number, body in self._outgoing.take(self._after, items_max=room) if room else ():
            self._after = number
            try:
                blocks.append(self._client.send(number, body, now_s=self._loop.time()))
            except InputError as error:
                self._outgoing.refuse(number, error)
        if blocks:
            transport.write(b"".join(blocks))
        self._watch()

    def _watch(self) -> None:
        """Keep one timer for the oldest answer; it is moved only when it fires."""
        if self._timer is None and self._client.deadline_s is not None:
            self._timer = self._loop.call_at(self._client.deadline_s, self._due)

    def _due(self) -> None:
        self._timer = None
        deadline_s = self._client.deadline_s
        if deadline_s is not None and self._loop.time() >= deadline_s:
            self._end(Unavailable("the receiver does not answer"))
            return
        self._watch()

    def _end(self, error: AsepsisError) -> None:
        if not self._ended.done():
            self._ended.set_result(error)
        if self._transport is not None:
            self._transport.abort()
