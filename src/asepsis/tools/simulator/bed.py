"""One scripted device: simulated signs, real origin signatures, the real uplink.

Vitals, origin and network stand in one process here; on a device they are compartments apart.
"""

import secrets
import uuid
from collections.abc import Callable
from typing import Final

from asepsis.core.model.alarm import AlarmEvent, AlarmKind, AlarmPhase, AlarmPriority, Inactivation
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.trust.libcrypto import PrivateKey
from asepsis.core.trust.origin_chain import ChainHead, key_id, sign_batch
from asepsis.core.wire import frames, origin
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.tools.simulator.signals import WAVES, Patient

ALARM_HEART_RATE: Final = 152
HIGH_LIMIT_EVENT: Final = 3 << 16 | 40
"""MDC_EVT_HI: above high limit."""
INTERVAL_MS: Final = 1_000


class Bed:
    """Makes one signed batch and one waveform packet a second.

    Args:
        device: The device's name.
        key: Its origin key.
        epoch: Boot epoch.
        clock: Trusted clock.
        seed: Seed of the simulated patient.
    """

    def __init__(
        self, device: DeviceId, *, key: PrivateKey, epoch: int, clock: TrustedClock, seed: int
    ) -> None:
        self._device = device
        self._key = key
        self._key_id = key_id(key.spki_der)
        self._clock = clock
        self._patient = Patient(seed)
        self._chain = ChainHead.start(epoch)
        self._epoch = epoch
        self._second = 0
        self._ring = 1
        self._alarm: bytes | None = None

    def second(self) -> tuple[bytes, bytes]:
        """Return the batch and the waveform packet of the next second."""
        self._second += 1
        instant = self._clock.instant()
        numerics = self._patient.numerics(
            self._second, heart_rate=ALARM_HEART_RATE if self._alarm else None
        )
        encoded = self._patient.waveform_frames(
            self._second, frame_sequence=self._second, wall_ns=instant.wall_ns
        )
        digests = [
            origin.WaveformDigest(wave.handle, self._second, frames.frame_digest(frame))
            for wave, frame in zip(WAVES, encoded, strict=True)
        ]
        packet = frames.encode_packet(
            self._device, epoch=self._epoch, sequence=self._second, frames=encoded
        )
        items = len(numerics) + len(digests)
        batch = self._signed(
            lambda header: origin.encode_batch(header, numerics=numerics, digests=digests),
            items=items,
            interval_ms=INTERVAL_MS,
        )
        return batch, packet

    @property
    def alarming(self) -> bool:
        """Whether the staged alarm condition is active."""
        return self._alarm is not None

    def alarm(self, phase: AlarmPhase) -> bytes:
        """Return a batch with an event of the staged heart-rate alarm, to be sent at once."""
        if phase is AlarmPhase.ONSET or self._alarm is None:
            self._alarm = uuid.uuid4().bytes
        event = AlarmEvent(
            condition_id=self._alarm,
            phase=phase,
            kind=AlarmKind.PHYSIOLOGICAL,
            priority=AlarmPriority.HIGH,
            latching=False,
            inactivation=Inactivation.NONE,
            mdc_code=HIGH_LIMIT_EVENT,
            source_handle=1,
            offset_ms=0,
            text="Heart rate above high limit",
        )
        if phase is AlarmPhase.END:
            self._alarm = None
        return self._signed(
            lambda header: origin.encode_batch(header, alarms=[event]), items=1, interval_ms=0
        )

    def _signed(
        self, encode: Callable[[origin.BatchHeader], bytes], *, items: int, interval_ms: int
    ) -> bytes:
        header = origin.BatchHeader(
            device=self._device,
            key_id=self._key_id,
            epoch=self._epoch,
            sequence=self._chain.sequence + 1,
            ring_first=self._ring,
            ring_last=self._ring + items - 1,
            previous=self._chain.digest,
            clinical_state=ClinicalState.ALARMING if self._alarm else ClinicalState.IN_USE,
            instant=self._clock.instant(),
            interval_ms=interval_ms,
        )
        self._ring += items
        part = encode(header)
        self._chain = self._chain.after(part)
        return sign_batch(self._key, part)


def new_boot_id() -> bytes:
    """Return 16 random bytes for this boot."""
    return secrets.token_bytes(16)
