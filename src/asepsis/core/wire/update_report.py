"""Update reports of a device (AUR1): how far an update is on it, signed by its origin key.

    AUR1 | device | key id 8 | epoch u64 | sequence u64 | boot id 16 | monotonic ns u64 |
    wall ns u64 | uncertainty ms u32 | release 32 | counter u64 | outcome u8 | waits for u8 |
    component | reason | tests u8 | test ... | ES256 64
    test = name | unit | measured f64 | low f64 | high f64

Names and texts have their length, one byte, in front. Numbers are dense within a boot epoch. What
was not measured is the one quiet not-a-number 0x7FF8000000000000, and passes no test.

Source: docs/reference/update-reports.md; RFC 7518 section 3.4; IEEE 754-2019.
"""

import math
import struct
from collections.abc import Mapping
from typing import Final

from asepsis.core.errors import FramingError, InputError
from asepsis.core.model.time import Instant
from asepsis.core.model.update import (
    TESTS_MAX,
    TEXT_CHARS_MAX,
    Outcome,
    TestResult,
    UpdateReport,
    WaitsFor,
)
from asepsis.core.wire.binary import (
    COUNTER_MAX,
    U32_MAX,
    PeekedHeader,
    device_from_bytes,
    device_to_bytes,
)

MAGIC: Final = b"AUR1"
MEDIA_TYPE: Final = "application/vnd.asepsis.update-report"
SIGNATURE_BYTES: Final = 64
REPORT_BYTES_MAX: Final = 9_216
WORD_CHARS_MAX: Final = 64
REASON_BYTES_MAX: Final = 255
_FIXED: Final = struct.Struct(">8sQQ16sQQI32sQBB")
_VALUES: Final = struct.Struct(">ddd")

OUTCOMES: Final[Mapping[Outcome, int]] = {
    Outcome.OFFERED: 1,
    Outcome.DOWNLOADED: 2,
    Outcome.STAGED: 3,
    Outcome.WAITING: 4,
    Outcome.INSTALLING: 5,
    Outcome.BOOTED: 6,
    Outcome.SELF_TESTED: 7,
    Outcome.VERIFIED: 8,
    Outcome.AWAITING_ACCEPTANCE: 9,
    Outcome.ROLLED_BACK: 10,
    Outcome.REFUSED: 11,
    Outcome.WITHDRAWN: 12,
}
"""Numbers on the wire; a number is never used again for anything else."""
WAITS: Final[Mapping[WaitsFor, int]] = {
    WaitsFor.CLINICAL_STATE: 1,
    WaitsFor.PATIENT: 2,
    WaitsFor.WINDOW: 3,
    WaitsFor.POWER: 4,
    WaitsFor.CONNECTIVITY: 5,
    WaitsFor.CONSENT: 6,
    WaitsFor.OUT_OF_SERVICE: 7,
    WaitsFor.TIME: 8,
    WaitsFor.PERMIT: 9,
    WaitsFor.BANDWIDTH: 10,
}
"""Numbers on the wire; 0 is none."""
_OUTCOMES: Final = {number: outcome for outcome, number in OUTCOMES.items()}
_WAITS: Final = {number: waits for waits, number in WAITS.items()}


def encode(report: UpdateReport, *, key_id: bytes) -> bytes:
    """Write the part that is signed.

    Args:
        report: What the device says.
        key_id: First 8 bytes of the SHA-256 of the origin key's SPKI DER.

    Raises:
        InputError: A field outside its range.
    """
    numbers = (report.epoch, report.sequence, report.counter)
    times = (report.at.monotonic_ns, report.at.wall_ns)
    if min(numbers) < 1 or min(times) < 0 or max(*numbers, *times) > COUNTER_MAX:
        raise InputError("a number of the update report is outside its range")
    if len(key_id) != 8 or len(report.at.boot_id) != 16 or len(report.tests) > TESTS_MAX:
        raise InputError("a field of the update report has another length")
    if (report.outcome is Outcome.WAITING) is not (report.waits_for is not None):
        raise InputError("what waits says what for, and nothing else does")
    if not 0 <= report.at.uncertainty_ms <= U32_MAX:
        raise InputError("a number of the update report is outside its range")
    fixed = _FIXED.pack(
        key_id,
        report.epoch,
        report.sequence,
        report.at.boot_id,
        report.at.monotonic_ns,
        report.at.wall_ns,
        report.at.uncertainty_ms,
        _digest(report.release),
        report.counter,
        OUTCOMES[report.outcome],
        WAITS[report.waits_for] if report.waits_for else 0,
    )
    texts = _word(report.component) + _reason(report.reason)
    tests = bytes((len(report.tests),)) + b"".join(map(_test, report.tests))
    return MAGIC + device_to_bytes(report.device) + fixed + texts + tests


