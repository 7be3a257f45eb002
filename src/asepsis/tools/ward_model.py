"""What a viewer of a ward knows, and until when. Pure: every method is given the time.

The same rules as in the browser: a value is here only while it may be shown. What expired, what
came by a stream that stalled, and what belongs to a device that moved is deleted, not hidden.

Source: docs/explanation/ward-view.md, docs/reference/ward-stream.md.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

STALL_S: Final = 3.0
LAG_S_MAX: Final = 2.0
LEAK_PER_S: Final = 0.001
Document = Mapping[str, Any]


@dataclass(slots=True)
class LagMeter:
    """How much later something came than the quickest before it; needs no common clock."""

    _quickest: float | None = None
    _at_s: float = 0.0

    def lag_s(self, sent_s: float, now_s: float) -> float:
        """Return seconds, 0 for the quickest so far."""
        delay = now_s - sent_s
        if self._quickest is None:
            self._quickest = delay
        leaked = self._quickest + (now_s - self._at_s) * LEAK_PER_S
        self._quickest, self._at_s = min(delay, leaked), now_s
        return delay - self._quickest


@dataclass(frozen=True, slots=True)
class Value:
    """One number that may be shown now.

    Attributes:
        text: As the device shows it; None for a value that is not valid.
        status: Quality of the value.
        until_s: Monotonic time at which it is deleted.
        wall_ms: When it came, the hub's wall time.
        unverified: Why no chart may have it; "" if it is verified.
    """

    text: str | None
    status: str
    until_s: float
    wall_ms: int
    unverified: str = ""


@dataclass(slots=True)
class Device:
    """One device as a viewer knows it."""

    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    metrics: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    values: dict[int, Value] = field(default_factory=dict[int, Value])
    blanks: dict[int, int] = field(default_factory=dict[int, int])
    alarms: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    binding: tuple[Any, ...] | None = None


class WardModel:
    """A ward.

    Attributes:
        beds: As the hub told them last.
        left_out: Beds that are too many for one view; then none is shown.
        devices: By name.
        dark: Why nothing may be shown; None while the ward is live.
        dark_since_ms: The hub's wall time of the last data before.
    """

    def __init__(self) -> None:
        self.beds: list[dict[str, Any]] = []
        self.left_out = 0
        self.devices: dict[str, Device] = {}
        self.dark: str | None = "connecting"
        self.dark_since_ms: int | None = None
        self._lag = LagMeter()
        self._late_s = 0.0
        self._beat_at_s: float | None = None
        self._beat_wall_ms: int | None = None
        self._handlers: Mapping[str, Callable[[Document, float], bool | None]] = {
            "hello": self._hello,
            "beat": self._beat,
            "beds": self._take_beds,
            "ready": self._ready,
            "device": self._take_device,
            "metric": self._metric,
            "numerics": self._numerics,
            "stale": self._stale,
            "alarms": self._alarms,
            "alarm": self._alarm,
            "cut": self._cut,
        }

    def apply(self, event: str, data: Document, now_s: float) -> bool:
        """Take one event of the stream; returns whether the stream may go on."""
        handler = self._handlers.get(event)
        return handler is None or handler(data, now_s) is not False

    def sweep(self, now_s: float) -> list[tuple[str, int]]:
        """Delete what may no longer be shown; returns the expired values as (device, handle)."""
        if self.dark is None and self._beat_at_s is not None and now_s - self._beat_at_s > STALL_S:
            self.go_dark("no data from the hub")
            return []
        expired = [
            (name, handle)
            for name, device in self.devices.items()
            for handle, value in device.values.items()
            if now_s >= value.until_s
        ]
        for name, handle in expired:
            self._expire(name, handle)
        return expired

    def go_dark(self, reason: str) -> None:
        """Delete every value and condition, and say why."""
        if self.dark is None:
            self.dark_since_ms = self._beat_wall_ms
        self.dark = reason
        for device in self.devices.values():
            device.values.clear()
            device.alarms.clear()

    def placed(self) -> Iterator[tuple[dict[str, Any], dict[str, Any], Device]]:
        """Yield bed, place of the device and the device, in the hub's order."""
        for bed in self.beds:
            for placed in bed["devices"]:
                yield bed, placed, self._device(placed["name"])

    def _device(self, name: str) -> Device:
        return self.devices.setdefault(name, Device())

    def _expire(self, name: str, handle: int) -> None:
        device = self.devices.get(name)
        value = device.values.pop(handle, None) if device else None
        if device and value:
            device.blanks[handle] = value.wall_ms

    def _hello(self, _data: Document, _now_s: float) -> None:
        self._lag = LagMeter()
        self._beat_at_s = None
        self.go_dark("connecting")
        self.devices.clear()

    def _beat(self, data: Document, now_s: float) -> bool:
        self._late_s = self._lag.lag_s(data["ms"] / 1_000, now_s)
        self._beat_at_s, self._beat_wall_ms = now_s, data["wall_ms"]
        if self._late_s > LAG_S_MAX:
            self.go_dark("data comes too late")
            return False
        return True

    def _take_beds(self, data: Document, _now_s: float) -> None:
        self.beds = data["beds"]
        self.left_out = data.get("left_out", 0)
        here: set[str] = set()
        for bed, placed, device in self.placed():
            here.add(placed["name"])
            binding = (
                bed["key"], placed["link"], placed["association"], bed["patient"].get("id"),
            )  # fmt: skip
            if device.binding not in (None, binding):
                device.values.clear()
                device.blanks.clear()
            device.binding = binding
        for name in self.devices.keys() - here:
            del self.devices[name]

    def _ready(self, _data: Document, _now_s: float) -> None:
        self.dark = self.dark_since_ms = None

    def _take_device(self, data: Document, _now_s: float) -> None:
        device = self._device(data["name"])
        device.facts = dict(data)
        if data["connection"] == "revoked":
            device.values.clear()

    def _metric(self, data: Document, _now_s: float) -> None:
        if not data["wave"]:
            self._device(data["device"]).metrics[data["handle"]] = dict(data)

    def _numerics(self, data: Document, now_s: float) -> None:
        device = self.devices.get(data["device"])
        if device is None or device.facts.get("connection") == "revoked":
            return
        unverified = data.get("unverified", {})
        for handle, text, status, valid_ms in data["values"]:
            until_s = now_s + valid_ms / 1_000 - self._late_s
            reason = unverified.get(str(handle), "")
            device.values[handle] = Value(text, status, until_s, data["wall_ms"], reason)
            device.blanks.pop(handle, None)

    def _stale(self, data: Document, _now_s: float) -> None:
        for handle in data["handles"]:
            self._expire(data["device"], handle)

    def _alarms(self, data: Document, _now_s: float) -> None:
        self._device(data["device"]).alarms = {alarm["id"]: alarm for alarm in data["active"]}

    def _alarm(self, data: Document, _now_s: float) -> None:
        device = self.devices.get(data["device"])
        if device is None or data["past"]:
            return
        if data["active"]:
            device.alarms[data["id"]] = dict(data)
        else:
            device.alarms.pop(data["id"], None)

    def _cut(self, data: Document, _now_s: float) -> bool:
        self.go_dark(f"the hub ended the view ({data['reason']})")
        return False
