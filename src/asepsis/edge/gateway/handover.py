"""What the three processes of the HL7 family say to each other: frames with a length, in batches.

The *front* listens and parses; it has no key and no file. The *keeper* has the spool and its key
and no network. The *uplink* has the gateway's identity and the connections to the hub. Each treats
the others as somebody who may be taken over: sizes are bounded, names and numbers are looked up.

Nothing here waits for an answer to one message: what happens in one turn of an event loop travels
as one frame.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Annotated, Final, Generic, TypeVar, cast

import msgspec

from asepsis.core import errors
from asepsis.core.errors import AsepsisError, FramingError, InputError, TransientError, TrustError
from asepsis.core.wire.message_record import BATCH_BYTES_MAX
from asepsis.edge.gateway.pair.listing import Entry

FRAME_BYTES_MAX: Final = BATCH_BYTES_MAX + 65_536
NAME_BYTES_MAX: Final = 1_024
TEXT_CHARS_MAX: Final = 500
BATCH_MAX: Final = 64
"""Messages of one frame; with their bodies they fit it or go alone."""
BATCH_BYTES: Final = 512 * 1_024
UNSENT_BYTES_MAX: Final = 256 << 20
"""What may wait for another process; senders and groups are bounded long before."""
_LENGTH: Final = struct.Struct(">I")

Item = TypeVar("Item")
Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARS_MAX)]


class Message(msgspec.Struct, frozen=True, array_like=True, tag="m"):
    """One message on its way from the front to the keeper.

    Attributes:
        number: The front's own number of it.
        peer: Name of the peer.
        identity: MSH-3, MSH-4 and MSH-10.
        devices: Pairs of a device word and the device that it stands for.
        offset_min: Offset of the peer's zone, minutes east.
        arrived_at_ns: Wall time of arrival.
        found: Findings, as `message_record.Found`.
        body: The message as it came.
    """

    number: int
    peer: Annotated[str, msgspec.Meta(max_length=32)]
    identity: Annotated[bytes, msgspec.Meta(max_length=NAME_BYTES_MAX)]
    devices: tuple[tuple[bytes, str], ...]
    offset_min: int
    arrived_at_ns: int
    found: int
    body: bytes


class Messages(msgspec.Struct, frozen=True, array_like=True, tag="ms"):
    """What arrived in one turn of the front's loop."""

    messages: tuple[Message, ...]


