"""Waveform packets (AWP1): 16-bit samples of one or more waveforms, one packet a second or more.

Bytes in, values out. Each frame carries a CRC-32, which finds accidents, and is promised by its
SHA-256 in an origin batch, which finds forgery. A packet itself is not signed: a frame without its
digest in a verified batch is never shown as the device's own.

Source: standard/frames.md section 4; REQ-WAV; ISO/IEEE 11073-10201 (sample arrays).
"""

import hashlib
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from asepsis.core.errors import FramingError, InputError
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire import float_type
from asepsis.core.wire.binary import (
    PeekedHeader,
    check_count,
    check_counter,
    device_from_bytes,
    device_to_bytes,
    name_end,
)

MAGIC: Final = b"AWP1"
MEDIA_TYPE: Final = "application/vnd.asepsis.waveform"
PACKET_BYTES_MAX: Final = 262_144
FRAMES_MAX: Final = 64
SAMPLES_MAX: Final = 8_192
SAMPLE_MISSING: Final = -32_768
"""A sample that the device does not have, for example with a lead off; FHIR SampledData "E"."""

_HEAD: Final = struct.Struct(">QQH")
_PEEK: Final = struct.Struct(">QQ")
_LENGTH: Final = struct.Struct(">I")
_FRAME: Final = struct.Struct(">HQIIQIIIH")
_CRC: Final = struct.Struct(">I")
_METRICS_CACHED: Final = 16_384  # Four waveforms of 4,096 devices; small, and bounded.
_FRAME_BYTES_MIN: Final = _FRAME.size + 2 + _CRC.size


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketLimits:
    """What a receiver takes; a model's own limits may only be lower than the standard's.

    Attributes:
        packet_bytes_max: Whole packet, bytes.
        frames_max: Frames in a packet.
        samples_max: Samples in a frame.
    """

    packet_bytes_max: int = PACKET_BYTES_MAX
    frames_max: int = FRAMES_MAX
    samples_max: int = SAMPLES_MAX


