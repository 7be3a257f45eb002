"""The connect broker: hands connected sockets to a compartment that cannot make any.

The compartment names no address, only the number of one of the endpoints that the supervisor
pinned at start. Each channel serves one request at a time in a thread of its own; a compartment
that asks too often waits.

Source: unix(7), SCM_RIGHTS.
"""

import errno
import itertools
import queue
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

from asepsis.core.errors import Unavailable
from asepsis.edge.sandbox import domains

CHANNELS: Final = 6
"""Connections that can be opened at once: four lanes, the caretaker and one to spare."""
CONNECT_TIMEOUT_S: Final = 5.0
STAGGER_S: Final = 0.4
"""Time after which a connect that was not answered gets a second one beside it, seconds. The kernel
alone repeats after 1, 3 and 7 s, and a hub that is back must be found within one."""
PAUSE_S: Final = 0.1
"""Least time between two requests of one channel, seconds."""
REQUEST_BYTES: Final = 1
_ANSWER: Final = struct.Struct(">H")
"""Error number of the connect, 0 with a descriptor."""


class Address(NamedTuple):
    """Where a pinned endpoint is."""

    host: str
    port: int


class Broker:
    """Serves the channels of one compartment; the supervisor's side.

    Args:
        endpoints: The only places it ever connects to, by number.
        channels: Number of channels.
        owner: Compartment, by which SELinux labels the channels.
        names: Of the endpoints, by which SELinux labels connections; none where there is none.

    Resource handling: `start` starts a thread a channel; they end when the compartment's ends are
    closed, or with `close`.
    """

    def __init__(
        self,
        endpoints: Sequence[Address],
        *,
        channels: int = CHANNELS,
        owner: str = "",
        names: Sequence[str] = (),
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._names = tuple(names)
        with domains.sockets_as("control", owner):
            pairs = [
                socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(channels)
            ]
        self._own = [own for own, _ in pairs]
        self.theirs = [theirs for _, theirs in pairs]
        self.refused = 0
        self._serves = False

    def start(self) -> None:
        """Serve; the compartment has its ends by now, so they are closed here."""
        self._serves = True
        for theirs in self.theirs:
            theirs.close()
        for own in self._own:
            threading.Thread(target=self._serve, args=(own,), name="broker", daemon=True).start()

    def hand_over(self) -> list[int]:
        """Return the compartment's ends, in a compartment that was forked from the supervisor.

        The supervisor's ends are closed here and live on in the supervisor.
        """
        for own in self._own:
            own.close()
        return [theirs.detach() for theirs in self.theirs]

    def close(self) -> None:
        """End all channels."""
        if not self._serves:
            for end in (*self._own, *self.theirs):
                end.close()
            return
        for own in self._own:
            # Wakes the thread that waits in it; a plain close would not.
            try:
                own.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def _serve(self, own: socket.socket) -> None:
        with own:
            while True:
                try:
                    request = own.recv(REQUEST_BYTES)
                    if not request:
                        return
                    self._answer(own, request[0])
                except OSError:
                    return  # The compartment is gone.
                time.sleep(PAUSE_S)

    def _answer(self, own: socket.socket, number: int) -> None:
        if number >= len(self._endpoints):
            self.refused += 1
            own.send(_ANSWER.pack(errno.EACCES))
            return
        try:
            with domains.sockets_as("endpoint", self._names[number] if self._names else ""):
                connected = connect_soon(self._endpoints[number], timeout_s=CONNECT_TIMEOUT_S)
        except OSError as error:
            own.send(_ANSWER.pack(error.errno or errno.EIO))
            return
        with connected:
            socket.send_fds(own, [_ANSWER.pack(0)], [connected.fileno()])


def connect_soon(address: Address, *, timeout_s: float) -> socket.socket:
    """Connect; while nobody answers, start one more attempt every `STAGGER_S`; the first wins.

    Raises:
        OSError: Every address of the host refused, or none answered in time.
    """
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    failed: dict[int, OSError] = {}
    deadline_s = time.monotonic() + timeout_s
    with ExitStack() as attempts:
        pending: dict[socket.socket, int] = {}
        for number in itertools.cycle(range(len(found))):
            if number not in failed:
                family, kind, protocol, _, place = found[number]
                attempt = attempts.enter_context(socket.socket(family, kind, protocol))
                attempt.setblocking(False)
                code = attempt.connect_ex(place)
                if code in (0, errno.EINPROGRESS):
                    pending[attempt] = number
                else:
                    failed[number] = OSError(code, "connect")
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            _, settled, _ = select.select([], list(pending), [], min(STAGGER_S, left_s))
            for attempt in settled:
                code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    attempt.setblocking(True)
                    return socket.socket(fileno=attempt.detach())
                failed[pending.pop(attempt)] = OSError(code, "connect")
            if len(failed) == len(found):
                raise failed[number]
    raise TimeoutError(errno.ETIMEDOUT, "nobody answered")


class BrokerClient:
    """Asks the broker for connections; the compartment's side. Thread-safe.

    Args:
        channels: Descriptors of the channels; owned from now on.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        self._free: queue.LifoQueue[socket.socket] = queue.LifoQueue()
        for descriptor in channels:
            self._free.put(socket.socket(fileno=descriptor))

    def dial(self, number: int, *, timeout_s: float) -> socket.socket:
        """Return a connected socket to a pinned endpoint.

        Raises:
            Unavailable: The broker could not connect, or did not answer in time.
        """
        try:
            channel = self._free.get(timeout=timeout_s)
        except queue.Empty:
            raise Unavailable("all channels of the connect broker are busy") from None
        try:
            # Longer than the broker's own limit: an answer must not meet the next request.
            channel.settimeout(CONNECT_TIMEOUT_S + 2 * PAUSE_S + 1.0)
            channel.send(bytes((number,)))
            answer, descriptors, _, _ = socket.recv_fds(channel, _ANSWER.size, 1)
        except OSError as error:
            channel.close()
            raise Unavailable("the connect broker does not answer") from error
        self._free.put(channel)
        (code,) = _ANSWER.unpack(answer) if len(answer) == _ANSWER.size else (errno.EPROTO,)
        if code or not descriptors:
            raise Unavailable(f"the broker could not connect ({errno.errorcode.get(code, code)})")
        connected = socket.socket(fileno=descriptors[0])
        connected.settimeout(timeout_s)
        return connected
