"""Decides whether a certificate may be issued, and to which name. Pure: reads state, writes none.

The hub's word counts for nothing here: name, profile and right come from what a person listed on
the operator's socket or from a certificate that this signer issued itself.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import (
    IdentityExpired,
    IdentityRevoked,
    IssuanceRefused,
    NotAuthenticated,
)
from asepsis.core.trust.authority import CertificateRequest, read_csr, verify_idevid_chain
from asepsis.core.trust.identity import Profile
from asepsis.core.trust.requests import IDevIdProof, IssueRequest, RenewalProof, TokenProof
from asepsis.hub.signer.state import SERIAL_BYTES, Certificate, Listing, State

DAY_NS: Final = 86_400_000_000_000
FAILURES_MAX: Final = 5
"""Wrong secrets after which a token is closed."""
ENROLLABLE: Final = frozenset({Profile.DEVICE, Profile.ORIGIN, Profile.GATEWAY, Profile.CONSUMER})
LIST_AGAIN: Final = "a person lists the device again: `asepsis enrol expect`"


class WrongSecret(NotAuthenticated):
    """A known token id with a wrong secret; the service counts it."""


@dataclass(slots=True)
class Case:
    """Who a request turned out to be about; filled step by step, for the log of refusals."""

    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Why a certificate may be issued.

    Attributes:
        name: The only name it may carry.
        proof: Word for the log; the same proof gives the same certificate again.
        listing: What a person decided about the name.
        new: Whether the name gets a key (again), instead of renewing the one it has.
    """

    name: str
    proof: str
    listing: Listing
    new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A request that may be answered.

    Attributes:
        profile: Of the certificate.
        right: Why.
        csr: The key.
        again: The certificate that the same request got before, if its answer may be repeated.
        superseded: Serials (20 bytes) that end when a new one is issued.
    """

    profile: Profile
    right: Right
    csr: CertificateRequest
    again: Certificate | None
    superseded: tuple[bytes, ...]


def decide(request: IssueRequest, *, state: State, now_ns: int, case: Case) -> Decision:
    """Judge one request for a certificate.

    Args:
        request: As it came over the hub's socket.
        state: What the signer knows.
        now_ns: Nanoseconds since 1970.
        case: Gets the name as soon as it is known.

    Raises:
        IssuanceRefused: Profile, listing, key or CSR is not as it must be.
        NotAuthenticated: Unknown, used up or expired token.
        WrongSecret: Known token id, wrong secret.
        IdentityRevoked: The name or the certificate is revoked.
        IdentityExpired: Expired for longer than the renewal window.
        IdentityInvalid: An IDevID chain that does not hold.
        InputError: Malformed CSR.

    Source: RFC 7030 sections 3.2.3, 3.3.2, 4.2.2; REQ-ID-009 to REQ-ID-016.
    """
    profile = _profile(request.profile)
    right = _right(request, profile=profile, state=state, now_ns=now_ns, case=case)
    case.name = right.name
    if right.name in state.revoked_names:
        raise IdentityRevoked("this identity is revoked", hint="a person must release it first")
    csr = read_csr(request.csr_der, name=right.name, profile=profile)
    _check_owner(csr, state=state, name=right.name, profile=profile)
    again = _answer_again(right, csr, state=state, profile=profile, now_ns=now_ns)
    if again is None:
        _check_key(right, csr, state=state, profile=profile, now_ns=now_ns)
    return Decision(
        profile=profile,
        right=right,
        csr=csr,
        again=again,
        superseded=_superseded(right, csr, state=state) if right.new and again is None else (),
    )


def _profile(text: str) -> Profile:
    try:
        profile = Profile(text)
    except ValueError as error:
        raise IssuanceRefused("no such certificate profile") from error
    if profile not in ENROLLABLE:
        raise IssuanceRefused(f"no {profile} certificate is issued on request")
    return profile


def _right(
    request: IssueRequest, *, profile: Profile, state: State, now_ns: int, case: Case
) -> Right:
    proof = request.proof
    if isinstance(proof, TokenProof):
        right = _by_token(proof, state=state, case=case)
    elif isinstance(proof, IDevIdProof):
        right = _by_idevid(proof, profile=profile, state=state, now_ns=now_ns, case=case)
    else:
        right = _by_renewal(proof, profile=profile, state=state, now_ns=now_ns, case=case)
    listed = right.listing.expectation.profile
    if profile != listed and not (profile is Profile.ORIGIN and listed == Profile.DEVICE):
        raise IssuanceRefused(f"this name is listed as {listed}, not as {profile}")
    return right


def _by_token(proof: TokenProof, *, state: State, case: Case) -> Right:
    listing = state.listings.get(proof.id)
    shown = hashlib.sha256(proof.secret.encode()).digest()
    if listing is None:
        raise NotAuthenticated("token is not known")
    case.name = listing.expectation.name
    if listing.failures >= FAILURES_MAX:
        raise NotAuthenticated("token was closed after wrong secrets", hint=LIST_AGAIN)
    if not hmac.compare_digest(shown, listing.secret_sha256):
        raise WrongSecret("wrong secret")
    return Right(
        name=listing.expectation.name,
        proof=f"listing:{proof.id}",
        listing=listing,
        new=True,
    )


def _by_idevid(
    proof: IDevIdProof, *, profile: Profile, state: State, now_ns: int, case: Case
) -> Right:
    identity = verify_idevid_chain(proof.chain_der, anchors=tuple(state.makers.values()))
    listed = [
        one
        for one in state.listings.values()
        if one.expectation.idevid_serial == identity.serial_number
        and one.expectation.idevid_issuer == identity.issuer
    ]
    if not listed:
        raise IssuanceRefused(
            f"device {identity.serial_number} of this maker is not listed", hint=LIST_AGAIN
        )
    listing = listed[-1]
    case.name = name = listing.expectation.name
    if _is_open(listing, now_ns=now_ns) or state.behind.get(name) != listing.expectation.id:
        return Right(
            name=name, proof=f"listing:{listing.expectation.id}", listing=listing, new=True
        )
    _check_window(name, profile=profile, state=state, now_ns=now_ns, listing=listing)
    return Right(name=name, proof=f"renewal:idevid:{name}", listing=listing, new=False)


def _by_renewal(
    proof: RenewalProof, *, profile: Profile, state: State, now_ns: int, case: Case
) -> Right:
    fingerprint = hashlib.sha256(proof.current_cert_der).digest()
    current = state.by_fingerprint.get(fingerprint)
    listing = state.listings.get(state.behind.get(current.name, "")) if current else None
    if current is None or listing is None:
        raise IssuanceRefused("the certificate to renew is not one of this CA")
    case.name = current.name
    if current.serial in state.revoked_serials or current.name in state.revoked_names:
        raise IdentityRevoked("the certificate to renew is revoked", hint=LIST_AGAIN)
    if current.profile not in (profile, Profile.DEVICE):
        raise IssuanceRefused(f"a {current.profile} certificate renews no {profile} certificate")
    _check_age(current, listing=listing, now_ns=now_ns)
    return Right(
        name=current.name, proof=f"renewal:{fingerprint.hex()}", listing=listing, new=False
    )


def _is_open(listing: Listing, *, now_ns: int) -> bool:
    return not listing.closed and now_ns < listing.expectation.expires_ns


def _check_window(
    name: str, *, profile: Profile, state: State, now_ns: int, listing: Listing
) -> None:
    held = [one for one in state.by_name.get(name, ()) if one.profile == profile]
    if not held:
        raise IssuanceRefused(f"{name} has no {profile} certificate to renew", hint=LIST_AGAIN)
    _check_age(held[-1], listing=listing, now_ns=now_ns)


def _check_age(current: Certificate, *, listing: Listing, now_ns: int) -> None:
    window_ns = listing.expectation.renewal_window_days * DAY_NS
    if now_ns > current.not_after_ns + window_ns:
        raise IdentityExpired("expired for longer than its renewal window", hint=LIST_AGAIN)


def _check_owner(csr: CertificateRequest, *, state: State, name: str, profile: Profile) -> None:
    """Refuse a key that another name, or this name for another purpose, holds or ever held."""
    if state.owners.get(csr.spki_sha256, (name, profile)) != (name, profile):
        raise IssuanceRefused("this key belongs to another name or purpose")


def _answer_again(
    right: Right, csr: CertificateRequest, *, state: State, profile: Profile, now_ns: int
) -> Certificate | None:
    """Find the certificate that this request got before, so that a lost answer strands nobody."""
    before = state.by_proof.get((right.proof, profile))
    if before is None or before.spki_sha256 != csr.spki_sha256:
        return None
    if before.serial in state.revoked_serials:
        raise IdentityRevoked("the certificate of this request is revoked", hint=LIST_AGAIN)
    half_ns = (before.not_after_ns - before.not_before_ns) // 2
    fresh_until_ns = before.not_after_ns - (0 if right.new else half_ns)
    return before if now_ns < fresh_until_ns else None


def _check_key(
    right: Right, csr: CertificateRequest, *, state: State, profile: Profile, now_ns: int
) -> None:
    if not right.new:
        _check_renewable(right.name, csr, state=state, profile=profile)
        return
    if profile in right.listing.used:
        raise IssuanceRefused("this token or listing was used already", hint=LIST_AGAIN)
    if not _is_open(right.listing, now_ns=now_ns):
        raise NotAuthenticated("token or listing is expired or withdrawn", hint=LIST_AGAIN)


def _check_renewable(name: str, csr: CertificateRequest, *, state: State, profile: Profile) -> None:
    if state.bound.get((name, profile)) != csr.spki_sha256:
        raise IssuanceRefused("a renewal keeps the key", hint=LIST_AGAIN)
    newest = [one for one in state.by_name[name] if one.profile == profile][-1]
    if newest.serial in state.revoked_serials:
        # A release lets a name be listed again; it does not bring the old key back.
        raise IdentityRevoked("the certificate to renew is revoked", hint=LIST_AGAIN)


def _superseded(right: Right, csr: CertificateRequest, *, state: State) -> tuple[bytes, ...]:
    """Collect what ends because a person listed the name again: all older keys of it."""
    return tuple(
        one.serial.to_bytes(SERIAL_BYTES, "big")
        for one in state.by_name.get(right.name, ())
        if one.serial not in state.revoked_serials
        and one.expectation_id != right.listing.expectation.id
        and one.spki_sha256 != csr.spki_sha256
    )
