"""What a device told, as the hub takes it: bundles, waveform packets, alarm documents.

Pure but for its own state: time, numbers and condition ids come from outside. Values are of the
moment at which the line process got them, less the age that the device itself says; alarm
conditions become events by comparing what is active now with what was, and the list of all of them
is repeated, because a state that is repeated cannot be lost.

Source: REQ-OBS-006, REQ-OBS-008, REQ-WAV-001, REQ-ALM-003, REQ-ALM-014; HL7 PoCD 1.0.0-ballot3.
"""

import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from asepsis.core.errors import ContentMismatch, InputError
from asepsis.core.mapping import nomenclature
from asepsis.core.mapping.alarm_document import alarms_to_document
from asepsis.core.mapping.fhir_bundle import numerics_to_bundle
from asepsis.core.mapping.fhir_numeric import Origin
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.model.alarm import TEXT_BYTES_MAX, AlarmEvent, AlarmPhase
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import Numeric
from asepsis.core.wire import fhir_alarm, frames
from asepsis.core.wire.fhir import Bundle, BundleEntry, BundleRequest, Device
from asepsis.core.wire.fhir_alarm import EVENTS_MAX
from asepsis.core.wire.fhir_codec import encode
from asepsis.core.wire.fhir_types import Identifier
from asepsis.edge.gateway.drivers.sdk import (
    Condition,
    Conditions,
    Samples,
    Unlinked,
    Value,
    Values,
)

