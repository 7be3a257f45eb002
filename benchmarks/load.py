"""Load generator of the lane benchmarks: many beds, each with a certificate and TLS connections.

Raw protocols on uvloop, because the generator shares a machine with what it measures. Every bed
signs a batch and makes a waveform packet a second; every acknowledgement goes into a ledger that is
compared with the server's durable record afterwards.
"""

import asyncio
import hashlib
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

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
from asepsis.core.trust.libcrypto import PrivateKey
from asepsis.core.trust.origin import key_id, sign_batch
from asepsis.core.wire import origin
from asepsis.core.wire.frames import WaveformMetric, encode_frame, encode_packet
from asepsis.core.wire.origin import NO_PREVIOUS, BatchHeader, WaveformDigest, encode_batch

NUMERICS = 28
WAVEFORMS = 4
SAMPLES = 422  # Four frames of 50 + 844 + 4 bytes and a head: 3.6 KB.
HEART_RATE = 2 << 16 | 0x4182
BEATS_PER_MINUTE = 4 << 16 | 0x0AA0
ECG = 2 << 16 | 0x0102
MILLIVOLT = 4 << 16 | 0x10B2
GREETING = b"GET /metadata HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Ack:
    """One answer: which record, its status, and how long it took in seconds."""

    lane: str
    device: str
    epoch: int
    sequence: int
    status: int
    seconds: float


@dataclass
class Bed:
    """One device: its identity, its chain and its counters."""

    name: str
    origin_key: PrivateKey
    context: ssl.SSLContext
    epoch: int = 1
    sequence: int = 0
    previous: bytes = NO_PREVIOUS
    boot_id: bytes = bytes(16)
    numerics: Sequence[Numeric] = field(default_factory=list)
    samples: Sequence[int] = field(default_factory=list)
    key_id: bytes = b""
    last: tuple[bytes, bytes] | None = None
    made: deque[tuple[int, bytes, bytes]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.key_id = key_id(self.origin_key.spki_der)
        self.samples = [(i * 37) % 4000 - 2000 for i in range(SAMPLES)]
        self.numerics = [
            Numeric(
                handle=h + 1,
                mdc_code=HEART_RATE,
                unit_code=BEATS_PER_MINUTE,
                value=60 + h,
                status=MeasurementStatus.VALID,
                offset_ms=0,
            )
            for h in range(NUMERICS)
        ]

    def measure(self, wall_ns: int, monotonic_ns: int) -> tuple[bytes, bytes]:
        """Return the next signed batch and its waveform packet."""
        self.sequence += 1
        metrics = [
            WaveformMetric(
                handle=100 + n,
                mdc_code=ECG,
                unit_code=MILLIVOLT,
                period_ns=2_370_000,
                scale=0xFD000001,
                offset=0,
            )
            for n in range(WAVEFORMS)
        ]
        frames = [
            encode_frame(m, frame_sequence=self.sequence, wall_ns=wall_ns, samples=self.samples)
            for m in metrics
        ]
        digests = [
            WaveformDigest(m.handle, self.sequence, hashlib.sha256(f).digest())
            for m, f in zip(metrics, frames, strict=True)
        ]
        header = self._header(wall_ns, monotonic_ns)
        part = encode_batch(header, numerics=self.numerics, digests=digests)
        self.previous = hashlib.sha256(part).digest()
        packet = encode_packet(
            header.device, epoch=self.epoch, sequence=self.sequence, frames=frames
        )
        return sign_batch(self.origin_key, part), packet

    def tell(
        self, wall_ns: int, monotonic_ns: int, *, alarms: Sequence[AlarmEvent], listed: bool = False
    ) -> bytes:
        """Return the next signed batch: alarm events, or the list of the active conditions."""
        self.sequence += 1
        header = replace(self._header(wall_ns, monotonic_ns), interval_ms=0, lists_active=listed)
        part = encode_batch(header, alarms=alarms)
        self.previous = hashlib.sha256(part).digest()
        return sign_batch(self.origin_key, part)

    def _header(self, wall_ns: int, monotonic_ns: int) -> BatchHeader:
        return BatchHeader(
            device=DeviceId(self.name),
            key_id=self.key_id,
            epoch=self.epoch,
            sequence=self.sequence,
            ring_first=self.sequence * 10 - 9,
            ring_last=self.sequence * 10,
            previous=self.previous,
            clinical_state=ClinicalState.IN_USE,
            instant=Instant(self.boot_id, monotonic_ns, wall_ns, 10),
            interval_ms=1_000,
        )


def condition(
    number: int, phase: AlarmPhase, priority: AlarmPriority = AlarmPriority.HIGH
) -> AlarmEvent:
    """Return an event of alarm condition `number`."""
    return AlarmEvent(
        condition_id=number.to_bytes(16, "big"),
        phase=phase,
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=priority,
        latching=False,
        inactivation=Inactivation.NONE,
        mdc_code=196_652,
        source_handle=1,
        offset_ms=0,
        text="HR above high limit",
    )


class Lane(asyncio.Protocol):
    """One kept TLS connection that posts to one path; requests are answered in order."""

    def __init__(self, bed: Bed, path: str, media: str, ledger: Callable[[Ack], None]) -> None:
        self.bed = bed
        self.epoch = bed.epoch
        self.path = path
        self.head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\nContent-Length: "
        ).encode()
        self._ledger = ledger
        self._waiting: list[tuple[int, float]] = []
        self._buffer = b""
        self.gone = False
        self.transport: asyncio.Transport | None = None
        # Proves the connection: the hub cuts connections that never complete a request.
        self.greeted = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass.
        self.transport.write(GREETING)

    def post(self, sequence: int, body: bytes, headers: bytes = b"") -> None:
        """Send one record now; `headers` are further lines, each after a line end."""
        self._waiting.append((sequence, time.perf_counter()))
        assert self.transport is not None
        self.transport.write(b"%b%d%b\r\n\r\n%b" % (self.head, len(body), headers, body))

    def data_received(self, data: bytes) -> None:
        """Note every complete answer."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length: ")
            length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            status = int(head[9:12])
            if not self.greeted.done():
                self.greeted.set_result(status)
                continue
            sequence, started = self._waiting.pop(0)
            took = time.perf_counter() - started
            self._ledger(Ack(self.path, self.bed.name, self.epoch, sequence, status, took))

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so to whoever waits for the greeting."""
        self.gone = True
        if not self.greeted.done():
            self.greeted.set_exception(ConnectionError(f"cut before the first answer: {exc}"))

    @property
    def unanswered(self) -> int:
        """Records that were sent and not answered."""
        return len(self._waiting)


