"""Driver for Draeger ventilators and anaesthesia workstations: MEDIBUS over a serial line.

Follows Draeger, "RS 232 MEDIBUS, Protocol Definition" (9028258, revision 6.00), and data codes of
"MEDIBUS for Intensive Care Devices" and "MEDIBUS.X, Profile Definition for Data Communication"
(9052608). Measured data of both code pages, alarms of both and device settings are asked for in
turn, one request at a time; commands of the device (initialize, identify, no operation, stop) are
answered. Real-time curves are left on the line: they are neither asked for nor told.

Compliance, resistance and elastance are left out: they are in millibar, for which the nomenclature
has no unit of that dimension, and a converted number is not what the ventilator shows.

Unverified with a real device: everything. It was written from the published definition and from
public implementations, and tested with a peer that was written from the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import FramingError
from asepsis.core.mapping.nomenclature import SETTINGS_OFFSET
from asepsis.core.model.alarm import AlarmKind, AlarmPriority
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import medibus as wire
from asepsis.core.wire.medibus import Command
from asepsis.edge.gateway.drivers.sdk import (
    CONDITIONS_MAX,
    NS_PER_S,
    PRIVATE,
    VALUES_MAX,
    Condition,
    Conditions,
    Driver,
    Event,
    Fault,
    LineSettings,
    Linked,
    Metric,
    Output,
    Send,
    Transport,
    Unlinked,
    Value,
    Values,
    float_of,
)

ANSWER_NS: Final = 3 * NS_PER_S
"""Longest wait for an answer."""
CYCLE_NS: Final = NS_PER_S
INITIALIZE_NS: Final = 2 * NS_PER_S
TRIES: Final = 3
SETTINGS_EVERY: Final = 10
SILENCE_S: Final = 4.0
ROUND: Final = (Command.MEASURED_1, Command.ALARMS_1, Command.ALARMS_2, Command.MEASURED_2)

_PERCENT, _MMHG, _MBAR, _KPA = 262_688, 266_016, 266_098, 265_987
_L, _ML, _L_MIN, _ML_MIN, _PER_MIN = 263_744, 263_762, 265_216, 265_234, 264_928
_BEATS, _CELSIUS = 264_864, 268_192
PAGE_2: Final = 0x100
SETTING: Final = 0x200
"""Added to a data code to tell code pages and settings apart."""

METRICS: Final = {
    0x03: Metric(152_000, _L_MIN),
    0x05: Metric(151_792, _MBAR),
    0x73: Metric(151_819, _MBAR),
    0x74: Metric(151_784, _MBAR),
    0x78: Metric(151_976, _MBAR),
    0x79: Metric(151_808, _MBAR),
    0x7D: Metric(151_973, _MBAR),
    0x88: Metric(151_868, _ML),
    0x89: Metric(151_984, _ML),
    0x8A: Metric(151_988, _PERCENT),
    0x8B: Metric(152_660, _ML),
    0xAE: Metric(152_168, _PERCENT),
    0xAF: Metric(152_084, _PERCENT),
    0xB0: Metric(152_180, _PERCENT),
    0xB1: Metric(152_096, _PERCENT),
    0xB2: Metric(152_432, _ML_MIN),
    0xB9: Metric(151_880, _L_MIN),
    0xC1: Metric(150_356, _CELSIUS),
    0xD5: Metric(151_594, _PER_MIN),
    0xD6: Metric(151_586, _PER_MIN),
    0xDA: Metric(151_716, _PERCENT),
    0xDB: Metric(151_708, _PERCENT),
    0xE1: Metric(149_530, _BEATS),
    0xE3: Metric(151_708, _KPA),
    0xE5: Metric(151_716, _MMHG),
    0xE6: Metric(151_708, _MMHG),
    0xE9: Metric(152_464, _PERCENT),
    0xEA: Metric(152_460, _PERCENT),
    0xEB: Metric(150_456, _PERCENT),
    0xEF: Metric(152_440, _PERCENT),
    0xF0: Metric(152_196, _PERCENT),
    0xF8: Metric(152_184, _PERCENT),
    0xF9: Metric(152_100, _PERCENT),
    0xFB: Metric(152_192, _PERCENT),
    0xFC: Metric(152_108, _PERCENT),
    0xFF: Metric(151_716, _KPA),
    PAGE_2 | 0x21: Metric(152_664, _ML),
    PAGE_2 | 0x22: Metric(152_660, _ML),
    SETTING | 0x01: Metric(SETTINGS_OFFSET + 152_196, _PERCENT),
    SETTING | 0x04: Metric(SETTINGS_OFFSET + 151_868, _L),
    SETTING | 0x09: Metric(SETTINGS_OFFSET + 151_586, _PER_MIN),
    SETTING | 0x0B: Metric(SETTINGS_OFFSET + 151_976, _MBAR),
    SETTING | 0x40: Metric(SETTINGS_OFFSET + 152_660, _ML),
}
_HIGH, _LOW, _APNOEA, _BATTERY = 196_650, 196_672, 199_680, 196_802
_BODY, _TECHNICAL = AlarmKind.PHYSIOLOGICAL, AlarmKind.TECHNICAL
EVENTS: Final = {
    **{code: Event(_APNOEA, _BODY) for code in (0x00, 0x0D, 0x0E, 0x0F, 0x98)},
    **{code: Event(_HIGH, _BODY) for code in (0x10, 0x1E, 0x22, 0x28, 0x37, 0x3C, 0x90, 0x9B)},
    **{code: Event(_HIGH, _BODY) for code in (0xBA, 0xBF, 0xDA, 0xE8)},
    **{code: Event(_LOW, _BODY) for code in (0x02, 0x07, 0x08, 0x19, 0x27, 0xC0)},
    0x4B: Event(_BATTERY, _TECHNICAL),
}
_TABLES: Final = {
    Command.MEASURED_1: (wire.measured, 0),
    Command.MEASURED_2: (wire.measured, PAGE_2),
    Command.SETTINGS: (wire.settings, SETTING),
}
_WARNING, _CAUTION = 25, 11
"""Lowest priorities of a warning and of a caution; below stand advisories."""


@dataclass(slots=True)
class Medibus:
    """The protocol with one device."""

    linked: bool = False
    _reader: wire.FrameReader = field(default_factory=wire.FrameReader)
    _broken: int = 0
    _broken_commands: int = 0
    _heard_ns: int = 0
    _asked_ns: int = 0
    _asked: Command | None = None
    _tries: int = 0
    _turn: int = 0
    _round: int = 0
    _begun_ns: int = 0
    _pages: dict[int, tuple[Condition, ...]] = field(
        default_factory=dict[int, tuple[Condition, ...]]
    )

    def start(self, now_ns: int) -> Sequence[Output]:
        """Ask for communication."""
        self._reader.clear()
        self._forget(now_ns)
        return (self._ask(Command.INITIALIZE, now_ns),)

    def stop(self, now_ns: int) -> Sequence[Output]:
        """End communication."""
        return (Send(wire.command(Command.STOP)), *self._lost("stopped", now_ns))

    def receive(self, data: bytes, now_ns: int) -> Sequence[Output]:
        """Take bytes of the line."""
        outputs: list[Output] = []
        for frame in self._reader.feed(data):
            self._heard_ns = now_ns
            try:
                took = self._command if frame.is_command else self._response
                outputs += took(frame, now_ns)
            except FramingError:
                outputs.append(Fault("malformed"))
                outputs += self._again(now_ns)
        if self._reader.broken != self._broken:
            self._broken = self._reader.broken
            outputs += (Fault("checksum"), *(self._again(now_ns) if self.linked else ()))
        if self._reader.broken_commands != self._broken_commands:
            self._broken_commands = self._reader.broken_commands
            outputs += (Fault("checksum"), Send(wire.response(wire.NAK)))
        return outputs

    def tick(self, now_ns: int) -> Sequence[Output]:
        """Ask what is due, ask again, notice silence."""
        if not self.linked:
            due = now_ns - self._asked_ns >= INITIALIZE_NS
            return (self._ask(Command.INITIALIZE, now_ns),) if due else ()
        if now_ns - self._heard_ns >= SILENCE_S * NS_PER_S:
            return self._lost("silence", now_ns)
        if self._asked is not None:
            late = now_ns - self._asked_ns >= ANSWER_NS
            return self._again(now_ns) if late else ()
        if self._turn < len(ROUND) or now_ns - self._begun_ns >= CYCLE_NS:
            return self._next(now_ns)
        return ()

    def _ask(self, code: Command, now_ns: int) -> Send:
        self._asked, self._asked_ns = code, now_ns
        return Send(wire.command(code))

    def _next(self, now_ns: int) -> Sequence[Output]:
        """Ask the next thing of the round, or begin a new one when a second is over."""
        if self._turn >= len(ROUND):
            if now_ns - self._begun_ns < CYCLE_NS:
                return ()
            self._turn, self._begun_ns = 0, now_ns
            self._round += 1
            if self._round % SETTINGS_EVERY == 1:
                return (self._ask(Command.SETTINGS, now_ns),)
        self._turn += 1
        return (self._ask(ROUND[self._turn - 1], now_ns),)

    def _again(self, now_ns: int) -> Sequence[Output]:
        """Ask the same once more; a device that never understands it is not linked."""
        if self._asked is None:
            return ()
        self._tries += 1
        if self._tries >= TRIES:
            return self._lost("no-answer", now_ns)
        return (self._ask(self._asked, now_ns),)

    def _lost(self, why: str, now_ns: int) -> Sequence[Output]:
        linked = self.linked
        self._forget(now_ns)
        return (Unlinked(why),) if linked else ()

    def _forget(self, now_ns: int) -> None:
        self.linked, self._asked, self._tries = False, None, 0
        self._turn, self._round, self._asked_ns = len(ROUND), 0, now_ns
        self._pages.clear()

    def _command(self, frame: wire.Frame, now_ns: int) -> Sequence[Output]:
        """Answer what the device asks: it may ask us as we ask it."""
        answer = Send(wire.response(frame.code))
        if frame.code == Command.STOP:
            return (answer, *self._lost("stopped-by-device", now_ns))
        if frame.code == Command.INITIALIZE and self.linked:
            # It was switched on anew, or lost us: what it said before is over.
            again = self._lost("restarted", now_ns)
            return (answer, *again, self._ask(Command.INITIALIZE, now_ns))
        return (answer,)

    def _response(self, frame: wire.Frame, now_ns: int) -> Sequence[Output]:
        if frame.code == wire.NAK:
            return (Fault("not-understood"), *self._again(now_ns))
        if self._asked is None or frame.code != self._asked:
            return (Fault("unexpected"),)
        told = self._told(frame, now_ns)
        if not self.linked:
            return told
        self._asked, self._tries = None, 0
        return (*told, *self._next(now_ns))

    def _told(self, frame: wire.Frame, now_ns: int) -> Sequence[Output]:
        if frame.code == Command.INITIALIZE:
            return (self._ask(Command.IDENTIFY, now_ns),)
        if frame.code == Command.IDENTIFY:
            self.linked, self._begun_ns = True, now_ns - CYCLE_NS
            return (Linked(_about(frame.data)),)
        if frame.code in _TABLES:
            read, page = _TABLES[Command(frame.code)]
            return _values(read(frame.data), page)
        return self._alarms(frame)

    def _alarms(self, frame: wire.Frame) -> Sequence[Output]:
        """Tell what is active once both code pages were heard."""
        page = 0 if frame.code == Command.ALARMS_1 else PAGE_2
        self._pages[page] = tuple(_condition(a, page) for a in wire.alarms(frame.data))
        if len(self._pages) < 2:
            return ()
        active = {c.key: c for conditions in self._pages.values() for c in conditions}
        return (Conditions(tuple(active.values())[:CONDITIONS_MAX]),)


def _about(data: bytes) -> str:
    """Return the name between quotation marks, and the revisions behind it."""
    text = data.decode("latin-1").replace("'", " ")
    return "".join(c for c in text if c.isprintable()).strip()[:60]


def _values(items: Sequence[wire.Item], page: int) -> Sequence[Output]:
    found: list[Value] = []
    for item in items:
        metric = METRICS.get(page | item.code)
        if metric is None:
            continue
        number = item.number
        absent = number is None
        found.append(
            Value(
                handle=(page | item.code) + 1,
                code=metric.code,
                unit=metric.unit,
                value=float_of(number),
                status=MeasurementStatus.NOT_AVAILABLE if absent else MeasurementStatus.VALID,
            )
        )
    return (Values(tuple(found[:VALUES_MAX])),) if found else ()


def _condition(alarm: wire.Alarm, page: int) -> Condition:
    event = EVENTS.get(alarm.code) if not page else None
    if event is None:
        event = Event(PRIVATE | page | alarm.code, _TECHNICAL)
    if alarm.priority >= _WARNING:
        priority = AlarmPriority.HIGH
    else:
        priority = AlarmPriority.MEDIUM if alarm.priority >= _CAUTION else AlarmPriority.LOW
    return Condition(
        key=f"{page | alarm.code:03x}",
        code=event.code,
        kind=event.kind,
        priority=priority,
        text=alarm.text,
    )


DRIVER: Final = Driver(
    name="medibus",
    title="Draeger ventilators and anaesthesia workstations, MEDIBUS over RS-232",
    document="Draeger, RS 232 MEDIBUS, Protocol Definition",
    edition="9028258, revision 6.00",
    unverified="everything: no real device and no recording of one was available",
    transport=Transport.SERIAL,
    make=Medibus,
    metrics=METRICS,
    events=EVENTS,
    lists_alarms=True,
    line=LineSettings(baud=19_200, parity="even", stop_bits=1),
    silence_s=SILENCE_S,
)
