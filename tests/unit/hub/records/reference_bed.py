"""The reference bed of `asepsis hub --plan-storage`: what it measures in a second."""

import hashlib
import math
import random
from collections.abc import Iterator
from typing import Final

from record_house import START, S

from asepsis.core.journal.ports import Append, Link
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.time import Instant
from asepsis.core.wire import frames
from asepsis.core.wire.origin import BatchHeader, WaveformDigest, encode_batch

NUMERICS: Final = 28
NOISE: Final = 3
"""Steps of the converter that a real sensor trembles by; a simulated wave has none of its own."""
RATES_HZ: Final = (500, 250, 500, 250)
"""ECG, pleth, arterial pressure, respiration."""
METRICS: Final = tuple(
    frames.WaveformMetric(
        handle=101 + index,
        mdc_code=131330 + index,
        unit_code=266418,
        period_ns=S // rate_hz,
        scale=0xFD000001,
        offset=0,
    )
    for index, rate_hz in enumerate(RATES_HZ)
)
BEATS_PER_S: Final = 1.25


def beat(at_s: float) -> float:
    """Return a shape with a sharp and a round wave, as an ECG or a pressure has them."""
    part = at_s * BEATS_PER_S % 1
    sharp = math.exp(-(((part - 0.3) / 0.015) ** 2))
    return 1_000 * sharp + 250 * math.exp(-(((part - 0.55) / 0.06) ** 2))


class ReferenceBed:
    """28 numerics, of which half move by a step each second, and four noisy waveforms if asked."""

    def __init__(self, number: int, *, waves: bool = True) -> None:
        self.device = f"urn:dev:mac:0250c2fffe{number:06x}"
        self._metrics = METRICS if waves else ()
        self._rng = random.Random(number)
        self._phase = self._rng.random()
        self._values = [self._rng.randint(40, 180) for _ in range(NUMERICS)]

    def seconds(self, count: int) -> Iterator[tuple[Append, ...]]:
        """Yield batch and packet of each second."""
        for second in range(1, count + 1):
            at_ns = START + (second - 1) * S + self._rng.randrange(1_000_000)
            made = self._frames(second, at_ns)
            packet = (self._packet(second, at_ns, made),) if made else ()
            yield self._batch(second, at_ns, made), *packet

    def _frames(self, second: int, at_ns: int) -> list[bytes]:
        return [
            frames.encode_frame(
                metric,
                frame_sequence=second,
                wall_ns=at_ns,
                samples=[
                    int(beat(second + n / rate_hz + self._phase)) + self._rng.randint(-NOISE, NOISE)
                    for n in range(rate_hz)
                ],
            )
            for metric, rate_hz in zip(self._metrics, RATES_HZ, strict=False)
        ]

    def _batch(self, second: int, at_ns: int, made: list[bytes]) -> Append:
        for index in range(NUMERICS):
            if self._rng.random() < 0.5:
                step = self._rng.choice((-1, 1))
                self._values[index] = min(max(self._values[index] + step, 20), 220)
        numerics = [
            Numeric(
                handle=index + 1,
                mdc_code=147842 + index,
                unit_code=264864,
                value=value,
                status=MeasurementStatus.VALID,
                offset_ms=0,
            )
            for index, value in enumerate(self._values)
        ]
        header = BatchHeader(
            device=DeviceId(self.device),
            key_id=bytes(8),
            epoch=1,
            sequence=second,
            ring_first=1,
            ring_last=1,
            previous=bytes(32) if second == 1 else b"p" * 32,
            clinical_state=ClinicalState.IN_USE,
            instant=Instant(bytes(16), at_ns % 10**15, at_ns, 10),
            interval_ms=1_000,
        )
        digests = [
            WaveformDigest(metric.handle, second, hashlib.sha256(each).digest())
            for metric, each in zip(self._metrics, made, strict=True)
        ]
        body = encode_batch(header, numerics=numerics, digests=digests) + bytes(64)
        received_ns = at_ns + self._rng.randrange(5_000_000, 60_000_000)
        return Append(
            lane=Lane.VITALS,
            account=Account.ORIGIN,
            producer=self.device,
            epoch=1,
            sequence=second,
            kind="origin-batch",
            body=body,
            received_at_ns=received_ns,
            link=Link.of(body),
        )

    def _packet(self, second: int, at_ns: int, made: list[bytes]) -> Append:
        body = frames.encode_packet(DeviceId(self.device), epoch=1, sequence=second, frames=made)
        return Append(
            lane=Lane.WAVEFORM,
            account=Account.WAVEFORM,
            producer=self.device,
            epoch=1,
            sequence=second,
            kind="waveform",
            body=body,
            received_at_ns=at_ns + self._rng.randrange(5_000_000, 60_000_000),
            link=Link.of(body),
        )
