"""Pure decisions of the registry: what an issued certificate means for what is stored."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography import x509

from asepsis.core.errors import Conflict, IdentityInvalid, IdentityRevoked, InputError
from asepsis.core.trust.identity import (
    OriginCertificate,
    PeerCertificate,
    Profile,
    origin_from_der,
    peer_from_der,
)

LABELS: Final = frozenset({Profile.DEVICE, Profile.GATEWAY, Profile.CONSUMER, Profile.ORIGIN})
"""Profiles that can be asked for by EST label; no label means device."""
DAY_NS: Final = 86_400_000_000_000
DECLARATION_DAYS_DEFAULT: Final = 365
DECLARATION_DAYS_MAX: Final = 1_096
_SYSTEM_NAME: Final = "urn:uuid:"
REASON_CHARS_MAX: Final = 256
DECLARED_MAX: Final = 1_000
"""Lines of one declared list."""


class Evidence(StrEnum):
    """How a gateway knows that what it brings is the declared device's own."""

    CLAIMED = "claimed"
    """Somebody else's list or message says so."""
    OBSERVED = "observed"
    """The gateway itself ends the device's own connection: its policy binds that network peer to
    the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """A certificate that is about to be handed out, as the registry sees it.

    Attributes:
        name: Whose it is.
        profile: What it is for.
        serial: Its serial number.
        certificate: The rest.
    """

    name: str
    profile: Profile
    serial: int
    certificate: PeerCertificate | OriginCertificate


def read_handed(leaf_der: bytes, profile: Profile) -> Handed:
    """Read what the signer issued and check that it is what was asked for.

    Raises:
        IdentityInvalid: It is for another purpose; nothing is recorded or handed out.
    """
    if profile is Profile.ORIGIN:
        origin = origin_from_der(leaf_der)
        return Handed(
            name=origin.device.uri, profile=profile, serial=origin.serial, certificate=origin
        )
    peer = peer_from_der(leaf_der)
    if peer.kind.value != profile.value:
        raise IdentityInvalid(f"the signer issued a {peer.kind.value} certificate")
    return Handed(name=peer.uri, profile=profile, serial=peer.serial, certificate=peer)


def parse_label(label: str) -> Profile:
    """Return the profile that an EST label names (RFC 7030 section 3.2.2).

    Raises:
        InputError: No such label.
    """
    if label not in LABELS:
        raise InputError("no such label", hint="use device, gateway, consumer or origin")
    return Profile(label)


def wished_name(csr_der: bytes) -> str:
    """Return the first URI that a request names, empty if none. A wish: the signer decides.

    Raises:
        InputError: Not a PKCS#10 request.
    """
    try:
        csr = x509.load_der_x509_csr(csr_der)
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        return ""
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise InputError("not a certificate request") from error
    return uris[0] if uris else ""


def wished_profile(csr_der: bytes) -> Profile:
    """Return the profile of an enrolment without label, from the name that the request wishes.

    A `urn:uuid:` name is a consumer's; gateways use their label; everything else is a device.

    Raises:
        InputError: Not a PKCS#10 request.
    """
    is_system = wished_name(csr_der).startswith(_SYSTEM_NAME)
    return Profile.CONSUMER if is_system else Profile.DEVICE


def check_lift(*, told: bool | None, renewal: bool) -> bool:
    """Say whether an enrolment lifts a revocation.

    A person released the name at the signer, which else would have issued nothing; so the hub's own
    note is outdated - unless the signer never heard of the revocation.

    Args:
        told: None if the name is not revoked, else whether the signer knows.
        renewal: Whether an old certificate was the proof; that never lifts anything.

    Raises:
        IdentityRevoked: The name stays revoked.
    """
    if told is None:
        return False
    if renewal or not told:
        raise IdentityRevoked("this identity is revoked", hint="a person must release it first")
    return True


def check_origin_binding(
    *, enrolled: bool, bound: bytes | None, offered: bytes, renewal: bool
) -> None:
    """Let an origin key be bound to a device, or raise.

    Raises:
        Conflict: The device is not enrolled yet, or a renewal brings another origin key: a network
            service that was taken over could then forge what the critical part says.

    Source: REQ-ORG-016.
    """
    if not enrolled:
        raise Conflict("enrol the device before its origin key")
    if renewal and bound is not None and bound != offered:
        raise Conflict("a renewal cannot replace the origin key")


def check_reason(reason: str) -> str:
    """Return the reason of a revocation.

    Raises:
        InputError: Empty, too long or unprintable.
    """
    if not 1 <= len(reason) <= REASON_CHARS_MAX or not reason.isprintable():
        raise InputError(f"a reason has 1 to {REASON_CHARS_MAX} printable characters")
    return reason
