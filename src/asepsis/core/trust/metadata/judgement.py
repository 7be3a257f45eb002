"""What a device accepts: both repositories, both approvers, the right model, nothing below a floor.

Pure: everything is given, nothing is fetched. The order of the checks is the order in which they
can be told to a person; all of them must hold.

Source: Uptane Standard 2.1.0, section 5.4.4.2 (full verification).
"""

from dataclasses import dataclass
from datetime import datetime

from asepsis.core.errors import ContentMismatch, NotPermitted, TrustError
from asepsis.core.trust.metadata.authorisation import Authorisation, check
from asepsis.core.trust.metadata.fields import NO_DOCUMENT, Assignment, Release, read_custom
from asepsis.core.trust.metadata.library import Root, TargetFile, Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What a device knows about itself; no repository can change it.

    Attributes:
        device: Its name.
        hardware: Its hardware id.
        model: Its model.
    """

    device: str
    hardware: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What was found about one artefact.

    Attributes:
        assigned: What the director names.
        released: What the vendor's image repository names at the same path; None for nothing.
        authorisation: The document that the assignment names by its hash.
        vendor: Trusted root of the vendor.
        hospital: Trusted root of the director.
    """

    assigned: TargetFile
    released: TargetFile | None
    authorisation: bytes
    vendor: Root
    hospital: Root


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What may be installed.

    Attributes:
        target: The artefact: path, length and hashes.
        release: What the vendor signed about it.
        floor: The component's floor once it is verified: the vendor's or the approvers', whichever
            is higher.
    """

    target: TargetFile
    release: Release
    floor: int


def assignments(director: Targets, own: Own) -> tuple[tuple[TargetFile, Assignment], ...]:
    """Return what a verified director's targets assign to this device.

    Raises:
        NotPermitted: Anything in it is for another device or hardware.
        TrustError: It delegates: a director never does.
    """
    if director.delegations is not None:
        raise TrustError("the director delegates")
    found: list[tuple[TargetFile, Assignment]] = []
    for target in director.targets.values():
        said = read_custom(target, Assignment)
        if (said.device, said.hardware) != (own.device, own.hardware):
            raise NotPermitted("the director's metadata is for another device")
        found.append((target, said))
    return tuple(found)


def judge(offer: Offer, *, own: Own, floor: int, now: datetime) -> Accepted:
    """Return what may be installed, or refuse.

    Args:
        offer: What was found.
        own: What the device is.
        floor: The component's floor, kept on the device.
        now: Trusted time, aware.

    Raises:
        TrustError: Withdrawn, below a floor, or not authorised.
        ContentMismatch: The parties do not name the same artefact.
        NotPermitted: For another device or model.
        InputError: A field is missing or not understood.
    """
    if offer.released is None:
        raise TrustError("the vendor names no such release, or has withdrawn it")
    _check_same(offer.assigned, offer.released, who="the vendor")
    release = read_custom(offer.released, Release)
    authorised = check(
        offer.authorisation,
        vendor=offer.vendor,
        hospital=offer.hospital,
        now=now,
        author=release.author,
    )
    _check_same(offer.assigned, authorised.target, who="the approvers")
    _check_model(release, authorised, path=offer.assigned.path, own=own)
    if release.document == NO_DOCUMENT or authorised.terms.document != release.document:
        raise TrustError("the approvers read another release document than the vendor signed")
    if authorised.terms.counter != release.counter:
        raise ContentMismatch("vendor and approvers name different counters")
    if release.counter < max(floor, authorised.terms.floor):
        raise TrustError("the release is below the security floor")
    return Accepted(
        target=offer.released, release=release, floor=max(release.floor, authorised.terms.floor)
    )


def _check_same(assigned: TargetFile, other: TargetFile, *, who: str) -> None:
    """Check path, length and SHA-256; further hashes may differ in number, never in value."""
    same = (assigned.path, assigned.length) == (other.path, other.length)
    sha256 = assigned.hashes.get("sha256")
    common = assigned.hashes.keys() & other.hashes.keys()
    if (
        not same
        or sha256 is None
        or "sha256" not in common
        or any(assigned.hashes[name] != other.hashes[name] for name in common)
    ):
        raise ContentMismatch(f"the director and {who} name different artefacts")


def _check_model(release: Release, authorised: Authorisation, *, path: str, own: Own) -> None:
    named = {release.model, path.partition("/")[0]}
    if named != {own.model} or own.model not in authorised.terms.models:
        raise NotPermitted("the release is for another model")
