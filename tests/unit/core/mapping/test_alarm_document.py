"""Alarm events as JSON in the words of IEC 60601-1-8, and back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.mapping.alarm_document import alarms_to_document, document_to_alarms
from asepsis.core.model.alarm import (
    TEXT_BYTES_MAX,
    AlarmEvent,
    AlarmKind,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.wire.fhir_alarm import BYTES_MAX, EVENTS_MAX, decode_alarms, encode_alarms

DEVICE = "urn:dev:mac:0012210000000001"
START_NS = 1_700_000_000 * 10**9
APNEA = 199680
clean_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), max_size=TEXT_BYTES_MAX
).filter(lambda t: len(t.encode()) <= TEXT_BYTES_MAX)
events = st.builds(
    AlarmEvent,
    condition_id=st.binary(min_size=16, max_size=16),
    phase=st.sampled_from(AlarmPhase),
    kind=st.sampled_from(AlarmKind),
    priority=st.sampled_from(AlarmPriority),
    latching=st.booleans(),
    inactivation=st.sampled_from(Inactivation),
    mdc_code=st.integers(1, 2**32 - 1) | st.just(APNEA),
    source_handle=st.integers(0, 65_535),
    offset_ms=st.integers(0, 65_535),
    text=clean_text,
)


@given(st.lists(events, min_size=1, max_size=4))
def test_alarms_survive_the_way_through_json(sent: list[AlarmEvent]) -> None:
    text = encode_alarms(alarms_to_document(sent, device=DEVICE, start_ns=START_NS))
    received = document_to_alarms(decode_alarms(text)).value
    first_ms = min(event.offset_ms for event in sent)
    assert received.start_ns == START_NS + first_ms * 1_000_000
    for before, after in zip(sent, received.events, strict=True):
        assert after.offset_ms == before.offset_ms - first_ms
        for name in AlarmEvent.__slots__:
            if name != "offset_ms":
                assert getattr(after, name) == getattr(before, name)


@given(st.lists(events, min_size=1, max_size=2), st.data())
def test_a_truncated_document_is_refused(sent: list[AlarmEvent], data: st.DataObject) -> None:
    whole = encode_alarms(alarms_to_document(sent, device=DEVICE, start_ns=START_NS))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(InputError):
        decode_alarms(whole[:cut])


@given(st.binary(max_size=200))
def test_arbitrary_bytes_meet_only_our_errors(junk: bytes) -> None:
    with pytest.raises(InputError):
        decode_alarms(junk)


EVENT: dict[str, Any] = {
    "conditionId": "00000000-0000-4000-8000-000000000001",
    "phase": "onset",
    "kind": "physiological",
    "priority": "high",
    "latching": True,
    "inactivation": "none",
    "mdcCode": APNEA,
    "at": "2023-11-14T22:13:20Z",
    "text": "APNEA",
}


def document(*entries: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"device": DEVICE, "events": list(entries), **more}).encode()


def test_the_documented_shape_is_read() -> None:
    (event,) = document_to_alarms(decode_alarms(document(EVENT))).value.events
    assert event.phase is AlarmPhase.ONSET
    assert event.source_handle == 0


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "started"},
        {"priority": 1},
        {"kind": None},
        {"latching": "yes"},
        {"inactivation": "silenced"},
        {"mdcCode": 0},
        {"mdcCode": 2**32},
        {"sourceHandle": -1},
        {"conditionId": "1"},
        {"conditionId": EVENT["conditionId"].replace("0", "A")},
        {"at": "2023-11-14"},
        {"text": "bell\x07"},
        {"text": "x" * (TEXT_BYTES_MAX + 1)},
        {"silence": True},
    ],
    ids=str,
)
def test_a_word_that_the_standard_does_not_have_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        decode_alarms(document(EVENT | change))


def test_text_is_limited_in_bytes_not_characters() -> None:
    with pytest.raises(LimitExceeded):
        decode_alarms(document(EVENT | {"text": "ü" * TEXT_BYTES_MAX}))


def test_size_number_and_depth_are_limited() -> None:
    for wrong in (
        document(),
        document(*[EVENT] * (EVENTS_MAX + 1)),
        b" " * (BYTES_MAX + 1),
        b'{"events":' + b"[" * 50_000,
    ):
        with pytest.raises(InputError):
            decode_alarms(wrong)


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(InputError) as refusal:
        decode_alarms(document(EVENT | {"priority": "CANARY^JANE"}))
    assert "CANARY" not in str(refusal.value)


def test_a_dispute_about_words_never_loses_an_alarm() -> None:
    """Goal: an apnoea that its source calls technical is taken, and the dispute is counted."""
    mapped = document_to_alarms(decode_alarms(document(EVENT | {"kind": "technical"})))
    assert mapped.value.events[0].kind is AlarmKind.TECHNICAL
    assert "MDC_EVT_APNEA" in mapped.losses[0]


def test_times_are_cut_to_a_millisecond_and_that_is_counted() -> None:
    later = EVENT | {"at": "2023-11-14T22:13:20.0015Z"}
    mapped = document_to_alarms(decode_alarms(document(EVENT, later)))
    assert [event.offset_ms for event in mapped.value.events] == [0, 1]
    assert len(mapped.losses) == 1


def test_events_a_minute_apart_need_two_documents() -> None:
    later = EVENT | {"at": "2023-11-14T22:14:26Z"}
    with pytest.raises(InputError):
        document_to_alarms(decode_alarms(document(EVENT, later)))


def test_a_condition_id_has_sixteen_bytes() -> None:
    (event,) = document_to_alarms(decode_alarms(document(EVENT))).value.events
    short = AlarmEvent(
        **{name: getattr(event, name) for name in AlarmEvent.__slots__} | {"condition_id": b"1"}
    )
    with pytest.raises(InputError):
        alarms_to_document([short], device=DEVICE, start_ns=START_NS)
