"""Sessions with a device on file: what came and went, when, and the machine's answer to it again.

One JSON object a line: the first names driver and time, each other one has `at_ns` (monotonic,
from the first line on), `way` (`in` or `out`) and `hex`. What a device says may name a patient: the
file is readable by its owner only, and belongs where patient data may be.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TextIO, cast

from asepsis.core.errors import InputError
from asepsis.edge.gateway.drivers.sdk import TICK_NS, Driver, Output, Send
from asepsis.edge.gateway.drivers.transports import Line

FILE_BYTES_MAX: Final = 256 << 20
HEX_CHARS_MAX: Final = 32_768
GAP_NS_MAX: Final = 3_600 * 1_000_000_000


class RecordedLine:
    """A line that writes down what passes.

    Args:
        line: The real one.
        file: From `create`.
        monotonic: Nanoseconds.
    """

    def __init__(
        self, line: Line, file: TextIO, *, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._line = line
        self._file = file
        self._monotonic = monotonic
        self._start_ns = monotonic()

    @property
    def strangers(self) -> int:
        """Datagrams from somebody else; they are not written."""
        return self._line.strangers

    def wait(self, timeout_s: float) -> Sequence[bytes]:
        """Return what came, and write it."""
        found = self._line.wait(timeout_s)
        for data in found:
            self._write("in", data)
        return found

    def send(self, data: bytes) -> None:
        """Send, and write it."""
        self._write("out", data)
        self._line.send(data)

    def close(self) -> None:
        """Let go of the line; the file is its owner's."""
        self._line.close()

    def _write(self, way: str, data: bytes) -> None:
        at_ns = self._monotonic() - self._start_ns
        self._file.write(json.dumps({"at_ns": at_ns, "way": way, "hex": data.hex()}) + "\n")


def create(path: Path, driver: Driver, *, wall_ns: int) -> TextIO:
    """Make a file that only its owner reads, and write its first line.

    Raises:
        InputError: It is there already, or cannot be made.
    """
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    file = os.fdopen(number, "w", encoding="ascii")
    file.write(json.dumps({"driver": driver.name, "wall_ns": wall_ns}) + "\n")
    return file


def read(path: Path) -> Iterator[tuple[int, bytes]]:
    """Return what came of a recorded session: time and bytes.

    Raises:
        InputError: No such file, too large, or no recording.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputError(f"{path} is over {FILE_BYTES_MAX} bytes")
        lines = path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read") from error
    for line in lines[1:]:
        try:
            entry = cast("dict[str, Any]", json.loads(line))
            if entry["way"] == "in" and len(entry["hex"]) <= HEX_CHARS_MAX:
                yield int(entry["at_ns"]), bytes.fromhex(entry["hex"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no recording of a session") from error


def replay(driver: Driver, session: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, Output]]:
    """Let a fresh machine live through a session again, as fast as it can.

    Args:
        driver: Whose machine.
        session: From `read`; times rise.

    Returns:
        What the machine tells, with the time of it; not what it would send.

    Raises:
        InputError: Times that fall, or a gap of over an hour.
    """
    machine = driver.make()
    now_ns = 0
    yield from _told(machine.start(now_ns), now_ns)
    for at_ns, data in session:
        if not now_ns - TICK_NS <= at_ns <= now_ns + GAP_NS_MAX:
            raise InputError("the times of the session fall, or leave an hour out")
        while now_ns + TICK_NS <= at_ns:
            now_ns += TICK_NS
            yield from _told(machine.tick(now_ns), now_ns)
        yield from _told(machine.receive(data, at_ns), at_ns)
    yield from _told(machine.stop(now_ns), now_ns)


def _told(outputs: Sequence[Output], at_ns: int) -> Iterator[tuple[int, Output]]:
    return ((at_ns, output) for output in outputs if not isinstance(output, Send))
