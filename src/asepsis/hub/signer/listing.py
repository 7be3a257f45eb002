"""What a person may list on the operator's socket. Pure: returns the log entries to write."""

import hashlib
from typing import Final

import msgspec

from asepsis.core.errors import Conflict, IdentityRevoked, InputError, LimitExceeded
from asepsis.core.trust.authority import check_anchor
from asepsis.core.trust.identity import Profile, check_name
from asepsis.core.trust.requests import ExpectRequest, TrustMakerRequest
from asepsis.core.trust.signer_values import (
    EXPECTED_MAX,
    LEASE_MS_MAX,
    MAKERS_MAX,
    RENEWAL_WINDOW_DAYS_MAX,
    Expectation,
)
from asepsis.hub.signer import entries
from asepsis.hub.signer.state import State

LISTED: Final = frozenset({Profile.DEVICE, Profile.GATEWAY, Profile.CONSUMER})
LEASE_MS_MIN: Final = 100
SECOND_NS: Final = 1_000_000_000


def list_expected(
    request: ExpectRequest, *, state: State, now_ns: int, secret: str, id_: str
) -> tuple[list[entries.AnyEntry], Expectation]:
    """Return the entries that list somebody, and the expectation with its id and times.

    An older open listing of the same name is closed: one name, one token.

    Args:
        request: What the person wants.
        state: What the signer knows.
        now_ns: Nanoseconds since 1970.
        secret: Second part of the token; only its SHA-256 goes into the entry.
        id_: First part of the token.

    Raises:
        InputError: No canonical name, or a value out of range.
        IdentityRevoked: The name is revoked.
        LimitExceeded: Too many open listings.

    Source: REQ-ID-009, REQ-ID-010, REQ-ID-014.
    """
    wanted = request.expectation
    _check(wanted)
    if wanted.name in state.revoked_names:
        raise IdentityRevoked("this identity is revoked", hint="release it first")
    open_now = state.open_listings(now_ns)
    if len(open_now) >= EXPECTED_MAX:
        raise LimitExceeded(f"over {EXPECTED_MAX} open listings")
    expectation = msgspec.structs.replace(
        wanted, id=id_, listed_ns=now_ns, expires_ns=now_ns + request.valid_s * SECOND_NS
    )
    batch: list[entries.AnyEntry] = [
        entries.Withdrawn(id=one.expectation.id, why="listed again")
        for one in open_now
        if one.expectation.name == wanted.name
    ]
    secret_sha256 = hashlib.sha256(secret.encode()).digest()
    batch.append(entries.Listed(expectation=expectation, secret_sha256=secret_sha256))
    return batch, expectation


def list_maker(request: TrustMakerRequest, *, state: State) -> entries.MakerTrusted:
    """Return the entry that trusts a maker's CA certificate.

    Raises:
        IdentityInvalid: Not a CA certificate.
        Conflict: It is trusted already.
        LimitExceeded: Too many makers.
    """
    check_anchor(request.certificate_der)
    if hashlib.sha256(request.certificate_der).digest() in state.makers:
        raise Conflict("this maker is trusted already")
    if len(state.makers) >= MAKERS_MAX:
        raise LimitExceeded(f"over {MAKERS_MAX} makers")
    return entries.MakerTrusted(certificate_der=request.certificate_der)


def _check(wanted: Expectation) -> None:
    try:
        profile = Profile(wanted.profile)
    except ValueError as error:
        raise InputError("no such profile") from error
    if profile not in LISTED:
        raise InputError("only devices, gateways and consumers are listed")
    check_name(wanted.name, profile=profile)
    for declared in wanted.declared:
        check_name(declared, profile=Profile.DEVICE)
    if not LEASE_MS_MIN <= wanted.lease_ms <= LEASE_MS_MAX:
        raise InputError(f"lease is {LEASE_MS_MIN} to {LEASE_MS_MAX} ms")
    if not 0 <= wanted.renewal_window_days <= RENEWAL_WINDOW_DAYS_MAX:
        raise InputError(f"renewal window is 0 to {RENEWAL_WINDOW_DAYS_MAX} days")
    if (wanted.idevid_issuer is None) != (wanted.idevid_serial is None):
        raise InputError("an IDevID is listed with issuer and serial")
    if (wanted.declared or wanted.sources) and profile is not Profile.GATEWAY:
        raise InputError("only a gateway speaks for devices or is named as a source")
