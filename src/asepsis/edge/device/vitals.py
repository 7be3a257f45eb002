"""The vitals compartment: measures, judges alarms, decides the clinical state. The critical one.

It publishes in its ring and reads nothing that comes from the network but requests, of fixed size,
where a device takes any; `requests` says what they need to count. What a person does at the bedside
comes over its control line from the supervisor.
"""

import gc
import os
import select
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from asepsis.core.errors import FramingError
from asepsis.core.model.alarm import AlarmEvent
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import float_type
from asepsis.edge.device import clinical, records
from asepsis.edge.device.alarms import AlarmBook
from asepsis.edge.device.catalogue import Kind, Model, Sign
from asepsis.edge.device.clinical import Event
from asepsis.edge.device.compartment import Line, serve, take
from asepsis.edge.device.desk import Desk, request_desk
from asepsis.edge.device.models import MODELS
from asepsis.edge.device.occupied import Occupied
from asepsis.edge.device.permit import Present
from asepsis.edge.device.recording import Recording
from asepsis.edge.device.records import Record, Value
from asepsis.edge.device.requests import RequestDesk
from asepsis.edge.device.source_monitor import SimulatedPatient
from asepsis.edge.device.source_pump import SimulatedPump
from asepsis.edge.device.source_ventilator import SimulatedLung
from asepsis.edge.device.sources import TICK_MS, TICKS_PER_S, Source
from asepsis.edge.sandbox.control import Order
from asepsis.edge.sandbox.ring import RingWriter, wake_of

TICK_NS: Final = TICK_MS * 1_000_000
BEHIND_NS_MAX: Final = 10 * TICK_NS
"""Further behind than this, ticks are skipped instead of caught up."""
TRANSPORT: Final = {"transport": True, "arrived": False}
"""Keys by which a person says that the device travels with a patient, and that it has arrived."""
_SIMULATED: Final[Mapping[Kind, Callable[[int], Source]]] = {
    Kind.MONITOR: SimulatedPatient,
    Kind.VENTILATOR: SimulatedLung,
    Kind.PUMP: SimulatedPump,
}


