"""A live view that the suite watches, and what it has been told."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

import httpx

from asepsis.tools.conformance.checks import OK, Violation

Seen = tuple[float, str, str | None, Any]
"""Monotonic seconds of arrival, name of the event, its id, its data."""
OPEN_S: Final = 10.0
EVENTS_MAX: Final = 100_000


class View:
    """What a live view has been told since it was opened."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.ended_s: float | None = None
        self._changed = threading.Condition()

    def note(self, name: str, position: str | None, data: Any) -> None:
        """Take one event."""
        with self._changed:
            if len(self.seen) < EVENTS_MAX:
                self.seen.append((time.monotonic(), name, position, data))
            self._changed.notify_all()

    def ended(self) -> None:
        """Note that the stream is over."""
        with self._changed:
            self.ended_s = time.monotonic()
            self._changed.notify_all()

    def find(self, name: str, wanted: Callable[[Any], bool] = bool) -> Seen | None:
        """Return the first event of a name that is wanted, or None."""
        return next((s for s in list(self.seen) if s[1] == name and wanted(s[3])), None)

    def wait(
        self, name: str, wanted: Callable[[Any], bool], *, seconds: float, what: str
    ) -> tuple[float, Any]:
        """Wait for an event and return when it came and its data.

        Raises:
            Violation: It did not come; `what` names it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.find(name, wanted), seconds)
        found = self.find(name, wanted)
        if found is None:
            raise Violation(f"a live view was not told within {seconds:g} s: {what}")
        return found[0], found[3]

    def wait_end(self, *, seconds: float) -> float:
        """Wait for the end of the stream and return when it was.

        Raises:
            Violation: It goes on.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.ended_s is not None, seconds)
        if self.ended_s is None:
            raise Violation(f"the stream goes on after {seconds:g} s")
        return self.ended_s

    def active(self) -> dict[str, bool]:
        """Return the devices' own active conditions by id, and whether each is certain."""
        now: dict[str, bool] = {}
        for _, name, _, told in list(self.seen):
            if name != "alarm" or told["found_by"] == "hub":
                continue
            if told["phase"] == "end":
                now.pop(told["condition_id"], None)
            else:
                now[told["condition_id"]] = told["unknown_since_ns"] is None
        return now


class Silence:
    """A connection on which nothing is said, and when the other end was tired of it.

    Args:
        connection: With a timeout; owned from here on.

    Attributes:
        began_s: Monotonic time at which it began.
        ended_s: The same at which the other end closed it; None as long as it has not.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.began_s = time.monotonic()
        self.ended_s: float | None = None
        self._connection = connection
        self._thread = threading.Thread(target=self._listen, name="silence", daemon=True)
        self._thread.start()

    def wait_end(self, *, seconds: float) -> float | None:
        """Return how long it lasted, or None if it goes on after so long from its beginning."""
        self._thread.join(max(0.0, self.began_s + seconds - time.monotonic()))
        return None if self.ended_s is None else self.ended_s - self.began_s

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def _listen(self) -> None:
        try:
            while self._connection.recv(1_024):
                continue
        except TimeoutError:
            return
        except OSError:
            pass  # Cut by force, which is an end too.
        self.ended_s = time.monotonic()


def events(lines: Iterator[str]) -> Iterator[tuple[str, str | None, Any]]:
    """Yield name, id and data of each event of a stream.

    Source: WHATWG HTML section 9.2.
    """
    name, position = "", None
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            position = value
        elif field == "data":
            yield name, position, json.loads(value)
            name, position = "", None


@contextmanager
def watching(client: httpx.Client, *devices: str, waveforms: bool = False) -> Generator[View]:
    """Watch devices until the block ends.

    Raises:
        Violation: The hub gives no stream.
    """
    view, opened, over = View(), threading.Event(), threading.Event()
    sockets: list[socket.socket] = []
    query = "&".join(f"device={quote(name, safe='')}" for name in devices)
    path = f"/views/live?{query}&waveforms={int(waveforms)}"

    def follow() -> None:
        try:
            with client.stream("GET", path) as answer:
                if answer.status_code != OK:
                    return
                sockets.append(answer.extensions["network_stream"].get_extra_info("socket"))
                for name, position, data in events(_opening(answer.iter_lines(), opened)):
                    view.note(name, position, data)
                    if over.is_set():
                        return
        except (httpx.TransportError, httpx.StreamError, RuntimeError, OSError):
            pass  # The block is over, or the hub ended the stream: `ended` says when.
        finally:
            view.ended()

    thread = threading.Thread(target=follow, name="conformance-view", daemon=True)
    thread.start()
    if not opened.wait(OPEN_S):
        raise Violation("GET /views/live gives no stream")
    try:
        yield view
    finally:
        over.set()
        for each in sockets:
            # Closing would leave the reading thread waiting for the next event; this wakes it.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)
        client.close()
        thread.join(OPEN_S)


def _opening(lines: Iterator[str], opened: threading.Event) -> Generator[str]:
    for line in lines:
        opened.set()
        yield line