NS_PER_MS: Final = 1_000_000
FLUSH_NS: Final = 500_000_000
"""Values that come closer together go in one bundle: the hub takes eight a second."""
WAVES_NS: Final = 800_000_000
LIST_NS: Final = 3_000_000_000
"""How often the list of active conditions is repeated; at most 5 s apart (REQ-ALM-014)."""
URI_SYSTEM: Final = "urn:ietf:rfc:3986"
HANDLES_MAX: Final = 512
WAVES_MAX: Final = frames.FRAMES_MAX
FHIR_JSON: Final = "application/fhir+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One body for the hub.

    Attributes:
        lane: `fhir`, `alerts` or `waveforms`.
        media_type: Of the body.
        sequence: Number in its account.
        body: Its bytes.
    """

    lane: str
    media_type: str
    sequence: int
    body: bytes


@dataclass(slots=True)
class Counter:
    """Numbers from 1, dense."""

    last: int = 0

    def next(self) -> int:
        """Return the next number."""
        self.last += 1
        return self.last


@dataclass(slots=True)
class _Stretch:
    """Samples of one waveform that wait for their packet."""

    metric: frames.WaveformMetric
    samples: list[int]
    end_ns: int


@dataclass(slots=True)
class _Active:
    condition_id: bytes
    condition: Condition


@dataclass(slots=True)
class Reporter:
    """Everything one device told, on its way.

    Attributes:
        device: Whose values these are.
        epoch: Boot epoch of the gateway.
        numbers: Of bundles and alarm documents, shared by all devices of the gateway.
        fresh_id: Makes the 16 bytes of a condition id.
        unfit: Values that were left out, because their unit is none of their metric.
        flush_ns: Least time between two bundles.
        waves_ns: The same of waveform packets.
        ahead: So many of each may go at once after a pause; the rate over time stays the same. With
            more than one, what was told together goes together, at the next `tick`.
    """

    device: DeviceId
    epoch: int
    numbers: Counter
    fresh_id: Callable[[], bytes]
    unfit: int = 0
    flush_ns: int = FLUSH_NS
    waves_ns: int = WAVES_NS
    ahead: int = 1
    _values: dict[int, tuple[Value, int]] = field(default_factory=dict[int, tuple[Value, int]])
    _flush_due_ns: int = 0
    _waves: dict[int, _Stretch] = field(default_factory=dict[int, _Stretch])
    _wave_due_ns: int = 0
    _packets: Counter = field(default_factory=Counter)
    _frames: dict[int, Counter] = field(default_factory=dict[int, Counter])
    _handles: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    _active: dict[str, _Active] = field(default_factory=dict[str, _Active])
    _lists: bool = False
    _listed_ns: int = 0

    def take(self, told: object, *, at_ns: int, now_ns: int) -> Iterator[Made]:
        """Take what was told; yield what cannot wait.

        Args:
            told: One thing that a machine told.
            at_ns: Wall time of it, nanoseconds since 1970.
            now_ns: Monotonic time.
        """
        match told:
            case Values(values):
                for value in values:
                    self._add(value, at_ns)
                yield from self._at_once(at_ns, now_ns)
            case Samples():
                self._extend(told, at_ns)
                yield from self._at_once(at_ns, now_ns)
            case Conditions(active):
                self._lists = True
                yield from self._compare(active, at_ns, now_ns)
            case Unlinked():
                # Nothing that was told before may look like now: neither values nor the list.
                self._values.clear()
                self._waves.clear()
                self._lists = False
            case _:
                return

    def tick(self, *, at_ns: int, now_ns: int) -> Iterator[Made]:
        """Yield what is due; the times are as those of `take`."""
        slack = self.ahead - 1
        if self._values and now_ns >= self._flush_due_ns - slack * self.flush_ns:
            self._flush_due_ns = max(self._flush_due_ns, now_ns) + self.flush_ns
            yield self._bundle(at_ns)
        if self._waves and now_ns >= self._wave_due_ns - slack * self.waves_ns:
            self._wave_due_ns = max(self._wave_due_ns, now_ns) + self.waves_ns
            yield self._packet()
        if self._lists and now_ns - self._listed_ns >= LIST_NS:
            yield from self._list(at_ns, now_ns)

    def _at_once(self, at_ns: int, now_ns: int) -> Iterator[Made]:
        return self.tick(at_ns=at_ns, now_ns=now_ns) if self.ahead == 1 else iter(())

    @property
    def holds_back(self) -> bool:
        """Whether something waits for its turn."""
        return bool(self._values or self._waves)

    def _add(self, value: Value, at_ns: int) -> None:
        try:
            nomenclature.check_unit(value.code, value.unit)
        except ContentMismatch:
            self.unfit += 1  # The hub would refuse it with everything beside it.
            return
        handle = self._handle(value.handle, value.code)
        self._values[handle] = (value, at_ns - value.age_ms * NS_PER_MS)

    def _handle(self, handle: int, code: int) -> int:
        """Return a handle that means one metric only; devices share them among parts of one."""
        found = self._handles.get((handle, code))
        if found is None:
            if len(self._handles) >= HANDLES_MAX:
                self._handles.clear()
            taken = set(self._handles.values())
            found = zlib.crc32(b"%d.%d" % (handle, code)) % 65_535 + 1
            while found in taken:
                found = found % 65_535 + 1
            self._handles[handle, code] = found
        return found

    def _bundle(self, at_ns: int) -> Made:
        values, self._values = self._values, {}
        start_ns = min(measured_ns for _, measured_ns in values.values())
        numerics = [
            Numeric(
                handle=handle,
                mdc_code=value.code,
                unit_code=value.unit,
                value=value.value,
                status=value.status,
                offset_ms=(measured_ns - start_ns) // NS_PER_MS,
            )
            for handle, (value, measured_ns) in values.items()
        ]
        sequence = self.numbers.next()
        origin = Origin(device=self.device, start_ns=start_ns)
        mapped = numerics_to_bundle(numerics, origin, epoch=self.epoch, sequence=sequence)
        entries = (_who(self.device), *mapped.value.entry)
        bundle = msgspec.structs.replace(mapped.value, timestamp=to_instant(at_ns), entry=entries)
        return Made(lane="fhir", media_type=FHIR_JSON, sequence=sequence, body=encode(bundle))

    def _extend(self, told: Samples, at_ns: int) -> None:
        try:
            nomenclature.check_unit(told.code, told.unit)
        except ContentMismatch:
            self.unfit += 1
            return
        metric = frames.WaveformMetric(
            handle=self._handle(told.handle, told.code),
            mdc_code=told.code,
            unit_code=told.unit,
            period_ns=told.period_ns,
            scale=told.scale,
            offset=told.offset,
        )
        waiting = self._waves.get(metric.handle)
        if waiting is not None and waiting.metric == metric:
            room = frames.SAMPLES_MAX - len(waiting.samples)
            waiting.samples += told.samples[:room]
            waiting.end_ns = at_ns
        elif waiting is not None or len(self._waves) < WAVES_MAX:
            self._waves[metric.handle] = _Stretch(metric, list(told.samples), at_ns)

    def _packet(self) -> Made:
        waves, self._waves = self._waves, {}
        written: list[bytes] = []
        for handle, wave in waves.items():
            counter = self._frames.setdefault(handle, Counter())
            try:
                frame = frames.encode_frame(
                    wave.metric,
                    frame_sequence=counter.last + 1,
                    wall_ns=wave.end_ns - len(wave.samples) * wave.metric.period_ns,
                    samples=wave.samples,
                )
            except InputError:
                self.unfit += 1  # A scale of zero, for example: no value can be read from it.
                continue
            counter.next()
            written.append(frame)
        sequence = self._packets.next()
        body = frames.encode_packet(
            self.device, epoch=self.epoch, sequence=sequence, frames=written
        )
        return Made(lane="waveforms", media_type=frames.MEDIA_TYPE, sequence=sequence, body=body)

    def _compare(self, active: Sequence[Condition], at_ns: int, now_ns: int) -> Iterator[Made]:
        """Tell what began, changed or ended, and then the list of what is active."""
        now = {condition.key: condition for condition in active}
        ended = [key for key in self._active if key not in now]
        events = [_event(self._active.pop(key), AlarmPhase.END) for key in ended]
        for key, condition in now.items():
            known = self._active.get(key)
            if known is None:
                self._active[key] = known = _Active(self.fresh_id(), condition)
                events.append(_event(known, AlarmPhase.ONSET))
            elif known.condition != condition:
                known.condition = condition
                events.append(_event(known, AlarmPhase.CHANGE))
        for start in range(0, len(events), EVENTS_MAX):
            yield self._document(events[start : start + EVENTS_MAX], at_ns, lists=False)
        if events or now_ns - self._listed_ns >= LIST_NS:
            yield from self._list(at_ns, now_ns)

    def _list(self, at_ns: int, now_ns: int) -> Iterator[Made]:
        self._listed_ns = now_ns
        events = [_event(active, AlarmPhase.CHANGE) for active in self._active.values()]
        yield self._document(events[:EVENTS_MAX], at_ns, lists=True)

    def _document(self, events: Sequence[AlarmEvent], at_ns: int, *, lists: bool) -> Made:
        document = alarms_to_document(events, device=self.device.uri, start_ns=at_ns)
        document = msgspec.structs.replace(document, lists_active=lists, made_at=to_instant(at_ns))
        return Made(
            lane="alerts",
            media_type=fhir_alarm.MEDIA_TYPE,
            sequence=self.numbers.next(),
            body=fhir_alarm.encode_alarms(document),
        )


def _event(active: _Active, phase: AlarmPhase) -> AlarmEvent:
    condition = active.condition
    return AlarmEvent(
        condition_id=active.condition_id,
        phase=phase,
        kind=condition.kind,
        priority=condition.priority,
        latching=condition.latching,
        inactivation=condition.inactivation,
        mdc_code=condition.code or 1,
        source_handle=0,
        offset_ms=0,
        text=_text(condition.text),
    )


def _text(shown: str) -> str:
    clean = "".join(c for c in shown if c.isprintable())
    return clean.encode()[:TEXT_BYTES_MAX].decode("utf-8", "ignore")


def _who(device: DeviceId) -> BundleEntry:
    """Return the entry that says whom a bundle is about."""
    return BundleEntry(
        full_url=f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, device.uri)}",
        resource=Device(identifier=(Identifier(system=URI_SYSTEM, value=device.uri),)),
        request=BundleRequest(method="PUT", url="Device"),
    )


def empty_bundle(device: DeviceId) -> bytes:
    """Return a bundle without values: it fills a number and renews nothing (REQ-OBS-015)."""
    return encode(Bundle(type="transaction", entry=(_who(device),)))
