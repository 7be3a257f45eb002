"""A live view client that keeps what it shows, and for how long: the witness of a story.

It shows a value from its arrival until the hub says that it is stale, the stream ends or falls
silent, or the value was not renewed within its period and 5 s. What it witnesses is the age of
what stood on the screen, by the device's own time and by the last renewal.

Source: REQ-SUB-002, REQ-SUB-004; docs/reference/lanes.md, live views.
"""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from asepsis.core.errors import Unavailable

FRESH_S: Final = 6.0
"""A value is shown for its period, 1 s, and 5 s."""
SILENCE_S: Final = 3.0
"""The hub says something every second; after this silence the stream counts as broken."""
RECONNECT_S: Final = 0.3
LOOK_S: Final = 0.1
_S: Final = 10**9


@dataclass(slots=True)
class Shown:
    """One value on the screen.

    Attributes:
        value: As the hub wrote it; None for a value that is not valid.
        device_ns: When the device measured it, nanoseconds since 1970.
        renewed_s: When it arrived, monotonic seconds.
    """

    value: str | None
    device_ns: int
    renewed_s: float


@dataclass(slots=True)
class Witness:
    """What the client saw of itself.

    Attributes:
        values: Values that arrived.
        alarms: Alarm events that arrived.
        alarm_ms_max: Longest way of an alarm event from the device, milliseconds.
        age_s_max: Greatest age of a value on the screen, by the device's time, seconds.
        unrenewed_s_max: Longest time that a value stood there without renewal, seconds.
        breaks: How often the stream broke or fell silent.
    """

    values: int = 0
    alarms: int = 0
    alarm_ms_max: float = 0.0
    age_s_max: float = 0.0
    unrenewed_s_max: float = 0.0
    breaks: int = 0


class LiveView:
    """Watches devices until closed.

    Args:
        url: Address of the live view with its query.
        context: TLS towards the hub.
        headers: Further headers, such as a person's token.

    Resource handling: `start` starts two threads; `close` ends them.
    """

    def __init__(
        self, url: str, *, context: ssl.SSLContext, headers: dict[str, str] | None = None
    ) -> None:
        self._url = url
        self._headers = headers or {}
        self._http = httpx.Client(
            verify=context, timeout=httpx.Timeout(10.0, read=SILENCE_S), trust_env=False
        )
        self._lock = threading.Lock()
        self._screen: dict[str, dict[int, Shown]] = {}
        self._alarms: dict[tuple[str, str], dict[str, Any]] = {}
        self._history: list[tuple[float, dict[str, Any]]] = []
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=f"live-{work.__name__}", daemon=True)
            for work in (self._watch, self._look)
        ]
        self.witness = Witness()

    def start(self) -> None:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End both threads."""
        self._closing.set()
        for thread in self._threads:
            thread.join(SILENCE_S + 1)
        self._http.close()

    def live(self, device: str) -> int:
        """Return how many values of a device are on the screen."""
        with self._lock:
            return len(self._screen.get(device, {}))

    def alarms(self, device: str) -> list[dict[str, Any]]:
        """Return the alarm conditions of a device that the screen shows as active."""
        with self._lock:
            return [event for (name, _), event in self._alarms.items() if name == device]

    def history(self, device: str, *, since_s: float) -> list[tuple[float, dict[str, Any]]]:
        """Return the alarm events about a device after a moment, each with when it came.

        Args:
            device: Its name.
            since_s: Monotonic seconds.
        """
        with self._lock:
            return [
                (at_s, e) for at_s, e in self._history if at_s >= since_s and e["device"] == device
            ]

    def until(self, wanted: Callable[[], object], what: str, *, timeout_s: float) -> float:
        """Wait until something is so; return how long it took, seconds.

        Raises:
            Unavailable: It was not so in time.
        """
        began_s = time.monotonic()
        while not wanted():
            if time.monotonic() - began_s > timeout_s:
                raise Unavailable(f"the live view did not show in {timeout_s:.0f} s: {what}")
            time.sleep(LOOK_S / 2)
        return time.monotonic() - began_s

    def _watch(self) -> None:
        while not self._closing.is_set():
            try:
                with self._http.stream("GET", self._url, headers=self._headers) as answer:
                    if answer.is_success:
                        self._follow(events(answer.iter_lines()))
            except httpx.HTTPError:
                pass  # What is on the screen goes, and it tries again.
            self._broken()
            self._closing.wait(RECONNECT_S)

    def _follow(self, events: Iterator[tuple[str, str, dict[str, Any]]]) -> None:
        for name, position, data in events:
            with self._lock:
                if name == "numerics":
                    self._numerics(data)
                elif name == "stale":
                    for handle in data["handles"]:
                        self._screen.get(data["device"], {}).pop(handle, None)
                elif name == "alarm":
                    self._alarm(data, current=bool(position))
            if self._closing.is_set() or name == "cut":
                return

    def _numerics(self, data: dict[str, Any]) -> None:
        now_s = time.monotonic()
        shown = self._screen.setdefault(data["device"], {})
        for one in data["numerics"]:
            self.witness.values += 1
            shown[one["handle"]] = Shown(one["value"], int(one["device_time_ns"]), now_s)

    def _alarm(self, data: dict[str, Any], *, current: bool) -> None:
        key = (data["device"], data["condition_id"])
        if data["phase"] == "end":
            self._alarms.pop(key, None)
        else:
            self._alarms[key] = data
        self._history.append((time.monotonic(), data))
        self.witness.alarms += 1
        if current and data["found_by"] == "device" and data["phase"] == "onset":
            way_ms = (time.time_ns() - int(data["device_time_ns"])) / 1e6
            self.witness.alarm_ms_max = max(self.witness.alarm_ms_max, way_ms)

    def _broken(self) -> None:
        with self._lock:
            self.witness.breaks += not self._closing.is_set()
            self._screen.clear()
            # It asks without Last-Event-ID: the hub begins with every condition active then.
            self._alarms.clear()

    def _look(self) -> None:
        """Look at the screen as a person would, and blank what was not renewed."""
        while not self._closing.wait(LOOK_S):
            now_s, wall_ns = time.monotonic(), time.time_ns()
            with self._lock:
                for shown in self._screen.values():
                    for handle, one in list(shown.items()):
                        unrenewed_s = now_s - one.renewed_s
                        if unrenewed_s > FRESH_S:
                            del shown[handle]
                            continue
                        seen = self.witness
                        seen.unrenewed_s_max = max(seen.unrenewed_s_max, unrenewed_s)
                        seen.age_s_max = max(seen.age_s_max, (wall_ns - one.device_ns) / _S)


def address(base_url: str, devices: Sequence[str]) -> str:
    """Return the address of a live view of these devices."""
    return f"{base_url}/views/live?" + "&".join(f"device={name}" for name in devices)


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield event, id and data of each event of a stream (WHATWG HTML section 9.2)."""
    name = position = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "id":
            position = value
        elif field == "data":
            yield name, position, json.loads(value)
            name = position = ""