class Vitals:
    """Measures until its supervisor is gone.

    Args:
        writer: Its ring.
        model: What it measures.
        source: What it measures with.
        line: Control line.
        requests: Judges what is asked of it; None where requests are off.
    """

    def __init__(
        self,
        writer: RingWriter,
        *,
        model: Model,
        source: Source,
        line: Line,
        requests: RequestDesk | None = None,
    ) -> None:
        self._writer = writer
        self._signs = {sign.handle: sign for sign in model.signs}
        self._source = source
        self._line = line
        self._alarms = AlarmBook(limits=model.limits, signs=model.signs, new_id=_new_id)
        self._state = ClinicalState.IDLE
        self._state_since_s = time.monotonic()
        self._attached = False
        self._moved = False
        self._occupied: frozenset[Occupied] = frozenset()
        self._desk = Desk(
            requests,
            model=model,
            line=line,
            present=self._present,
            alarming=lambda: self._alarms.outside,
            apply=self._alarms.set_limit,
        )
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
        else:
            self._desk.obey(order)

    def _key(self, key: str) -> None:
        if self._source.stage(key):
            return
        if key in TRANSPORT:
            self._moved = TRANSPORT[key]
        elif key == "acknowledge":
            self._publish_alarms(self._alarms.acknowledge())
            self._publish_active()
        elif key in {event.value for event in clinical.KEYS}:
            self._happen(Event(key))

    def _tick(self, now_ns: int) -> None:
        self._look_for_patient()
        samples = self._source.samples()
        if samples:
            self._publish(Record(state=self._state, monotonic_ns=now_ns, samples=samples))
        if self._ticks % TICKS_PER_S == 0:
            self._second(now_ns)
        self._desk.look()
        self._ticks += 1

    def _look_for_patient(self) -> None:
        attached = self._source.attached
        if not attached:
            # Said again and again: an alarm may have held the state until now.
            self._happen(Event.PATIENT_REMOVED)
        elif not self._attached:
            # Said once, when it happens: else a device on a patient could not stand by.
            self._happen(Event.PATIENT_ATTACHED)
        self._attached = attached
        self._look_for_use()

    def _look_for_use(self) -> None:
        """Say at once when the device begins or ends to be occupied: updates wait for it."""
        moved = frozenset({Occupied.TRANSPORT}) if self._moved else frozenset[Occupied]()
        # On standby with somebody at it: the device knows a patient, whatever it does for him.
        standby = self._state is ClinicalState.STANDBY and self._attached
        known = frozenset({Occupied.PATIENT_ASSOCIATED}) if standby else frozenset[Occupied]()
        occupied = self._source.occupied | moved | known
        if occupied != self._occupied:
            self._occupied = occupied
            self._line.report("occupied", occupied=sorted(occupied))

    def _second(self, now_ns: int) -> None:
        values = self._source.values()
        if self._source.attached:
            faults = self._source.faults()
            events = self._alarms.judge(values, now_s=now_ns / 1e9, faults=faults)
        else:
            events = self._alarms.clear()
        # Events first, because they wait for nothing; values and list behind them stand in one
        # batch, so that each batch with a list is a whole picture of the present.
        self._publish_alarms(events)
        published = tuple(value_of(self._signs[handle], value) for handle, value in values.items())
        self._publish(Record(state=self._state, monotonic_ns=now_ns, values=published))
        self._publish_active()

    def _publish_active(self) -> None:
        """List what is active, behind the events that made it so (REQ-ALM-014)."""
        active = self._alarms.list_active()
        now_ns = time.monotonic_ns()
        self._publish(Record(state=self._state, monotonic_ns=now_ns, active=active))

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
        self._state_since_s = time.monotonic()
        if event is Event.PATIENT_REMOVED:
            self._desk.patient_left()
        self._publish(Record(state=state, monotonic_ns=time.monotonic_ns()))
        self._line.report("state", state=state.name, occupied=sorted(self._occupied))

    def _present(self, request_waits: bool) -> Present:  # noqa: FBT001 - one question, one answer
        return Present(
            state=self._state,
            attached=self._source.attached or bool(self._occupied),
            alarms=self._alarms.active,
            held_s=time.monotonic() - self._state_since_s,
            request_waits=request_waits,
        )

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
            "limits": self._alarms.limits,
            "occupied": sorted(self._occupied),
            "late_us_p50": late_us[len(late_us) // 2],
            "late_us_max": late_us[-1],
            **self._desk.facts(),
        }


def _new_id() -> bytes:
    """Return a random UUID (RFC 9562 version 4); the module `uuid` would load twenty others."""
    found = bytearray(os.urandom(16))
    found[6] = found[6] & 0x0F | 0x40
    found[8] = found[8] & 0x3F | 0x80
    return bytes(found)


def value_of(sign: Sign, value: float | None) -> Value:
    """Return a numeric as it is published; without a value it says so."""
    if value is None:
        raw, status = int(float_type.FloatSpecial.NAN), MeasurementStatus.NOT_AVAILABLE
    else:
        raw = float_type.from_decimal(Decimal(f"{value:.{sign.decimals}f}"))
        status = MeasurementStatus.VALID
    return Value(
        handle=sign.handle,
        mdc_code=sign.mdc_code,
        unit_code=sign.unit_code,
        value=raw,
        status=status,
    )


def _source(order: Order, model: Model) -> Source:
    if "recording" not in order.descriptors:
        return _SIMULATED[model.kind](int(order.body["seed"]))
    with os.fdopen(take(order, "recording"), encoding="utf-8") as file:
        return Recording(file, model=model)


def build(order: Order, line: Line) -> Callable[[], Vitals]:
    """Map the ring and read the source; the rights go after this."""
    writer = RingWriter(
        take(order, "ring"),
        geometry=records.VITALS_RING,
        epoch=order.body["epoch"],
        first=order.body["first"],
        wakes=(wake_of(take(order, "wake")),),
    )
    model = MODELS[Kind(order.body["kind"])]
    source = _source(order, model)
    requests = request_desk(order, model)
    line.report("mapped", epoch=order.body["epoch"])
    return lambda: Vitals(writer, model=model, source=source, line=line, requests=requests)


def main(control_descriptor: int) -> None:
    """Run the compartment."""
    serve(control_descriptor, build)
