"""Who may associate, and for what: checked, frozen values. No socket, file or clock.

Address and calling AE title together name one peer of a listener or none, so what somebody may do
never depends on what the data set says.

Source: DICOM PS3.8 sections 9.3.3, 9.3.4 (answers to a request); PS3.4 annex B (storage).
"""

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydicom._uid_dict import UID_dictionary

from asepsis.core.errors import ConfigError, InputError, NotPermitted
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire.relay import CONTEXTS_MAX, Kind
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
    COMMITMENT,
    GET_STUDY,
    ROLES,
    STEP,
    STEPS,
    SYNTAXES,
    WORDS,
)
from asepsis.edge.gateway.imaging.settings import (
    IdentitySettings,
    ImagingListener,
    ImagingPeer,
    ImagingSettings,
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


def doors(settings: ImagingSettings, *, segments: Sequence[str]) -> tuple[Door, ...]:
    """Check the whole policy and return it by listener.

    Args:
        settings: The section.
        segments: Networks in which clear text may be spoken.

    Raises:
        ConfigError: Two peers share a name, or address and title; a peer names no listener; clear
            text is spoken outside the device segments or without being asked for; a TLS peer has
            no certificate; a proof is asked for that nothing verifies.
    """
    _unique("listener", [listener.name for listener in settings.listeners])
    _unique("peer", [entry.name for entry in settings.peers])
    names = {listener.name for listener in settings.listeners}
    lost = [entry.name for entry in settings.peers if entry.listener not in names]
    if lost:
        raise ConfigError(f"imaging peer {lost[0]} names no listener")
    inside = [_network(text) for text in segments]
    found: list[Door] = []
    for listener in settings.listeners:
        entries = [entry for entry in settings.peers if entry.listener == listener.name]
        peers = tuple(_peer(entry) for entry in entries)
        for peer in peers:
            _check_peer(peer, listener, inside)
            _check_forms(peer, settings.identity, encrypted=listener.tls is not None)
            _check_asking(peer, settings)
        _check_overlap(peers)
        if listener.tls is None and not _inside(_network(listener.host), inside):
            raise ConfigError(
                f"imaging listener {listener.name} would speak clear text outside device_segments",
                hint="give it tls, or an address inside device_segments",
            )
        found.append(Door(listener, peers))
    return tuple(found)


def _peer(entry: ImagingPeer) -> Peer:
    words = {"storage": STORAGE_CLASSES, **WORDS}
    classes = {uid for name in entry.sop_classes for uid in words.get(name, {name})}
    return Peer(
        name=entry.name,
        device=_device(entry),
        networks=tuple(_network(text) for text in entry.addresses),
        titles=frozenset(entry.ae_titles),
        called=frozenset(entry.called),
        sop_classes=frozenset(classes),
        fingerprints=frozenset(map(bytes.fromhex, entry.certificate_sha256)),
        names=frozenset(entry.certificate_names),
        forms=frozenset(entry.user_identity),
        move_to=frozenset(entry.move_to),
        ack=entry.ack,
        cleartext=entry.cleartext,
        limits=entry,
    )


def _device(entry: ImagingPeer) -> str:
    try:
        return DeviceId.parse(entry.device).uri
    except InputError as error:
        raise ConfigError(
            f"imaging peer {entry.name}: {entry.device!r} is no device name"
        ) from error


def _check_certificate(peer: Peer, certificate: Certificate | None) -> None:
    if certificate is None:
        raise Refused("brings no certificate", NO_REASON)
    if certificate.fingerprint not in peer.fingerprints and not certificate.names & peer.names:
        raise Refused("its certificate is not the one listed", NO_REASON)


def certificate_names(parsed: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of a verified certificate, from `ssl.SSLSocket.getpeercert`."""
    kinds = ("DNS", "IP Address", "URI")
    return frozenset(name for kind, name in parsed.get("subjectAltName", ()) if kind in kinds)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(f"not an address or network: {text!r}") from error


def _unique(what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"two imaging {what}s are called {name}")
        seen.add(name)


def _inside(network: Network, segments: Sequence[Network]) -> bool:
    return any(
        segment.version == network.version
        and int(segment.network_address) <= int(network.network_address)
        and int(network.broadcast_address) <= int(segment.broadcast_address)
        for segment in segments
    )


def _check_peer(peer: Peer, listener: ImagingListener, segments: Sequence[Network]) -> None:
    strange = peer.called - set(listener.ae_titles)
    if strange:
        raise ConfigError(f"imaging peer {peer.name}: {min(strange)} is no title of its listener")
    if listener.tls is not None:
        if not peer.fingerprints and not peer.names:
            raise ConfigError(
                f"imaging peer {peer.name} has no certificate",
                hint="give it certificate_sha256 or certificate_names",
            )
        return
    if peer.fingerprints or peer.names:
        raise ConfigError(f"imaging peer {peer.name}: its listener asks no certificate")
    if not peer.cleartext:
        raise ConfigError(f"imaging peer {peer.name} comes without TLS, not cleartext = true")
    if not all(_inside(network, segments) for network in peer.networks):
        raise ConfigError(f"imaging peer {peer.name} would speak clear text outside the segments")


def _check_forms(peer: Peer, identity: IdentitySettings, *, encrypted: bool) -> None:
    configured = {
        "passcode": bool(identity.passcode_file),
        "kerberos": identity.kerberos is not None,
        "saml": identity.saml is not None,
        "jwt": identity.jwt is not None,
    }
    for form in sorted(peer.forms):
        if not configured[form]:
            raise ConfigError(f"imaging peer {peer.name}: nothing verifies {form}")
        if form != "kerberos" and not encrypted:
            raise ConfigError(
                f"imaging peer {peer.name}: {form} would cross the cable in clear text",
                hint="give its listener tls; without it only kerberos is safe to say",
            )


def _check_asking(peer: Peer, settings: ImagingSettings) -> None:
    entry = peer.limits
    needed = {"archive": ("query", "retrieve", "commitment"), "worklist": ("worklist",)}
    for key, words in needed.items():
        asks = any(WORDS[word] & peer.sop_classes for word in words)
        if asks and not getattr(entry, key):
            raise ConfigError(f"imaging peer {peer.name} may ask, and names no {key}")
    if STEP in peer.sop_classes and not (entry.steps or entry.worklist):
        raise ConfigError(f"imaging peer {peer.name} reports steps, and names no worklist")
    titles = {each.title for each in settings.destinations}
    if COMMITMENT in peer.sop_classes and not peer.titles <= titles:
        raise ConfigError(
            f"imaging peer {peer.name} asks for commitments, and cannot be told the answer",
            hint="add its AE title as [[imaging.destinations]]",
        )
    lost = peer.move_to - {each.title for each in settings.destinations}
    if lost:
        raise ConfigError(
            f"imaging peer {peer.name}: {min(lost)} is no declared destination",
            hint="add it as [[imaging.destinations]]",
        )


def check_destinations(settings: ImagingSettings, *, segments: Sequence[str]) -> None:
    """Check where images of a C-MOVE may go.

    Raises:
        ConfigError: One title twice, clear text outside the device segments, a certificate without
            its key, or more presentation contexts than an association has.
    """
    _unique("destination", [entry.title for entry in settings.destinations])
    inside = [_network(text) for text in segments]
    for entry in settings.destinations:
        if bool(entry.chain_file) != bool(entry.key_file):
            raise ConfigError(f"{entry.title}: chain_file and key_file belong together")
        if len(entry.sop_classes) * len(entry.transfer_syntaxes) > CONTEXTS_MAX:
            raise ConfigError(f"{entry.title}: classes times syntaxes are over {CONTEXTS_MAX}")
        clear = entry.cleartext and _inside(_network(entry.host), inside)
        if not entry.ca_file and not clear:
            raise ConfigError(
                f"{entry.title}: no TLS",
                hint="name ca_file, or cleartext = true for an address in device_segments",
            )


def _check_overlap(peers: Sequence[Peer]) -> None:
    for number, peer in enumerate(peers):
        for other in peers[:number]:
            if peer.titles & other.titles and _share(peer.networks, other.networks):
                raise ConfigError(
                    f"imaging peers {other.name} and {peer.name} share an address and an AE title"
                )


def _share(one: Sequence[Network], other: Sequence[Network]) -> bool:
    return any(
        mine.version == theirs.version
        and int(mine.network_address) <= int(theirs.broadcast_address)
        and int(theirs.network_address) <= int(mine.broadcast_address)
        for mine in one
        for theirs in other
    )
