"""The origin compartment: reads the vitals ring, signs, publishes in its own ring. No network.

Its key came as an open descriptor, is in no other compartment and in no folder that it could name.
"""

import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from asepsis.core.errors import FramingError
from asepsis.core.model.identity import DeviceId
from asepsis.core.trust import libcrypto
from asepsis.core.wire import origin as wire
from asepsis.edge.device import records
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.clock import OriginClock
from asepsis.edge.device.compartment import Line, serve, take
from asepsis.edge.device.models import MODELS
from asepsis.edge.device.security_signing import EventSigner
from asepsis.edge.device.signing import Signed, Signer
from asepsis.edge.device.update.report_signing import ReportSigner
from asepsis.edge.sandbox import ring
from asepsis.edge.sandbox.control import Order
from asepsis.edge.sandbox.ring import RingReader, RingWriter, Token, wake_of

IDLE_S: Final = 0.2
"""Longest wait for a wake-up, seconds: one that was dropped costs no more."""


class Origin:
    """Signs until its supervisor is gone.

    Args:
        signer: Signs.
        reader: Vitals ring.
        wake: Wake-ups of the vitals ring.
        writer: Its own ring.
        clock: What the signer's instants come from.
        events: Signs security events.
        reports: Signs update reports.
        line: Control line.
    """

    def __init__(
        self,
        signer: Signer,
        *,
        reader: RingReader,
        wake: int,
        writer: RingWriter,
        clock: OriginClock,
        events: EventSigner,
        reports: ReportSigner,
        line: Line,
    ) -> None:
        self._signer = signer
        self._events = events
        self._reports = reports
        self._clock = clock
        self._reader = reader
        self._wake = wake_of(wake)
        self._writer = writer
        self._line = line
        self._lost = 0
        self._unreadable = 0

    def run(self) -> None:
        """Sign; alarm events at once."""
        while True:
            readable, _, _ = select.select([self._wake, self._line.socket], [], [], IDLE_S)
            ring.drain_wakes(self._wake)
            self._clock.listen()
            self._read_all()
            if self._signer.due(time.monotonic_ns()):
                self._publish(self._signer.flush())
            if self._line.socket in readable and not self._obey():
                return
            self._line.heartbeat(self._facts)

    def _read_all(self) -> None:
        while True:
            chunk = self._reader.read()
            if chunk.lost:
                self._lost += chunk.lost
                self._publish(self._signer.flush())  # A batch covers no hole.
            for number, payload in chunk.records:
                self._sign(number, payload)
            if not chunk.records:
                return

    def _sign(self, number: int, payload: bytes) -> None:
        try:
            record = records.decode(payload)
        except FramingError:
            self._unreadable += 1
            return
        self._publish(self._signer.take(number, record))

    def _publish(self, signed: list[bytes]) -> None:
        for record in signed:
            self._writer.write(record)
            if record[0] == Signed.ALERT:
                self._line.report("alert-signed", sequence=self._signer.sequence)

    def _obey(self) -> bool:
        order = self._line.order()
        if order is None or order.what == "stop":
            self._publish(self._signer.flush())
            return False
        if order.what == "security":
            event = self._events.sign(order.body)
            if event:
                self._writer.write(bytes((Signed.SECURITY,)) + event)
        if order.what == "update":
            report = self._reports.sign(order.body)
            if report:
                self._writer.write(bytes((Signed.UPDATE,)) + report)
        if order.what == "ring":
            self._read_all()
            self._publish(self._signer.flush())
            self._reader.close()
            self._wake.close()
            self._reader = reader_of(order, covered=self._signer.covered)
            self._wake = wake_of(take(order, "wake"))
        return True

    def _facts(self) -> dict[str, Any]:
        return {
            "batches": self._signer.sequence,
            "lost": self._lost,
            "unreadable": self._unreadable,
            "synchronised": self._clock.synchronised,
        }


def reader_of(order: Order, *, covered: int) -> RingReader:
    """Open the ring of an order behind the last record done; numbers go on over writers."""
    token = Token(epoch=order.body["ring_epoch"], sequence=covered)
    return RingReader(take(order, "ring"), token=token if covered else None)


def last_covered(previous: RingReader) -> int:
    """Return the last vitals record in a signed batch of an earlier origin compartment, 0 if none.

    It reads its predecessor's ring, so a killed origin compartment repeats nothing and loses none.
    """
    covered = 0
    while True:
        chunk = previous.read()
        for _, payload in chunk.records:
            if payload and payload[0] in (Signed.BATCH, Signed.ALERT):
                covered = wire.decode_batch(payload[1:]).header.ring_last
        if not chunk.records:
            return covered


def build(order: Order, line: Line) -> Callable[[], Origin]:
    """Read the key and map the rings; the rights go after this."""
    with os.fdopen(take(order, "key"), "rb") as file:
        key = libcrypto.load_key(file.read(libcrypto.PEM_BYTES_MAX))
    covered = 0
    if "previous" in order.descriptors:
        previous = RingReader(take(order, "previous"))
        covered = last_covered(previous)
        previous.close()
    writer = RingWriter(
        take(order, "out"),
        geometry=records.SIGNED_RING,
        epoch=order.body["epoch"],
        first=order.body["first"],
        wakes=(wake_of(take(order, "out_wake")),),
    )
    clock = OriginClock(
        bytes.fromhex(order.body["boot_id"]),
        offset_ns=int(order.body["wall_minus_monotonic_ns"]),
        line=socket.socket(fileno=take(order, "time")),
    )
    signer = Signer(
        DeviceId.parse(order.body["device"]),
        key=key,
        epoch=order.body["boot_epoch"],
        waves=MODELS[Kind(order.body["kind"])].waves,
        instant=clock.instant,
    )
    events = EventSigner(
        DeviceId.parse(order.body["device"]),
        key=key,
        epoch=order.body["boot_epoch"],
        wall_ns=lambda: clock.instant(time.monotonic_ns()).wall_ns,
    )
    reports = ReportSigner(
        DeviceId.parse(order.body["device"]),
        key=key,
        epoch=order.body["boot_epoch"],
        instant=lambda: clock.instant(time.monotonic_ns()),
    )
    reader = reader_of(order, covered=covered)
    wake = take(order, "wake")
    line.report("mapped", epoch=order.body["epoch"])
    return lambda: Origin(
        signer,
        reader=reader,
        wake=wake,
        writer=writer,
        clock=clock,
        events=events,
        reports=reports,
        line=line,
    )


def main(control_descriptor: int) -> None:
    """Run the compartment."""
    serve(control_descriptor, build)