async def connect(
    bed: Bed, port: int, path: str, media: str, ledger: Callable[[Ack], None]
) -> Lane:
    """Open one lane of a bed."""
    loop = asyncio.get_running_loop()
    _, lane = await loop.create_connection(
        lambda: Lane(bed, path, media, ledger),
        "127.0.0.1",
        port,
        ssl=bed.context,
        server_hostname="localhost",
        ssl_handshake_timeout=60,
    )
    await lane.greeted
    return lane


async def connect_all(
    beds: Sequence[Bed], port: int, ledger: Callable[[Ack], None], *, at_once: int = 16
) -> list[tuple[Bed, Lane, Lane]]:
    """Open both lanes of every bed, a few handshakes at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(bed: Bed) -> tuple[Bed, Lane, Lane]:
        async with gate:
            vitals = await connect(bed, port, "/origin", origin.MEDIA_TYPE, ledger)
            waves = await connect(
                bed, port, "/waveforms", "application/vnd.asepsis.waveform", ledger
            )
        return bed, vitals, waves

    return await asyncio.gather(*(one(bed) for bed in beds))


def make_ahead(beds: Sequence[Bed], *, seconds: int) -> None:
    """Sign everything before the clock runs, so that the generator measures and not computes.

    The records are those of beds that measure once a second from now on; what the hub checks of
    their times is their distance from each other.
    """
    start_wall_ns, start_monotonic_ns = time.time_ns(), time.monotonic_ns()
    for second in range(seconds):
        for bed in beds:
            passed_ns = second * 1_000_000_000
            batch, packet = bed.measure(start_wall_ns + passed_ns, start_monotonic_ns + passed_ns)
            bed.made.append((bed.sequence, batch, packet))


async def run_beds(
    links: Sequence[tuple[Bed, Lane, Lane]], *, seconds: int, late: Callable[[float], None]
) -> None:
    """Let every bed send once a second, evenly spread, what `make_ahead` made.

    Args:
        links: What `connect_all` returned.
        seconds: How long.
        late: Told how late the generator itself was for each bed, in seconds.
    """
    start = time.perf_counter() + 0.2
    for second in range(seconds):
        for index, (bed, vitals, waves) in enumerate(links):
            due = start + second + index / len(links)
            wait = due - time.perf_counter()
            if wait > 0.0005:
                await asyncio.sleep(wait)
            elif index % 8 == 0:
                await asyncio.sleep(0)
            late(time.perf_counter() - due)
            sequence, batch, packet = bed.made.popleft()
            vitals.post(sequence, batch)
            waves.post(sequence, packet)
    deadline = time.perf_counter() + 15
    while any(v.unanswered or w.unanswered for _, v, w in links):
        if time.perf_counter() > deadline:
            return
        await asyncio.sleep(0.05)


def quantile(values: Sequence[float], part: float) -> float:
    """Return a quantile of unsorted values; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def stored(acks: Sequence[Ack]) -> set[tuple[str, str, int, int]]:
    """Return what was acknowledged as stored: lane, device, epoch, sequence."""
    return {(a.lane, a.device, a.epoch, a.sequence) for a in acks if a.status in {200, 201}}
