"""Turns what vitals publishes into signed batches and waveform packets. The key is the only secret.

A batch covers at most a second; an alarm event ends it at once. Every waveform frame is promised by
its digest in the batch that covers it. Where vitals has listed its active alarm conditions, the
batch lists them too: so what an event told, and somebody withheld, is told again within a second.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from asepsis.core.model.alarm import AlarmEvent
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import Numeric
from asepsis.core.model.time import Instant
from asepsis.core.trust.libcrypto import PrivateKey
from asepsis.core.trust.origin_chain import ChainHead, key_id, sign_batch
from asepsis.core.wire import frames, origin
from asepsis.edge.device.catalogue import Wave
from asepsis.edge.device.records import Record, Samples, Value

INTERVAL_NS: Final = 1_000_000_000
FOLLOW_NS: Final = 50_000_000
"""The interval after an alarm is this short: if the alarm is withheld, its gap shows at once."""


class Signed(IntEnum):
    """What a record of the signed ring is: its first byte."""

    BATCH = 1
    ALERT = 2
    """A batch with an alarm event: it takes the alert lane."""
    PACKET = 3
    SECURITY = 4
    """A security event, signed by itself."""
    UPDATE = 5
    """An update report, signed by itself."""


@dataclass(slots=True)
class _Interval:
    start_ns: int
    ring_first: int
    state: ClinicalState
    ring_last: int = 0
    last_ns: int = 0
    values: list[Numeric] = field(default_factory=list[Numeric])
    alarms: list[AlarmEvent] = field(default_factory=list[AlarmEvent])
    active: tuple[AlarmEvent, ...] | None = None
    samples: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    samples_ns: int | None = None


class Signer:
    """Signs in order; the state of one epoch.

    Args:
        device: The device's name.
        key: Its origin key.
        epoch: Boot epoch, above every earlier one of this device.
        waves: The waveforms of its model.
        instant: Given monotonic nanoseconds, returns boot id, times and uncertainty.
    """

    def __init__(
        self,
        device: DeviceId,
        *,
        key: PrivateKey,
        epoch: int,
        waves: Iterable[Wave],
        instant: Callable[[int], Instant],
    ) -> None:
        self._waves = {wave.handle: wave.metric for wave in waves}
        self._device = device
        self._key = key
        self._key_id = key_id(key.spki_der)
        self._epoch = epoch
        self._instant = instant
        self._chain = ChainHead.start(epoch)
        self._interval: _Interval | None = None
        self._interval_ns = INTERVAL_NS
        self._packets = 0
        self._frames = dict.fromkeys(self._waves, 0)
        self.covered = 0

    @property
    def sequence(self) -> int:
        """Number of the newest batch."""
        return self._chain.sequence

    def take(self, sequence: int, record: Record) -> list[bytes]:
        """Take record `sequence` of the vitals ring; return what is to be published, in order."""
        found: list[bytes] = []
        now = self._interval
        if now and (
            record.monotonic_ns - now.start_ns >= self._interval_ns or record.state != now.state
        ):
            found += self.flush()
        now = self._interval
        if now is None:
            now = self._interval = _Interval(record.monotonic_ns, sequence, record.state)
        now.ring_last, now.last_ns = sequence, max(record.monotonic_ns, now.start_ns)
        offset_ms = (now.last_ns - now.start_ns) // 1_000_000
        now.values += [_numeric(value, offset_ms) for value in record.values]
        now.alarms += [_placed(event, offset_ms) for event in record.alarms]
        if record.active is not None:
            now.active = tuple(_placed(event, offset_ms) for event in record.active)
        for part in record.samples:
            self._collect(now, part, record.monotonic_ns)
        return found + self.flush() if record.alarms else found

    def due(self, now_ns: int) -> bool:
        """Return whether an open interval is over although no record came to end it."""
        return self._interval is not None and now_ns - self._interval.start_ns > self._interval_ns

    def flush(self) -> list[bytes]:
        """End the open interval and return its packet, if any, and its batch."""
        now, self._interval = self._interval, None
        if now is None:
            return []
        encoded, promises = self._encode_frames(now)
        # Events end an interval at once, so a list that stands beside them is older than they are.
        listed = None if now.alarms else now.active
        header = origin.BatchHeader(
            device=self._device,
            key_id=self._key_id,
            epoch=self._epoch,
            sequence=self._chain.sequence + 1,
            ring_first=now.ring_first,
            ring_last=now.ring_last,
            previous=self._chain.digest,
            clinical_state=now.state,
            instant=self._instant(now.start_ns),
            interval_ms=min((now.last_ns - now.start_ns) // 1_000_000, origin.INTERVAL_MS_MAX),
            lists_active=listed is not None,
        )
        part = origin.encode_batch(
            header, numerics=now.values, alarms=listed or now.alarms, digests=promises
        )
        self._chain = self._chain.after(part)
        self.covered = now.ring_last
        self._interval_ns = FOLLOW_NS if now.alarms else INTERVAL_NS
        kind = Signed.ALERT if now.alarms else Signed.BATCH
        batch = bytes((kind,)) + sign_batch(self._key, part)
        # An alarm goes first; a batch is published after its packet, so that whoever sees the
        # batch in the ring knows that everything it covers has been handed over.
        return [batch, *self._packet(encoded)] if now.alarms else [*self._packet(encoded), batch]

    def _packet(self, encoded: list[bytes]) -> list[bytes]:
        if not encoded:
            return []
        self._packets += 1
        packet = frames.encode_packet(
            self._device, epoch=self._epoch, sequence=self._packets, frames=encoded
        )
        return [bytes((Signed.PACKET,)) + packet]

    def _collect(self, now: _Interval, part: Samples, monotonic_ns: int) -> None:
        if part.handle in self._waves:
            now.samples.setdefault(part.handle, []).extend(part.values)
            if now.samples_ns is None:
                now.samples_ns = monotonic_ns

    def _encode_frames(self, now: _Interval) -> tuple[list[bytes], list[origin.WaveformDigest]]:
        encoded: list[bytes] = []
        promises: list[origin.WaveformDigest] = []
        wall_ns = self._instant(now.samples_ns or now.start_ns).wall_ns
        for handle, samples in now.samples.items():
            self._frames[handle] += 1
            frame = frames.encode_frame(
                self._waves[handle],
                frame_sequence=self._frames[handle],
                wall_ns=wall_ns,
                samples=samples[: frames.SAMPLES_MAX],
            )
            encoded.append(frame)
            promises.append(
                origin.WaveformDigest(handle, self._frames[handle], frames.frame_digest(frame))
            )
        return encoded, promises


def _numeric(value: Value, offset_ms: int) -> Numeric:
    return Numeric(
        handle=value.handle,
        mdc_code=value.mdc_code,
        unit_code=value.unit_code,
        value=value.value,
        status=value.status,
        offset_ms=offset_ms,
    )


def _placed(event: AlarmEvent, offset_ms: int) -> AlarmEvent:
    return AlarmEvent(
        condition_id=event.condition_id,
        phase=event.phase,
        kind=event.kind,
        priority=event.priority,
        latching=event.latching,
        inactivation=event.inactivation,
        mdc_code=event.mdc_code,
        source_handle=event.source_handle,
        offset_ms=offset_ms,
        text=event.text,
    )
