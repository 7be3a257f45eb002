"""Origin batches (AOB1): what a device measured in one interval, to be signed by its origin key.

Bytes in, values out; no key, socket or clock. A batch is a signed part and a 64-byte raw ES256
signature; `digest`, the SHA-256 of the signed part, is what is signed and what the next batch names
as `previous`. Everything is checked when a batch is decoded, so that nothing stored can fail to be
read later; numerics become objects only when asked for.

Source: standard/frames.md section 3; REQ-ORG; RFC 7518 section 3.4 (ES256).
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.model.alarm import AlarmEvent, AlarmPhase
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.time import Instant
from asepsis.core.wire import alarm_event, float_type
from asepsis.core.wire.binary import (
    check_count,
    check_counter,
    device_from_bytes,
    device_to_bytes,
    name_end,
    sized,
)

MAGIC: Final = b"AOB1"
MEDIA_TYPE: Final = "application/vnd.asepsis.origin-batch"
SIGNATURE_BYTES: Final = 64
BATCH_BYTES_MAX: Final = 65_536
NUMERICS_MAX: Final = 512
ALARMS_MAX: Final = 64
DIGESTS_MAX: Final = 64
INTERVAL_MS_MAX: Final = 1_000
NO_PREVIOUS: Final = bytes(32)
"""Previous hash of the first batch of an epoch."""
LISTS_ACTIVE: Final = 0x01
"""Flag: the batch lists every active alarm condition and holds no alarm event (REQ-ALM-014)."""

HEAD: Final = struct.Struct(">8sQ16sQQQ32sBBQIQHHHH")
_NUMERIC: Final = struct.Struct(">HIIIBxHxx")
_VALUE: Final = struct.Struct(">10xI6x")
_DIGEST: Final = struct.Struct(">HQ32s")
STATES: Final = {int(state): state for state in ClinicalState}
_STATUSES: Final = tuple(MeasurementStatus)  # Dense from 0, so the index is the number.


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """What a receiver takes; a model's own limits may only be lower than the standard's.

    Attributes:
        batch_bytes_max: Whole batch with signature, bytes.
        numerics_max: Numerics in a batch.
        alarms_max: Alarm events in a batch.
        digests_max: Waveform digests in a batch.
    """

    batch_bytes_max: int = BATCH_BYTES_MAX
    numerics_max: int = NUMERICS_MAX
    alarms_max: int = ALARMS_MAX
    digests_max: int = DIGESTS_MAX


STANDARD_LIMITS: Final = BatchLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchHeader:
    """What a batch says about itself.

    Attributes:
        device: Who signs.
        key_id: First 8 bytes of the SHA-256 of the origin key's SPKI DER.
        epoch: Boot epoch, 1 to 2**63 - 1; grows at every boot.
        sequence: Number of the batch in its epoch, from 1, dense.
        ring_first: First ring sequence covered, at least 1.
        ring_last: Last ring sequence covered; `ring_first - 1` if none is.
        previous: Digest of batch `sequence - 1`, 32 bytes; `NO_PREVIOUS` for sequence 1.
        clinical_state: What the device did for a patient at the start of the interval.
        instant: Boot id and times of the start of the interval.
        interval_ms: Length of the interval, 0 to 1 000 milliseconds.
        lists_active: Whether the alarm events of the batch are no events but the list of every
            active alarm condition at its end, each with phase CHANGE. An empty list says that
            there is none.
    """

    device: DeviceId
    key_id: bytes
    epoch: int
    sequence: int
    ring_first: int
    ring_last: int
    previous: bytes
    clinical_state: ClinicalState
    instant: Instant
    interval_ms: int
    lists_active: bool = False


@dataclass(frozen=True, slots=True)
class WaveformDigest:
    """The promise that one waveform frame is the device's own.

    Attributes:
        handle: Waveform metric, 1 to 65 535.
        frame_sequence: Sequence of the frame of that handle, from 1.
        sha256: SHA-256 of the frame's bytes with its CRC, 32 bytes.
    """

    handle: int
    frame_sequence: int
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginBatch:
    """A well-formed batch; whether it is genuine only `core.trust.origin` can say.

    Attributes:
        header: What the batch says about itself.
        signed_part: The bytes under the signature.
        signature: Raw ES256, r and s, 64 bytes.
        digest: SHA-256 of `signed_part`.
        numeric_block: Numerics as on the wire, 20 bytes each.
        alarm_events: Alarm events in order; the active conditions if the header says so.
        digest_block: Waveform digests as on the wire, 42 bytes each.
    """

    header: BatchHeader
    signed_part: bytes
    signature: bytes
    digest: bytes
    numeric_block: bytes
    alarm_events: tuple[AlarmEvent, ...]
    digest_block: bytes

    @property
    def device(self) -> DeviceId:
        """Who claims to have signed."""
        return self.header.device

    @property
    def key_id(self) -> bytes:
        """Which origin key is claimed, 8 bytes."""
        return self.header.key_id

    @property
    def epoch(self) -> int:
        """Boot epoch."""
        return self.header.epoch

    @property
    def sequence(self) -> int:
        """Number of the batch in its epoch."""
        return self.header.sequence

    @property
    def previous(self) -> bytes:
        """Digest of the batch before, zeros for the first."""
        return self.header.previous

    @property
    def clinical_state(self) -> ClinicalState:
        """Clinical state at the start of the interval."""
        return self.header.clinical_state

    @property
    def instant(self) -> Instant:
        """Start of the interval."""
        return self.header.instant

    def numeric_rows(self) -> Iterator[tuple[int, int, int, int, int, int]]:
        """Yield (handle, mdc_code, unit_code, FLOAT-Type, status, offset_ms): the fast way."""
        return _NUMERIC.iter_unpack(self.numeric_block)  # pyright: ignore[reportReturnType]

    def numerics(self) -> tuple[Numeric, ...]:
        """Return the numerics as values, in the order of the batch."""
        return tuple(
            Numeric(
                handle=handle,
                mdc_code=mdc_code,
                unit_code=unit_code,
                value=value,
                status=_STATUSES[status],
                offset_ms=offset_ms,
            )
            for handle, mdc_code, unit_code, value, status, offset_ms in self.numeric_rows()
        )

    def alarms(self) -> tuple[AlarmEvent, ...]:
        """Return the alarm events, in the order of the batch."""
        return self.alarm_events

    def waveform_digests(self) -> tuple[WaveformDigest, ...]:
        """Return the digests of the waveform frames of the interval."""
        return tuple(WaveformDigest(*row) for row in _DIGEST.iter_unpack(self.digest_block))

    def to_bytes(self) -> bytes:
        """Return the batch as it came."""
        return self.signed_part + self.signature


def decode_batch(data: bytes, *, limits: BatchLimits = STANDARD_LIMITS) -> OriginBatch:
    """Read a batch and check everything but its signature.

    Args:
        data: One whole batch, signature included.
        limits: What this receiver takes.

    Raises:
        FramingError: Malformed, truncated, trailing bytes, reserved bits set, unknown numbers.
        LimitExceeded: More bytes or items than `limits` allow.

    Source: standard/frames.md section 3; REQ-ORG.
    """
    check_count(len(data), "bytes in a batch", most=limits.batch_bytes_max)
    at = name_end(data, MAGIC, rest_bytes=HEAD.size + SIGNATURE_BYTES)
    fields = HEAD.unpack_from(data, at)
    header = _header(device_from_bytes(data[5:at]), fields[:-3])
    numerics, alarms, digests = fields[-3:]
    check_count(numerics, "numerics in a batch", most=limits.numerics_max)
    check_count(alarms, "alarm events in a batch", most=limits.alarms_max)
    check_count(digests, "waveform digests in a batch", most=limits.digests_max)
    signed_part = data[:-SIGNATURE_BYTES]
    numerics_at = at + HEAD.size
    alarms_at = numerics_at + numerics * _NUMERIC.size
    digests_at = len(signed_part) - digests * _DIGEST.size
    if digests_at < alarms_at:
        raise FramingError("batch ends inside its items")
    events = alarm_event.decode_all(signed_part[alarms_at:digests_at], count=alarms)
    if header.lists_active:
        _require_list(events)
    return OriginBatch(
        header=header,
        signed_part=signed_part,
        signature=data[-SIGNATURE_BYTES:],
        digest=hashlib.sha256(signed_part).digest(),
        numeric_block=_checked_numerics(signed_part[numerics_at:alarms_at]),
        alarm_events=events,
        digest_block=_checked_digests(signed_part[digests_at:]),
    )


def encode_batch(
    header: BatchHeader,
    *,
    numerics: Iterable[Numeric] = (),
    alarms: Iterable[AlarmEvent] = (),
    digests: Iterable[WaveformDigest] = (),
) -> bytes:
    """Write the signed part of a batch; `attach_signature` completes it.

    Returns:
        The bytes to sign with ES256.

    Raises:
        InputError: A field outside its range.
        LimitExceeded: More items than the standard's limits.

    Source: standard/frames.md section 3.
    """
    events = [alarm_event.encode(event) for event in alarms]
    try:
        rows = [
            _NUMERIC.pack(n.handle, n.mdc_code, n.unit_code, n.value, n.status, n.offset_ms)
            for n in numerics
        ]
        promises = [_DIGEST.pack(d.handle, d.frame_sequence, _sha256_of(d)) for d in digests]
        head = _pack_head(header, (len(rows), len(events), len(promises)))
    except struct.error as error:
        raise InputError(f"a field of the batch is outside its range: {error}") from error
    part = b"".join((MAGIC, device_to_bytes(header.device), head, *rows, *events, *promises))
    # One set of rules: what our own decoder would refuse never leaves the device.
    decode_batch(part + bytes(SIGNATURE_BYTES))
    return part


def attach_signature(signed_part: bytes, signature: bytes) -> bytes:
    """Return a whole batch from its two parts.

    Args:
        signed_part: Result of `encode_batch`.
        signature: Raw ES256, 64 bytes.

    Raises:
        InputError: The signature has another length.
    """
    return signed_part + sized(signature, SIGNATURE_BYTES, "signature")


def _header(device: DeviceId, fields: tuple[Any, ...]) -> BatchHeader:
    (
        key_id, epoch, boot_id, sequence, ring_first, ring_last, previous, state, flags,
        wall_ns, uncertainty_ms, monotonic_ns, interval_ms,
    ) = fields  # fmt: skip
    if flags & ~LISTS_ACTIVE or state not in STATES:
        raise FramingError(f"clinical state {state} and flags {flags} are not of this version")
    if interval_ms > INTERVAL_MS_MAX:
        raise LimitExceeded(f"interval of {interval_ms} ms, the limit is {INTERVAL_MS_MAX}")
    check_counter(epoch, "epoch", least=1)
    check_counter(sequence, "sequence", least=1)
    check_counter(ring_first, "first ring sequence", least=1)
    check_counter(ring_last, "last ring sequence", least=ring_first - 1)
    check_counter(wall_ns, "wall time")
    check_counter(monotonic_ns, "monotonic time")
    if (previous == NO_PREVIOUS) != (sequence == 1):
        raise FramingError("exactly the first batch of an epoch has no previous hash")
    return BatchHeader(
        device=device,
        key_id=key_id,
        epoch=epoch,
        sequence=sequence,
        ring_first=ring_first,
        ring_last=ring_last,
        previous=previous,
        clinical_state=STATES[state],
        instant=Instant(boot_id, monotonic_ns, wall_ns, uncertainty_ms),
        interval_ms=interval_ms,
        lists_active=bool(flags & LISTS_ACTIVE),
    )


def _require_list(events: tuple[AlarmEvent, ...]) -> None:
    if any(event.phase is not AlarmPhase.CHANGE for event in events):
        raise FramingError("a list of active alarm conditions holds the onset or end of one")
    if len({event.condition_id for event in events}) != len(events):
        raise FramingError("a list of active alarm conditions names one twice")


def _pack_head(header: BatchHeader, counts: tuple[int, int, int]) -> bytes:
    instant = header.instant
    return HEAD.pack(
        sized(header.key_id, 8, "key id"),
        header.epoch,
        sized(instant.boot_id, 16, "boot id"),
        header.sequence,
        header.ring_first,
        header.ring_last,
        sized(header.previous, 32, "previous hash"),
        header.clinical_state,
        LISTS_ACTIVE if header.lists_active else 0,
        instant.wall_ns,
        instant.uncertainty_ms,
        instant.monotonic_ns,
        header.interval_ms,
        *counts,
    )


def _sha256_of(promise: WaveformDigest) -> bytes:
    return sized(promise.sha256, 32, "SHA-256 of a frame")


def _checked_numerics(block: bytes) -> bytes:
    # Slices with a stride look at one byte of every numeric at once: a tenth of the time of a loop.
    size = _NUMERIC.size
    if any(block[15::size]) or any(block[18::size]) or any(block[19::size]):
        raise FramingError("reserved bytes of a numeric are not zero")
    if max(block[14::size], default=0) >= len(_STATUSES):
        raise FramingError("unknown measurement status")
    if 0 in map(int.__or__, block[::size], block[1::size]):
        raise FramingError("numeric with handle 0")
    # Only mantissas that begin with 0x7F or 0x80 can be special, and ordinary values never do.
    mantissa_tops = block[11::size]
    if 0x7F in mantissa_tops or 0x80 in mantissa_tops:
        for (value,) in _VALUE.iter_unpack(block):
            if not float_type.is_valid(value):
                raise FramingError(f"reserved FLOAT-Type {value:#010x}")
    return block


def _checked_digests(block: bytes) -> bytes:
    promised: set[tuple[int, int]] = set()
    for handle, frame_sequence, _sha256 in _DIGEST.iter_unpack(block):
        check_counter(frame_sequence, "frame sequence", least=1)
        if not handle or (handle, frame_sequence) in promised:
            raise FramingError("waveform digest with handle 0, or twice for one frame")
        promised.add((handle, frame_sequence))
    return block
