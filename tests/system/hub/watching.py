"""A live view that somebody watches, and what it says of alarm conditions."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from hub_ward import CONSUMER, Ward

Seen = tuple[float, str, Any]
"""Monotonic seconds of arrival, name of the event, its data."""


class View:
    """What a live view has been told since it was opened."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._changed = threading.Condition()

    def note(self, name: str, data: Any) -> None:
        with self._changed:
            self.seen.append((time.monotonic(), name, data))
            self._changed.notify_all()

    def wait(self, wanted: Callable[[dict[str, Any]], bool], *, seconds: float = 10) -> float:
        """Wait for an alarm event and return when it came."""

        def found() -> float | None:
            return next((at for at, n, d in self.seen if n == "alarm" and wanted(d)), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, seconds), self.alarms()
            at = found()
            assert at is not None
            return at

    def until(self, true: Callable[[], bool], *, seconds: float = 5) -> None:
        """Wait until something is true of what was seen."""
        with self._changed:
            assert self._changed.wait_for(true, seconds), self.alarms()

    def alarms(self) -> list[tuple[str, str, str | int]]:
        """Return phase, device and cause, or number of the condition, of every alarm event."""
        return [
            (d["phase"], d["device"], d["cause"] or int(d["condition_id"], 16))
            for _, name, d in list(self.seen)
            if name == "alarm"
        ]

    def active(self) -> dict[int, bool]:
        """Return the devices' own active conditions, and whether each is certain."""
        now: dict[int, bool] = {}
        for _, name, told in list(self.seen):
            if name != "alarm" or told["found_by"] == "hub":
                continue
            number = int(told["condition_id"], 16)
            if told["phase"] == "end":
                now.pop(number, None)
            else:
                now[number] = told["unknown_since_ns"] is None
        return now


@contextmanager
def watching(ward: Ward, *devices: str) -> Iterator[View]:
    """Watch devices until the block ends."""
    view, client = View(), ward.client(CONSUMER)
    opened = threading.Event()

    def follow() -> None:
        path = "/views/live?" + "&".join(f"device={name}" for name in devices)
        name = ""
        try:
            with client.stream("GET", path) as answer:
                for line in answer.iter_lines():
                    opened.set()
                    field, _, value = line.partition(": ")
                    if field == "event":
                        name = value
                    elif field == "data":
                        view.note(name, json.loads(value))
        except (httpx.TransportError, httpx.StreamError, RuntimeError):
            return  # The test ended, or the hub was killed.

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    assert opened.wait(10)
    try:
        yield view
    finally:
        client.close()
        thread.join(5)
