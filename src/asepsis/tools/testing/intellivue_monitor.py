"""A scripted Philips IntelliVue monitor, for tests and demonstrations: the far end of data export.

Written from the same document as the driver (Data Export Interface Programming Guide,
4535 642 59271), so that both may share a misunderstanding; where the two and a recording of a real
monitor agree, the tests say so. It is no model of a patient: it sends what it is given.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

RELEASE_REQUEST: Final = 0x09
CONNECT: Final = 0x0D
POLL: Final = 0x0C16
POLL_EXTENDED: Final = 0xF13B
MDS_CREATED: Final = 0x0D06
_ACCEPT_HEAD: Final = bytes.fromhex(
    "0508130100160102800014020002c1be3180a0808001010000a280a003000001a5803080800100810251010000"
    "3080800100810c2a8648ce14020100000002010000000061803080020101a0806180a180060c2a8648ce140201"
    "00000003010000a203020100a305a103020100be80288002010281"
)
_RELEASED: Final = bytes.fromhex("0a18c11661803080020101a08063808001000000000000000000")
_REFUSE: Final = bytes.fromhex("0c00")
ABORT: Final = bytes.fromhex("192e110103c129a080a0803080020101060251010000000061803080020101a0") + (
    bytes.fromhex("80648080010100000000000000000000")
)
_OBJECT_NUMERIC, _OBJECT_WAVE, _OBJECT_ALERTS, _OBJECT_MDS = 6, 9, 0x36, 0x21


@dataclass(slots=True)
class Number:
    """One numeric that the monitor measures.

    Attributes:
        physio_id: Term of the nomenclature.
        unit: Term of its unit.
        mantissa: value = mantissa * 10 ** exponent.
        exponent: See `mantissa`.
        state: Bits of the measurement state.
        handle: Object; numerics that share one are sent as a compound.
        stamp_s: When an intermittent one was measured, by the monitor's own clock; None for now.
    """

    physio_id: int
    unit: int
    mantissa: int
    exponent: int = 0
    state: int = 0
    handle: int = 0
    stamp_s: float | None = None

    def encoded(self) -> bytes:
        """Return NuObsValue."""
        value = (self.exponent & 0xFF) << 24 | self.mantissa & 0xFFFFFF
        return struct.pack(">HHHI", self.physio_id, self.state, self.unit, value)


@dataclass(slots=True)
class Wave:
    """One waveform of 16-bit samples.

    Attributes:
        physio_id: Term of the nomenclature.
        unit: Term of its unit.
        period_ticks: Between two samples, eighths of a millisecond.
        samples: Sent over and over.
        handle: Object.
    """

    physio_id: int
    unit: int
    period_ticks: int
    samples: tuple[int, ...]
    handle: int
    position: int = 0


@dataclass(slots=True)
class AlertEntry:
    """One active alert.

    Attributes:
        code: Term of the event.
        source: Term of what it is about.
        kind: Bits of type and priority, such as 0x0400 for a high physiological one.
        state: Bits of the alert state.
        handle: Object that it is about.
        text: What the monitor shows.
    """

    code: int
    source: int
    kind: int
    text: str
    state: int = 0
    handle: int = 0


def usual_numbers() -> list[Number]:
    """Return what a monitor of an intensive care bed measures."""
    return [
        Number(16_770, 2_720, 72, handle=1),
        Number(19_384, 544, 97, handle=2),
        Number(18_466, 2_720, 72, handle=2),
        Number(20_490, 2_784, 14, handle=3),
        Number(18_965, 3_872, 121, handle=4),
        Number(18_966, 3_872, 72, handle=4),
        Number(18_967, 3_872, 88, handle=4),
        Number(19_272, 6_048, 369, -1, handle=5),
    ]


def usual_waves() -> list[Wave]:
    """Return one ECG lead as a triangle, 250 samples a second."""
    shape = tuple(8_192 + 8 * abs(64 - n) for n in range(128))
    return [Wave(0x0102, 4_274, 32, shape, handle=20)]


@dataclass(slots=True)
class Monitor:
    """The protocol of a monitor with one client; times are monotonic nanoseconds.

    Attributes:
        numbers: What it measures.
        waves: Its waveforms.
        alerts: What is active.
        clock_s: Its own clock at virtual time 0, seconds since 1970.
        silent: Whether its cable is out.
        refuses: Whether it refuses associations.
    """

    numbers: list[Number] = field(default_factory=usual_numbers)
    waves: list[Wave] = field(default_factory=usual_waves)
    alerts: list[AlertEntry] = field(default_factory=list[AlertEntry])
    clock_s: float = 1_800_000_000.0
    silent: bool = False
    refuses: bool = False
    associated: bool = False
    _polls: dict[int, tuple[int, int, int]] = field(default_factory=dict[int, tuple[int, int, int]])
    _sequences: dict[int, int] = field(default_factory=dict[int, int])
    _due_ns: int = 0
    _wave_due_ns: int = 0

    def receive(self, data: bytes, now_ns: int) -> Sequence[bytes]:
        """Take one datagram of the client."""
        if self.silent or not data:
            return ()
        if data[0] == CONNECT:
            return self._connect(now_ns)
        if data[0] == RELEASE_REQUEST:
            was, self.associated = self.associated, False
            return (_RELEASED,) if was else ()
        if not self.associated or len(data) < 14:
            return ()
        return self._operation(data, now_ns)

    def tick(self, now_ns: int) -> Sequence[bytes]:
        """Return the results that are due: numerics and alerts each second, waves four times."""
        if self.silent or not self.associated:
            return ()
        found: list[bytes] = []
        if now_ns >= self._due_ns:
            self._due_ns = now_ns + 1_000_000_000
            found += self.results(_OBJECT_NUMERIC, now_ns)
            found += self.results(_OBJECT_ALERTS, now_ns)
        if now_ns >= self._wave_due_ns:
            self._wave_due_ns = now_ns + 256_000_000
            found += self.results(_OBJECT_WAVE, now_ns)
        return found

    def restart(self) -> None:
        """Forget the client, as after a power failure."""
        self.associated = False
        self._polls.clear()

    def announcement(self) -> bytes:
        """Return a connect indication."""
        body = struct.pack(">HHHIHH", 0x23, 0, 0, 0, 0x0D17, 4) + bytes(4)
        inner = struct.pack(">HHH", 0, 0, len(body)) + body
        return b"\x00\x00\x01\x00" + struct.pack(">HH", 1, len(inner)) + inner

    def _connect(self, now_ns: int) -> Sequence[bytes]:
        if self.refuses:
            return (_REFUSE,)
        self.restart()
        self.associated = True
        self._due_ns = self._wave_due_ns = now_ns + 300_000_000
        ext = struct.pack(">HHIHH", 0xF001, 8, 0x8C000000, 0, 0)
        profile = struct.pack(">IIIIII", 0x80000000, 8_000, 1456, 1456, 0xFFFFFFFF, 0x60000000)
        profile += struct.pack(">HH", 1, len(ext)) + ext
        user = struct.pack(">IIIII", 0x80000000, 0x40000000, 0, 0x00800000, 0x20000000)
        user += struct.pack(">HHHHHH", 0, 0, 1, len(profile) + 4, 1, len(profile)) + profile
        body = _ACCEPT_HEAD + bytes((len(user),)) + user + bytes(16)
        accept = bytes((0x0E, len(body))) + body
        return accept, self._created(now_ns)

    def _created(self, now_ns: int) -> bytes:
        attributes = _attributes(
            {
                0x0928: b"\x00\x08Philips\x00\x00\x08SCRIPTED",
                0x0987: self._absolute(self._wall_s(now_ns)),
                0x098F: struct.pack(">I", _ticks(now_ns)),
            }
        )
        info = struct.pack(">HHH", 0x21, 0, 0) + attributes
        body = struct.pack(">HHHIHH", 0x21, 0, 0, _ticks(now_ns), MDS_CREATED, len(info)) + info
        return _pdu(1, struct.pack(">HHH", 1, 1, len(body)) + body)

    def _operation(self, data: bytes, now_ns: int) -> Sequence[bytes]:
        kind = struct.unpack_from(">H", data, 4)[0]
        invoke_id, command = struct.unpack_from(">HH", data, 8)
        if kind != 1:
            return ()
        if command == 5:  # Priorities are taken as they come.
            value = data[24:]
            body = struct.pack(">HHH", 0x21, 0, 0) + value
            return (_pdu(2, struct.pack(">HHH", invoke_id, 5, len(body)) + body),)
        if command != 7 or len(data) < 36:
            return ()
        action, _, number, _, polled, group = struct.unpack_from(">HHHHHH", data, 24)
        if action == POLL_EXTENDED:
            self._polls[polled] = (invoke_id, number, group)
            self._sequences[polled] = 0
            return ()
        return (self._system(invoke_id, number, group, now_ns),)

    def _system(self, invoke_id: int, number: int, group: int, now_ns: int) -> bytes:
        attributes = _attributes(
            {
                0x0987: self._absolute(self._wall_s(now_ns)),
                0x098F: struct.pack(">I", _ticks(now_ns)),
            }
        )
        listed = _contexts([struct.pack(">H", 0) + attributes])
        reply = struct.pack(">HI8sHHH", number, _ticks(now_ns), b"\xff" * 8, 1, _OBJECT_MDS, group)
        return _action(2, invoke_id, POLL, reply + listed)

    def results(self, polled: int, now_ns: int) -> Iterable[bytes]:
        """Return the result of an extended poll, in parts where one datagram would be long."""
        asked = self._polls.get(polled)
        if asked is None:
            return
        invoke_id, number, group = asked
        objects = {
            _OBJECT_NUMERIC: self._numerics,
            _OBJECT_WAVE: self._waveforms,
            _OBJECT_ALERTS: self._alert_lists,
        }[polled]()
        sequence = self._sequences[polled]
        self._sequences[polled] = (sequence + 1) & 0xFFFF
        head = struct.pack(
            ">HHI8sHHH", number, sequence, _ticks(now_ns), b"\xff" * 8, 1, polled, group
        )
        half = len(objects) // 2
        if half > 2:  # As a real one does when a result does not fit one datagram.
            first, second = _contexts(objects[:half]), _contexts(objects[half:])
            yield _action(5, invoke_id, POLL_EXTENDED, head + first, linked=(1, 1))
            yield _action(5, invoke_id, POLL_EXTENDED, head + second, linked=(3, 2))
            objects = []
        yield _action(2, invoke_id, POLL_EXTENDED, head + _contexts(objects))

    def _numerics(self) -> list[bytes]:
        found: list[bytes] = []
        for handle in dict.fromkeys(n.handle for n in self.numbers):
            group = [n for n in self.numbers if n.handle == handle]
            values = b"".join(n.encoded() for n in group)
            attributes: dict[int, bytes] = {}
            if group[0].stamp_s is not None:
                attributes[0x0990] = self._absolute(group[0].stamp_s)
            if len(group) == 1:
                attributes[0x0950] = values
            else:
                attributes[0x094B] = struct.pack(">HH", len(group), len(values)) + values
            found.append(struct.pack(">H", handle) + _attributes(attributes))
        return found

    def _waveforms(self) -> list[bytes]:
        found: list[bytes] = []
        for wave in self.waves:
            count = int(2_048 / wave.period_ticks)
            samples = [wave.samples[(wave.position + n) % len(wave.samples)] for n in range(count)]
            wave.position += count
            data = struct.pack(f">{count}H", *samples)
            attributes = {
                0x096D: struct.pack(">HBBH", count, 16, 14, 0x3000),
                0x096F: bytes.fromhex("fefff000fd009ffb00003fff"),
                0x098D: struct.pack(">I", wave.period_ticks),
                0x0996: struct.pack(">H", wave.unit),
                0x096E: struct.pack(">HHH", wave.physio_id, 0, len(data)) + data,
            }
            found.append(struct.pack(">H", wave.handle) + _attributes(attributes))
        return found

    def _alert_lists(self) -> list[bytes]:
        bodily = b"".join(_alert(a) for a in self.alerts if a.kind >= 0x0100)
        technical = b"".join(_alert(a) for a in self.alerts if a.kind < 0x0100)
        attributes = {
            0x0902: struct.pack(">HH", len(self.alerts), len(bodily)) + bodily,
            0x0904: struct.pack(">HH", len(self.alerts), len(technical)) + technical,
        }
        return [struct.pack(">H", 33_793) + _attributes(attributes)]

    def _wall_s(self, now_ns: int) -> float:
        return self.clock_s + now_ns / 1e9

    @staticmethod
    def _absolute(seconds: float) -> bytes:
        days, rest = divmod(int(seconds), 86_400)
        year, month, day = _civil(days)
        hour, rest = divmod(rest, 3_600)
        minute, second = divmod(rest, 60)
        return bytes.fromhex(f"{year:04d}{month:02d}{day:02d}{hour:02d}{minute:02d}{second:02d}00")


def _ticks(now_ns: int) -> int:
    return now_ns // 125_000 & 0xFFFFFFFF


def _attributes(pairs: dict[int, bytes]) -> bytes:
    body = b"".join(struct.pack(">HH", key, len(value)) + value for key, value in pairs.items())
    return struct.pack(">HH", len(pairs), len(body)) + body


def _contexts(objects: list[bytes]) -> bytes:
    if not objects:
        return struct.pack(">HH", 0, 0)
    inner = b"".join(objects)
    context = struct.pack(">HHH", 0, len(objects), len(inner)) + inner
    return struct.pack(">HH", 1, len(context)) + context


def _action(
    kind: int, invoke_id: int, action: int, reply: bytes, *, linked: tuple[int, int] | None = None
) -> bytes:
    body = struct.pack(">HHHHH", 0x21, 0, 0, action, len(reply)) + reply
    inner = struct.pack(">HHH", invoke_id, 7, len(body)) + body
    return _pdu(kind, (bytes(linked) if linked else b"") + inner)


def _pdu(kind: int, inner: bytes) -> bytes:
    return struct.pack(">HHHH", 0xE100, 2, kind, len(inner)) + inner


def _alert(entry: AlertEntry) -> bytes:
    text = entry.text.encode("utf-16-be") + b"\0\0"
    info = struct.pack(">HIHHH", 1, 0, 1, 0, len(text)) + text
    return (
        struct.pack(
            ">HHHHHHHHH",
            entry.source,
            entry.code,
            entry.kind,
            entry.state,
            _OBJECT_NUMERIC,
            0,
            entry.handle,
            0x0204,
            len(info),
        )
        + info
    )


def _civil(days: int) -> tuple[int, int, int]:
    """Return year, month and day of a day since 1970.

    Source: H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    """
    days += 719_468
    era, of_era = divmod(days, 146_097)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year + era * 400 + (month <= 2), month, day