def decode(data: bytes) -> tuple[UpdateReport, bytes, bytes, bytes]:
    """Read a report; whether it is genuine only its signature can say.

    Returns:
        The report, its key id, the signed part, the signature.

    Raises:
        FramingError: Malformed.
    """
    if len(data) > REPORT_BYTES_MAX or not data.startswith(MAGIC) or len(data) < SIGNATURE_BYTES:
        raise FramingError("not an update report")
    signed, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
    try:
        report, key_id, end = _read(signed)
        if end != len(signed) or encode(report, key_id=key_id) != signed:
            raise FramingError("an update report has one form only")
    except (struct.error, IndexError, KeyError, ValueError, InputError) as error:
        raise FramingError("not an update report") from error
    return report, key_id, signed, signature


def peek_header(data: bytes) -> PeekedHeader:
    """Return whom a report claims to come from.

    Raises:
        FramingError: Malformed.
    """
    report, _, _, _ = decode(data)
    return PeekedHeader(report.device, report.epoch, report.sequence)


def _read(signed: bytes) -> tuple[UpdateReport, bytes, int]:
    name, at = _sized(signed, len(MAGIC))
    (
        key_id,
        epoch,
        sequence,
        boot,
        monotonic,
        wall,
        uncertainty,
        release,
        counter,
        outcome,
        waits,
    ) = _FIXED.unpack_from(signed, at)
    component, at = _sized(signed, at + _FIXED.size)
    reason, at = _sized(signed, at)
    count, at = signed[at], at + 1
    if count > TESTS_MAX:
        raise FramingError("an update report has too many self-tests")
    tests: list[TestResult] = []
    for _ in range(count):
        test, at = _read_test(signed, at)
        tests.append(test)
    report = UpdateReport(
        device=device_from_bytes(name),
        epoch=epoch,
        sequence=sequence,
        at=Instant(boot, monotonic, wall, uncertainty),
        release=release.hex(),
        component=component.decode("ascii"),
        counter=counter,
        outcome=_OUTCOMES[outcome],
        waits_for=_WAITS[waits] if waits else None,
        reason=reason.decode(),
        tests=tuple(tests),
    )
    return report, key_id, at


def _read_test(signed: bytes, at: int) -> tuple[TestResult, int]:
    name, at = _sized(signed, at)
    unit, at = _sized(signed, at)
    measured, low, high = _VALUES.unpack_from(signed, at)
    test = TestResult(
        name=name.decode("ascii"), measured=measured, low=low, high=high, unit=unit.decode("ascii")
    )
    return test, at + _VALUES.size


def _test(test: TestResult) -> bytes:
    if not (math.isfinite(test.low) and math.isfinite(test.high)):
        raise InputError("the tolerance of a self-test is finite")
    measured = math.nan if math.isnan(test.measured) else test.measured
    values = _VALUES.pack(measured, test.low, test.high)
    return _word(test.name) + _word(test.unit) + values


def _digest(release: str) -> bytes:
    try:
        found = bytes.fromhex(release)
    except ValueError as error:
        raise InputError("a release is named by a SHA-256") from error
    if len(found) != 32 or found.hex() != release:
        raise InputError("a release is named by a SHA-256")
    return found


def _word(text: str) -> bytes:
    if not 1 <= len(text) <= WORD_CHARS_MAX or not (text.isascii() and text.isprintable()):
        raise InputError("a word of the update report is too long, or not printable")
    return bytes((len(text),)) + text.encode("ascii")


def _reason(text: str) -> bytes:
    raw = text.encode(errors="replace")
    too_long = len(text) > TEXT_CHARS_MAX or len(raw) > REASON_BYTES_MAX
    if too_long or not text.isprintable():
        raise InputError("the reason of the update report is too long, or not printable")
    return bytes((len(raw),)) + raw


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 1 + data[at]
    found = data[at + 1 : end]
    if len(found) != data[at]:
        raise FramingError("an update report ends inside a text")
    return found, end
