"""The vitals compartment: measures, judges alarms, decides the clinical state. The critical one.

It publishes in its ring and reads nothing that comes from the network. What a person does at the
bedside comes over its control line from the supervisor.
"""

import gc
import os
import select
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from asepsis.core.errors import FramingError
from asepsis.core.model.alarm import AlarmEvent
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import float_type
from asepsis.edge.device import catalogue, clinical, records
from asepsis.edge.device.alarms import AlarmBook
from asepsis.edge.device.clinical import Event
from asepsis.edge.device.compartment import Line, serve, take
from asepsis.edge.device.recording import Recording
from asepsis.edge.device.records import Record, Value
from asepsis.edge.device.sources import TICK_MS, TICKS_PER_S, Episode, SimulatedPatient, Source
from asepsis.edge.sandbox.control import Order
from asepsis.edge.sandbox.ring import RingWriter, wake_of

TICK_NS: Final = TICK_MS * 1_000_000
BEHIND_NS_MAX: Final = 10 * TICK_NS
"""Further behind than this, ticks are skipped instead of caught up."""
_SIGNS: Final = {sign.handle: sign for sign in catalogue.SIGNS}


class Vitals:
    """Measures until its supervisor is gone.

    Args:
        writer: Its ring.
        source: What it measures with.
        line: Control line.
    """

    def __init__(self, writer: RingWriter, *, source: Source, line: Line) -> None:
        self._writer = writer
        self._source = source
        self._line = line
        self._alarms = AlarmBook(
            limits=catalogue.LIMITS, signs=catalogue.SIGNS, new_id=lambda: uuid.uuid4().bytes
        )
        self._state = ClinicalState.IDLE
        self._late_ns: list[int] = []
        self._ticks = 0
        self._skipped = 0
        self._stopped = False

    def run(self) -> None:
        """Measure; one tick every `TICK_MS`."""
        gc.disable()  # Nothing here makes cycles; a collection would be a pause.
        due_ns = time.monotonic_ns()
        while not self._stopped:
            due_ns += TICK_NS
            self._wait(due_ns)
            now_ns = time.monotonic_ns()
            self._late_ns.append(now_ns - due_ns)
            if now_ns - due_ns > BEHIND_NS_MAX:
                self._skipped += (now_ns - due_ns) // TICK_NS
                due_ns = now_ns
            self._tick(now_ns)
            self._line.heartbeat(self._facts)

    def _wait(self, due_ns: int) -> None:
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            readable, _, _ = select.select([self._line.socket], [], [], left_ns / 1e9)
            if readable:
                self._obey()

    def _obey(self) -> None:
        try:
            order = self._line.order()
        except FramingError:
            return
        if order is None or order.what == "stop":
            self._stopped = True
        elif order.what == "bedside":
            self._key(str(order.body.get("key", "")))

    def _key(self, key: str) -> None:
        if key in {episode.value for episode in Episode}:
            if isinstance(self._source, SimulatedPatient):
                self._source.episode = Episode(key)
        elif key == "acknowledge":
            self._publish_alarms(self._alarms.acknowledge())
        elif key in {event.value for event in clinical.KEYS}:
            self._happen(Event(key))

    def _tick(self, now_ns: int) -> None:
        self._happen(Event.PATIENT_ATTACHED if self._source.attached else Event.PATIENT_REMOVED)
        samples = self._source.samples()
        self._publish(Record(state=self._state, monotonic_ns=now_ns, samples=samples))
        if self._ticks % TICKS_PER_S == 0:
            self._second(now_ns)
        self._ticks += 1

    def _second(self, now_ns: int) -> None:
        values = self._source.values()
        if self._source.attached:
            events = self._alarms.judge(values, now_s=now_ns / 1e9)
        else:
            events = self._alarms.clear()
        published = tuple(_value(handle, value) for handle, value in values.items())
        self._publish(Record(state=self._state, monotonic_ns=now_ns, values=published))
        self._publish_alarms(events)

    def _publish_alarms(self, events: list[AlarmEvent]) -> None:
        self._happen(Event.ALARM_BEGAN if self._alarms.active else Event.ALARMS_ENDED)
        if events:
            now_ns = time.monotonic_ns()
            self._publish(Record(state=self._state, monotonic_ns=now_ns, alarms=tuple(events)))
        for event in events:
            # Signals at the bedside: what people hear and see does not wait for any network.
            self._line.report(
                "alarm", phase=event.phase.name, priority=event.priority.name, text=event.text
            )

    def _happen(self, event: Event) -> None:
        state = clinical.step(self._state, event)
        if state is self._state:
            return
        self._state = state
        self._publish(Record(state=state, monotonic_ns=time.monotonic_ns()))
        self._line.report("state", state=state.name)

    def _publish(self, record: Record) -> None:
        self._writer.write(records.encode(record))

    def _facts(self) -> dict[str, Any]:
        late_us = sorted(late // 1_000 for late in self._late_ns) or [0]
        self._late_ns.clear()
        return {
            "ticks": self._ticks,
            "skipped": self._skipped,
            "state": self._state.name,
            "alarms": self._alarms.active,
            "late_us_p50": late_us[len(late_us) // 2],
            "late_us_max": late_us[-1],
        }


def _value(handle: int, value: float | None) -> Value:
    sign = _SIGNS[handle]
    if value is None:
        raw, status = int(float_type.FloatSpecial.NAN), MeasurementStatus.NOT_AVAILABLE
    else:
        raw = float_type.from_decimal(Decimal(f"{value:.{sign.decimals}f}"))
        status = MeasurementStatus.VALID
    return Value(
        handle=handle,
        mdc_code=sign.mdc_code,
        unit_code=sign.unit_code,
        value=raw,
        status=status,
    )


def _source(order: Order) -> Source:
    if "recording" not in order.descriptors:
        return SimulatedPatient(int(order.body["seed"]))
    with os.fdopen(take(order, "recording"), encoding="utf-8") as file:
        return Recording(file)


def build(order: Order, line: Line) -> Callable[[], Vitals]:
    """Map the ring and read the source; the rights go after this."""
    writer = RingWriter(
        take(order, "ring"),
        geometry=records.VITALS_RING,
        epoch=order.body["epoch"],
        first=order.body["first"],
        wakes=(wake_of(take(order, "wake")),),
    )
    source = _source(order)
    line.report("mapped", epoch=order.body["epoch"])
    return lambda: Vitals(writer, source=source, line=line)


def main(control_descriptor: int) -> None:
    """Run the compartment."""
    serve(control_descriptor, build)
