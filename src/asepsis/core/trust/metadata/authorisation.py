"""The authorisation of one release: signed by an approver of the vendor and one of the hospital.

It is TUF targets metadata that names exactly one artefact, so it has TUF's canonical form, expiry
and signatures. Who may sign it stands in the two pinned roots (`approvers`). TUF's threshold counts
keys of one role and cannot say "one of each party"; so the parties are counted apart.
"""

import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from asepsis.core.errors import InputError, LimitExceeded, SignatureInvalid, TrustError
from asepsis.core.trust.metadata.approvers import Approvers, read_approvers
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.fields import (
    NO_DOCUMENT,
    Release,
    Terms,
    read_custom,
    write_custom,
)
from asepsis.core.trust.metadata.library import (
    Key,
    Metadata,
    Root,
    SignatureLibraryError,
    TargetFile,
    Targets,
)

AUTHORISATION_BYTES_MAX: Final = 65_536
VENDOR: Final = "vendor"
HOSPITAL: Final = "hospital"


@dataclass(frozen=True, slots=True)
class Authorisation:
    """An authorisation that both parties signed.

    Attributes:
        target: The artefact: path, length and hashes.
        terms: Models, counter, floor, begin.
        expires: End, aware.
    """

    target: TargetFile
    terms: Terms
    expires: datetime


def draft(target: TargetFile, *, terms: Terms, expires: datetime) -> bytes:
    """Return an authorisation that nobody has signed yet.

    Raises:
        InputError: The release's own counter is another, the floor is above it, or it carries no
            assessment.
    """
    release = read_custom(target, Release)
    if release.document == NO_DOCUMENT or release.document != terms.document:
        raise InputError(
            "the release carries no assessment by its manufacturer",
            hint="`asepsis release assess`, then `asepsis release add --document`",
        )
    if terms.counter != release.counter or not release.floor <= terms.floor <= release.counter:
        raise InputError("counter and floor do not fit the release")
    named = TargetFile(target.length, dict(target.hashes), target.path)
    write_custom(named, terms)
    targets = Targets(expires=expires.replace(microsecond=0), targets={named.path: named})
    return Metadata(targets).to_bytes()


def read(content: bytes) -> tuple[Metadata[Targets], Authorisation]:
    """Read an authorisation without judging its signatures.

    Raises:
        LimitExceeded: Over `AUTHORISATION_BYTES_MAX` bytes.
        InputError: Not an authorisation.
    """
    if len(content) > AUTHORISATION_BYTES_MAX:
        raise LimitExceeded(f"an authorisation is over {AUTHORISATION_BYTES_MAX} bytes")
    with translated("the authorisation"):
        metadata = Metadata[Targets].from_bytes(content)
    signed = cast("object", metadata.signed)
    if not isinstance(signed, Targets) or len(signed.targets) != 1 or signed.delegations:
        raise InputError("an authorisation names exactly one artefact")
    target = next(iter(signed.targets.values()))
    return metadata, Authorisation(target, read_custom(target, Terms), signed.expires)


def signed_by(
    content: bytes, *, vendor: Root, hospital: Root, author: str = ""
) -> tuple[list[str], list[str]]:
    """Return the ids of the vendor's and the hospital's approvers whose signatures hold.

    A key that approves for both parties counts for neither: nobody agrees with themselves. Nor does
    the key of `author`, the SHA-256 of the public key of who made the assessment.

    Raises:
        InputError: Not an authorisation.
        TrustError: A root names no approvers.
    """
    metadata, _ = read(content)
    parties = [
        read_approvers(root, party=name) for root, name in ((vendor, VENDOR), (hospital, HOSPITAL))
    ]
    values = [{_value(key) for key in party.keys} for party in parties]
    both = values[0] & values[1]
    return (
        _signers(metadata, parties[0], but=both, author=author),
        _signers(metadata, parties[1], but=both, author=author),
    )


def check(
    content: bytes, *, vendor: Root, hospital: Root, now: datetime, author: str = ""
) -> Authorisation:
    """Check that both parties signed and that it holds now.

    Args:
        content: The document.
        vendor: Trusted root of the vendor's image repository.
        hospital: Trusted root of the hospital's director.
        now: Trusted time, aware.
        author: SHA-256 of the public key of the assessment's author, whose signature never counts.

    Raises:
        SignatureInvalid: An approver of one party is missing.
        TrustError: Not valid yet, or not any more.
        InputError: Not an authorisation.
    """
    found = signed_by(content, vendor=vendor, hospital=hospital, author=author)
    for root, name, signers in ((vendor, VENDOR, found[0]), (hospital, HOSPITAL, found[1])):
        if len(signers) < read_approvers(root, party=name).threshold:
            raise SignatureInvalid(f"no approver of the {name} signed the authorisation")
    metadata, authorisation = read(content)
    if metadata.signed.is_expired(now):
        raise TrustError("the authorisation has expired")
    if now.timestamp() < authorisation.terms.not_before:
        raise TrustError("the authorisation is not valid yet")
    return authorisation


def _signers(
    metadata: Metadata[Targets], party: Approvers, *, but: set[str], author: str
) -> list[str]:
    found: dict[str, str] = {}
    with translated("the authorisation"):
        payload = metadata.signed_bytes
    for key in party.keys:
        signature = metadata.signatures.get(key.keyid)
        if signature is None or _value(key) in but or fingerprint(key) == author:
            continue
        try:
            key.verify_signature(signature, payload)
        except SignatureLibraryError:
            continue  # One bad signature does not spoil the others; it just does not count.
        found[_value(key)] = key.keyid
    return sorted(found.values())


def fingerprint(key: Key) -> str:
    """Return the SHA-256 of a public key as SubjectPublicKeyInfo; "" where it is not in PEM."""
    lines = _value(key).strip().splitlines()
    try:
        return hashlib.sha256(binascii.a2b_base64("".join(lines[1:-1]))).hexdigest()
    except (binascii.Error, ValueError):
        return ""


def _value(key: Key) -> str:
    """Return the key itself: two ids of one key are one key."""
    keyval: Any = key.keyval
    return str(keyval.get("public"))
