"""One MLLP connection: frames in, acknowledgements out, in order, within the peer's limits.

A frame that is not one ends the connection without an answer, because nobody can say which message
it was; an oversized one is answered if its header can be read, because it would come for ever.

Source: MLLP Release 1; HL7 v2.8.2 section 2.9.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.wire.hl7 import Hl7Limits, MessageReader
from asepsis.core.wire.hl7_batch import Batches, is_batch, read_batch
from asepsis.core.wire.mllp import FrameReader, frame
from asepsis.edge.gateway.desk import Answer, Desk, Withheld
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.policy import Peer
from asepsis.edge.gateway.rate import Bucket

RECEIVE_BYTES: Final = 65_536
"""Most bytes taken from one connection at once."""
UNSENT_BYTES_MAX: Final = 65_536
"""Answers a peer leaves unread before it is cut."""
NEVER: Final = float("inf")


@dataclass(slots=True, eq=False)
class _Bundle:
    """A batch whose messages are answered together, and their answers so far, in order."""

    batches: Batches
    answers: list[bytes | None] = field(default_factory=list[bytes | None])


@dataclass(slots=True, eq=False)
class _Entry:
    """A message of this connection and its answer once there is one."""

    answer: Answer | Withheld | None = None
    bundle: _Bundle | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What a session shares with the others of its peer and with its listener.

    Attributes:
        peer: The policy.
        bucket: The peer's rate, over all its connections.
        desk: Where messages go.
        findings: Told of what breaks the policy.
        ended: Called once when the connection is over.
    """

    peer: Peer
    bucket: Bucket
    desk: Desk
    findings: Findings
    ended: "Callable[[Session], None]"


