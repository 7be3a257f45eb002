"""Everything that must not hold up an alarm: all other lanes, uploads and a view that never reads.

Runs in a process of its own beside `alerts.py`. Devices here do what devices do: one request in
flight on each connection, the next one when its tick is due. At twice the capacity most ticks find
their connection still busy.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import load
from asepsis.core.mapping.fhir_numeric import Origin, numeric_to_observation
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire import origin
from asepsis.core.wire.fhir import Bundle, BundleEntry
from asepsis.core.wire.fhir_codec import encode

MEDIA: Final = {
    "/origin": origin.MEDIA_TYPE,
    "/waveforms": "application/vnd.asepsis.waveform",
    "/late": "application/vnd.asepsis.waveform",
    "/hl7v2": "application/hl7-v2",
    "/fhir": "application/fhir+json",
}
AHEAD: Final = 100
UPLOAD_BYTES: Final = 1 << 30
CHUNK: Final = b"10000\r\n" + bytes(65_536) + b"\r\n"
ER7: Final = (
    b"MSH|^~\\&|MON|ICU|EHR|H|20260101120000||ORU^R01^ORU_R01|%d|P|2.6\r"
    b"PID|||1\rOBR|1|||1\rOBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC||72|bpm|||||F\r"
)


@dataclass
class Told:
    """What came of the bulk load.

    Attributes:
        answers: Status -> answers, in the phase that counts.
        uploaded: Bytes of refused uploads that were sent.
        views_cut: How often the hub ended the view that never reads.
    """

    answers: dict[int, int] = field(default_factory=dict[int, int])
    uploaded: int = 0
    views_cut: int = 0

    def note(self, ack: load.Ack) -> None:
        """Count an answer."""
        self.answers[ack.status] = self.answers.get(ack.status, 0) + 1

    @property
    def total(self) -> int:
        """All answers."""
        return sum(self.answers.values())


class Source:
    """One connection with something to send at every tick.

    Args:
        lane: The connection.
        make: Makes the next sequence, body and further headers.
    """

    def __init__(self, lane: load.Lane, make: Callable[[], tuple[int, bytes, bytes]]) -> None:
        self._lane = lane
        self._make = make

    def tick(self) -> bool:
        """Send the next record if the last one is answered; say whether it was sent."""
        if self._lane.unanswered or self._lane.gone:
            return False
        sequence, body, headers = self._make()
        self._lane.post(sequence, body, headers)
        return True


def numbered(epoch: int, sequence: int) -> bytes:
    """Return the headers of a source without an origin key."""
    return b"\r\nAsepsis-Epoch: %d\r\nAsepsis-Sequence: %d" % (epoch, sequence)


def bundle_of(bed: load.Bed) -> bytes:
    """Return the numerics of an unsigned device as a FHIR bundle."""
    start = Origin(device=DeviceId(bed.name), start_ns=time.time_ns())
    found = (numeric_to_observation(numeric, start).value for numeric in bed.numerics)
    return encode(
        Bundle(type="transaction", entry=tuple(BundleEntry(resource=each) for each in found))
    )


async def open_sources(
    beds: Sequence[load.Bed],
    unsigned: Sequence[load.Bed],
    gateway: load.Bed,
    port: int,
    told: Told,
) -> list[Source]:
    """Open the connections of every bed, of the unsigned devices and of the gateway."""
    gate = asyncio.Semaphore(16)
    sources: list[Source] = []

    async def one(bed: load.Bed, path: str, make: Callable[[], tuple[int, bytes, bytes]]) -> None:
        async with gate:
            lane = await load.connect(bed, port, path, MEDIA[path], told.note)
        sources.append(Source(lane, make))

    stocks = [Stock(bed, records=AHEAD) for bed in beds]
    jobs = [one(bed, "/origin", stock.take(1)) for bed, stock in zip(beds, stocks, strict=True)]
    jobs += [
        one(bed, "/late" if index % 8 == 0 else "/waveforms", stock.take(2))
        for index, (bed, stock) in enumerate(zip(beds, stocks, strict=True))
    ]
    jobs += [one(bed, "/fhir", _bundles(bundle_of(bed))) for bed in unsigned]
    messages = _messages()
    jobs += [one(gateway, "/hl7v2", messages) for _ in range(4)]
    await asyncio.gather(*jobs)
    return sources


class Stock:
    """Records of one bed, made before the clock runs so that the generator sends and not computes.

    Args:
        bed: Whose.
        records: How many are made ahead; further ones are made when they are due.
    """

    def __init__(self, bed: load.Bed, *, records: int) -> None:
        self._bed = bed
        self._made: list[tuple[int, bytes, bytes]] = []
        self._start = (time.time_ns(), time.monotonic_ns())
        for _ in range(records):
            self._make()

    def _make(self) -> None:
        # A second apart, more than at any load: nothing looks as if somebody had held it back.
        passed_ns = len(self._made) * 1_000_000_000
        batch, packet = self._bed.measure(self._start[0] + passed_ns, self._start[1] + passed_ns)
        self._made.append((self._bed.sequence, batch, packet))

    def take(self, part: int) -> Callable[[], tuple[int, bytes, bytes]]:
        """Return a function that yields one record after the other: part 1 batches, 2 packets."""
        at = -1

        def make() -> tuple[int, bytes, bytes]:
            nonlocal at
            at += 1
            if at == len(self._made):
                self._make()
            record = self._made[at]
            return record[0], record[part], b""

        return make


def _bundles(body: bytes) -> Callable[[], tuple[int, bytes, bytes]]:
    sequence = 0

    def make() -> tuple[int, bytes, bytes]:
        nonlocal sequence
        sequence += 1
        # What is not of now would be refused: the lane is for what is.
        made = b'{"timestamp":"%s",' % to_instant(time.time_ns()).encode()
        return sequence, made + body[1:], numbered(1, sequence)

    return make


def _messages() -> Callable[[], tuple[int, bytes, bytes]]:
    sequence = 0

    def make() -> tuple[int, bytes, bytes]:
        nonlocal sequence
        sequence += 1
        return sequence, ER7 % sequence, numbered(1, sequence)

    return make


async def saturate(sources: Sequence[Source], *, seconds: float, told: Told) -> float:
    """Send whenever a connection is free and return the answers a second: the capacity."""
    began, before = time.perf_counter(), told.total
    while time.perf_counter() - began < seconds:
        for index, source in enumerate(sources):
            source.tick()
            if index % 32 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0.001)
    return (told.total - before) / (time.perf_counter() - began)


async def overload(sources: Sequence[Source], *, rate: float, until: Callable[[], bool]) -> int:
    """Offer `rate` records a second, spread over the sources; return how many were offered."""
    began, offered = time.perf_counter(), 0
    while not until():
        due = int((time.perf_counter() - began) * rate)
        while offered < due:
            sources[offered % len(sources)].tick()
            offered += 1
            if offered % 32 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0.002)
    return offered


async def upload(context: ssl.SSLContext, port: int, told: Told) -> None:
    """Try to upload a gigabyte in one request, again after each refusal, until it was all sent."""
    while told.uploaded < UPLOAD_BYTES:
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="localhost"
            )
            writer.write(
                b"POST /late HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                b"application/vnd.asepsis.waveform\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            while not reader.at_eof() and told.uploaded < UPLOAD_BYTES:
                writer.write(CHUNK)
                await writer.drain()
                told.uploaded += 65_536
            writer.transport.abort()
        except OSError:
            await asyncio.sleep(0.05)


async def stall(context: ssl.SSLContext, port: int, names: Sequence[str], told: Told) -> None:
    """Open a view of every bed with all waveforms and never read it; again when it is cut."""
    loop = asyncio.get_running_loop()
    query = "&".join(f"device={name}" for name in names)
    head = f"GET /views/live?waveforms=1&{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    while True:
        plain = socket.create_connection(("127.0.0.1", port))
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        plain.setblocking(False)
        ended = loop.create_future()
        transport, _ = await loop.create_connection(
            lambda ended=ended: _Deaf(ended), sock=plain, ssl=context, server_hostname="localhost"
        )
        transport.write(head)
        await asyncio.sleep(0.2)
        transport.pause_reading()
        try:
            async with asyncio.timeout(15):
                await ended
        except TimeoutError:
            transport.abort()
        told.views_cut += 1


class _Deaf(asyncio.Protocol):
    def __init__(self, ended: asyncio.Future[None]) -> None:
        self._ended = ended

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
