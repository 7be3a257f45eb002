"""Certificates of conformance: who says of a model that it keeps to ADP/1, and until when.

A signed statement about one report of `asepsis conform`; an ES256 signature (RFC 7518 section 3.4)
over its exact bytes goes along. The signer's key is pinned by the reader, never taken from the
certificate: for an admission it stands in the profile that a person decides.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import msgspec

from asepsis.core.compliance.profile import Profile
from asepsis.core.errors import (
    ContentMismatch,
    IdentityExpired,
    InputError,
    NotPermitted,
    SignatureInvalid,
)
from asepsis.core.trust import libcrypto

KIND: Final = "asepsis-conformance-1"
DEVICE: Final = "device"
CERTIFICATE_BYTES_MAX: Final = 65_536
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


class Certificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A statement and its signature, each in base64."""

    statement: Annotated[str, msgspec.Meta(max_length=CERTIFICATE_BYTES_MAX)]
    signature: Annotated[str, msgspec.Meta(max_length=200)]


def verify(
    certificate: bytes, *, spki_der: bytes, now: datetime, report: bytes | None = None
) -> Statement:
    """Return what a certificate says, if the pinned key signed it and it still counts.

    Args:
        certificate: As `asepsis conform certify` made it.
        spki_der: Public key of the signer, SubjectPublicKeyInfo in DER, from a source of one's own.
        now: When it shall count.
        report: The report it is about; None leaves that comparison out.

    Raises:
        InputError: Not a certificate of conformance.
        SignatureInvalid: Another key signed it, or nobody.
        IdentityExpired: It does not count yet, or no more.
        ContentMismatch: It is about another report.
    """
    if len(certificate) > CERTIFICATE_BYTES_MAX:
        raise InputError(f"a certificate has at most {CERTIFICATE_BYTES_MAX} bytes")
    try:
        outer = msgspec.json.decode(certificate, type=Certificate)
        signed = base64.b64decode(outer.statement, validate=True)
        signature = base64.b64decode(outer.signature, validate=True)
    except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError) as error:
        raise InputError("not a certificate of conformance") from error
    libcrypto.verify(spki_der, signature, signed)
    try:
        statement = msgspec.json.decode(signed, type=Statement)
    except msgspec.MsgspecError as error:
        raise InputError("the signed statement has another form") from error
    if statement.kind != KIND:
        raise InputError("the signed statement is of another kind")
    if not statement.issued <= now < statement.expires:
        raise IdentityExpired(f"it counts from {statement.issued} to {statement.expires}")
    if report is not None:
        digest = hashlib.sha256(report).hexdigest()
        if not hmac.compare_digest(digest, statement.report_sha256):
            raise ContentMismatch("the certificate is about another report")
    return statement


def admit(profile: Profile, certificate: bytes, *, now: datetime) -> Statement | None:
    """Let a device or model be commissioned under a profile, or raise.

    What lapses later is never asked of this function: it decides once, before a device is used.

    Args:
        profile: With its policy on certificates of conformance.
        certificate: What was brought; empty if nothing was.
        now: When it is decided.

    Returns:
        What the certificate says; None if the policy asks for none and none was brought.

    Raises:
        NotPermitted: The policy asks for a certificate, and none was brought, or nobody may vouch.
        InputError: Not a certificate of conformance.
        SignatureInvalid: None of the profile's keys signed it.
        IdentityExpired: It does not count yet, or no more.
        ContentMismatch: It is about something else than a device of these models.
    """
    policy = profile.conformance
    if not certificate:
        if policy.required:
            raise NotPermitted(
                f"{profile.title} admits nobody without a certificate of conformance",
                hint="asepsis profile admit --certificate FILE",
            )
        return None
    if not policy.keys:
        raise NotPermitted(
            f"{profile.title} names nobody who may vouch", hint="[conformance] keys = [...]"
        )
    statement = _by_any(policy.spki_der(), certificate, now=now)
    if statement.subject != DEVICE:
        raise ContentMismatch(f"the certificate is about a {statement.subject}")
    models = policy.tested or profile.models
    if models and not any(_is_of(statement.tested, model) for model in models):
        raise ContentMismatch(f"the certificate is about {statement.tested!r}")
    return statement


def _by_any(keys: Sequence[bytes], certificate: bytes, *, now: datetime) -> Statement:
    for spki_der in keys:
        try:
            return verify(certificate, spki_der=spki_der, now=now)
        except SignatureInvalid:
            continue
    raise SignatureInvalid("none of the profile's keys signed the certificate of conformance")


def _is_of(tested: str, model: str) -> bool:
    """Whether what was tested is a version of a model."""
    return tested == model or tested.startswith(model + " ")
