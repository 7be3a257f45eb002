"""From the imaging settings to doors and their peers; what cannot be meant is refused."""

import ipaddress
from collections.abc import Sequence

from asepsis.core.errors import ConfigError, InputError
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire.relay import CONTEXTS_MAX
from asepsis.edge.gateway.imaging.policy import STORAGE_CLASSES, Door, Network, Peer
from asepsis.edge.gateway.imaging.services import (
    COMMITMENT,
    STEP,
    WORDS,
)
from asepsis.edge.gateway.imaging.settings import (
    IdentitySettings,
    ImagingListener,
    ImagingPeer,
    ImagingSettings,
)


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
