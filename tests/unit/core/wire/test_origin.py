"""Goal: a batch has one encoding, and everything else is refused before it costs anything."""

import dataclasses
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.model.alarm import (
    AlarmEvent,
    AlarmKind,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.time import Instant
from asepsis.core.wire import alarm_event, float_type, origin, origin_peek
from asepsis.core.wire.origin import (
    BatchHeader,
    BatchLimits,
    WaveformDigest,
    attach_signature,
    decode_batch,
    encode_batch,
)

U16, U32, U63 = 2**16 - 1, 2**32 - 1, 2**63 - 1
counters = st.integers(1, U63)
devices = st.one_of(
    st.integers(0, 2**64 - 1).map(DeviceId.from_eui64),
    st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True).map(
        lambda serial: DeviceId.from_udi("09506000134352", serial)
    ),
)
instants = st.builds(
    Instant,
    st.binary(min_size=16, max_size=16),
    st.integers(0, U63),
    st.integers(0, U63),
    st.integers(0, U32),
)
numerics = st.builds(
    Numeric,
    handle=st.integers(1, U16),
    mdc_code=st.integers(0, U32),
    unit_code=st.integers(0, U32),
    value=st.integers(0, U32).filter(float_type.is_valid),
    status=st.sampled_from(MeasurementStatus),
    offset_ms=st.integers(0, U16),
)
texts = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=30)
alarms = st.builds(
    AlarmEvent,
    condition_id=st.binary(min_size=16, max_size=16),
    phase=st.sampled_from(AlarmPhase),
    kind=st.sampled_from(AlarmKind),
    priority=st.sampled_from(AlarmPriority),
    latching=st.booleans(),
    inactivation=st.sampled_from(Inactivation),
    mdc_code=st.integers(0, U32),
    source_handle=st.integers(0, U16),
    offset_ms=st.integers(0, U16),
    text=texts,
)
digests = st.builds(
    WaveformDigest, st.integers(1, U16), counters, st.binary(min_size=32, max_size=32)
)


@st.composite
def headers(draw: st.DrawFn) -> BatchHeader:
    sequence = draw(counters)
    ring_first = draw(st.integers(1, U63))
    return BatchHeader(
        device=draw(devices),
        key_id=draw(st.binary(min_size=8, max_size=8)),
        epoch=draw(counters),
        sequence=sequence,
        ring_first=ring_first,
        ring_last=draw(st.integers(ring_first - 1, U63)),
        previous=bytes(32)
        if sequence == 1
        else draw(st.binary(min_size=32, max_size=32).filter(any)),
        clinical_state=draw(st.sampled_from(ClinicalState)),
        instant=draw(instants),
        interval_ms=draw(st.integers(0, 1_000)),
    )


DEVICE = DeviceId.from_eui64(0x0011223344556677)
HEADER = BatchHeader(
    device=DEVICE,
    key_id=b"key-id-8",
    epoch=7,
    sequence=2,
    ring_first=29,
    ring_last=56,
    previous=b"\1" * 32,
    clinical_state=ClinicalState.IN_USE,
    instant=Instant(b"\2" * 16, 3, 4, 5),
    interval_ms=1_000,
)
NUMERIC = Numeric(
    handle=1,
    mdc_code=150_456,
    unit_code=262_688,
    value=97,
    status=MeasurementStatus.VALID,
    offset_ms=10,
)
ALARM = AlarmEvent(
    condition_id=b"\3" * 16,
    phase=AlarmPhase.ONSET,
    kind=AlarmKind.PHYSIOLOGICAL,
    priority=AlarmPriority.HIGH,
    latching=True,
    inactivation=Inactivation.NONE,
    mdc_code=196_652,
    source_handle=1,
    offset_ms=10,
    text="SpO₂ low",
)
DIGEST = WaveformDigest(2, 9, b"\4" * 32)
SIGNATURE = bytes(range(64))
PART = encode_batch(HEADER, numerics=[NUMERIC], alarms=[ALARM], digests=[DIGEST])
BATCH = attach_signature(PART, SIGNATURE)
HEAD_AT = 5 + len(DEVICE.uri)
NUMERIC_AT = HEAD_AT + 118
ALARM_AT = NUMERIC_AT + 20
DIGEST_AT = len(PART) - 42


