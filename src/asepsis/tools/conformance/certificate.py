"""Certificates of conformance: a signed statement about one report, checked without this suite.

The certificate holds the SHA-256 of the report, what was tested and until when it counts; an
ES256 signature (RFC 7518 section 3.4) over the exact bytes of the statement goes along. Whether the
signer's key is one to rely on is the reader's decision: the key is pinned, never taken from the
certificate.
"""

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import msgspec

from asepsis.core.errors import ConfigError, ContentMismatch, IdentityExpired, InputError
from asepsis.core.trust import libcrypto

STATEMENT: Final = "asepsis-conformance-1"
DAYS_DEFAULT: Final = 730
DAYS_MAX: Final = 3_650
BYTES_MAX: Final = 65_536
REPORT_BYTES_MAX: Final = 4_194_304
Text = Annotated[str, msgspec.Meta(max_length=300)]


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a certificate says.

    Attributes:
        kind: Always `asepsis-conformance-1`.
        standard: Always `ADP/1`.
        subject: `hub` or `device`.
        tested: Maker, model and version.
        report_sha256: Of the bytes of the report, hexadecimal.
        suite: Version of the suite.
        issued: RFC 3339.
        expires: RFC 3339.
    """

    kind: Text
    standard: Text
    subject: Text
    tested: Text
    report_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    suite: Text
    issued: datetime
    expires: datetime


class _Certificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    statement: Annotated[str, msgspec.Meta(max_length=BYTES_MAX)]
    signature: Annotated[str, msgspec.Meta(max_length=200)]


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
        kind=STATEMENT,
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
        _Certificate(
            statement=base64.b64encode(signed).decode(),
            signature=base64.b64encode(key.sign(signed)).decode(),
        )
    )


def verify(
    certificate: bytes, *, spki_der: bytes, now: datetime, report: bytes | None = None
) -> Statement:
    """Return what a certificate says, if the pinned key signed it and it still counts.

    Args:
        certificate: As `certify` made it.
        spki_der: Public key of the signer, SubjectPublicKeyInfo in DER, from a source of one's own.
        now: When it shall count.
        report: The report it is about; None leaves that comparison out.

    Raises:
        InputError: Not a certificate of conformance.
        SignatureInvalid: Another key signed it, or nobody.
        IdentityExpired: It does not count yet, or no more.
        ContentMismatch: It is about another report.
    """
    if len(certificate) > BYTES_MAX:
        raise InputError(f"a certificate has at most {BYTES_MAX} bytes")
    try:
        outer = msgspec.json.decode(certificate, type=_Certificate)
        signed = base64.b64decode(outer.statement, validate=True)
        signature = base64.b64decode(outer.signature, validate=True)
    except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError) as error:
        raise InputError("not a certificate of conformance") from error
    libcrypto.verify(spki_der, signature, signed)
    try:
        statement = msgspec.json.decode(signed, type=Statement)
    except msgspec.MsgspecError as error:
        raise InputError("the signed statement has another form") from error
    if statement.kind != STATEMENT:
        raise InputError("the signed statement is of another kind")
    if not statement.issued <= now < statement.expires:
        raise IdentityExpired(f"it counts from {statement.issued} to {statement.expires}")
    if report is not None:
        digest = hashlib.sha256(report).hexdigest()
        if not hmac.compare_digest(digest, statement.report_sha256):
            raise ContentMismatch("the certificate is about another report")
    return statement


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
