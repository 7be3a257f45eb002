"""Goal: a waveform packet has one encoding, and an accident on the way is found."""

import dataclasses
import hashlib
import math
import struct
import sys
import zlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire import float_type, frames
from asepsis.core.wire.frames import (
    PacketLimits,
    WaveformMetric,
    decode_frame,
    decode_packet,
    encode_frame,
    encode_packet,
)

U16, U32, U63 = 2**16 - 1, 2**32 - 1, 2**63 - 1
counters = st.integers(1, U63)
numbers = st.integers(0, U32).filter(float_type.is_number)
metrics = st.builds(
    WaveformMetric,
    handle=st.integers(1, U16),
    mdc_code=st.integers(0, U32),
    unit_code=st.integers(0, U32),
    period_ns=st.integers(1, U32),
    scale=numbers.filter(lambda raw: raw & 0xFFFFFF),
    offset=numbers,
)
samples = st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=40)

DEVICE = DeviceId.from_eui64(0x0011223344556677)
ECG = WaveformMetric(
    handle=1,
    mdc_code=131_329,
    unit_code=266_418,
    period_ns=4_000_000,
    scale=float_type.from_decimal(Decimal("0.005")),
    offset=0,
)
FRAME = encode_frame(ECG, frame_sequence=3, wall_ns=10**18, samples=[0, 1, -2, 32_767, -32_768])
PACKET = encode_packet(DEVICE, epoch=7, sequence=9, frames=[FRAME, FRAME])
FRAMES_AT = 5 + len(DEVICE.uri) + 18


def with_crc(body: bytes) -> bytes:
    return body + struct.pack(">I", zlib.crc32(body))


def refitted(at: int, value: bytes) -> bytes:
    """A frame with some bytes replaced and its CRC right again."""
    body = FRAME[:-4]
    return with_crc(body[:at] + value + body[at + len(value) :])


@given(
    counters,
    counters,
    st.lists(st.tuples(metrics, counters, st.integers(0, U63), samples), min_size=1, max_size=5),
)
def test_what_goes_in_comes_out(
    epoch: int,
    sequence: int,
    contents: list[tuple[WaveformMetric, int, int, list[int]]],
) -> None:
    raw = [encode_frame(m, frame_sequence=n, wall_ns=t, samples=s) for m, n, t, s in contents]
    packet = decode_packet(encode_packet(DEVICE, epoch=epoch, sequence=sequence, frames=raw))
    assert (packet.device, packet.epoch, packet.sequence) == (DEVICE, epoch, sequence)
    for frame, encoded, (metric, number, wall_ns, values) in zip(
        packet.frames, raw, contents, strict=True
    ):
        assert frame.metric == metric
        assert (frame.frame_sequence, frame.wall_ns) == (number, wall_ns)
        assert frame.samples().tolist() == values
        assert frame.sample_count == len(values)
        assert frame.handle == metric.handle
        assert frame.digest == hashlib.sha256(encoded).digest() == frames.frame_digest(encoded)


@given(st.data())
def test_decode_then_encode_is_identity(data: st.DataObject) -> None:
    body = bytearray(FRAME[:-4])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    raw = with_crc(bytes(body))
    try:
        frame = decode_frame(raw)
    except InputError:
        return
    again = encode_frame(
        frame.metric,
        frame_sequence=frame.frame_sequence,
        wall_ns=frame.wall_ns,
        samples=frame.samples(),
    )
    assert again == raw


@given(st.integers(0, len(FRAME) - 1), st.integers(1, 255))
def test_every_changed_byte_of_a_frame_is_found(at: int, flip: int) -> None:
    changed = bytearray(FRAME)
    changed[at] ^= flip
    with pytest.raises((FramingError, LimitExceeded)):
        decode_frame(bytes(changed))


