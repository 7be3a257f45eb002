"""A device of the suite: right batches, and batches that are wrong in one way on purpose."""

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from asepsis.core.model.alarm import AlarmEvent, AlarmKind, AlarmPhase, AlarmPriority, Inactivation
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.time import Instant
from asepsis.core.trust.libcrypto import PrivateKey
from asepsis.core.trust.origin_chain import key_id, sign_batch
from asepsis.core.wire import frames as wire_frames
from asepsis.core.wire.origin import NO_PREVIOUS, BatchHeader, WaveformDigest, encode_batch

HEART_RATE: Final = 2 << 16 | 0x4182
PER_MINUTE: Final = 4 << 16 | 0x0AA0
ECG_II: Final = 2 << 16 | 0x0102
MILLIVOLT: Final = 4 << 16 | 0x10B2
HIGH_LIMIT: Final = 3 << 16 | 40
THOUSANDTH: Final = 0xFD000001
HANDLE: Final = 1
WAVE_HANDLE: Final = 100
SAMPLES: Final = 250
PERIOD_NS: Final = 4_000_000
HEART_RATE_SHOWN: Final = "61"
UNCERTAINTY_MS: Final = 20
HELD_NS: Final = 4_500_000_000
"""Longer than a live lane may take a batch for live (REQ-OBS-013)."""


def condition(
    number: int,
    phase: AlarmPhase = AlarmPhase.ONSET,
    *,
    priority: AlarmPriority = AlarmPriority.HIGH,
) -> AlarmEvent:
    """Return an event of the suite's alarm condition with this number."""
    return AlarmEvent(
        condition_id=number.to_bytes(16, "big"),
        phase=phase,
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=priority,
        latching=False,
        inactivation=Inactivation.NONE,
        mdc_code=HIGH_LIMIT,
        source_handle=HANDLE,
        offset_ms=0,
        text="HR above high limit",
    )


def numeric(value: int = 61, *, unit: int = PER_MINUTE, metric: int = HEART_RATE) -> Numeric:
    """Return one numeric, a heart rate unless said otherwise."""
    return Numeric(
        handle=HANDLE,
        mdc_code=metric,
        unit_code=unit,
        value=value,
        status=MeasurementStatus.VALID,
        offset_ms=0,
    )


@dataclass(slots=True)
class Source:
    """A device that signs.

    Attributes:
        device: Its name.
        key: Its origin key.
        epoch: Boot epoch; higher at every new source of a device.
        sequence: Number of the last batch.
        previous: Digest of the last batch.
        frames: Number of the last waveform frame, and of the packet that held it.
    """

    device: DeviceId
    key: PrivateKey
    epoch: int = field(default_factory=time.time_ns)
    sequence: int = 0
    previous: bytes = NO_PREVIOUS
    frames: int = 0
    _boot_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def values(
        self, numerics: Sequence[Numeric] = (), *, digests: Sequence[WaveformDigest] = ()
    ) -> bytes:
        """Return the next batch with values, one heart rate unless given others."""
        return self.sign(
            encode_batch(self.header(), numerics=numerics or [numeric()], digests=digests)
        )

    def alarms(self, *events: AlarmEvent, listed: bool = False) -> bytes:
        """Return the next batch with alarm events, or with the list of what is active."""
        header = replace(self.header(), interval_ms=0, lists_active=listed)
        return self.sign(encode_batch(header, alarms=events))

    def held_back(self, *events: AlarmEvent) -> bytes:
        """Return the next batch, as old as if a switch had kept it while a cable was out."""
        header = replace(self.header(age_ns=HELD_NS), interval_ms=0)
        return self.sign(encode_batch(header, alarms=events))

    def waves(self) -> tuple[bytes, bytes]:
        """Return the next batch with the digest of one frame, and the packet with the frame."""
        packet, digest = self.packet()
        return self.values(digests=[digest]), packet

    def packet(self) -> tuple[bytes, WaveformDigest]:
        """Return the next packet, and the digest of its frame for a batch."""
        self.frames += 1
        metric = wire_frames.WaveformMetric(
            handle=WAVE_HANDLE,
            mdc_code=ECG_II,
            unit_code=MILLIVOLT,
            period_ns=PERIOD_NS,
            scale=THOUSANDTH,
            offset=0,
        )
        frame = wire_frames.encode_frame(
            metric,
            frame_sequence=self.frames,
            wall_ns=self.header().instant.wall_ns - SAMPLES * PERIOD_NS,
            samples=[(i * 37) % 400 - 200 for i in range(SAMPLES)],
        )
        packet = wire_frames.encode_packet(
            self.device, epoch=self.epoch, sequence=self.frames, frames=[frame]
        )
        return packet, WaveformDigest(WAVE_HANDLE, self.frames, hashlib.sha256(frame).digest())

    def header(self, *, age_ns: int = 0) -> BatchHeader:
        """Return the header of the next batch."""
        number = self.sequence + 1
        return BatchHeader(
            device=self.device,
            key_id=key_id(self.key.spki_der),
            epoch=self.epoch,
            sequence=number,
            ring_first=number * 10 - 9,
            ring_last=number * 10,
            previous=self.previous,
            clinical_state=ClinicalState.IN_USE,
            instant=Instant(
                self._boot_id,
                time.monotonic_ns() - age_ns,
                time.time_ns() - age_ns,
                UNCERTAINTY_MS,
            ),
            interval_ms=1_000,
        )

    def sign(self, part: bytes) -> bytes:
        """Return the signed batch and count it as the last one."""
        self.sequence += 1
        self.previous = hashlib.sha256(part).digest()
        return sign_batch(self.key, part)

    def twin(self) -> "Source":
        """Return a source that stands where this one stands, for a second word under a number."""
        return replace(self)
