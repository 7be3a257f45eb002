"""Goal: an alert is the alarm event that its sender meant, and doubt about it never loses it."""

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.mapping.hl7_envelope import Envelope, Subject, device_word
from asepsis.core.mapping.loss import Mapped
from asepsis.core.mapping.nomenclature import EVENTS_BY_CODE
from asepsis.core.mapping.pcd01 import handle_of
from asepsis.core.mapping.pcd04 import EVENT_ALARM, DeviceAlarm, alarms_of_entry
from asepsis.core.mapping.pcd04_out import alarm_to_message
from asepsis.core.mapping.sender_time import Certainty
from asepsis.core.model.alarm import (
    TEXT_BYTES_MAX,
    AlarmEvent,
    AlarmKind,
    AlarmNotice,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.identity import Assurance
from asepsis.core.model.patient import PatientId, Place
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageEntry, MessageFindings, MessagePeer

DEVICE, OTHER = "urn:dev:mac:0123456789abcdef", "urn:dev:mac:0123456789abcdee"
AT_NS = 1_800_000_000 * 10**9
ENVELOPE = Envelope(control_id="1", made_ns=AT_NS)
WORDS = ((b"^".join(part.encode() for part in device_word(DEVICE)), DEVICE), (b"TWO", OTHER))


def read(body: bytes) -> Mapped[tuple[DeviceAlarm, ...]]:
    findings = MessageFindings(MessagePeer("monitor", "UTC", WORDS), 0, AT_NS)
    found = alarms_of_entry(MessageEntry(1, 0, body, findings), Message.parse(body))
    return Mapped(tuple(found.value), found.losses)


def alert(
    *,
    order: str = "1^A-7^MON^L",
    parent: str = "",
    event: str = "196670^MDC_EVT_LO^MDC",
    text: str = "SpO2 LOW",
    flags: str = "PH~SP",
    phase: str = "start",
    state: str = "active",
    rest: tuple[str, ...] = (),
    word: str = "TWO",
    charset: str = "",
) -> bytes:
    """A message as a monitor's gateway sends it: facets by code, the event's flags in OBX-8."""
    rows = [
        f"MSH|^~\\&|MON|ICU|||20270115080000+0000||ORU^R40^ORU_R40|1|P|2.6||||||{charset}",
        "PID|||4711^^^MRN",
        f"OBR|1||{order}|196616^MDC_EVT_ALARM^MDC|||20270115080000+0000" + "|" * 22 + parent,
        f"OBX|1|ST|{event}|1.7.4.150456.1|{text}|||{flags}|||F|||20270115080001+0000||||{word}",
        f"OBX|2|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.7.4.150456.2|82|||||||F|||||||{word}",
        f"OBX|3|ST|68481^MDC_ATTR_EVENT_PHASE^MDC|1.7.4.150456.3|{phase}||||||F",
        f"OBX|4|ST|68482^MDC_ATTR_ALARM_STATE^MDC|1.7.4.150456.4|{state}||||||F",
        *rest,
    ]
    return "\r".join((*rows, "")).encode()


def one(body: bytes) -> DeviceAlarm:
    found = read(body)
    assert len(found.value) == 1, found.losses
    return found.value[0]


def test_an_alert_of_a_monitor_is_read_whole() -> None:
    found = one(alert())
    assert found.device.uri == OTHER
    assert found.time.at_ns == (1_800_000_001) * 10**9
    assert found.time.certainty is Certainty.OFFSET
    event = found.event
    assert (event.phase, event.priority) == (AlarmPhase.ONSET, AlarmPriority.HIGH)
    assert (event.kind, event.mdc_code) == (AlarmKind.PHYSIOLOGICAL, 196670)
    assert event.text == "SpO2 LOW"
    # The same handle as the value's own in a message of values.
    assert event.source_handle == handle_of(b"1.7.4.150456", 150456)


def test_an_update_and_an_end_are_of_the_same_condition() -> None:
    first = one(alert()).event.condition_id
    later = alert(order="2^A-8^MON^L", parent="^1&A-7&MON&L", phase="update")
    assert one(later).event.condition_id == first
    assert one(alert(order="1^A-7^MON^L", phase="end")).event.condition_id == first
    assert one(alert(order="1^A-9^MON^L")).event.condition_id != first


@pytest.mark.parametrize(
    ("phase", "state", "expected", "latching"),
    [
        ("start", "active", AlarmPhase.ONSET, False),
        ("continue", "active", AlarmPhase.CHANGE, False),
        ("escalate", "active", AlarmPhase.CHANGE, False),
        ("end", "inactive", AlarmPhase.END, False),
        ("end", "latched", AlarmPhase.END, True),
        ("update", "inactive", AlarmPhase.END, False),
        ("", "", AlarmPhase.CHANGE, False),
    ],
)
def test_phases_and_states(phase: str, state: str, expected: AlarmPhase, *, latching: bool) -> None:
    event = one(alert(phase=phase, state=state)).event
    assert (event.phase, event.latching) == (expected, latching)


def test_doubt_about_an_alert_is_told_and_loses_no_alert() -> None:
    found = read(alert(event="7^PUMP EMPTY^99VENDOR", text="", flags=""))
    (alarm,) = found.value
    assert alarm.event.mdc_code == EVENT_ALARM
    assert alarm.event.priority is AlarmPriority.HIGH
    assert alarm.event.text == "PUMP EMPTY"
    assert {loss.partition(":")[0] for loss in found.losses} == {"event", "priority", "type"}
    wrong = read(alert(event="196670^MDC_EVT_HI^MDC"))
    assert wrong.value[0].event.mdc_code == EVENT_ALARM


def test_text_in_a_set_that_is_not_read_is_left_out_and_the_alert_stays() -> None:
    found = read(alert(charset="BIG-5"))
    assert found.value[0].event.text == ""
    assert found.value[0].event.priority is AlarmPriority.HIGH
    assert "text: not valid in the message's character set, left out" in found.losses


@pytest.mark.parametrize(
    ("body", "loss"),
    [
        (alert(word="OTHER"), "device: unverified"),
        (alert(word=""), "device: unverified"),
        (alert(word="TWO~OTHER"), "device: unverified"),
        (alert(order=""), "alert: neither OBR-3 nor OBR-29 names it"),
        (alert(phase="tpoint"), "phase: a moment, which is no condition"),
    ],
)
def test_what_is_nobodys_or_no_condition_is_a_loss(body: bytes, loss: str) -> None:
    found = read(body)
    assert not found.value
    assert loss in found.losses


def test_older_names_of_the_facets_and_names_before_numbers_are_read() -> None:
    body = alert().replace(b"68481^MDC_ATTR_EVENT_PHASE^MDC", b"MDC_ATTR_EVT_PHASE^68481^MDC")
    body = body.replace(b"68482^MDC_ATTR_ALARM_STATE", b"68166^MDC_ATTR_ALERT_STATE")
    event = one(body.replace(b"|start|", b"|end|")).event
    assert event.phase is AlarmPhase.END


EVENTS = st.builds(
    AlarmEvent,
    condition_id=st.uuids().map(lambda one: one.bytes),
    phase=st.sampled_from(AlarmPhase),
    kind=st.sampled_from(AlarmKind),
    priority=st.sampled_from(AlarmPriority),
    latching=st.booleans(),
    inactivation=st.sampled_from(Inactivation),
    mdc_code=st.sampled_from(sorted(EVENTS_BY_CODE)),
    source_handle=st.just(0),
    offset_ms=st.just(0),
    text=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1).map(
        lambda text: text.encode()[:TEXT_BYTES_MAX].decode(errors="ignore")
    ),
)


