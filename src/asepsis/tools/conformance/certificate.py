"""Makes certificates of conformance from reports; `core.compliance.certificate` reads them."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from asepsis.core.compliance.certificate import KIND, Certificate, Statement, Text
from asepsis.core.errors import ConfigError, ContentMismatch, InputError
from asepsis.core.trust import libcrypto

DAYS_DEFAULT: Final = 730
DAYS_MAX: Final = 3_650
REPORT_BYTES_MAX: Final = 4_194_304


class _Summary(msgspec.Struct, frozen=True, kw_only=True):
    subject: Text
    tested: Text
    suite: Text
    conforms: bool


def certify(
    report: bytes, key: libcrypto.PrivateKey, *, now: datetime, days: int = DAYS_DEFAULT
) -> bytes:
    """Return the certificate for a report that nothing failed in.

    Args:
        report: The bytes of `report.json`.
        key: Of whoever vouches for the run.
        now: When.
        days: How long it counts, 1 to `DAYS_MAX`.

    Raises:
        InputError: Not a report, or days out of range.
        ContentMismatch: Something failed.
    """
    if not 1 <= days <= DAYS_MAX:
        raise InputError(f"a certificate counts 1 to {DAYS_MAX} days")
    found = _summary(report)
    if not found.conforms:
        raise ContentMismatch("the report says that it does not conform")
    statement = Statement(
        kind=KIND,
        standard="ADP/1",
        subject=found.subject,
        tested=found.tested,
        report_sha256=hashlib.sha256(report).hexdigest(),
        suite=found.suite,
        issued=now.astimezone(UTC),
        expires=now.astimezone(UTC) + timedelta(days=days),
    )
    signed = msgspec.json.encode(statement)
    return msgspec.json.encode(
        Certificate(
            statement=base64.b64encode(signed).decode(),
            signature=base64.b64encode(key.sign(signed)).decode(),
        )
    )


def read_bytes(path: Path, *, most: int) -> bytes:
    """Return the content of a file.

    Raises:
        ConfigError: It cannot be read, or is longer than `most` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > most:
        raise ConfigError(f"{path}: longer than {most} bytes")
    return content


def _summary(report: bytes) -> _Summary:
    if len(report) > REPORT_BYTES_MAX:
        raise InputError(f"a report has at most {REPORT_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(report, type=_Summary)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError("not a report of the suite") from error
