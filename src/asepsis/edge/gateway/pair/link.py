"""What two gateways of a pair say to each other: a promise not to take over, and what is at risk.

One frame, one answer, over TLS with pinned certificates. Blocking; each connection has a thread.
"""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec

from asepsis.core.errors import AsepsisError, FramingError, TransientError, Unavailable
from asepsis.edge.gateway.pair.listing import ENTRIES_MAX, Entry
from asepsis.edge.uplink.connection import Dial, Endpoint

FRAME_BYTES_MAX: Final = 8 << 20
CONNECTIONS_MAX: Final = 4
"""The other gateway has one of each process, and one that it gave up."""
TIMEOUT_S: Final = 1.0
IDLE_S: Final = 30.0
_LENGTH: Final = struct.Struct(">I")


class Promise(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """Do not take over for a while."""


class Risks(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """These messages are on one disk only."""

    entries: Annotated[tuple[Entry, ...], msgspec.Meta(max_length=ENTRIES_MAX)]


class Reply(msgspec.Struct, frozen=True, array_like=True, tag="y"):
    """The answer.

    Attributes:
        done: Promised, or durable.
        active: Whether whoever answers takes messages now.
    """

    done: bool
    active: bool


Asked = Promise | Risks
_ASKED: Final = msgspec.msgpack.Decoder(Asked)
_REPLY: Final = msgspec.msgpack.Decoder(Reply)


class LinkClient:
    """Asks the other gateway; one thread.

    Args:
        endpoint: Where it listens.
        context: TLS with its certificate pinned.
        dial: Connects for this process.

    Resource handling: holds one connection; `close` ends it.
    """

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext, *, dial: Dial) -> None:
        self._endpoint = endpoint
        self._context = context
        self._dial = dial
        self._socket: ssl.SSLSocket | None = None

    def ask(self, asked: Asked) -> Reply:
        """Ask and return the answer.

        Raises:
            TransientError: The other gateway is not there, or does not answer.
        """
        try:
            if self._socket is None:
                plain = self._dial(self._endpoint, TIMEOUT_S)
                plain.settimeout(TIMEOUT_S)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket = self._context.wrap_socket(plain)
            _write(self._socket, msgspec.msgpack.encode(asked))
            return _REPLY.decode(_read(self._socket))
        except TransientError:
            self.close()
            raise
        except (OSError, msgspec.DecodeError, FramingError) as error:
            self.close()
            raise Unavailable("the other gateway does not answer") from error

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


class LinkServer:
    """Answers the other gateway.

    Args:
        listening: Bound and listening.
        context: TLS that lets nobody but the other gateway in.
        answer: Given what was asked, returns the answer; called in several threads.

    Resource handling: `start` starts a thread; `close` ends it and every connection.
    """

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext,
        *,
        answer: Callable[[Asked], Reply],
    ) -> None:
        self._listening = listening
        self._context = context
        self._answer = answer
        self._places = threading.BoundedSemaphore(CONNECTIONS_MAX)

    def start(self) -> None:
        """Answer from now on, in threads of their own, until the process ends."""
        threading.Thread(target=self._accept, name="pair-link", daemon=True).start()

    def close(self) -> None:
        """Take no further connection."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            if not self._places.acquire(blocking=False):
                plain.close()
                continue
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError, AsepsisError, msgspec.DecodeError), plain:
                plain.settimeout(TIMEOUT_S)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._context.wrap_socket(plain, server_side=True) as secured:
                    secured.settimeout(IDLE_S)
                    while True:
                        asked = _ASKED.decode(_read(secured))
                        _write(secured, msgspec.msgpack.encode(self._answer(asked)))
        finally:
            self._places.release()


def frames_of(entries: Sequence[Entry]) -> list[Risks]:
    """Return entries in frames of their largest size."""
    return [
        Risks(tuple(entries[at : at + ENTRIES_MAX])) for at in range(0, len(entries), ENTRIES_MAX)
    ]


def _write(secured: ssl.SSLSocket, body: bytes) -> None:
    secured.sendall(_LENGTH.pack(len(body)) + body)


def _read(secured: ssl.SSLSocket) -> bytes:
    """Return one frame.

    Raises:
        FramingError: Too long, or cut.
    """
    (length,) = _LENGTH.unpack(_exactly(secured, _LENGTH.size))
    if length > FRAME_BYTES_MAX:
        raise FramingError("a frame of the pair is too long")
    return _exactly(secured, length)


def _exactly(secured: ssl.SSLSocket, count: int) -> bytes:
    buffer = bytearray()
    while len(buffer) < count:
        chunk = secured.recv(min(65_536, count - len(buffer)))
        if not chunk:
            raise FramingError("the other gateway hung up")
        buffer += chunk
    return bytes(buffer)
