"""The courier: fetches from the hub for one destination, and reports what became of each message.

Nothing is stored here: the hub keeps every message until the receiver's word has reached it. A
gateway that dies asks for everything undecided again.
"""

import contextlib
import json
import queue
import socket
import threading
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec

from asepsis.core.errors import AsepsisError, FramingError, InputError, TransientError, Unavailable
from asepsis.edge.gateway.outbound.channel import Frames, Outcome, Parcel, frame, outcome
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import HubConnection

WAIT_S: Final = 5
"""How long the hub keeps a question open that it has nothing for, seconds."""
OUTCOMES_MAX: Final = 1_000
READ_BYTES: Final = 65_536
JSON: Final = {"Content-Type": "application/json"}


class _Item(msgspec.Struct, frozen=True):
    seq: int
    key: str
    body: bytes


class _Items(msgspec.Struct, frozen=True):
    items: list[_Item]


_ITEMS: Final = msgspec.json.Decoder(_Items)


class Courier:
    """Two threads: one fetches, one reports.

    Args:
        destination: Its name at the hub.
        sender: The sender's end of the channel.
        connect: Returns a connection to the hub with the certificates of now.
        backoff: Makes waits between attempts.
        failed: Told why something waits; and with None that it goes on.

    Resource handling: `start` starts the threads; they end with `close` or the sender.
    """

    def __init__(
        self,
        destination: str,
        sender: socket.socket,
        *,
        connect: Callable[[], HubConnection],
        backoff: Callable[[], Backoff],
        failed: Callable[[AsepsisError], None],
    ) -> None:
        self._path = f"/outbound/{quote(destination, safe='')}"
        self._sender = sender
        self._connect = connect
        self._backoff = backoff
        self._failed = failed
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self.lost = threading.Event()
        """Set when the sender is gone."""
        works = (self._fetch, self._listen, self._report)
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Report what is known, and end."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._sender.shutdown(socket.SHUT_RDWR)
        self._outcomes.put(None)
        self._threads[-1].join(3.0)

    def _fetch(self) -> None:
        connection, backoff, after = self._connect(), self._backoff(), 0
        while not self._ended.is_set():
            try:
                found = self._ask(connection, after)
                backoff.succeeded()
            except AsepsisError as error:
                self._failed(error)
                connection.close()
                connection = self._connect()
                self._ended.wait(backoff.failed())
                continue
            if not found:
                continue
            after = found[-1].seq
            try:
                self._sender.sendall(b"".join(map(frame, found)))
            except OSError:
                self.lost.set()
                return

    def _ask(self, connection: HubConnection, after: int) -> list[Parcel]:
        answer = connection.request("GET", f"{self._path}?after={after}&wait={WAIT_S}")
        try:
            found = _ITEMS.decode(answer.body).items
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FramingError("the hub's answer is no list of messages") from error
        return [Parcel(item.seq, item.key, item.body) for item in found]

    def _listen(self) -> None:
        frames = Frames()
        while True:
            try:
                data = self._sender.recv(READ_BYTES)
                if not data:
                    break
                for body in frames.feed(data):
                    self._outcomes.put(outcome(body))
            except (OSError, InputError):
                break
        self.lost.set()
        self._outcomes.put(None)

    def _report(self) -> None:
        connection, backoff = self._connect(), self._backoff()
        while True:
            known, over = self._next()
            while known:
                try:
                    body = json.dumps({"outcomes": [_document(one) for one in known]})
                    connection.request(
                        "POST", f"{self._path}/outcomes", body=body.encode(), headers=JSON
                    )
                    backoff.succeeded()
                    break
                except AsepsisError as error:
                    # Not told again for ever: an undecided message comes again and is known here.
                    self._failed(error)
                    connection.close()
                    connection = self._connect()
                    if not isinstance(error, TransientError) or self._ended.is_set():
                        break
                    self._ended.wait(backoff.failed())
            if over:
                return

    def _next(self) -> tuple[list[Outcome], bool]:
        """Wait for an outcome; return all that are known, and whether there will be more."""
        known: list[Outcome] = []
        first = self._outcomes.get()
        while first is not None:
            known.append(first)
            if len(known) >= OUTCOMES_MAX or self._outcomes.empty():
                return known, False
            first = self._outcomes.get()
        return known, True


def _document(one: Outcome) -> dict[str, Any]:
    return {"seq": one.seq, "outcome": one.outcome, "code": one.code, "text": one.text}


def lost_error() -> Unavailable:
    """Return the error of a family whose sender is gone."""
    return Unavailable("the process that sends has ended")
