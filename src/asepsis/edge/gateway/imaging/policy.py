"""Who may associate, and for what: checked, frozen values. No socket, file or clock.

Address and calling AE title together name one peer of a listener or none, so what somebody may do
never depends on what the data set says.

Source: DICOM PS3.8 sections 9.3.3, 9.3.4 (answers to a request); PS3.4 annex B (storage).
"""

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydicom._uid_dict import UID_dictionary

from asepsis.core.errors import NotPermitted
from asepsis.core.wire.relay import Kind
from asepsis.edge.gateway.imaging.dimse import VERIFICATION
from asepsis.edge.gateway.imaging.pdu_values import (
    AnsweredContext,
    AssociateRequest,
    ContextResult,
    IdentityKind,
    ProposedContext,
    Rejection,
    RoleSelection,
)
from asepsis.edge.gateway.imaging.services import (
    GET_STUDY,
    ROLES,
    STEPS,
    SYNTAXES,
)
from asepsis.edge.gateway.imaging.settings import (
    ImagingListener,
    ImagingPeer,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CALLED_UNKNOWN: Final = Rejection(1, 1, 7)
CALLING_UNKNOWN: Final = Rejection(1, 1, 3)
NO_REASON: Final = Rejection(1, 1, 1)
LOCAL_LIMIT: Final = Rejection(2, 3, 2)
CONGESTION: Final = Rejection(2, 3, 1)


def _storage_classes() -> frozenset[str]:
    others = ("Commitment", "Directory")  # Services on storage, and the index of a medium.
    found = (
        uid
        for uid, entry in UID_dictionary.items()
        if entry[1] == "SOP Class"
        and "Storage" in entry[0]
        and not any(other in entry[0] for other in others)
    )
    return frozenset(found)


STORAGE_CLASSES: Final = _storage_classes()
"""Every storage SOP class of the standard, retired ones included."""
FORMS: Final[Mapping[int, str]] = {
    IdentityKind.PASSCODE: "passcode",
    IdentityKind.KERBEROS: "kerberos",
    IdentityKind.SAML: "saml",
    IdentityKind.JWT: "jwt",
}
"""Forms that prove something; a mere user name (type 1) proves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Peer:
    """One modality; the units are those of `settings.ImagingPeer`.

    Attributes:
        name: For people, findings and the spool.
        device: Its name at the hub.
        networks: Where it may come from.
        titles: What it may call itself.
        called: What it may call us.
        sop_classes: What it may store.
        fingerprints: SHA-256 of its certificates.
        names: Names of its certificates.
        forms: Proofs of a user of which it must bring one.
        move_to: Titles that it may name in a C-MOVE.
        ack: When a success is said.
        cleartext: Whether it speaks without TLS.
        limits: Its entry, for the numbers.
    """

    name: str
    device: str
    networks: tuple[Network, ...]
    titles: frozenset[str]
    called: frozenset[str]
    sop_classes: frozenset[str]
    fingerprints: frozenset[bytes]
    names: frozenset[str]
    forms: frozenset[str]
    move_to: frozenset[str]
    ack: Literal["hub", "spool"]
    cleartext: bool
    limits: ImagingPeer

    @property
    def asks(self) -> bool:
        """Whether it may ask an archive or worklist for anything."""
        return bool(self.sop_classes & ROLES.keys())

    def target(self, kind: Kind) -> str:
        """Return who answers a question of it."""
        if kind in STEPS:
            return self.limits.steps or self.limits.worklist
        return self.limits.worklist if kind is Kind.FIND_WORKLIST else self.limits.archive


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a peer proved itself with.

    Attributes:
        fingerprint: SHA-256 of the DER.
        names: DNS names, addresses and URIs of subjectAltName.
        key: SHA-256 of its public key, hexadecimal.
    """

    fingerprint: bytes
    names: frozenset[str]
    key: str = ""


class Refused(NotPermitted):
    """An association that is not wanted, and what the peer is told.

    Args:
        reason: For people.
        answer: What goes over the wire.
    """

    def __init__(self, reason: str, answer: Rejection) -> None:
        super().__init__(reason)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Door:
    """One listener and the peers that may come to it."""

    listener: ImagingListener
    peers: tuple[Peer, ...]

    def anybody_at(self, address: str) -> bool:
        """Return whether any peer may come from an address; others are not even read."""
        found = ipaddress.ip_address(address.partition("%")[0])
        return any(found in network for peer in self.peers for network in peer.networks)

    def admit(
        self, request: AssociateRequest, address: str, certificate: Certificate | None
    ) -> Peer:
        """Return the peer that asks for an association.

        Args:
            request: What it says.
            address: Where it comes from.
            certificate: What TLS has verified; None in clear text.

        Raises:
            Refused: Unknown title or address, or another certificate.
        """
        if request.called not in self.listener.ae_titles:
            raise Refused("calls us by a title that is not ours", CALLED_UNKNOWN)
        found = ipaddress.ip_address(address.partition("%")[0])
        for peer in self.peers:
            here = any(found in network for network in peer.networks)
            if here and request.calling in peer.titles:
                break
        else:
            raise Refused("no peer of this AE title is listed at this address", CALLING_UNKNOWN)
        if peer.called and request.called not in peer.called:
            raise Refused("calls us by a title that is not for it", CALLED_UNKNOWN)
        if self.listener.tls is not None:
            _check_certificate(peer, certificate)
        return peer


def negotiate(
    request: AssociateRequest, peer: Peer, *, roles: Collection[str]
) -> tuple[AnsweredContext, ...]:
    """Answer every proposed context.

    Of the transfer syntaxes of a context the first is taken: a storage user names the one of its
    object first, and nothing is ever converted here. Queries and steps are read, so of theirs the
    first that is read.

    Args:
        request: What is proposed.
        peer: Who proposes it.
        roles: What its user may do.
    """
    taken = {role.sop_class for role in returned(request, peer, roles=roles)}
    return tuple(_answer(context, peer, roles, taken) for context in request.contexts)


def returned(
    request: AssociateRequest, peer: Peer, *, roles: Collection[str]
) -> tuple[RoleSelection, ...]:
    """Return the storage classes that a peer takes from a C-GET, with the roles that it has.

    Args:
        request: What is proposed.
        peer: Who proposes it.
        roles: What its user may do.
    """
    if GET_STUDY not in peer.sop_classes or "query" not in roles:
        return ()
    return tuple(
        RoleSelection(
            role.sop_class,
            user=role.user and role.sop_class in peer.sop_classes and "store" in roles,
            provider=True,
        )
        for role in request.roles
        if role.provider and role.sop_class in STORAGE_CLASSES
    )


def _answer(
    context: ProposedContext, peer: Peer, roles: Collection[str], taken: Collection[str]
) -> AnsweredContext:
    wanted, offered = context.abstract_syntax, context.transfer_syntaxes
    syntax, result = offered[0], ContextResult.ACCEPTED
    if wanted == VERIFICATION or wanted in taken:
        pass
    elif wanted not in peer.sop_classes:
        result = ContextResult.ABSTRACT_SYNTAX
    elif ROLES.get(wanted, "store") not in roles:
        result = ContextResult.USER_REJECTED
    elif wanted in ROLES:
        readable = [each for each in offered if each in SYNTAXES]
        syntax = readable[0] if readable else syntax
        result = result if readable else ContextResult.TRANSFER_SYNTAXES
    return AnsweredContext(context.number, result, syntax)


def _check_certificate(peer: Peer, certificate: Certificate | None) -> None:
    if certificate is None:
        raise Refused("brings no certificate", NO_REASON)
    if certificate.fingerprint not in peer.fingerprints and not certificate.names & peer.names:
        raise Refused("its certificate is not the one listed", NO_REASON)


def certificate_names(parsed: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of a verified certificate, from `ssl.SSLSocket.getpeercert`."""
    kinds = ("DNS", "IP Address", "URI")
    return frozenset(name for kind, name in parsed.get("subjectAltName", ()) if kind in kinds)