@given(st.integers(0, len(PACKET) - 1))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(FramingError):
        decode_packet(PACKET[:length])


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(raw: bytes) -> None:
    for prefix in (b"", b"AWP1", PACKET[:FRAMES_AT], PACKET[: FRAMES_AT + 4]):
        with pytest.raises(InputError):
            decode_packet(prefix + raw)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(refitted(0, b"\0\0"), id="handle 0"),
        pytest.param(refitted(2, bytes(8)), id="frame sequence 0"),
        pytest.param(refitted(2, b"\x80"), id="frame sequence over 63 bits"),
        pytest.param(refitted(18, b"\x80"), id="wall time over 63 bits"),
        pytest.param(refitted(26, bytes(4)), id="period 0"),
        pytest.param(refitted(30, b"\xff\0\0\0"), id="scale 0"),
        pytest.param(refitted(30, b"\0\x7f\xff\xff"), id="scale NaN"),
        pytest.param(refitted(34, b"\0\x7f\xff\xfe"), id="offset infinite"),
        pytest.param(refitted(34, b"\1\x80\0\0"), id="offset reserved"),
        pytest.param(refitted(38, b"\0\4"), id="a sample too few"),
        pytest.param(refitted(38, b"\0\6"), id="a sample too many"),
        pytest.param(refitted(38, b"\x20\1"), id="8193 samples"),
        pytest.param(with_crc(FRAME[:38] + b"\0\0"), id="no sample"),
    ],
)
def test_malformed_frames_are_refused(frame: bytes) -> None:
    with pytest.raises((FramingError, LimitExceeded)):
        decode_frame(frame)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(PACKET + b"\0", id="trailing byte"),
        pytest.param(b"AOB1" + PACKET[4:], id="another kind"),
        pytest.param(PACKET[: FRAMES_AT - 2] + b"\0\0", id="no frame"),
        pytest.param(PACKET[: FRAMES_AT - 2] + b"\0\1" + PACKET[FRAMES_AT:], id="a frame too few"),
        pytest.param(PACKET[: FRAMES_AT - 2] + b"\0\3" + PACKET[FRAMES_AT:], id="a frame too many"),
        pytest.param(PACKET[: FRAMES_AT - 2] + b"\0\x41" + PACKET[FRAMES_AT:], id="65 frames"),
        pytest.param(
            PACKET[:FRAMES_AT] + b"\xff" + PACKET[FRAMES_AT + 1 :], id="frame of four gigabytes"
        ),
        pytest.param(PACKET[: FRAMES_AT - 18] + bytes(8) + PACKET[FRAMES_AT - 10 :], id="epoch 0"),
    ],
)
def test_malformed_packets_are_refused(raw: bytes) -> None:
    with pytest.raises((FramingError, LimitExceeded)):
        decode_packet(raw)


def test_header_can_be_read_alone() -> None:
    assert frames.peek_header(PACKET[:FRAMES_AT]) == (DEVICE, 7, 9)
    with pytest.raises(FramingError):
        frames.peek_header(PACKET[: FRAMES_AT - 1])


def test_limits_of_the_receiver_hold() -> None:
    for limits in (
        PacketLimits(packet_bytes_max=len(PACKET) - 1),
        PacketLimits(frames_max=1),
        PacketLimits(samples_max=4),
    ):
        with pytest.raises(LimitExceeded):
            decode_packet(PACKET, limits=limits)


def test_limits_of_the_standard_hold_for_the_sender() -> None:
    largest = encode_frame(ECG, frame_sequence=1, wall_ns=0, samples=[0] * frames.SAMPLES_MAX)
    assert decode_frame(largest).sample_count == 8_192
    with pytest.raises(LimitExceeded):
        encode_frame(ECG, frame_sequence=1, wall_ns=0, samples=[0] * 8_193)
    with pytest.raises(LimitExceeded):
        encode_packet(DEVICE, epoch=1, sequence=1, frames=[FRAME] * 65)
    with pytest.raises(LimitExceeded):
        encode_packet(DEVICE, epoch=1, sequence=1, frames=[largest] * 16)
    with pytest.raises(InputError):
        encode_packet(DEVICE, epoch=1, sequence=1, frames=[])
    with pytest.raises(InputError):
        encode_packet(DEVICE, epoch=0, sequence=1, frames=[FRAME])
    with pytest.raises(InputError):
        encode_packet(DeviceId("bed 7"), epoch=1, sequence=1, frames=[FRAME])


@pytest.mark.parametrize(
    "values", [[], [32_768], [-32_769], [1.5], ["x"]], ids=["none", "high", "low", "float", "text"]
)
def test_samples_out_of_range_are_refused(values: list[int]) -> None:
    with pytest.raises(InputError):
        encode_frame(ECG, frame_sequence=1, wall_ns=0, samples=values)
    with pytest.raises(InputError):
        encode_frame(
            dataclasses.replace(ECG, handle=65_536), frame_sequence=1, wall_ns=0, samples=[0]
        )


def test_samples_become_values() -> None:
    metric = dataclasses.replace(ECG, offset=float_type.from_decimal(Decimal("1.5")))
    frame = decode_frame(
        encode_frame(metric, frame_sequence=1, wall_ns=0, samples=[0, 200, frames.SAMPLE_MISSING])
    )
    first, second, missing = frame.values()
    assert (first, second) == (1.5, 2.5)
    assert math.isnan(missing)


def test_machines_of_either_byte_order_write_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.byteorder", "big" if sys.byteorder == "little" else "little")
    frame = decode_frame(encode_frame(ECG, frame_sequence=1, wall_ns=0, samples=[1]))
    assert frame.sample_bytes == b"\1\0"  # This machine, told that it is the other kind.
    assert frame.samples().tolist() == [1]
