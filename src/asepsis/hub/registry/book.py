"""The identity book: who may enter, asked at every connection and every request.

The book is the registry's state in memory. A clinical request costs one dictionary look-up by the
certificate's fingerprint and two comparisons; everything that takes longer (why somebody is
refused, two certificates in use at once) happens off that path. The book belongs to one event loop
and is changed only after the change was committed.

What is refused, and why:

* a revoked identity, whatever the serial;
* a *void* certificate: one of an identity that was revoked, or enrolled anew with another key;
* an expired certificate on a clinical listener; it still opens the way to renewal;
* a certificate that our CA issued but the registry never recorded (the hub died before it could
  commit, or an older database was restored). It opens renewal only, and renewal records the next
  one: a thief gains nothing that he did not have, and a ward heals by itself.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

from asepsis.core.errors import (
    IdentityExpired,
    IdentityInvalid,
    IdentityRevoked,
    NotAuthenticated,
    NotFound,
)
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust.identity import KEY_ID_BYTES, PeerCertificate
from asepsis.hub.access.principal import ANONYMOUS, Principal
from asepsis.hub.registry.delegations.book import DelegationBook
from asepsis.hub.registry.delegations.lines import Declaration, Source

CLINICAL: Final = "clinical"
ENROLMENT: Final = "enrolment"
OVERLAP_NS: Final = 24 * 3_600 * 1_000_000_000
"""How long the old certificate may still be in use beside its renewal: 24 h."""
NEVER_NS: Final = (1 << 63) - 1
CLINICAL_KINDS: Final = frozenset(
    {PrincipalKind.DEVICE, PrincipalKind.GATEWAY, PrincipalKind.CONSUMER}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEntry:
    """A machine as the exchange needs to know it.

    Attributes:
        name: SAN URI.
        kind: Device, gateway or consumer.
        model: What a person listed it as.
        key_sha256: SHA-256 of the SubjectPublicKeyInfo that the name is bound to, 32 bytes.
        origin_required: Whether only signed batches are taken from it.
        origin_spki: DER public key of its origin compartment, None if it has none.
        lease_ms: Silence after which a technical alarm is raised, 1 to 10 000.
        renewal_window_days: How long after expiry it may still renew.
    """

    name: str
    kind: PrincipalKind
    model: str
    key_sha256: bytes
    origin_required: bool
    origin_spki: bytes | None
    lease_ms: int
    renewal_window_days: int

    @property
    def origin_key_id(self) -> bytes | None:
        """The id that origin batches name their key by, 8 bytes."""
        if self.origin_spki is None:
            return None
        return hashlib.sha256(self.origin_spki).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateEntry:
    """A certificate that opens connections.

    Attributes:
        name: Whose it is.
        serial: Its serial number.
        fingerprint: SHA-256 of its DER, 32 bytes.
        not_before_ns: Start of validity, nanoseconds since 1970.
        not_after_ns: Last valid moment, nanoseconds since 1970.
        issued_at_ns: When the hub handed it out; the newest one is the current one.
    """

    name: str
    serial: int
    fingerprint: bytes
    not_before_ns: int
    not_after_ns: int
    issued_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookState:
    """Everything that the book holds, as read in one transaction.

    Attributes:
        version: Number of the registry's last change.
        devices: Enrolled machines.
        certificates: Certificates that are not void.
        void: Fingerprints that never open again.
        revoked: Names that are refused.
        declarations: Delegations.
        sources: Gateways that are named as sources of ADT, merges or worklists.
    """

    version: int = 0
    devices: Iterable[DeviceEntry] = ()
    certificates: Iterable[CertificateEntry] = ()
    void: Iterable[bytes] = ()
    revoked: Iterable[str] = ()
    declarations: Iterable[Declaration] = ()
    sources: Iterable[Source] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoInUse:
    """Two certificates of one identity are in use outside of the renewal overlap.

    Attributes:
        name: The identity; its key may have been copied.
        newer_serial: The current certificate.
        older_serial: The one that should have gone out of use.
    """

    name: str
    newer_serial: int
    older_serial: int


@dataclass(slots=True, kw_only=True)
class _Known:
    """A certificate with its answer; the only mutable thing on the hot path."""

    entry: CertificateEntry
    principal: Principal
    # When the principal must be worked out again because a declaration ends.
    principal_until_ns: int
    # After this moment the use of this certificate beside a newer one is an alarm.
    overlap_ends_ns: int = NEVER_NS
    last_used_ns: int = 0


@dataclass(slots=True)
class _Identity:
    device: DeviceEntry
    known: list[_Known] = field(default_factory=list["_Known"])


class IdentityBook:
    """Certificate -> principal, in a few microseconds.

    Args:
        overlap_ns: How long an old certificate may be in use beside its renewal.
        on_two_in_use: Called once for each pair of certificates; must return at once.
    """

    def __init__(
        self,
        *,
        overlap_ns: int = OVERLAP_NS,
        on_two_in_use: Callable[[TwoInUse], None] | None = None,
    ) -> None:
        self.version = 0
        self.on_two_in_use = on_two_in_use
        self._overlap_ns = overlap_ns
        self._known: dict[bytes, _Known] = {}
        self._identities: dict[str, _Identity] = {}
        self._void: set[bytes] = set()
        self._revoked: set[str] = set()
        self.delegations = DelegationBook()
        self._told: set[bytes] = set()

    def load(self, state: BookState, *, now_ns: int) -> None:
        """Replace everything, at the start."""
        self.version = state.version
        self._known, self._identities = {}, {}
        self.delegations.clear()
        self._void, self._revoked = set(), set()
        self._put(state, now_ns=now_ns)

    def update(self, names: Iterable[str], state: BookState, *, now_ns: int) -> frozenset[str]:
        """Replace what is known of some names after a change was committed.

        Args:
            names: Whom `state` is about, wholly.
            state: Read in or after the transaction of the change.
            now_ns: Wall time of the hub, nanoseconds since 1970.

        Returns:
            The names that are revoked now and were not before.
        """
        changed = frozenset(names)
        newly = (frozenset(state.revoked) & changed) - self._revoked
        self._revoked -= changed
        used: dict[bytes, int] = {}
        partners: set[str] = set()
        for name in changed:
            partners |= self.delegations.forget(name)
            identity = self._identities.pop(name, None)
            for known in identity.known if identity else ():
                used[known.entry.fingerprint] = known.last_used_ns
                del self._known[known.entry.fingerprint]
        self._put(state, now_ns=now_ns, used=used)
        # A device that got or lost a certificate of its own changes what others may say for it.
        self._think_again(partners | self.delegations.holders_of(changed))
        return newly

    def admit(self, peer: PeerCertificate | None, listener: str, now_ns: int) -> Principal:
        """Say who a connection or request comes from, or refuse it.

        Args:
            peer: The certificate that TLS proved, None without one.
            listener: Which listener it came in by; any but the two machine listeners knows people,
                who authenticate in the request.
            now_ns: Wall time of the hub, nanoseconds since 1970.

        Raises:
            NotAuthenticated: The clinical listener without a certificate.
            IdentityRevoked: The identity is revoked or the certificate void.
            IdentityExpired: Outside its validity, on the clinical listener.
            IdentityInvalid: Unknown identity, key or serial, or a kind that has no business here.
        """
        if listener == CLINICAL:
            if peer is None:
                raise NotAuthenticated("the clinical listener needs a client certificate")
            known = self._known.get(peer.fingerprint)
            if known is None or not (
                known.entry.not_before_ns <= now_ns <= known.entry.not_after_ns
            ):
                self._refuse(peer, now_ns)
            return self._use(known, now_ns)
        if listener == ENROLMENT and peer is not None:
            return self._admit_to_enrolment(peer, now_ns)
        return ANONYMOUS

    def device(self, name: str) -> DeviceEntry:
        """Return an enrolled machine that is not revoked.

        Raises:
            NotFound: No such machine.
            IdentityRevoked: It is revoked.
        """
        if name in self._revoked:
            raise IdentityRevoked(f"{name} is revoked")
        identity = self._identities.get(name)
        if identity is None:
            raise NotFound(f"{name} is not enrolled")
        return identity.device

    def speaks_itself(self, name: str, now_ns: int) -> bool:
        """Whether a device has a certificate of its own that is valid now: nobody speaks for it."""
        return self._own_until_ns(name, now_ns) >= now_ns

    def origin_key(self, name: str, key_id: bytes) -> bytes:
        """Return the DER public key that signs a device's batches.

        Raises:
            NotFound: No such device, or it has no origin key with this id.
            IdentityRevoked: The device is revoked.
        """
        device = self.device(name)
        if device.origin_spki is None or device.origin_key_id != key_id:
            raise NotFound(f"{name} has no origin key {key_id.hex()}")
        return device.origin_spki

    def devices(self) -> list[DeviceEntry]:
        """Return every enrolled machine that is not revoked."""
        return [i.device for n, i in self._identities.items() if n not in self._revoked]

    def revoked(self) -> frozenset[str]:
        """Return every name that is refused."""
        return frozenset(self._revoked)

    def is_revoked(self, name: str) -> bool:
        """Whether the identity is revoked."""
        return name in self._revoked

    def _put(
        self, state: BookState, *, now_ns: int, used: Mapping[bytes, int] | None = None
    ) -> None:
        self._void |= frozenset(state.void)
        self._revoked |= frozenset(state.revoked)
        touched = self.delegations.put(state.declarations, state.sources)
        for device in state.devices:
            self._identities[device.name] = _Identity(device)
        for entry in sorted(state.certificates, key=lambda c: (c.issued_at_ns, c.serial)):
            last_used_ns = (used or {}).get(entry.fingerprint, 0)
            self._add(entry, now_ns=now_ns, last_used_ns=last_used_ns)
        self._think_again(touched)

    def _think_again(self, gateways: Iterable[str]) -> None:
        """Have the principals of gateways worked out anew at their next request."""
        for name in gateways:
            identity = self._identities.get(name)
            for known in identity.known if identity else ():
                known.principal_until_ns = 0

    def _own_until_ns(self, name: str, now_ns: int) -> int:
        """Return until when a device's own certificate is valid; 0 if none is."""
        identity = self._identities.get(name)
        if identity is None or name in self._revoked:
            return 0
        valid = [
            known.entry.not_after_ns
            for known in identity.known
            if known.entry.not_before_ns <= now_ns <= known.entry.not_after_ns
        ]
        return max(valid, default=0)

    def _add(self, entry: CertificateEntry, *, now_ns: int, last_used_ns: int) -> None:
        identity = self._identities.get(entry.name)
        if identity is None or entry.name in self._revoked:
            return
        if identity.device.kind not in CLINICAL_KINDS:
            return
        for older in identity.known:
            older.overlap_ends_ns = min(
                older.overlap_ends_ns, entry.issued_at_ns + self._overlap_ns
            )
        principal, until_ns = self._principal(identity.device, now_ns)
        known = _Known(
            entry=entry,
            principal=principal,
            principal_until_ns=until_ns,
            last_used_ns=last_used_ns,
        )
        identity.known.append(known)
        self._known[entry.fingerprint] = known

    def _use(self, known: _Known, now_ns: int) -> Principal:
        known.last_used_ns = now_ns
        if now_ns > known.overlap_ends_ns:
            self._watch(known)
        if now_ns > known.principal_until_ns:
            device = self._identities[known.entry.name].device
            known.principal, known.principal_until_ns = self._principal(device, now_ns)
        return known.principal

    def _watch(self, older: _Known) -> None:
        newest = self._identities[older.entry.name].known[-1]
        if not newest.last_used_ns:
            return  # The device was renewed and has not changed over; only one is in use.
        older.overlap_ends_ns = NEVER_NS  # Off the hot path again: it is said once.
        if older.entry.fingerprint in self._told:
            return
        self._told.add(older.entry.fingerprint)
        if self.on_two_in_use is not None:
            self.on_two_in_use(
                TwoInUse(
                    name=older.entry.name,
                    newer_serial=newest.entry.serial,
                    older_serial=older.entry.serial,
                )
            )

    def _principal(self, device: DeviceEntry, now_ns: int) -> tuple[Principal, int]:
        listed, until_ns = self.delegations.current(device.name, now_ns)
        own = {name: self._own_until_ns(name, now_ns) for name in listed}
        declared = frozenset(name for name, own_until_ns in own.items() if not own_until_ns)
        principal = Principal(kind=device.kind, name=device.name, declared=declared)
        return principal, min(until_ns, *(end for end in own.values() if end), NEVER_NS)

    def _admit_to_enrolment(self, peer: PeerCertificate, now_ns: int) -> Principal:
        known = self._known.get(peer.fingerprint)
        if known and known.entry.not_before_ns <= now_ns <= known.entry.not_after_ns:
            return self._use(known, now_ns)
        self._refuse_dead(peer)
        if peer.kind not in CLINICAL_KINDS:
            raise IdentityInvalid(f"a {peer.kind.value} certificate opens no route")
        return Principal(kind=peer.kind, name=peer.uri, renewal_only=True)

    def _refuse_dead(self, peer: PeerCertificate) -> None:
        """Refuse what no renewal can mend: revoked, void, or bound to a key that was replaced."""
        if peer.uri in self._revoked:
            raise IdentityRevoked(f"{peer.uri} is revoked")
        if peer.fingerprint in self._void:
            raise IdentityRevoked("this certificate was revoked or replaced by a new enrolment")
        identity = self._identities.get(peer.uri)
        if identity is not None and identity.device.key_sha256 != peer.spki_sha256:
            raise IdentityInvalid(f"{peer.uri} is bound to another key")

    def _refuse(self, peer: PeerCertificate, now_ns: int) -> NoReturn:
        self._refuse_dead(peer)
        if not peer.not_before_ns <= now_ns <= peer.not_after_ns:
            raise IdentityExpired(
                "the certificate is outside its validity", hint="renew it on the enrolment listener"
            )
        if peer.uri not in self._identities:
            raise IdentityInvalid(f"{peer.uri} is not enrolled", hint="enrol it")
        raise IdentityInvalid(
            "this certificate was never recorded", hint="renew it on the enrolment listener"
        )
