"""The self-test compartment: measures a reference signal with the code of a version. One shot.

It is started with the package of the version that is tested, has no network, no file and no ring
of the device, and says what it measured. Whether that passes the supervisor judges, by the
tolerances that the vendor signed: a version cannot move its own goalposts.

The reference is known samples and numerics. They go the way that measured ones go: source, alarm
limits, record, ring, reader. What is read at the end is the value.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Final

from asepsis.core.model.alarm import AlarmEvent, AlarmPhase
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.wire import float_type
from asepsis.edge.device import records
from asepsis.edge.device.alarms import DELAY_S, AlarmBook
from asepsis.edge.device.catalogue import Kind, Model
from asepsis.edge.device.compartment import Line, serve, take
from asepsis.edge.device.models import MODELS
from asepsis.edge.device.recording import Recording
from asepsis.edge.device.records import Record, Samples, Value
from asepsis.edge.device.sources import TICKS_PER_S
from asepsis.edge.device.vitals import value_of
from asepsis.edge.sandbox.control import Order
from asepsis.edge.sandbox.ring import RingReader, RingWriter, wake_of

MEASURED: Final = "measured"
QUIET_S: Final = 2
"""Seconds of the reference in which every numeric is within its limits."""
LOUD_S: Final = 4
"""Seconds in which one is not."""
STEP: Final = 7
"""Difference of two samples of the reference: a ramp shows every sample that is lost or changed."""
WRAP: Final = 1_000


def reference(model: Model) -> tuple[list[str], int, float]:
    """Return a recording whose every value is known.

    Returns:
        Its lines, the handle of the numeric that leaves its limits, and its value within them.
    """
    limit = model.limits[0]
    within = _within(limit.low, limit.high)
    beyond = within + 10_000 if limit.high is not None else within - 10_000
    waves = {
        str(wave.handle): [n * STEP % WRAP for n in range(wave.rate_hz)] for wave in model.waves
    }
    quiet: dict[str, float] = {str(one.handle): _within(one.low, one.high) for one in model.limits}
    lines = [{"asepsis-recording": 1, "waves": {str(w.handle): w.rate_hz for w in model.waves}}]
    seconds = [quiet] * QUIET_S + [{**quiet, str(limit.handle): beyond}] * LOUD_S
    texts = [json.dumps(line) for line in lines]
    texts += [json.dumps({"waves": waves, "values": values}) for values in seconds]
    return texts, limit.handle, within


def _within(low: float | None, high: float | None) -> float:
    if low is not None and high is not None:
        return float(round((low + high) / 2))
    return float(low if low is not None else high or 0)


class Bench:
    """Plays the reference through the code of this version and reads it back.

    Args:
        writer: A ring of its own.
        reader: The same ring.
        model: What the device measures.
    """

    def __init__(self, writer: RingWriter, *, reader: RingReader, model: Model) -> None:
        self._writer = writer
        self._reader = reader
        self._model = model
        self._ids = iter(range(1, 1_000))

    def measure(self) -> dict[str, float]:
        """Return what was found, by the names that a plan gives its self-tests."""
        lines, handle, within = reference(self._model)
        began_ns = time.monotonic_ns()
        self._play(Recording(lines, model=self._model))
        took_ms = (time.monotonic_ns() - began_ns) / 1e6
        found = list(self._read())
        return {
            "numeric-error": self._numeric_error(found, handle, within),
            "samples-lost": float(self._samples_lost(found)),
            "alarm-delay": self._alarm_delay(found),
            "reference-time": took_ms,
        }

    def _play(self, source: Recording) -> None:
        """Publish the reference; its own clock, because a self-test is no reason to wait."""
        signs = {sign.handle: sign for sign in self._model.signs}
        book = AlarmBook(
            limits=self._model.limits,
            signs=self._model.signs,
            new_id=lambda: next(self._ids).to_bytes(16, "big"),
        )
        for tick in range((QUIET_S + LOUD_S) * TICKS_PER_S):
            now_ns = tick * 1_000_000_000 // TICKS_PER_S
            values = source.values()
            self._publish(now_ns, samples=source.samples())
            if tick % TICKS_PER_S == 0:
                events = book.judge(values, now_s=now_ns / 1e9)
                self._publish(now_ns, alarms=tuple(events))
                published = tuple(value_of(signs[h], v) for h, v in values.items())
                self._publish(now_ns, values=published)

    def _publish(
        self,
        now_ns: int,
        *,
        samples: tuple[Samples, ...] = (),
        values: tuple[Value, ...] = (),
        alarms: tuple[AlarmEvent, ...] = (),
    ) -> None:
        record = Record(
            state=ClinicalState.MAINTENANCE,
            monotonic_ns=now_ns,
            samples=samples,
            values=values,
            alarms=alarms,
        )
        self._writer.write(records.encode(record))

    def _read(self) -> Iterator[Record]:
        while chunk := self._reader.read().records:
            yield from (records.decode(payload) for _, payload in chunk)

    def _numeric_error(self, found: list[Record], handle: int, within: float) -> float:
        """Return the largest difference of a numeric read back, in its own unit."""
        read = [
            float_type.to_float(value.value)
            for record in found
            if record.monotonic_ns < QUIET_S * 1_000_000_000
            for value in record.values
            if value.handle == handle
        ]
        return max((abs(value - within) for value in read), default=float("nan"))

    def _samples_lost(self, found: list[Record]) -> int:
        """Return how many samples are missing or another value than was played."""
        blocks: dict[int, list[Samples]] = {wave.handle: [] for wave in self._model.waves}
        for record in found:
            for block in record.samples:
                blocks[block.handle].append(block)
        lost = 0
        for wave in self._model.waves:
            played = [n * STEP % WRAP for n in range(wave.rate_hz)] * (QUIET_S + LOUD_S)
            read = [value for block in blocks[wave.handle] for value in block.values]
            same = sum(a == b for a, b in zip(played, read, strict=False))
            lost += len(played) - same
        return lost

    def _alarm_delay(self, found: list[Record]) -> float:
        """Return seconds from the value beyond its limits to the alarm, beyond the set delay."""
        for record in found:
            if any(event.phase is AlarmPhase.ONSET for event in record.alarms):
                return record.monotonic_ns / 1e9 - QUIET_S - DELAY_S
        return float("nan")


class Test:
    """The inside of the compartment.

    Args:
        bench: Measures.
        line: Control line.
    """

    __test__ = False  # A self-test of the device, not a test of ours.

    def __init__(self, bench: Bench, line: Line) -> None:
        self._bench = bench
        self._line = line

    def run(self) -> None:
        """Measure, say it, end."""
        self._line.report(MEASURED, values=self._bench.measure())


def build(order: Order, line: Line) -> Callable[[], Test]:
    """Map the ring; nothing is measured before the rights are gone."""
    writer = RingWriter(
        take(order, "ring"),
        geometry=records.VITALS_RING,
        epoch=1,
        first=1,
        wakes=(wake_of(take(order, "wake")),),
    )
    model = MODELS[Kind(order.body["kind"])]
    reader = RingReader(take(order, "read"))
    return lambda: Test(Bench(writer, reader=reader, model=model), line)


def main(control_descriptor: int) -> None:
    """Run the compartment."""
    serve(control_descriptor, build)
