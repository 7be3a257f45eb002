"""Recordings: a stretch of waves and numerics in a text file, replayed as if it were measured.

One JSON object a line. The first says what it is; each other is one second:

    {"asepsis-recording": 1, "waves": {"101": 500}}
    {"waves": {"101": [0, 12, ...]}, "values": {"1": 76, "3": null}}

Handles are those of the device's model. At its end a recording starts over. Pure: lines in,
values out.
"""

import json
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from asepsis.core.errors import FramingError, LimitExceeded
from asepsis.core.wire import frames
from asepsis.edge.device.catalogue import Fault, Model
from asepsis.edge.device.occupied import Occupied
from asepsis.edge.device.records import Samples
from asepsis.edge.device.sources import TICK_MS, TICKS_PER_S

LINE_CHARS_MAX: Final = 65_536
SECONDS_MAX: Final = 3_600
_Second = tuple[Mapping[int, "array[int]"], Mapping[int, float | None]]


class Recording:
    """A source that replays.

    Args:
        lines: Lines of the file.
        model: What the device measures.

    Raises:
        FramingError: Not a recording, or of metrics and rates that this model does not have.
        LimitExceeded: A line or the whole is too long.
    """

    def __init__(self, lines: Iterable[str], *, model: Model) -> None:
        self._rates = {wave.handle: wave.rate_hz for wave in model.waves}
        signs = frozenset(sign.handle for sign in model.signs)
        self._seconds: list[_Second] = []
        for number, line in enumerate(lines):
            if len(line) > LINE_CHARS_MAX or number > SECONDS_MAX:
                raise LimitExceeded("a recording has at most an hour, in lines of 64 KiB")
            document = _object(line, number)
            if number == 0:
                _check_head(document, self._rates)
            else:
                self._seconds.append(_second(document, number, self._rates, signs))
        if not self._seconds:
            raise FramingError("an empty recording")
        self._tick = 0

    @property
    def attached(self) -> bool:
        """Whether a patient is connected: whether any numeric has a value."""
        return any(value is not None for value in self._now()[1].values())

    @property
    def occupied(self) -> frozenset[Occupied]:
        """Nothing beside a patient occupies it."""
        return frozenset()

    def samples(self) -> tuple[Samples, ...]:
        """Return the next `TICK_MS` milliseconds of every waveform."""
        waves = self._now()[0]
        part = self._tick % TICKS_PER_S
        self._tick += 1
        found: list[Samples] = []
        for handle, rate_hz in self._rates.items():
            count = rate_hz * TICK_MS // 1_000
            values = waves.get(handle)
            block = values[part * count : (part + 1) * count] if values else None
            found.append(
                Samples(handle, tuple(block) if block else (frames.SAMPLE_MISSING,) * count)
            )
        return tuple(found)

    def values(self) -> Mapping[int, float | None]:
        """Return the numerics of now by handle."""
        return self._now()[1]

    def faults(self) -> Mapping[int, Fault]:
        """A recording holds none."""
        return {}

    def stage(self, key: str) -> bool:  # noqa: ARG002 - of the port
        """A recording cannot be changed."""
        return False

    def _now(self) -> _Second:
        return self._seconds[self._tick // TICKS_PER_S % len(self._seconds)]


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        document: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FramingError(f"line {number + 1} of the recording is not JSON") from error
    if not isinstance(document, dict):
        raise FramingError(f"line {number + 1} of the recording is no object")
    return cast("dict[str, Any]", document)


def _check_head(document: dict[str, Any], rates: Mapping[int, int]) -> None:
    waves = document.get("waves")
    if document.get("asepsis-recording") != 1 or not isinstance(waves, dict):
        raise FramingError("not a recording of version 1")
    for handle, rate_hz in cast("dict[str, Any]", waves).items():
        if rates.get(_handle(handle)) != rate_hz:
            raise FramingError(
                f"this device has no waveform {handle} at {rate_hz} samples a second"
            )


def _second(
    document: dict[str, Any], number: int, rates: Mapping[int, int], signs: frozenset[int]
) -> _Second:
    try:
        waves = {_handle(handle): array("h", values) for handle, values in
                 document.get("waves", {}).items()}  # fmt: skip
        values = {
            _handle(handle): None if value is None else float(value)
            for handle, value in document["values"].items()
        }
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise FramingError(f"line {number + 1} is no second of a recording") from error
    if any(len(samples) != rates.get(handle) for handle, samples in waves.items()):
        raise FramingError(f"line {number + 1} holds not one second of a waveform")
    if not values.keys() <= signs:
        raise FramingError(f"line {number + 1} names a numeric that this device does not have")
    return waves, values


def _handle(text: str) -> int:
    if not text.isdecimal() or len(text) > 5:
        raise FramingError("a handle is a number below 65 536")
    return int(text)