def patched(at: int, value: bytes) -> bytes:
    return BATCH[:at] + value + BATCH[at + len(value) :]


@given(
    headers(),
    st.lists(numerics, max_size=12),
    st.lists(alarms, max_size=4),
    st.lists(digests, max_size=4, unique_by=lambda d: (d.handle, d.frame_sequence)),
)
def test_what_goes_in_comes_out(
    header: BatchHeader,
    values: list[Numeric],
    events: list[AlarmEvent],
    promises: list[WaveformDigest],
) -> None:
    part = encode_batch(header, numerics=values, alarms=events, digests=promises)
    batch = decode_batch(attach_signature(part, SIGNATURE))
    assert batch.header == header
    assert batch.numerics() == tuple(values)
    assert batch.alarms() == tuple(events)
    assert batch.waveform_digests() == tuple(promises)
    assert (batch.signed_part, batch.signature) == (part, SIGNATURE)
    assert batch.digest == hashlib.sha256(part).digest()
    assert origin_peek.peek_header(batch.to_bytes()) == (
        header.device,
        header.epoch,
        header.sequence,
    )
    short = (batch.device, batch.key_id, batch.epoch, batch.sequence, batch.previous)
    assert short == (header.device, header.key_id, header.epoch, header.sequence, header.previous)
    assert (batch.clinical_state, batch.instant) == (header.clinical_state, header.instant)


@given(st.data())
def test_decode_then_encode_is_identity(data: st.DataObject) -> None:
    """Goal: one encoding only; whatever bytes the decoder takes, the encoder would have written."""
    raw = bytearray(BATCH)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    try:
        batch = decode_batch(bytes(raw))
    except InputError:
        return
    part = encode_batch(
        batch.header,
        numerics=batch.numerics(),
        alarms=batch.alarms(),
        digests=batch.waveform_digests(),
    )
    assert attach_signature(part, batch.signature) == bytes(raw)