@given(event=EVENTS, tenths=st.integers(0, 4 * 10**13))
def test_what_is_written_is_read_back(event: AlarmEvent, tenths: int) -> None:
    notice = AlarmNotice(
        device=DEVICE,
        assurance=Assurance.DEVICE_ORIGIN,
        device_time_ns=tenths * 100_000,
        received_at_ns=AT_NS,
        event=event,
    )
    written = alarm_to_message(notice, ENVELOPE)
    assert not written.losses
    found = read(written.value)
    assert not found.losses
    (alarm,) = found.value
    assert alarm.device.uri == DEVICE
    assert alarm.time.at_ns == notice.device_time_ns
    assert alarm.event == event


def test_what_cannot_be_carried_is_counted() -> None:
    event = replace(one(alert()).event, condition_id=uuid.uuid4().bytes, source_handle=7)
    notice = AlarmNotice(
        device=DEVICE,
        assurance=None,
        device_time_ns=AT_NS + 1,
        received_at_ns=AT_NS,
        event=event,
    )
    assert len(alarm_to_message(notice, ENVELOPE).losses) == 2
    subject = Subject(patient=PatientId("4711", "MRN"), place=Place("ICU", "4", "B"))
    whole = alarm_to_message(notice, ENVELOPE, subject=subject, source_code=150456)
    message = Message.parse(whole.value)
    assert message.get("PID-3.4") == "MRN"
    assert message.get("PV1-3.3") == "B"
    assert message.get("OBX[2]-5.2") == "MDC_PULS_OXIM_SAT_O2"


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_hostile_rows_break_nothing(first: bytes, second: bytes) -> None:
    def clean(raw: bytes) -> bytes:
        return bytes(b for b in raw if b not in b"\r\n\x0b\x1c\x00")

    body = alert().replace(b"SpO2 LOW", clean(first)).replace(b"1^A-7^MON^L", clean(second))
    read(body)