class Outcome(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """What became of one message.

    Attributes:
        number: The front's number.
        kind: `accept`, `withheld`, or the name of the error class that refuses it.
        text: Why; a code if it is withheld.
    """

    number: int
    kind: Annotated[str, msgspec.Meta(max_length=40)] = "accept"
    text: Text = ""


class Outcomes(msgspec.Struct, frozen=True, array_like=True, tag="os"):
    """What became of messages in one turn of the keeper's loop."""

    outcomes: tuple[Outcome, ...]


class Seen(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """Where a peer came from.

    Attributes:
        peer: Its name.
        listener: The listener that it came to.
        address: Its address.
        key: SHA-256 of its public key, hexadecimal; empty without a certificate.
    """

    peer: Annotated[str, msgspec.Meta(max_length=32)]
    listener: Annotated[str, msgspec.Meta(max_length=32)]
    address: Annotated[str, msgspec.Meta(max_length=64)]
    key: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Evidence(msgspec.Struct, frozen=True, array_like=True, tag="v"):
    """What the network shows of devices.

    Attributes:
        devices: Whom the peer may speak for.
        address: Where it came from.
        port: Where it came to.
        vlan: Of the listener, as the settings say; 0 for nothing.
        key: SHA-256 of its public key, hexadecimal.
    """

    devices: tuple[str, ...]
    address: str
    port: int
    vlan: int
    key: str


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """A process can work.

    Attributes:
        epoch: Boot epoch of this start.
    """

    epoch: int


class Listening(msgspec.Struct, frozen=True, array_like=True, tag="l"):
    """The front listens: what `ready.json` says."""

    document: Annotated[str, msgspec.Meta(max_length=65_536)]


class Ending(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """Nothing more comes; finish what there is."""


class Post(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """A batch for the hub.

    Attributes:
        link: Number of the connection.
        epoch: Boot epoch of its groups.
        count: Messages in it.
        body: The request's body.
        wait_s: Longest wait for the answer, seconds.
    """

    link: int
    epoch: int
    count: int
    body: bytes
    wait_s: float


class Ask(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """A sign of life for the hub, on one connection."""

    link: int
    wait_s: float


class LinkNews(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """What happened on one connection.

    Attributes:
        link: Its number.
        state: What it is doing now.
        kind: `idle`, `stored`, or the name of an error class.
        answers: Whether it is the answer to a batch.
        refused: Sequence, index and reason of messages that were refused.
        text: Why.
    """

    link: int
    state: Annotated[str, msgspec.Meta(max_length=8)]
    kind: Annotated[str, msgspec.Meta(max_length=40)]
    answers: bool = False
    refused: tuple[tuple[int, int, Text], ...] = ()
    text: Text = ""


class Risky(msgspec.Struct, frozen=True, array_like=True, tag="k"):
    """Messages that only this disk has and whose senders wait: the other gateway must know.

    Attributes:
        number: The keeper's own number of the question.
        entries: Which.
    """

    number: int
    entries: tuple[Entry, ...]


class Listed(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """The answer to `Risky`.

    Attributes:
        number: As asked.
        done: Whether the other gateway has them durably on its list.
    """

    number: int
    done: bool


Said = (
    Risky
    | Listed
    | Messages
    | Outcomes
    | Seen
    | Evidence
    | Ready
    | Listening
    | Ending
    | Post
    | Ask
    | LinkNews
)
_encode: Final = msgspec.msgpack.Encoder().encode
_DECODER: Final = msgspec.msgpack.Decoder(Said)


def error_of(kind: str, text: str) -> AsepsisError:
    """Return the error that another process named.

    Raises:
        FramingError: No such class.
    """
    found: object = getattr(errors, kind, None)
    if not isinstance(found, type) or not issubclass(
        found, (InputError, TransientError, TrustError)
    ):
        raise FramingError("no such error")
    return found(text)


class Channel(asyncio.Protocol):
    """One end of the pair of sockets between two processes.

    Args:
        take: Given what the other process says.
        lost: Told that the other process is gone, or says what it may not.
    """

    def __init__(self, take: Callable[[Said], None], lost: Callable[[], None]) -> None:
        self._take = take
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()

    def say(self, said: Said) -> None:
        """Say something; it is queued and never waited for."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        body = _encode(said)
        transport.writelines((_LENGTH.pack(len(body)), body))
        if transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            transport.abort()  # It does not read any more.

    def close(self) -> None:
        """End after what was said."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell that nobody is there any more."""
        self._transport = None
        self._lost()

    def data_received(self, data: bytes) -> None:
        """Take every whole frame."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, at)
            end = at + _LENGTH.size + length
            if length > FRAME_BYTES_MAX:
                self._abort()
                return
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                frame = bytes(view[at + _LENGTH.size : end])
            at = end
            try:
                said = _DECODER.decode(frame)
            except msgspec.DecodeError:
                self._abort()
                return
            self._take(said)
        del buffer[:at]

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Batcher(Generic[Item]):
    """Collects what happens in one turn of the loop and says it at the turn's end.

    Args:
        loop: The loop.
        say: Given what was collected, at most `BATCH_MAX` items or about `BATCH_BYTES`.
        size: Bytes that an item adds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        say: Callable[[tuple[Item, ...]], None],
        size: Callable[[Item], int] = lambda _: 0,
    ) -> None:
        self._loop = loop
        self._say = say
        self._size = size
        self._items: list[Item] = []
        self._bytes = 0

    def add(self, item: Item) -> None:
        """Add one; it leaves at the end of this turn, or at once where a frame is full."""
        size = self._size(item)
        if self._items and (len(self._items) >= BATCH_MAX or self._bytes + size > BATCH_BYTES):
            self.flush()
        if not self._items:
            self._loop.call_soon(self.flush)
        self._items.append(item)
        self._bytes += size

    def flush(self) -> None:
        """Say what was collected."""
        items, self._items, self._bytes = tuple(self._items), [], 0
        if items:
            self._say(items)