@given(st.integers(0, len(BATCH) - 1))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(FramingError):
        decode_batch(BATCH[:length])


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(raw: bytes) -> None:
    for prefix in (b"", b"AOB1", PART[:HEAD_AT]):
        with pytest.raises(InputError):
            decode_batch(prefix + raw[: 117 + 64])
        if len(prefix) < 5:
            with pytest.raises(InputError):
                origin_peek.peek_header(prefix + raw[:1])


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(BATCH + b"\0", id="trailing byte"),
        pytest.param(b"AOB2" + BATCH[4:], id="other version"),
        pytest.param(patched(4, b"\0"), id="no name"),
        pytest.param(patched(4, b"\x79"), id="name over 120"),
        pytest.param(patched(5, b"URN"), id="name not canonical"),
        pytest.param(patched(5, b"\xff"), id="name not ASCII"),
        pytest.param(patched(HEAD_AT + 8, bytes(8)), id="epoch 0"),
        pytest.param(patched(HEAD_AT + 8, b"\x80"), id="epoch over 63 bits"),
        pytest.param(patched(HEAD_AT + 32, bytes(8)), id="sequence 0"),
        pytest.param(patched(HEAD_AT + 32, bytes(7) + b"\1"), id="first with a previous hash"),
        pytest.param(patched(HEAD_AT + 40, bytes(8)), id="ring from 0"),
        pytest.param(patched(HEAD_AT + 48, bytes(7) + b"\x1b"), id="ring backwards"),
        pytest.param(patched(HEAD_AT + 56, bytes(32)), id="second without previous hash"),
        pytest.param(patched(HEAD_AT + 88, b"\0"), id="clinical state 0"),
        pytest.param(patched(HEAD_AT + 88, b"\7"), id="clinical state 7"),
        pytest.param(patched(HEAD_AT + 89, b"\1"), id="reserved flag"),
        pytest.param(patched(HEAD_AT + 90, b"\x80"), id="wall time over 63 bits"),
        pytest.param(patched(HEAD_AT + 102, b"\x80"), id="monotonic time over 63 bits"),
        pytest.param(patched(HEAD_AT + 110, b"\x03\xe9"), id="interval over a second"),
        pytest.param(patched(HEAD_AT + 112, b"\0\2"), id="a numeric too many"),
        pytest.param(patched(HEAD_AT + 112, b"\2\1"), id="513 numerics"),
        pytest.param(patched(HEAD_AT + 114, b"\0\2"), id="an alarm too many"),
        pytest.param(patched(HEAD_AT + 114, b"\0\0"), id="an alarm too few"),
        pytest.param(patched(HEAD_AT + 116, b"\0\2"), id="a digest too many"),
        pytest.param(patched(HEAD_AT + 116, b"\0\0"), id="a digest too few"),
        pytest.param(patched(NUMERIC_AT, b"\0\0"), id="numeric with handle 0"),
        pytest.param(patched(NUMERIC_AT + 10, b"\x00\x80\x00\x01"), id="reserved FLOAT-Type"),
        pytest.param(patched(NUMERIC_AT + 14, b"\6"), id="unknown status"),
        pytest.param(patched(NUMERIC_AT + 15, b"\1"), id="reserved byte of a numeric"),
        pytest.param(patched(NUMERIC_AT + 18, b"\1"), id="first pad byte of a numeric"),
        pytest.param(patched(NUMERIC_AT + 19, b"\1"), id="second pad byte of a numeric"),
        pytest.param(patched(ALARM_AT, b"\0\x1d"), id="alarm too short"),
        pytest.param(patched(ALARM_AT, b"\0\xff"), id="alarm too long"),
        pytest.param(patched(ALARM_AT + 18, b"\4"), id="unknown phase"),
        pytest.param(patched(ALARM_AT + 19, b"\0"), id="unknown kind"),
        pytest.param(patched(ALARM_AT + 20, b"\4"), id="unknown priority"),
        pytest.param(patched(ALARM_AT + 21, b"\2"), id="latching neither 0 nor 1"),
        pytest.param(patched(ALARM_AT + 22, b"\6"), id="unknown inactivation"),
        pytest.param(patched(ALARM_AT + 23, b"\1"), id="reserved byte of an alarm"),
        pytest.param(patched(ALARM_AT + 32, b"\xff"), id="text not UTF-8"),
        pytest.param(patched(ALARM_AT + 32, b"\x1b"), id="text with a control character"),
        pytest.param(patched(DIGEST_AT, b"\0\0"), id="digest with handle 0"),
        pytest.param(patched(DIGEST_AT + 2, bytes(8)), id="digest of frame 0"),
        pytest.param(patched(DIGEST_AT + 2, b"\x80"), id="digest of a frame over 63 bits"),
    ],
)
def test_malformed_batches_are_refused(raw: bytes) -> None:
    with pytest.raises((FramingError, LimitExceeded)):
        decode_batch(raw)


def test_limits_of_the_receiver_hold() -> None:
    for limits in (
        BatchLimits(batch_bytes_max=len(BATCH) - 1),
        BatchLimits(numerics_max=0),
        BatchLimits(alarms_max=0),
        BatchLimits(digests_max=0),
    ):
        with pytest.raises(LimitExceeded):
            decode_batch(BATCH, limits=limits)
    assert decode_batch(BATCH, limits=BatchLimits(batch_bytes_max=len(BATCH)))


