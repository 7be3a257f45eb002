"""The MEDIBUS machine: frames in pieces, noise between them, alarms, restarts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError
from asepsis.core.model.alarm import AlarmPriority
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import float_type
from asepsis.core.wire import medibus as wire
from asepsis.edge.gateway.drivers.medibus import Medibus
from asepsis.edge.gateway.drivers.sdk import (
    Conditions,
    Fault,
    Linked,
    Send,
    Unlinked,
    Value,
    Values,
)
from asepsis.tools.testing.medibus_ventilator import Ventilator
from asepsis.tools.testing.scripted_peer import Conversation

PEEP, TIDAL = 151_976, 151_868


def linked(ventilator: Ventilator, *, seconds: float = 3.0) -> Conversation:
    talk = Conversation(Medibus(), ventilator)
    talk.start()
    talk.run(seconds)
    assert talk.hear(Linked)
    return talk


def told(talk: Conversation, code: int) -> list[Value]:
    return [value for values in talk.hear(Values) for value in values.values if value.code == code]


def test_values_keep_their_digits_and_units() -> None:
    ventilator = Ventilator(measured={0x78: " 8.0", 0x88: " 480", 0xF0: "----"})
    talk = linked(ventilator)
    assert str(float_type.to_decimal(told(talk, PEEP)[0].value)) == "8.0"
    assert told(talk, TIDAL)[0].unit == 263_762
    absent = told(talk, 152_196)[0]
    assert absent.status is MeasurementStatus.NOT_AVAILABLE
    assert not float_type.is_number(absent.value)


def test_settings_are_told_apart_from_what_is_measured() -> None:
    talk = linked(Ventilator(), seconds=2)
    assert len(told(talk, (256 << 16) + PEEP)) == 1
    assert len(told(talk, PEEP)) >= 2


def test_real_time_bytes_inside_a_message_are_left_on_the_line() -> None:
    talk = linked(Ventilator(noise=b"\x90\xd1\xc0"))
    assert told(talk, PEEP)
    assert not talk.hear(Fault)


@pytest.mark.parametrize("priority", [1, 0x0D, 0x11, 0x13, 0x15, 0x18, 0x1B, 31])
def test_a_priority_that_looks_like_a_control_character_is_a_priority(priority: int) -> None:
    """Goal: an alarm of priority 13 is not the end of its message."""
    ventilator = Ventilator(alarms=[(priority, 0x10, "PAW HIGH"), (priority, 0x99, "AN ALARM")])
    active = linked(ventilator).hear(Conditions)[-1].active
    assert {(c.key, c.text) for c in active} == {("010", "PAW HIGH"), ("099", "AN ALARM")}


def test_alarms_of_both_pages_come_and_end() -> None:
    ventilator = Ventilator(alarms=[(27, 0x98, "APNEA")], alarms_2=[(5, 0x10, "PAGE TWO")])
    talk = linked(ventilator)
    active = {c.code: c for c in talk.hear(Conditions)[-1].active}
    assert active[199_680].priority is AlarmPriority.HIGH
    assert active[(1024 << 16) + 0x110].priority is AlarmPriority.LOW
    ventilator.alarms = ventilator.alarms_2 = []
    talk.run(3)
    assert talk.hear(Conditions)[-1].active == ()


def test_a_wrong_checksum_is_not_read_and_asked_for_again() -> None:
    ventilator = Ventilator()
    talk = linked(ventilator)
    ventilator.corrupt = 1
    since_ns = talk.now_ns
    talk.run(5)
    assert talk.hear(Fault, since_ns=since_ns) == [Fault("checksum")]
    assert talk.hear(Values, since_ns=talk.now_ns - 1_500_000_000)
    assert not talk.hear(Unlinked)


def test_a_device_that_was_restarted_is_initialized_again() -> None:
    ventilator = Ventilator()
    talk = linked(ventilator)
    ventilator.restart()
    talk.run(12)
    assert len(talk.hear(Unlinked)) == 1
    assert len(talk.hear(Linked)) == 2
    initialize = wire.command(wire.Command.INITIALIZE)
    outputs = talk.machine.receive(initialize, talk.now_ns)
    assert outputs[:2] == [Send(wire.response(wire.Command.INITIALIZE)), Unlinked("restarted")]


def test_the_devices_own_commands_are_answered() -> None:
    talk = linked(Ventilator())
    for code in (wire.Command.NO_OPERATION, wire.Command.IDENTIFY, wire.Command.TIME_CHANGED):
        assert Send(wire.response(code)) in talk.machine.receive(wire.command(code), talk.now_ns)
    outputs = talk.machine.receive(wire.command(wire.Command.STOP), talk.now_ns)
    assert Unlinked("stopped-by-device") in outputs


@given(st.lists(st.binary(max_size=40)), st.integers(1, 7))
def test_frames_survive_every_cut_and_every_prefix(junk: list[bytes], cut: int) -> None:
    reader = wire.FrameReader()
    list(reader.feed(b"".join(junk) + b"\r"))
    stream = wire.response(wire.Command.MEASURED_1, b"78  8.0") + wire.command(
        wire.Command.NO_OPERATION
    )
    reader.clear()
    found = [
        frame for at in range(0, len(stream), cut) for frame in reader.feed(stream[at : at + cut])
    ]
    assert [frame.code for frame in found] == [0x24, 0x30]


@pytest.mark.parametrize("data", [b"7", b"78 8.", b"XX  8.0", b"78  8.0 "])
def test_records_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(FramingError):
        wire.measured(data)
    with pytest.raises(FramingError):
        wire.alarms(b"\x20" + data)
