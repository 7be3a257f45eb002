"""Driver for Philips IntelliVue monitors: data export over UDP.

Follows Philips IntelliVue Patient Monitor, Data Export Interface Programming Guide, 4535 642 59271
(releases G.0 to L.0). Numerics, waveforms and alerts come as extended polls; a single poll of the
monitor's own data keeps the association and says its date, against which the time stamps of
intermittent measurements are read: a blood pressure of twenty minutes ago is no value of now.

Seen with recorded traffic of a real monitor (M8000, release G.01.80): connect indication,
association, MDS create event, single and extended polls, linked results, wave priority list,
release. Unverified with a real device: alert entries, refusals and aborts, marks in waveform
samples, anything over RS-232.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from asepsis.core.errors import FramingError
from asepsis.core.model.alarm import AlarmKind
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import float_type
from asepsis.core.wire import intellivue as wire
from asepsis.core.wire import intellivue_session as session
from asepsis.core.wire import intellivue_values as values
from asepsis.core.wire.intellivue_state import LinkedParts, MonitorClock, WaveFacts
from asepsis.edge.gateway.drivers.sdk import (
    AGE_MS_MAX,
    CONDITIONS_MAX,
    NS_PER_S,
    OUTPUTS_MAX,
    SAMPLES_MAX,
    VALUES_MAX,
    Condition,
    Conditions,
    Driver,
    Fault,
    Linked,
    Metric,
    Output,
    Samples,
    Send,
    Transport,
    Unlinked,
    Value,
    Values,
)

_METRIC, _EVENT, _UNIT = 2 << 16, 3 << 16, 4 << 16
"""Partitions of ISO/IEEE 11073-10101, of which the protocol sends the terms."""
_VENDOR: Final = 0xF000
RETRY_NS: Final = 2 * NS_PER_S
REFUSED_NS: Final = 5 * NS_PER_S
KEEP_ALIVE_NS: Final = 4 * NS_PER_S
SILENCE_S: Final = 4.0
POLL_S: Final = 60.0
"""Extended polls run for so long and are asked for again well before."""
RENEW_NS: Final = 40 * NS_PER_S
OBJECTS_MAX: Final = 512
NUMERIC_POLL, WAVE_POLL, ALERT_POLL, SYSTEM_POLL = 1, 2, 3, 4
WAVE_LABELS: Final = (0x0002_0102, 0x0002_4BB4, 0x0002_4A14, 0x0002_5000, 0x0002_50AC)
"""ECG lead II, plethysmogram, arterial pressure, respiration, carbon dioxide."""

_MMHG, _BPM, _RPM, _PERCENT = _UNIT | 3872, _UNIT | 2720, _UNIT | 2784, _UNIT | 544
_CELSIUS, _DIMLESS, _MILLIVOLT = _UNIT | 6048, _UNIT | 512, _UNIT | 4274
_OHM, _L_PER_MIN, _CM_H2O, _MM = _UNIT | 4288, _UNIT | 3072, _UNIT | 3904, _UNIT | 1298

_TERMS: Final[tuple[tuple[int, tuple[int, ...]], ...]] = (
    (_BPM, (16_770, 16_778, 18_442, 18_458, 18_466, 18_474)),
    (_RPM, (20_490, 20_498, 20_514, 20_522)),
    (_PERCENT, (19_244, 19_252, 19_260, 19_376, 19_384, 19_400, 19_404, 21_124, 21_112)),
    (
        _MMHG,
        # Arterial, ABP, aortic and pulmonary; central venous, atrial, cerebral; non-invasive; CO2.
        (
            *(18_949, 18_950, 18_951, 18_961, 18_962, 18_963, 18_965, 18_966, 18_967),
            *(18_973, 18_974, 18_975, 18_995, 19_015, 20_628, 20_636, 20_644, 22_532, 22_536),
        ),
    ),
    (
        _CELSIUS,
        (19_272, 19_276, 19_280, 19_284, 19_292, 19_296, 19_300, 19_308, 19_316, 19_320, 57_364),
    ),
    (_L_PER_MIN, (19_204, 19_420)),
)
METRICS: Final = {term: Metric(_METRIC | term, unit) for unit, terms in _TERMS for term in terms}
WAVEFORMS: Final = {
    0x0100: Metric(_METRIC | 0x0100, _MILLIVOLT),
    0x0101: Metric(_METRIC | 0x0101, _MILLIVOLT),
    0x0102: Metric(_METRIC | 0x0102, _MILLIVOLT),
    0x013D: Metric(_METRIC | 0x013D, _MILLIVOLT),
    0x4BB4: Metric(_METRIC | 0x4BB4, _DIMLESS),
    0x4A10: Metric(_METRIC | 0x4A10, _MMHG),
    0x4A14: Metric(_METRIC | 0x4A14, _MMHG),
    0x4A44: Metric(_METRIC | 0x4A44, _MMHG),
    0x5000: Metric(_METRIC | 0x5000, _OHM),
    0x50AC: Metric(_METRIC | 0x50AC, _MMHG),
}
_LISTS: Final = {
    values.ALERTS_PHYSIOLOGICAL: AlarmKind.PHYSIOLOGICAL,
    values.ALERTS_TECHNICAL: AlarmKind.TECHNICAL,
}
_WITHOUT_VALUE: Final = frozenset(
    {MeasurementStatus.INVALID, MeasurementStatus.NOT_AVAILABLE, MeasurementStatus.CALIBRATING}
)


class State(Enum):
    """Where the association stands."""

    DOWN = "down"
    ASKED = "asked"
    ACCEPTED = "accepted"
    LINKED = "linked"


@dataclass(slots=True)
class IntelliVue:
    """The protocol with one monitor."""

    state: State = State.DOWN
    _since_ns: int = 0
    _heard_ns: int = 0
    _asked_ns: int = 0
    _polled_ns: int = 0
    _again_ns: int = 0
    _numerics_ns: int = 0
    _invoke_id: int = 0
    _clock: MonitorClock = field(default_factory=MonitorClock)
    _waves: dict[int, WaveFacts] = field(default_factory=dict[int, WaveFacts])
    _stamps: dict[tuple[int, int], bytes] = field(default_factory=dict[tuple[int, int], bytes])
    _parts: LinkedParts = field(default_factory=LinkedParts)
    _found: dict[str, Condition] | None = None
    _active: dict[str, Condition] = field(default_factory=dict[str, Condition])

    def start(self, now_ns: int) -> Sequence[Output]:
        """Ask for an association, after ending whatever the monitor remembers of us."""
        self._forget()
        self.state, self._since_ns = State.ASKED, now_ns
        return (Send(session.RELEASE_REQUEST), Send(session.encode_request()))

    def stop(self, now_ns: int) -> Sequence[Output]:
        """Release the association."""
        return (Send(session.RELEASE_REQUEST), *self._lost("stopped", now_ns))

    def receive(self, data: bytes, now_ns: int) -> Sequence[Output]:
        """Take one datagram."""
        try:
            kind = session.session_type(data)
            if kind is not None:
                return self._associate(kind, data, now_ns)
            if data.startswith(wire.CONNECT_INDICATION):
                return self.start(now_ns) if self.state is State.DOWN else ()
            return self._operation(wire.decode_apdu(data), now_ns)
        except FramingError:
            return (Fault("malformed"),)

    def tick(self, now_ns: int) -> Sequence[Output]:
        """Ask again, keep alive, notice silence."""
        if self.state is State.LINKED:
            return self._tick_linked(now_ns)
        due_ns = max(self._since_ns + RETRY_NS, self._again_ns)
        return self.start(now_ns) if now_ns >= due_ns else ()

    def _tick_linked(self, now_ns: int) -> Sequence[Output]:
        if now_ns - self._heard_ns >= SILENCE_S * NS_PER_S:
            return self._lost("silence", now_ns)
        if now_ns - self._numerics_ns >= SILENCE_S * NS_PER_S:
            # It answers, but tells no values: what stands there is no longer of now.
            return self._lost("no-values", now_ns)
        outputs: list[Output] = []
        unanswered = self._numerics_ns < self._polled_ns and now_ns - self._polled_ns >= RETRY_NS
        if unanswered or now_ns - self._polled_ns >= RENEW_NS:
            outputs += self._polls(now_ns)
        if now_ns - self._asked_ns >= KEEP_ALIVE_NS:
            outputs.append(self._ask_system(now_ns))
        return outputs

    def _lost(self, why: str, now_ns: int, *, wait_ns: int = 0) -> Sequence[Output]:
        linked = self.state is State.LINKED
        self._forget()
        self.state, self._since_ns = State.DOWN, now_ns
        self._again_ns = now_ns + wait_ns
        return (Unlinked(why),) if linked else ()

    def _forget(self) -> None:
        self._clock = MonitorClock()
        self._waves.clear()
        self._stamps.clear()
        self._active.clear()
        self._parts, self._found = LinkedParts(), None

    def _associate(self, kind: session.SessionType, data: bytes, now_ns: int) -> Sequence[Output]:
        match kind:
            case session.SessionType.ACCEPT if self.state is State.ASKED:
                session.decode_accept(data)
                self.state, self._since_ns = State.ACCEPTED, now_ns
                return ()
            case session.SessionType.REFUSE if self.state is State.ASKED:
                return (Fault("refused"), *self._lost("refused", now_ns, wait_ns=REFUSED_NS))
            case session.SessionType.ABORT:
                return self._lost("aborted", now_ns, wait_ns=RETRY_NS)
            case session.SessionType.FINISH:
                return (Send(session.RELEASE_RESPONSE), *self._lost("released", now_ns))
            case session.SessionType.DISCONNECT:
                # The answer to our release before the association; a linked monitor is gone.
                return self._lost("released", now_ns) if self.state is State.LINKED else ()
            case _:
                return (Fault("unexpected"),)

    def _operation(self, apdu: wire.Apdu, now_ns: int) -> Sequence[Output]:
        if self.state not in {State.ACCEPTED, State.LINKED}:
            return (Fault("not-associated"),)
        if apdu.operation is wire.Operation.INVOKE:
            return self._event(apdu, now_ns)
        if self.state is not State.LINKED:
            return (Fault("unexpected"),)
        self._heard_ns = now_ns
        if apdu.operation is wire.Operation.ERROR:
            return (Fault("refused-operation"),)
        if apdu.command != wire.Command.CONFIRMED_ACTION:
            return ()
        return self._polled(apdu, wire.decode_poll(apdu), now_ns)

    def _event(self, apdu: wire.Apdu, now_ns: int) -> Sequence[Output]:
        event = wire.decode_event(apdu)
        if event.event_type != wire.MDS_CREATED:
            return ()
        attributes = wire.decode_created(event)
        confirmation = Send(wire.encode_event_result(apdu, event, relative_ticks=0))
        if self.state is State.LINKED:
            return (confirmation,)
        self.state = State.LINKED
        self._heard_ns = self._numerics_ns = now_ns
        self._clock.learn(attributes)
        about = values.label_of(attributes.get(values.SYSTEM_MODEL, b""))
        return (confirmation, Linked(about), *self._polls(now_ns), self._ask_system(now_ns))

    def _polls(self, now_ns: int) -> list[Output]:
        self._polled_ns = now_ns
        wanted = (
            (NUMERIC_POLL, wire.NUMERIC, wire.OBSERVED),
            (ALERT_POLL, wire.ALERT_MONITOR, wire.ALERTS),
            (WAVE_POLL, wire.WAVEFORM, wire.ALL),
        )
        polls = [
            wire.encode_extended_poll(self._next_id(), number, kind, group, period_s=POLL_S)
            for number, kind, group in wanted
        ]
        return [
            Send(wire.encode_wave_priorities(self._next_id(), WAVE_LABELS)),
            *map(Send, polls),
        ]

    def _ask_system(self, now_ns: int) -> Output:
        self._asked_ns = now_ns
        return Send(wire.encode_poll(self._next_id(), SYSTEM_POLL, wire.MDS, wire.SYSTEM))

    def _next_id(self) -> int:
        self._invoke_id = self._invoke_id % 0xFFFF + 1
        return self._invoke_id

    def _polled(self, apdu: wire.Apdu, reply: wire.PollReply, now_ns: int) -> Sequence[Output]:
        match reply.object_class:
            case wire.NUMERIC:
                self._numerics_ns = now_ns
                return self._numerics(reply)
            case wire.WAVEFORM:
                return self._samples(reply)
            case wire.ALERT_MONITOR:
                return self._alerts(apdu, reply)
            case wire.MDS:
                for observation in reply.observations:
                    self._clock.learn(observation.attributes)
                return ()
            case _:
                return ()

    def _numerics(self, reply: wire.PollReply) -> Sequence[Output]:
        found: list[Value] = []
        for observation in reply.observations:
            stamp = observation.attributes.get(values.STAMP_ABSOLUTE)
            age_ms = self._clock.age_ms(stamp, at_ticks=reply.relative_ticks) if stamp else 0
            found += [
                _value(observation.handle, numeric, age_ms or 0)
                for numeric in values.numerics_of(observation.attributes)
                if stamp is None or self._is_new(observation.handle, numeric, stamp, age_ms)
            ]
        return (Values(tuple(found[:VALUES_MAX])),) if found else ()

    def _is_new(
        self, handle: int, numeric: values.NumericValue, stamp: bytes, age_ms: int | None
    ) -> bool:
        """Whether a stamped value was not told yet, and its age is known and small."""
        key = (handle, numeric.physio_id)
        if self._stamps.get(key) == stamp or age_ms is None or age_ms > AGE_MS_MAX:
            return False
        if len(self._stamps) >= OBJECTS_MAX:
            self._stamps.clear()
        self._stamps[key] = stamp
        return True

    def _samples(self, reply: wire.PollReply) -> Sequence[Output]:
        outputs: list[Output] = []
        for observation in reply.observations:
            if observation.handle not in self._waves and len(self._waves) >= OBJECTS_MAX:
                self._waves.clear()
            facts = self._waves.setdefault(observation.handle, WaveFacts())
            try:
                facts.learn(observation.attributes)
                outputs += _stretches(observation, facts)
            except FramingError:
                outputs.append(Fault("waveform"))  # The others are not to suffer for it.
        return outputs[:OUTPUTS_MAX]

    def _alerts(self, apdu: wire.Apdu, reply: wire.PollReply) -> Sequence[Output]:
        """Collect the parts of a list; only a whole one says what has ended."""
        if self._parts.take(apdu):
            self._found = None
        if any(_LISTS.keys() & o.attributes.keys() for o in reply.observations):
            self._found = (self._found or {}) | _conditions(reply)
        if apdu.linked:
            return ()
        whole, found, self._found = self._parts.end(), self._found, None
        if found is None:
            return ()  # Nothing was said about alerts, not even that there are none.
        self._active = found if whole else self._active | found
        return (Conditions(tuple(self._active.values())[:CONDITIONS_MAX]),)


def _stretches(observation: wire.Observation, facts: WaveFacts) -> Iterator[Samples]:
    for sent in values.waves_of(observation.attributes):
        known = facts.stretch(sent)
        if known is not None and known[2]:  # A sample without a scale is no value.
            yield Samples(
                handle=observation.handle or 1,
                code=_METRIC | sent.physio_id,
                unit=facts.unit,
                period_ns=facts.period_ns,
                scale=known[0],
                offset=known[1],
                samples=known[2][:SAMPLES_MAX],
            )


def _conditions(reply: wire.PollReply) -> dict[str, Condition]:
    conditions = [
        _condition(alert, kind)
        for observation in reply.observations
        for attribute, kind in _LISTS.items()
        if attribute in observation.attributes
        for alert in values.alerts_of(observation.attributes[attribute])
        if alert.kind
    ]
    return {condition.key: condition for condition in conditions}


def _value(handle: int, numeric: values.NumericValue, age_ms: int) -> Value:
    status = values.status_of(numeric.state)
    none = status in _WITHOUT_VALUE or not float_type.is_valid(numeric.value)
    return Value(
        handle=handle or 1,
        code=_METRIC | numeric.physio_id,
        unit=_UNIT | numeric.unit,
        value=int(float_type.FloatSpecial.NAN) if none else numeric.value,
        status=status,
        age_ms=age_ms,
    )


def _condition(alert: values.Alert, kind: AlarmKind) -> Condition:
    # The lowest bit of a standard code is of the source, not of the event.
    term = alert.code if alert.code >= _VENDOR else alert.code & ~1
    return Condition(
        key=f"{alert.handle}.{alert.source}.{alert.code}",
        code=_EVENT | term,
        kind=kind,
        priority=values.priority_of(alert.kind),
        latching=bool(alert.state & values.LATCHED),
        inactivation=values.inactivation_of(alert.state),
        handle=alert.handle,
        text=alert.text,
    )


DRIVER: Final = Driver(
    name="intellivue",
    title="Philips IntelliVue monitors, data export over UDP",
    document="Philips IntelliVue Patient Monitor, Data Export Interface Programming Guide",
    edition="4535 642 59271",
    unverified="alert entries, refusals and aborts, marks in samples; seen: traffic of an M8000",
    transport=Transport.UDP,
    make=IntelliVue,
    metrics=METRICS,
    waveforms=WAVEFORMS,
    lists_alarms=True,
    port=24_105,
    announcements=24_005,
    silence_s=SILENCE_S,
)