def test_limits_of_the_standard_hold_for_the_sender() -> None:
    promises = [WaveformDigest(1, n, bytes(32)) for n in range(1, 66)]
    long = dataclasses.replace(ALARM, text="x" * 120)
    full = encode_batch(HEADER, numerics=[NUMERIC] * 512, alarms=[long] * 64, digests=promises[:64])
    assert len(full) + 64 <= origin.BATCH_BYTES_MAX
    with pytest.raises(LimitExceeded):
        encode_batch(HEADER, numerics=[NUMERIC] * 513)
    with pytest.raises(LimitExceeded):
        encode_batch(HEADER, alarms=[ALARM] * 65)
    with pytest.raises(LimitExceeded):
        encode_batch(HEADER, digests=promises)
    with pytest.raises(LimitExceeded):
        encode_batch(HEADER, alarms=[dataclasses.replace(ALARM, text="₂" * 41)])
    with pytest.raises(LimitExceeded):
        encode_batch(dataclasses.replace(HEADER, interval_ms=1_001))
    with pytest.raises(FramingError):
        encode_batch(HEADER, digests=[DIGEST, DIGEST])


@pytest.mark.parametrize(
    "change",
    [
        {"key_id": b"short"},
        {"epoch": -1},
        {"epoch": 2**64},
        {"sequence": 0},
        {"previous": b""},
        {"previous": bytes(32)},
        {"device": DeviceId("bed 7")},
        {"instant": Instant(b"short", 0, 0, 0)},
        {"instant": Instant(bytes(16), 0, 0, 2**32)},
        {"interval_ms": 65_536},
        {"ring_first": 0},
    ],
)
def test_headers_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        encode_batch(dataclasses.replace(HEADER, **change))  # type: ignore[arg-type]


def test_a_list_of_active_conditions_holds_each_once_and_no_event() -> None:
    """Goal: flag bit 0 survives the round trip; onset, end and a repeated condition are refused."""
    header = dataclasses.replace(HEADER, lists_active=True)
    active = dataclasses.replace(ALARM, phase=AlarmPhase.CHANGE)
    part = encode_batch(header, numerics=[NUMERIC], alarms=[active])
    batch = decode_batch(part + bytes(64))
    assert batch.header == header
    assert batch.alarms() == (active,)
    assert decode_batch(encode_batch(header) + bytes(64)).alarms() == ()
    for wrong in (
        [dataclasses.replace(ALARM, phase=AlarmPhase.ONSET)],
        [dataclasses.replace(ALARM, phase=AlarmPhase.END)],
        [active, active],
    ):
        with pytest.raises(FramingError):
            encode_batch(header, alarms=wrong)


def test_items_out_of_range_are_refused() -> None:
    with pytest.raises(InputError):
        encode_batch(HEADER, numerics=[dataclasses.replace(NUMERIC, handle=65_536)])
    with pytest.raises(InputError):
        encode_batch(HEADER, digests=[dataclasses.replace(DIGEST, sha256=b"short")])
    with pytest.raises(InputError):
        alarm_event.encode(dataclasses.replace(ALARM, condition_id=b"short"))
    with pytest.raises(InputError):
        alarm_event.encode(dataclasses.replace(ALARM, mdc_code=2**32))
    with pytest.raises(InputError):
        alarm_event.encode(dataclasses.replace(ALARM, text="\ud800"))
    with pytest.raises(InputError):
        alarm_event.encode(dataclasses.replace(ALARM, text="bell\a"))
    with pytest.raises(InputError):
        attach_signature(PART, b"short")


def test_text_of_an_alarm_is_bounded_before_it_is_read() -> None:
    body = alarm_event.encode(ALARM)[2:32] + b"x" * 121
    long = PART[:ALARM_AT] + struct.pack(">H", len(body)) + body + PART[DIGEST_AT:]
    with pytest.raises(LimitExceeded):
        decode_batch(attach_signature(long, SIGNATURE))


@given(headers())
def test_the_state_is_read_without_the_rest(header: BatchHeader) -> None:
    wire = attach_signature(encode_batch(header), bytes(64))
    found = origin_peek.peek_state(wire)
    assert found.state is header.clinical_state
    assert found.wall_ns == header.instant.wall_ns
    assert found.synchronised is header.instant.synchronised
    with pytest.raises(FramingError):
        origin_peek.peek_state(wire[:100])