STANDARD_LIMITS: Final = PacketLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveformMetric:
    """What stays the same from frame to frame of one waveform.

    Attributes:
        handle: Metric instance on the device, 1 to 65 535.
        mdc_code: 32-bit MDC code of the waveform.
        unit_code: 32-bit MDC code of the unit.
        period_ns: Time between two samples, 1 to 2**32 - 1 nanoseconds.
        scale: FLOAT-Type, a number other than zero; value = scale * sample + offset.
        offset: FLOAT-Type, a number.
    """

    handle: int
    mdc_code: int
    unit_code: int
    period_ns: int
    scale: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveformFrame:
    """A stretch of one waveform.

    Attributes:
        metric: Which waveform, and how its samples become values.
        frame_sequence: Number of the frame of this handle in the epoch, from 1, dense.
        wall_ns: Device wall time of the first sample, nanoseconds since 1970.
        sample_bytes: Samples as on the wire, big-endian int16.
        digest: SHA-256 of the frame with its CRC, as an origin batch promises it.
    """

    metric: WaveformMetric
    frame_sequence: int
    wall_ns: int
    sample_bytes: bytes
    digest: bytes

    @property
    def handle(self) -> int:
        """Handle of the waveform metric."""
        return self.metric.handle

    @property
    def sample_count(self) -> int:
        """Number of samples, 1 to `SAMPLES_MAX`."""
        return len(self.sample_bytes) // 2

    def samples(self) -> "array[int]":
        """Return the raw samples; `SAMPLE_MISSING` marks those that the device does not have."""
        return _swapped(array("h", self.sample_bytes))

    def values(self) -> list[float]:
        """Return scale * sample + offset in the frame's unit; `nan` where a sample is missing."""
        scale = float_type.to_float(self.metric.scale)
        offset = float_type.to_float(self.metric.offset)
        missing = float("nan")
        return [
            missing if sample == SAMPLE_MISSING else scale * sample + offset
            for sample in self.samples()
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveformPacket:
    """The frames that a device sends at once.

    Attributes:
        device: Who claims to send.
        epoch: Boot epoch, 1 to 2**63 - 1.
        sequence: Number of the packet in its epoch, from 1, dense (account WAVEFORM).
        frames: At least one.
    """

    device: DeviceId
    epoch: int
    sequence: int
    frames: tuple[WaveformFrame, ...]


def peek_header(data: bytes) -> PeekedHeader:
    """Read device, epoch and sequence of a packet and look at nothing else.

    Raises:
        FramingError: Not the start of a packet.

    Source: standard/frames.md section 4.1.
    """
    at = name_end(data, MAGIC, rest_bytes=_HEAD.size)
    epoch, sequence = _PEEK.unpack_from(data, at)
    check_counter(epoch, "epoch", least=1)
    check_counter(sequence, "sequence", least=1)
    return PeekedHeader(device_from_bytes(data[5:at]), epoch, sequence)


def decode_packet(data: bytes, *, limits: PacketLimits = STANDARD_LIMITS) -> WaveformPacket:
    """Read a packet; every frame's CRC is checked and its digest computed, once.

    Args:
        data: One whole packet.
        limits: What this receiver takes.

    Raises:
        FramingError: Malformed, truncated, trailing bytes, wrong CRC, number out of range.
        LimitExceeded: More bytes, frames or samples than `limits` allow.

    Source: standard/frames.md section 4.
    """
    check_count(len(data), "bytes in a packet", most=limits.packet_bytes_max)
    header = peek_header(data)
    at = 5 + data[4] + _HEAD.size
    count = int.from_bytes(data[at - 2 : at], "big")
    check_count(count, "frames in a packet", most=limits.frames_max)
    if not count:
        raise FramingError("a packet has at least one frame")
    frames: list[WaveformFrame] = []
    for _ in range(count):
        if at + _LENGTH.size > len(data):
            raise FramingError("packet ends inside its frames")
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            raise FramingError("frame is longer than its packet")
        frames.append(decode_frame(data[start:at], limits=limits))
    if at != len(data):
        raise FramingError("bytes after the last frame")
    return WaveformPacket(
        device=header.device, epoch=header.epoch, sequence=header.sequence, frames=tuple(frames)
    )


def decode_frame(frame: bytes, *, limits: PacketLimits = STANDARD_LIMITS) -> WaveformFrame:
    """Read one frame without its length.

    Raises:
        FramingError: Malformed, wrong CRC, number out of range.
        LimitExceeded: More samples than `limits` allow.

    Source: standard/frames.md section 4.2.
    """
    if len(frame) < _FRAME_BYTES_MIN:
        raise FramingError("frame is shorter than one sample")
    handle, sequence, mdc, unit, wall_ns, period_ns, scale, offset, count = _FRAME.unpack_from(
        frame
    )
    check_count(count, "samples in a frame", most=limits.samples_max)
    end = _FRAME.size + 2 * count
    if end + _CRC.size != len(frame):
        raise FramingError("length of a frame and its number of samples disagree")
    if zlib.crc32(frame[:end]) != _CRC.unpack_from(frame, end)[0]:
        raise FramingError("wrong CRC-32 of a frame")
    check_counter(sequence, "frame sequence", least=1)
    check_counter(wall_ns, "wall time")
    return WaveformFrame(
        metric=_metric(handle, mdc, unit, period_ns, scale, offset),
        frame_sequence=sequence,
        wall_ns=wall_ns,
        sample_bytes=frame[_FRAME.size : end],
        digest=hashlib.sha256(frame).digest(),
    )


@lru_cache(maxsize=_METRICS_CACHED)
def _metric(
    handle: int, mdc: int, unit: int, period_ns: int, scale: int, offset: int
) -> WaveformMetric:
    # The same from frame to frame, so it is judged once and shared.
    if not (handle and period_ns and float_type.is_number(scale) and float_type.is_number(offset)):
        raise FramingError("frame with handle 0, period 0, or a scale or offset that is no number")
    if not scale & 0xFFFFFF:
        raise FramingError("frame with scale 0")
    return WaveformMetric(
        handle=handle,
        mdc_code=mdc,
        unit_code=unit,
        period_ns=period_ns,
        scale=scale,
        offset=offset,
    )


def encode_frame(
    metric: WaveformMetric, *, frame_sequence: int, wall_ns: int, samples: Sequence[int]
) -> bytes:
    """Write one frame with its CRC and without its length.

    Args:
        metric: Which waveform.
        frame_sequence: From 1, dense per handle and epoch.
        wall_ns: Wall time of the first sample, nanoseconds since 1970.
        samples: 1 to `SAMPLES_MAX` integers of 16 bits.

    Raises:
        InputError: A field outside its range.
        LimitExceeded: Too many samples.

    Source: standard/frames.md section 4.2.
    """
    check_count(len(samples), "samples in a frame", most=SAMPLES_MAX)
    try:
        head = _FRAME.pack(
            metric.handle,
            frame_sequence,
            metric.mdc_code,
            metric.unit_code,
            wall_ns,
            metric.period_ns,
            metric.scale,
            metric.offset,
            len(samples),
        )
        body = head + _swapped(array("h", samples)).tobytes()
    except (struct.error, OverflowError, TypeError) as error:
        raise InputError(f"a field of the frame is outside its range: {error}") from error
    frame = body + _CRC.pack(zlib.crc32(body))
    # One set of rules: what our own decoder would refuse never leaves the device.
    decode_frame(frame)
    return frame


def encode_packet(device: DeviceId, *, epoch: int, sequence: int, frames: Iterable[bytes]) -> bytes:
    """Write a packet of frames made by `encode_frame`.

    Args:
        device: Who sends.
        epoch: Boot epoch, at least 1.
        sequence: Number of the packet in its epoch, from 1.
        frames: At least one, at most `FRAMES_MAX`.

    Raises:
        InputError: A field outside its range, or no frame.
        LimitExceeded: Too many frames or bytes.

    Source: standard/frames.md section 4.
    """
    parts = [_LENGTH.pack(len(frame)) + frame for frame in frames]
    check_counter(epoch, "epoch", least=1)
    check_counter(sequence, "sequence", least=1)
    check_count(len(parts), "frames in a packet", most=FRAMES_MAX)
    if not parts:
        raise InputError("a packet has at least one frame")
    packet = MAGIC + device_to_bytes(device) + _HEAD.pack(epoch, sequence, len(parts))
    packet = b"".join((packet, *parts))
    check_count(len(packet), "bytes in a packet", most=PACKET_BYTES_MAX)
    return packet


def frame_digest(frame: bytes) -> bytes:
    """Return the SHA-256 of a frame with its CRC: what an origin batch promises (REQ-ORG)."""
    return hashlib.sha256(frame).digest()


def _swapped(samples: "array[int]") -> "array[int]":
    if sys.byteorder == "little":
        samples.byteswap()
    return samples
