"""Carries what the fetcher of updates wants read to the hub, over this device's own connection.

The network compartment does this for one contact at a time, while it forwards. It reads the routes
for releases and nothing else, sends nothing of its own, and believes nothing: what it changes on
the way, the verifier refuses. Live data goes first: each piece waits until no record is under way.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from asepsis.core.errors import AsepsisError, InputError, LimitExceeded, Unavailable
from asepsis.edge.device import update_line
from asepsis.edge.device.update_line import (
    ASKED_BYTES_MAX,
    MISSING,
    PART,
    PART_BYTES,
    TOO_LONG,
    UNAVAILABLE,
    WHOLE,
    Asked,
    read_asked,
)
from asepsis.edge.uplink.connection import HubConnection

PIECE_BYTES: Final = 64 << 10
"""Of an artefact in one request: what a live record may have to wait for."""
GIVE_WAY_S: Final = 5.0
"""Longest wait for live data before one more piece, seconds: an update may be what mends it."""
LOOK_S: Final = 0.02
PARTIAL: Final = 206
WAIT_S: Final = 10.0
"""Longest wait until the fetcher takes a part, seconds."""
SLICE_S: Final = 1.0
BYTES_PER_S_MIN: Final = PIECE_BYTES // 4
"""A smaller budget would let the fetcher believe that nobody answers."""


class Carrying:
    """Carries for one fetcher at a time, in a thread.

    Args:
        connect: Opens a connection to the clinical listener whose answers may be as long as
            metadata.
        busy: Whether live data is under way.
    """

    def __init__(self, *, connect: Callable[[], HubConnection], busy: Callable[[], bool]) -> None:
        self._connect = connect
        self._busy = busy
        self._contact: _Contact | None = None
        self.carried = 0

    def begin(self, asked: int, brought: int, *, bytes_per_s: int) -> None:
        """Begin a contact; one that is under way is cut.

        Args:
            asked: Descriptor on which questions come; owned from now on.
            brought: Descriptor on which answers go; owned from now on.
            bytes_per_s: Budget for artefacts; 0 for none.
        """
        self.close()
        self._contact = _Contact(
            (socket.socket(fileno=asked), socket.socket(fileno=brought)),
            connect=self._connect,
            busy=self._busy,
            bytes_per_s=bytes_per_s,
            count=self._count,
        )
        self._contact.start()

    def close(self) -> None:
        """Cut what is under way; the fetcher goes on at its next contact."""
        if self._contact:
            self._contact.close()
        self._contact = None

    def _count(self, length: int) -> None:
        self.carried += length


class _Contact(threading.Thread):
    """The thread of one contact; ends when the fetcher does."""

    def __init__(
        self,
        lines: tuple[socket.socket, socket.socket],
        *,
        connect: Callable[[], HubConnection],
        busy: Callable[[], bool],
        bytes_per_s: int,
        count: Callable[[int], None],
    ) -> None:
        super().__init__(name="updates", daemon=True)
        self._asked, self._brought = lines
        self._brought.settimeout(WAIT_S)
        self._connect = connect
        self._busy = busy
        self._bytes_per_s = bytes_per_s
        self._count = count
        self._closing = threading.Event()
        self._hub: HubConnection | None = None

    def close(self) -> None:
        """Let the fetcher hear that it is over; the thread ends by itself."""
        self._closing.set()
        for line in (self._asked, self._brought):
            with contextlib.suppress(OSError):  # The fetcher has gone first.
                line.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        """Answer until the fetcher has gone."""
        try:
            self._asked.setblocking(True)
            while message := self._asked.recv(ASKED_BYTES_MAX + 1):
                self._answer(message)
        except OSError:
            return  # The fetcher takes no more; it has ended, or its contact was cut.
        finally:
            if self._hub:
                self._hub.close()
            self._asked.close()
            self._brought.close()

    def _answer(self, message: bytes) -> None:
        status, why = WHOLE, ""
        try:
            self._carry(read_asked(message))
        except LimitExceeded as error:
            status, why = TOO_LONG, str(error)
        except InputError as error:
            status, why = MISSING, str(error)
        except AsepsisError as error:
            status, why = UNAVAILABLE, str(error)
        self._brought.send(update_line.end(status, why))

    def _carry(self, asked: Asked) -> None:
        if not asked.artefact:
            self._bring(self._read(asked.path, {}, most=asked.most)[1])
            return
        at, began_s = asked.begin, time.monotonic()
        while at < asked.most:
            last = min(at + PIECE_BYTES, asked.most) - 1
            status, piece = self._read(
                asked.path, {"Range": f"bytes={at}-{last}"}, most=last + 1 - at
            )
            if status != PARTIAL or not piece:
                raise Unavailable("the hub gives no part of an artefact")
            self._bring(piece)
            at += len(piece)
            self._keep_to_budget(at - asked.begin, began_s)

    def _read(self, path: str, headers: dict[str, str], *, most: int) -> tuple[int, bytes]:
        """Return the status and what was read.

        Raises:
            LimitExceeded: It is longer than asked for.
            InputError: The hub has no such thing.
            AsepsisError: As `HubConnection.request`.
        """
        self._give_way()
        self._hub = self._hub or self._connect()
        answer = self._hub.request("GET", path, headers=headers)
        if len(answer.body) > most:
            raise LimitExceeded("the hub sends more than was asked for")
        return answer.status, answer.body

    def _bring(self, content: bytes) -> None:
        for begin in range(0, len(content), PART_BYTES):
            self._brought.send(PART + content[begin : begin + PART_BYTES])
        self._count(len(content))

    def _give_way(self) -> None:
        """Wait while live data is under way, but not for ever."""
        until_s = time.monotonic() + GIVE_WAY_S
        while self._busy() and time.monotonic() < until_s and not self._closing.is_set():
            time.sleep(LOOK_S)

    def _keep_to_budget(self, carried: int, began_s: float) -> None:
        if self._bytes_per_s:
            budget = max(self._bytes_per_s, BYTES_PER_S_MIN)
            early_s = carried / budget + began_s - time.monotonic()
            while early_s > 0 and not self._closing.wait(min(early_s, SLICE_S)):
                early_s -= SLICE_S


def lines_of(descriptors: dict[str, int]) -> tuple[int, int] | None:
    """Take the two lines out of the descriptors of an order; None where one is missing."""
    found = [descriptors.pop(name, None) for name in (update_line.ASKED, update_line.BROUGHT)]
    asked, brought = found
    if asked is None or brought is None:
        for one in found:
            if one is not None:
                os.close(one)
        return None
    return asked, brought
