"""The display compartment: shows what vitals measured, straight from its ring. No network.

It reads and cannot be heard: nothing that happens in here reaches vitals. What it draws goes as a
picture in words to the supervisor, once a second; a screen would take the same lines.
"""

import select
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from asepsis.core.errors import FramingError
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import float_type
from asepsis.edge.device import records
from asepsis.edge.device.catalogue import Kind, Model
from asepsis.edge.device.compartment import Line, serve, take
from asepsis.edge.device.models import MODELS
from asepsis.edge.device.origin import reader_of
from asepsis.edge.device.records import Record, Value
from asepsis.edge.sandbox import ring
from asepsis.edge.sandbox.control import Order
from asepsis.edge.sandbox.ring import RingReader, wake_of

IDLE_S: Final = 0.2
STALE_NS: Final = 2 * 10**9
"""Older than this a value is not shown: a dash is honest, a number that stands still is not."""
DRAW_S: Final = 1.0
NOTHING: Final = "--"


class Screen:
    """What is to be seen, as a function of the records so far and the time.

    Args:
        model: What the device measures.
    """

    def __init__(self, model: Model) -> None:
        self._signs = {sign.handle: sign for sign in model.signs}
        self._values: dict[int, tuple[str, int]] = {}
        self._alarms: tuple[str, ...] = ()
        self._newest_ns = 0

    def take(self, record: Record) -> None:
        """Take a record into account."""
        self._newest_ns = max(self._newest_ns, record.monotonic_ns)
        for value in record.values:
            sign = self._signs.get(value.handle)
            if sign is not None:
                self._values[value.handle] = (_text(value), record.monotonic_ns)
        if record.active is not None:
            self._alarms = tuple(event.text for event in record.active)

    def lines(self, now_ns: int) -> list[str]:
        """Return what is shown at a moment, monotonic nanoseconds; nothing old looks new."""
        if now_ns - self._newest_ns > STALE_NS:
            return [f"{sign.name} {NOTHING}" for sign in self._signs.values()]
        found: list[str] = []
        for handle, sign in self._signs.items():
            text, at_ns = self._values.get(handle, (NOTHING, now_ns))
            found.append(f"{sign.name} {NOTHING if now_ns - at_ns > STALE_NS else text}")
        return [*found, *(f"ALARM {text}" for text in self._alarms)]


def _text(value: Value) -> str:
    if value.status is not MeasurementStatus.VALID:
        return NOTHING
    found = float_type.to_decimal(value.value)
    return f"{found:f}" if isinstance(found, Decimal) else NOTHING


class Display:
    """Shows until its supervisor is gone.

    Args:
        reader: Vitals ring.
        wake: Wake-ups of the vitals ring.
        screen: What it draws on.
        line: Control line.
    """

    def __init__(self, reader: RingReader, *, wake: int, screen: Screen, line: Line) -> None:
        self._reader = reader
        self._wake = wake_of(wake)
        self._screen = screen
        self._line = line
        self._unreadable = 0
        self._draw_s = 0.0

    def run(self) -> None:
        """Show."""
        while True:
            readable, _, _ = select.select([self._wake, self._line.socket], [], [], IDLE_S)
            ring.drain_wakes(self._wake)
            self._read_all()
            now_s = time.monotonic()
            if now_s >= self._draw_s:
                self._draw_s = now_s + DRAW_S
                self._line.report("shown", lines=self._screen.lines(time.monotonic_ns()))
            if self._line.socket in readable and not self._obey():
                return
            self._line.heartbeat(self._facts)

    def _read_all(self) -> None:
        while records_read := self._reader.read().records:
            for _, payload in records_read:
                try:
                    self._screen.take(records.decode(payload))
                except FramingError:
                    self._unreadable += 1

    def _obey(self) -> bool:
        order = self._line.order()
        if order is None or order.what == "stop":
            return False
        if order.what == "ring":
            self._read_all()
            done = self._reader.token.sequence
            self._reader.close()
            self._wake.close()
            self._reader = reader_of(order, covered=done)
            self._wake = wake_of(take(order, "wake"))
        return True

    def _facts(self) -> dict[str, Any]:
        return {"unreadable": self._unreadable}


def build(order: Order, line: Line) -> Callable[[], Display]:
    """Map the ring; the rights go after this."""
    reader = reader_of(order, covered=0)
    wake = take(order, "wake")
    screen = Screen(MODELS[Kind(order.body["kind"])])
    return lambda: Display(reader, wake=wake, screen=screen, line=line)


def main(control_descriptor: int) -> None:
    """Run the compartment."""
    serve(control_descriptor, build)