class Session:
    """The life of one connection after its peer is known.

    Args:
        place: What it shares.
        transport: The connection.
        now_s: The event loop's time, seconds.
    """

    def __init__(self, place: Place, transport: asyncio.Transport) -> None:
        peer = place.peer
        self._place = place
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader(frame_bytes_max=peer.message_bytes_max)
        self._reader = MessageReader(limits=Hl7Limits(bytes_max=peer.message_bytes_max))
        self._entries: deque[_Entry] = deque()
        self._inner: deque[tuple[bytes, _Bundle]] = deque()
        self._paused = False
        self._flushing = False
        self._waiting: asyncio.TimerHandle | None = None
        self._frame_deadline_s = NEVER
        self._idle_deadline_s = self._loop.time() + peer.idle_s
        self._over = False
        self._broken = False  # The stream cannot go on, but answers before its end are still due.
        transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)

    def feed(self, chunk: memoryview) -> None:
        """Take received bytes."""
        if self._over or self._broken:
            return
        self._frames.feed(chunk)
        self._pump()

    def lost(self) -> None:
        """The connection is gone; what was taken goes on without it."""
        self._over = True
        if self._waiting is not None:
            self._waiting.cancel()
        self._place.ended(self)

    def stalled(self) -> None:
        """The peer does not read its answers."""
        self._place.findings.note(Finding.SLOW, self._place.peer.name, of="answers")
        self._end()

    def expire(self, now_s: float) -> None:
        """Judge the deadlines; called by the listener about twice a second.

        Args:
            now_s: The event loop's time.
        """
        peer, findings = self._place.peer, self._place.findings
        if now_s >= self._frame_deadline_s:
            findings.note(Finding.SLOW, peer.name, of="frame")
            self._end()
        elif now_s >= self._idle_deadline_s and not self._entries:
            findings.note(Finding.IDLE, peer.name)
            self._end()

    def _pump(self) -> None:
        """Take every complete frame that rate and acknowledgements allow."""
        try:
            while not (self._over or self._broken) and self._may_take():
                if self._inner:
                    self._take(*self._inner.popleft())
                    continue
                payload = self._frames.next_frame()
                if payload is None:
                    break
                self._frame_deadline_s = NEVER
                if is_batch(payload):
                    self._open(payload)
                else:
                    self._take(payload)
        except LimitExceeded as error:
            self._oversized(error)
        except FramingError as error:
            self._place.findings.note(Finding.FRAMING, self._place.peer.name, reason=str(error))
            self._end()
        self._set_deadlines()

    def _may_take(self) -> bool:
        if self._waiting is not None:
            return False
        if len(self._entries) >= self._place.peer.in_flight_max:
            self._pause()
            return False
        return True

    def _open(self, payload: bytes) -> None:
        """Take a batch apart; its messages are taken one by one, before the next frame."""
        place = self._place
        try:
            bundle = _Bundle(read_batch(payload))
        except InputError as error:
            self._answer_now(place.desk.refuse_batch(place.peer, payload, error))
            return
        messages = bundle.batches.messages
        if not messages:
            self._answer_now(Answer(place.desk.answer_batch(bundle.batches, ())))
        self._inner.extend((message, bundle) for message in messages)

    def _answer_now(self, answer: Answer | Withheld) -> None:
        self._entries.append(_Entry(answer))
        self._flush()

    def _take(self, payload: bytes, bundle: _Bundle | None = None) -> None:
        entry = _Entry(bundle=bundle)
        self._entries.append(entry)

        def done(answer: Answer | Withheld) -> None:
            entry.answer = answer
            if not self._flushing:  # The answers of one turn of the loop leave together.
                self._flushing = True
                self._loop.call_soon(self._flush)

        wait_s = self._place.bucket.wait_s(self._loop.time())
        if wait_s > 0:
            self._place.findings.note(Finding.RATE, self._place.peer.name)
            self._pause()
            self._waiting = self._loop.call_later(wait_s, self._resume_with, payload, entry)
            return
        self._place.desk.take(self._place.peer, self._reader, payload, done)

    def _resume_with(self, payload: bytes, entry: _Entry) -> None:
        self._waiting = None
        if self._over:
            return
        self._entries.remove(entry)
        self._take(payload, entry.bundle)
        self._resume()

    def _flush(self) -> None:
        """Send the answers that are due, in the order of the messages."""
        self._flushing = False
        written: list[bytes] = []
        entries = self._entries
        while entries and entries[0].answer is not None and not self._over:
            entry = entries.popleft()
            answer = entry.answer
            if isinstance(answer, Withheld):
                self._send(written)
                self._end()
                return
            body = answer.body if answer is not None else None
            if entry.bundle is not None:
                body = self._bundled(entry.bundle, body)
            if body is not None:
                written.append(frame(body))
        self._send(written)
        self._resume()

    def _bundled(self, bundle: _Bundle, body: bytes | None) -> bytes | None:
        """Keep the answer to a message of a batch; return that to the batch with the last one."""
        bundle.answers.append(body)
        if len(bundle.answers) < len(bundle.batches.messages):
            return None
        return self._place.desk.answer_batch(bundle.batches, bundle.answers)

    def _send(self, written: list[bytes]) -> None:
        if written and not self._over:
            self._transport.write(b"".join(written))
            self._idle_deadline_s = self._loop.time() + self._place.peer.idle_s

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        room = len(self._entries) < self._place.peer.in_flight_max
        if self._paused and room and not self._over and self._waiting is None:
            self._paused = False
            self._transport.resume_reading()
            self._loop.call_soon(self._pump)

    def _set_deadlines(self) -> None:
        if self._over:
            return
        now_s = self._loop.time()
        if not self._frames.pending_bytes or self._paused:
            # A frame that we do not read is not the peer's slowness.
            self._frame_deadline_s = NEVER
        elif self._frame_deadline_s == NEVER:
            self._frame_deadline_s = now_s + self._place.peer.frame_s
        self._idle_deadline_s = now_s + self._place.peer.idle_s

    def _oversized(self, error: InputError) -> None:
        self._broken = True
        answer = self._place.desk.oversized(self._place.peer, self._frames.oversized, error)
        entry = _Entry(answer)
        self._entries.append(entry)
        self._entries.append(_Entry(Withheld("over")))  # The stream cannot go on after it.
        self._flush()

    def _end(self) -> None:
        """Close after what was written; nothing more is read or answered."""
        if not self._over:
            self._over = True
            self._transport.close()


class SessionProtocol(asyncio.BufferedProtocol):
    """The face of a session towards the event loop.

    Args:
        begin: Returns the session of a new connection, or None if it is not wanted.
        buffer: Where received bytes land; the connections of a loop share it, because each takes
            what is in it before the next one is asked.
    """

    def __init__(
        self, begin: Callable[[asyncio.Transport], Session | None], buffer: memoryview
    ) -> None:
        self._begin = begin
        self._buffer = buffer
        self._session: Session | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find out who it is."""
        stream = cast("asyncio.Transport", transport)
        self._session = self._begin(stream)
        if self._session is None:
            stream.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Pass bytes on."""
        if self._session is not None:
            self._session.feed(self._buffer[:nbytes])

    def pause_writing(self) -> None:
        """End a peer that does not read its answers."""
        if self._session is not None:
            self._session.stalled()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End the session."""
        if self._session is not None:
            self._session.lost()
