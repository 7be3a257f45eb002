"""The IntelliVue machine: what is of now, what is none, what has ended."""

from dataclasses import replace

import pytest

from asepsis.core.model.alarm import AlarmPriority, Inactivation
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import float_type
from asepsis.core.wire import intellivue_session as session
from asepsis.edge.gateway.drivers.intellivue import IntelliVue, State
from asepsis.edge.gateway.drivers.sdk import (
    Conditions,
    Fault,
    Linked,
    Samples,
    Send,
    Unlinked,
    Value,
    Values,
)
from asepsis.tools.testing.intellivue_monitor import (
    ABORT,
    AlertEntry,
    Monitor,
    Number,
)
from asepsis.tools.testing.scripted_peer import Conversation

HEART_RATE, SPO2, NBP_SYSTOLIC = 147_842, 150_456, 150_021


def linked(monitor: Monitor, *, seconds: float = 3.0) -> Conversation:
    talk = Conversation(IntelliVue(), monitor)
    talk.start()
    talk.run(seconds)
    assert talk.hear(Linked)
    return talk


def told(talk: Conversation, code: int) -> list[Value]:
    return [value for values in talk.hear(Values) for value in values.values if value.code == code]


def test_values_keep_the_decimals_that_the_monitor_shows() -> None:
    talk = linked(Monitor())
    (temperature, *_) = told(talk, 150_344)
    assert str(float_type.to_decimal(temperature.value)) == "36.9"


@pytest.mark.parametrize(
    ("state", "status", "has_value"),
    [
        (0x8000, MeasurementStatus.INVALID, False),
        (0x2000, MeasurementStatus.NOT_AVAILABLE, False),
        (0x1000, MeasurementStatus.CALIBRATING, False),
        (0x4000, MeasurementStatus.QUESTIONABLE, True),
        (0x0400, MeasurementStatus.TEST, True),
        (0x0002, MeasurementStatus.VALID, True),
        (0xA000, MeasurementStatus.INVALID, False),
    ],
)
def test_the_measurement_state_decides_whether_there_is_a_number(
    state: int, status: MeasurementStatus, *, has_value: bool
) -> None:
    monitor = Monitor(numbers=[Number(19_384, 544, 97, state=state, handle=2)])
    (value, *_) = told(linked(monitor), SPO2)
    assert value.status is status
    assert float_type.is_number(value.value) is has_value


def test_an_intermittent_measurement_is_told_once_and_with_its_age() -> None:
    """Goal: a blood pressure that the monitor repeats each second never looks like one of now."""
    monitor = Monitor()
    young = Number(18_949, 3_872, 120, handle=9, stamp_s=monitor.clock_s - 30)
    old = Number(18_950, 3_872, 70, handle=10, stamp_s=monitor.clock_s - 1_200)
    monitor.numbers += [young, old]
    talk = linked(monitor, seconds=6)
    (value,) = told(talk, NBP_SYSTOLIC)
    assert 29_000 <= value.age_ms <= 36_000
    assert not told(talk, 150_022)
    monitor.numbers[-2] = replace(young, stamp_s=monitor.clock_s + talk.now_ns / 1e9)
    talk.run(2)
    newest = told(talk, NBP_SYSTOLIC)[-1]
    assert (len(told(talk, NBP_SYSTOLIC)), newest.age_ms < 3_000) == (2, True)


def test_a_stamp_without_a_date_is_of_no_known_age() -> None:
    monitor = Monitor()
    monitor.numbers = [Number(18_949, 3_872, 120, handle=9, stamp_s=-1e10)]
    assert not told(linked(monitor), NBP_SYSTOLIC)


def test_alerts_come_change_and_end() -> None:
    monitor = Monitor()
    asystole = AlertEntry(3_076, 16_770, 0x0400, "ASYSTOLE", handle=1)
    monitor.alerts = [asystole, AlertEntry(0x00C2, 0, 0x0001, "BATT LOW\x07")]
    talk = linked(monitor)
    active = {c.code: c for c in talk.hear(Conditions)[-1].active}
    assert active[199_684].priority is AlarmPriority.HIGH
    assert (active[199_684].text, active[196_802].text) == ("ASYSTOLE", "BATT LOW")
    monitor.alerts = [replace(asystole, state=0x3000)]
    talk.run(2)
    (silenced,) = talk.hear(Conditions)[-1].active
    assert (silenced.latching, silenced.inactivation) == (True, Inactivation.ACKNOWLEDGED)
    monitor.alerts = []
    talk.run(2)
    assert talk.hear(Conditions)[-1].active == ()


def test_a_part_of_a_list_that_is_missing_ends_no_condition() -> None:
    monitor = Monitor()
    monitor.alerts = [AlertEntry(3_076, 16_770, 0x0400, "ASYSTOLE", handle=1)]
    talk = linked(monitor)
    machine = talk.machine
    assert isinstance(machine, IntelliVue)
    heard = talk.hear(Conditions)[-1]
    monitor.alerts = []
    (whole,) = monitor.results(0x36, talk.now_ns)
    # The second of three parts, and then the end: the first was lost on the way.
    part = whole[:4] + b"\x00\x05" + (len(whole) - 6).to_bytes(2, "big") + b"\x03\x02" + whole[8:]
    assert not [o for o in machine.receive(part, talk.now_ns) if isinstance(o, Conditions)]
    (after,) = [o for o in machine.receive(whole, talk.now_ns) if isinstance(o, Conditions)]
    assert after == heard


def test_waveforms_carry_scale_and_period() -> None:
    talk = linked(Monitor())
    first = talk.hear(Samples)[0]
    assert (first.code, first.unit, first.period_ns) == (131_330, 266_418, 4_000_000)
    assert str(float_type.to_decimal(first.scale)) == "0.005"
    assert str(float_type.to_decimal(first.offset)) == "-40.960"
    assert (
        sum(s.period_ns * len(s.samples) for s in linked(Monitor(), seconds=5).hear(Samples))
        >= 3 * 1_000_000_000
    )


def test_refusals_aborts_and_releases_end_what_was_of_now() -> None:
    refusing = Monitor(refuses=True)
    talk = Conversation(IntelliVue(), refusing)
    talk.start()
    talk.run(3)
    assert talk.hear(Fault) == [Fault("refused")]
    refusing.refuses = False
    talk.run(8)
    assert talk.hear(Linked)
    machine = talk.machine
    assert machine.receive(ABORT, talk.now_ns) == (Unlinked("aborted"),)
    monitor = Monitor()
    talk = linked(monitor)
    outputs = talk.machine.receive(session.RELEASE_REQUEST, talk.now_ns)
    assert outputs == (Send(session.RELEASE_RESPONSE), Unlinked("released"))


def test_an_announcement_begins_an_association_at_once() -> None:
    monitor = Monitor(silent=True)
    talk = Conversation(IntelliVue(), monitor)
    talk.start()
    talk.run(0.2)
    machine = talk.machine
    assert isinstance(machine, IntelliVue)
    machine.state = State.DOWN
    outputs = machine.receive(monitor.announcement(), talk.now_ns)
    assert Send(session.encode_request()) in outputs


def test_strangers_words_change_nothing_before_an_association() -> None:
    machine = IntelliVue()
    machine.start(0)
    other = Conversation(IntelliVue(), monitor := Monitor())
    other.start()
    other.run(2)
    for datagram in monitor.results(6, other.now_ns):
        assert all(isinstance(output, Fault) for output in machine.receive(datagram, 1))
