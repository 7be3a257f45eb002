"""The entries of waveforms: frames and, beside them, the promises that signed batches made. Pure.

Whether a frame is the device's own is found out when it is read, so that nothing depends on what
came first.
"""

import struct
import sys
from array import array
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import FramingError
from asepsis.core.wire.frames import WaveformFrame, WaveformMetric, decode_frame, encode_frame
from asepsis.hub.records.entries import Mark

PROMISE_BYTES: Final = 16
"""Of a frame's SHA-256, kept to prove it: half suffices against a second frame that fits."""


_FRAME: Final = struct.Struct(">BqqIQIIQIIIB")


_PROMISE: Final = struct.Struct(">BqHQ16s")


def encode_frame_entry(
    frame: WaveformFrame, *, epoch: int, received_at_ns: int, marks: Mark
) -> bytes:
    """Write a waveform frame; samples as differences, whose two bytes stand apart."""
    metric = frame.metric
    head = _FRAME.pack(
        1,
        frame.wall_ns,
        received_at_ns,
        metric.handle,
        frame.frame_sequence,
        metric.mdc_code,
        metric.unit_code,
        epoch,
        metric.period_ns,
        metric.scale,
        metric.offset,
        marks,
    )
    differences = _differences(frame.sample_bytes)
    return head + differences[0::2] + differences[1::2]


def encode_promise(*, start_ns: int, handle: int, frame_sequence: int, sha256: bytes) -> bytes:
    """Write that a signed batch promised a frame."""
    return _PROMISE.pack(2, start_ns, handle, frame_sequence, sha256[:PROMISE_BYTES])


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFrame:
    """A waveform frame of the record.

    Attributes:
        frame: The frame, its digest computed anew.
        epoch: Boot epoch that its packet named.
        received_at_ns: Wall time of the hub at arrival.
        marks: What a reader must know.
    """

    frame: WaveformFrame
    epoch: int
    received_at_ns: int
    marks: Mark


def promise_of(entry: bytes) -> bytes | None:
    """Return the digest that an entry promises, or None if it is a frame."""
    return entry[-PROMISE_BYTES:] if entry[:1] == b"\x02" else None


def frame_start_ns(entry: bytes) -> int:
    """Return when the first sample of a frame was taken, without unpacking the samples."""
    return int.from_bytes(entry[1:9], "big")


def wave_of(entry: bytes) -> tuple[int, int, int] | None:
    """Return (handle, mdc_code, unit_code) of a frame; None for a promise."""
    if entry[:1] != b"\x01":
        return None
    _, _, _, handle, _, mdc_code, unit_code, *_ = _FRAME.unpack_from(entry)
    return handle, mdc_code, unit_code


def frame_of(entry: bytes) -> StoredFrame:
    """Read a frame.

    Raises:
        FramingError: Not a frame that was stored by us.
    """
    if len(entry) < _FRAME.size or entry[0] != 1:
        raise FramingError("an entry of waveforms that is no frame")
    (_, wall_ns, received, handle, sequence, mdc, unit, epoch, period, scale, offset, marks) = (
        _FRAME.unpack_from(entry)
    )
    rest = entry[_FRAME.size :]
    half = len(rest) // 2
    differences = bytearray(len(rest))
    differences[0::2], differences[1::2] = rest[:half], rest[half:]
    metric = WaveformMetric(
        handle=handle, mdc_code=mdc, unit_code=unit, period_ns=period, scale=scale, offset=offset
    )
    samples = _sums(bytes(differences))
    # Written and read again by the wire's own functions: the digest is that of the wire.
    frame = decode_frame(
        encode_frame(metric, frame_sequence=sequence, wall_ns=wall_ns, samples=samples)
    )
    return StoredFrame(frame=frame, epoch=epoch, received_at_ns=received, marks=Mark(marks))


def _differences(samples: bytes) -> bytes:
    """Subtract from every 16-bit sample the one after it, all in one step.

    One large number holds all samples; its borrows run from one into the next, which costs a bit
    of size now and then and is undone by `_sums` exactly.
    """
    size = len(samples)
    number = int.from_bytes(samples, "big")
    return ((number - (number << 16)) & ((1 << 8 * size) - 1)).to_bytes(size, "big")


def _sums(differences: bytes) -> "array[int]":
    """Undo `_differences`: multiply by 1 + 2**16 + 2**32 + ..., by doubling."""
    size = len(differences)
    number, mask, shift = int.from_bytes(differences, "big"), (1 << 8 * size) - 1, 16
    while shift < 8 * size:
        number = (number + (number << shift)) & mask
        shift *= 2
    samples = array("h", number.to_bytes(size, "big"))
    if sys.byteorder == "little":
        samples.byteswap()
    return samples
