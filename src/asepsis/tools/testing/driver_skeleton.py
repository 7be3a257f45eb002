"""`asepsis driver new`: a driver that works, a peer for it, and tests that pass."""

import re
from pathlib import Path
from typing import Final

from asepsis.core.errors import InputError

NAME: Final = re.compile(r"[a-z][a-z0-9_]{1,30}")

DRIVER: Final = '''"""Driver for NAME: say here which device it is for.

Say also which published document and edition it follows. Unverified with a real device: everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final

from asepsis.edge.gateway.drivers.sdk import (
    NS_PER_S,
    Driver,
    Fault,
    LineSettings,
    Linked,
    Metric,
    Output,
    Send,
    Transport,
    Unlinked,
    Value,
    Values,
    float_of,
)

SILENCE_S: Final = 5.0
ASK_NS: Final = NS_PER_S
LINE_BYTES_MAX: Final = 128

# The protocol's own id -> code and unit of ISO/IEEE 11073-10101 (docs/reference/nomenclature.md).
NAMES: Final = {b"HR": 1, b"SPO2": 2}
METRICS: Final = {
    1: Metric(147_842, 264_864),  # MDC_ECG_HEART_RATE, /min
    2: Metric(150_456, 262_688),  # MDC_PULS_OXIM_SAT_O2, %
}


@dataclass(slots=True)
class Machine:
    """Asks `?` once a second; the device answers lines such as `HR=72`."""

    linked: bool = False
    _buffer: bytes = b""
    _heard_ns: int = 0
    _asked_ns: int = field(default=0)

    def start(self, now_ns: int) -> Sequence[Output]:
        """Ask at once."""
        self.linked, self._buffer, self._asked_ns = False, b"", now_ns
        return (Send(b"?\\r"),)

    def stop(self, now_ns: int) -> Sequence[Output]:
        """Say that nothing is of the present any more."""
        return self._lost("stopped", now_ns)

    def tick(self, now_ns: int) -> Sequence[Output]:
        """Ask again, and notice silence."""
        if self.linked and now_ns - self._heard_ns >= SILENCE_S * NS_PER_S:
            return self._lost("silence", now_ns)
        if now_ns - self._asked_ns < ASK_NS:
            return ()
        self._asked_ns = now_ns
        return (Send(b"?\\r"),)

    def receive(self, data: bytes, now_ns: int) -> Sequence[Output]:
        """Take bytes however the line cuts them."""
        *lines, rest = (self._buffer + data).split(b"\\r")
        self._buffer = rest[-LINE_BYTES_MAX:]
        values = [value for line in lines[:16] if (value := _value(line)) is not None]
        if not values:
            return (Fault("malformed"),) if lines else ()
        self._heard_ns = now_ns
        first = () if self.linked else (Linked("NAME"),)
        self.linked = True
        return (*first, Values(tuple(values)))

    def _lost(self, why: str, now_ns: int) -> Sequence[Output]:
        was, self.linked, self._asked_ns = self.linked, False, now_ns
        return (Unlinked(why),) if was else ()


def _value(line: bytes) -> Value | None:
    name, _, text = line.strip().partition(b"=")
    key = NAMES.get(name)
    if key is None:
        return None
    try:
        number = Decimal(text.decode("ascii"))
    except (InvalidOperation, UnicodeDecodeError):
        return None
    if not number.is_finite():
        return None
    return Value(
        handle=key, code=METRICS[key].code, unit=METRICS[key].unit, value=float_of(number)
    )


DRIVER: Final = Driver(
    name="NAME",
    title="NAME over a serial line",
    document="name the published document",
    edition="and its edition",
    unverified="everything",
    transport=Transport.SERIAL,
    make=Machine,
    metrics=METRICS,
    line=LineSettings(baud=9_600),
    silence_s=SILENCE_S,
)
'''

TEST: Final = '''"""NAME passes the check of every driver, with the peer that stands here."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

from asepsis.edge.gateway.drivers.catalogue import load_file
from asepsis.tools.testing.driver_check import check_driver
from asepsis.tools.testing.scripted_peer import ScriptedPeer

ANSWERS: dict[bytes, Sequence[bytes]] = {b"?\\r": (b"HR=72\\rSP", b"O2=97.5\\r")}


def make_peer() -> ScriptedPeer:
    """Return a device that answers; `asepsis driver check --peer` uses it too."""
    return ScriptedPeer(ANSWERS)


def test_it_conforms() -> None:
    driver = load_file(Path(__file__).with_name("NAME.py"))
    assert not check_driver(driver, make_peer, rng=Random(1))
'''


def write(name: str, folder: Path) -> tuple[Path, Path]:
    """Write a driver and its tests; return both paths.

    Raises:
        InputError: Not a name, one of the files is there already, or the folder cannot be written.
    """
    if not NAME.fullmatch(name):
        raise InputError("a driver's name is lower-case letters, digits and underscores")
    driver, test = folder / f"{name}.py", folder / f"test_{name}.py"
    for path in (driver, test):
        if path.exists():
            raise InputError(f"{path} is there already", hint="choose another name or folder")
    try:
        for path, text in ((driver, DRIVER), (test, TEST)):
            path.write_text(text.replace("NAME", name).replace(f"{name}S", "NAMES"), "utf-8")
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from error
    return driver, test
