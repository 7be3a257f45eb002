"""The authorisation of one release: signed by an approver of the vendor and one of the hospital.

It is TUF targets metadata that names exactly one artefact, so it has TUF's canonical form, expiry
and signatures. Who may sign it stands in the two pinned roots (`approvers`). TUF's threshold counts
keys of one role and cannot say "one of each party"; so the parties are counted apart.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from asepsis.core.errors import InputError, LimitExceeded, SignatureInvalid, TrustError
from asepsis.core.trust.metadata.approvers import Approvers, read_approvers
from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.fields import Release, Terms, read_custom, write_custom
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
        InputError: The release's own counter is another, or the floor is above it.
    """
    release = read_custom(target, Release)
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


def signed_by(content: bytes, *, vendor: Root, hospital: Root) -> tuple[list[str], list[str]]:
    """Return the ids of the vendor's and the hospital's approvers whose signatures hold.

    A key that approves for both parties counts for neither: nobody agrees with themselves.

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
        _signers(metadata, parties[0], but=both),
        _signers(metadata, parties[1], but=both),
    )


def check(content: bytes, *, vendor: Root, hospital: Root, now: datetime) -> Authorisation:
    """Check that both parties signed and that it holds now.

    Args:
        content: The document.
        vendor: Trusted root of the vendor's image repository.
        hospital: Trusted root of the hospital's director.
        now: Trusted time, aware.

    Raises:
        SignatureInvalid: An approver of one party is missing.
        TrustError: Not valid yet, or not any more.
        InputError: Not an authorisation.
    """
    found = signed_by(content, vendor=vendor, hospital=hospital)
    for root, name, signers in ((vendor, VENDOR, found[0]), (hospital, HOSPITAL, found[1])):
        if len(signers) < read_approvers(root, party=name).threshold:
            raise SignatureInvalid(f"no approver of the {name} signed the authorisation")
    metadata, authorisation = read(content)
    if metadata.signed.is_expired(now):
        raise TrustError("the authorisation has expired")
    if now.timestamp() < authorisation.terms.not_before:
        raise TrustError("the authorisation is not valid yet")
    return authorisation


def _signers(metadata: Metadata[Targets], party: Approvers, *, but: set[str]) -> list[str]:
    found: dict[str, str] = {}
    with translated("the authorisation"):
        payload = metadata.signed_bytes
    for key in party.keys:
        signature = metadata.signatures.get(key.keyid)
        if signature is None or _value(key) in but:
            continue
        try:
            key.verify_signature(signature, payload)
        except SignatureLibraryError:
            continue  # One bad signature does not spoil the others; it just does not count.
        found[_value(key)] = key.keyid
    return sorted(found.values())


def _value(key: Key) -> str:
    """Return the key itself: two ids of one key are one key."""
    keyval: Any = key.keyval
    return str(keyval.get("public"))
