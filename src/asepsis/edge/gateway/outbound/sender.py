"""The sender: brings messages to receivers on the gateway's own segment, and reads their answers.

A process without key, identity or files. It connects through a broker, only to the addresses that
the settings name.
"""

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, cast

from asepsis.core.dialogue.mllp import MllpSession
from asepsis.core.errors import AsepsisError, Unavailable
from asepsis.core.wire.mllp_client import Answered, Verdict
from asepsis.edge.gateway.outbound.channel import TEXT_CHARS_MAX, Frames, Outcome, frame, parcel
from asepsis.edge.gateway.outbound.settings import OutboundEntry
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import Dial, Endpoint

WAITING_MAX: Final = 1_024
"""Messages taken from the courier and not decided; beyond them it is not read."""
KNOWN_MAX: Final = 20_000
"""Keys of accepted messages: one that comes again after a hub restarted is not sent again."""
CONNECT_S: Final = 10.0


class Queue:
    """The messages of one destination; the `Outgoing` of its session.

    Args:
        entry: The destination.
        write: Sends bytes to the courier.
        pause: Called with True when enough waits, and with False when there is room again.
    """

    def __init__(
        self, entry: OutboundEntry, *, write: Callable[[bytes], None], pause: Callable[[bool], None]
    ) -> None:
        self._entry = entry
        self._write = write
        self._pause = pause
        self._waiting: dict[int, tuple[str, bytes]] = {}
        self._tries: dict[int, int] = {}
        self._known: OrderedDict[str, None] = OrderedDict()
        self._listener: Callable[[], None] | None = None
        self._paused = False
        self.filled = asyncio.Event()

    def add(self, body: bytes) -> None:
        """Take a frame of the courier; raises FramingError."""
        found = parcel(body)
        if found.key in self._known:
            self._write(frame(Outcome(found.seq, "accepted")))
            return
        self._waiting[found.seq] = (found.key, found.body)
        self.filled.set()
        if len(self._waiting) >= WAITING_MAX and not self._paused:
            self._paused = True
            self._pause(True)

    def arrived(self) -> None:
        """Say that there is more to send."""
        if self._listener is not None:
            self._listener()

    def take(self, after: int, *, items_max: int) -> Sequence[tuple[int, bytes]]:
        """See `Outgoing.take`."""
        found: list[tuple[int, bytes]] = []
        for number, (_, body) in self._waiting.items():
            if number > after:
                found.append((number, body))
                if len(found) >= items_max:
                    break
        return found

    def settled(self, verdict: Verdict) -> bool:
        """See `Outgoing.settled`."""
        number = verdict.number
        if verdict.answered is Answered.ACCEPTED:
            self._decide(number, Outcome(number, "accepted"))
            return True
        tries = self._tries[number] = self._tries.get(number, 0) + 1
        if verdict.answered is Answered.ERROR and tries < self._entry.tries:
            self._write(frame(Outcome(number, "retry", verdict.code)))
            return False
        text = verdict.text[:TEXT_CHARS_MAX]
        self._decide(number, Outcome(number, "refused", verdict.code, text))
        return True

    def refuse(self, number: int, error: AsepsisError) -> None:
        """See `Outgoing.refuse`."""
        text = f"{error.code}: {error}"[:TEXT_CHARS_MAX]
        self._decide(number, Outcome(number, "refused", "route", text))

    def listen(self, arrived: Callable[[], None] | None) -> None:
        """See `Outgoing.listen`."""
        self._listener = arrived

    def trouble(self, error: AsepsisError) -> None:
        """Tell the hub why nothing goes."""
        first = next(iter(self._waiting), 0)
        self._write(frame(Outcome(first, "retry", error.code, str(error)[:TEXT_CHARS_MAX])))

    def _decide(self, number: int, outcome: Outcome) -> None:
        key, _ = self._waiting.pop(number)
        self._tries.pop(number, None)
        if outcome.outcome == "accepted":
            self._known[key] = None
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)
        if not self._waiting:
            self.filled.clear()
        if self._paused and len(self._waiting) < WAITING_MAX // 2:
            self._paused = False
            self._pause(False)
        self._write(frame(outcome))


class CourierEnd(asyncio.Protocol):
    """The sender's end of the channel to the courier of one destination.

    Args:
        entry: The destination.
    """

    def __init__(self, entry: OutboundEntry) -> None:
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self.lost = asyncio.Event()
        self.queue = Queue(entry, write=self._send, pause=self._pause)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take messages."""
        try:
            for body in self._frames.feed(data):
                self.queue.add(body)
        except AsepsisError:
            self.lost.set()  # The courier says what it may not: a bug of our own.
            return
        self.queue.arrived()

    def connection_lost(self, exc: Exception | None) -> None:
        """The courier is gone."""
        del exc
        self.lost.set()

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _pause(self, stop: bool) -> None:  # noqa: FBT001 - a callback of one value
        if self._transport is None:
            return
        if stop:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


async def send(
    entry: OutboundEntry,
    end: CourierEnd,
    *,
    dial: Dial,
    context: ssl.SSLContext | None,
    backoff: Backoff,
) -> None:
    """Serve one destination until cancelled.

    Args:
        entry: The destination.
        end: Where its messages come from.
        dial: Connects to it.
        context: Its TLS settings, None for clear text.
        backoff: Waits between attempts.
    """
    while True:
        await end.queue.filled.wait()
        try:
            session = await connect(entry, end.queue, dial=dial, context=context)
            backoff.succeeded()
            await session.run()
        except AsepsisError as error:
            end.queue.trouble(error)
            await asyncio.sleep(backoff.failed())


async def connect(
    entry: OutboundEntry, queue: Queue, *, dial: Dial, context: ssl.SSLContext | None
) -> MllpSession:
    """Open a connection to the receiver.

    Raises:
        TransientError: It cannot be reached, or its certificate does not hold.
    """
    loop = asyncio.get_running_loop()
    place = Endpoint(entry.host, entry.port)
    plain = await loop.run_in_executor(None, lambda: dial(place, CONNECT_S))
    plain.setblocking(False)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        _, session = await loop.create_connection(
            lambda: MllpSession(queue, in_flight_max=entry.in_flight, answer_s=entry.answer_s),
            sock=plain,
            ssl=context,
            server_hostname=(entry.server_name or entry.host) if context else None,
        )
    except OSError as error:
        plain.close()
        raise Unavailable(f"no connection to {entry.host} ({type(error).__name__})") from error
    return session


def tls_context(entry: OutboundEntry) -> ssl.SSLContext | None:
    """Return the TLS settings of a destination, None for clear text."""
    if not entry.ca_file:
        return None
    context = ssl.create_default_context(cafile=entry.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
