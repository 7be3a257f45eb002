"""What all requests share: keys, state, log and clock, and the few acts that use them together."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from asepsis.core import errors
from asepsis.core.trust.authority import Issuer, issue_leaf
from asepsis.core.trust.identity import Profile, load_certificate
from asepsis.hub.signer import entries
from asepsis.hub.signer.keystore import KeyStore, Role
from asepsis.hub.signer.log import SignerLog
from asepsis.hub.signer.rates import HOUR_NS, MINUTE_NS, check_rate
from asepsis.hub.signer.refusals import Refusals
from asepsis.hub.signer.state import OWN_PROOF, State

CLOCK_BEHIND_NS: Final = MINUTE_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the process knows about itself.

    Attributes:
        separated: Whether user and folder are the signer's own.
        separation: The same in plain words.
        time_uncertainty_ms: Largest error of the host's clock that the operator vouches for.
    """

    separated: bool
    separation: str
    time_uncertainty_ms: int


class Desk:
    """The signer's working place.

    Args:
        keys: Where the private keys are.
        log: The open log; it is replayed here.
        setting: What `status` says.
        clock: Wall time in nanoseconds since 1970.
        random_bytes: Source of serials and tokens.

    Raises:
        ChainBroken: The log was changed.
        ConfigError: Issuing certificate and key do not belong together.
    """

    def __init__(
        self,
        keys: KeyStore,
        *,
        log: SignerLog,
        setting: Setting,
        clock: Callable[[], int],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.keys, self.log, self.setting = keys, log, setting
        self.random_bytes = random_bytes
        self._clock = clock
        self.state = State()
        for record in log.replay():
            self.state.apply(record)
        self.state.time_left = 0  # Statements signed before a crash are not counted again.
        self.refusals = Refusals(self.append)
        if self.state.issuing_der:
            self.check_issuing_key(self.state.issuing_der)
        if log.at_ns > clock() + CLOCK_BEHIND_NS:
            self.append(
                entries.Alarmed(code="clock-behind", text="the clock is behind the signer's log")
            )

    @property
    def now_ns(self) -> int:
        """Wall time, never below that of the last record (REQ-ID-018)."""
        return max(self._clock(), self.log.at_ns)

    def append(self, *batch: entries.AnyEntry) -> None:
        """Write entries; durable and part of the state when this returns.

        Raises:
            Unavailable: The disk takes no more; nothing changed.
        """
        for record in self.log.append(batch, at_ns=self.now_ns):
            self.state.apply(record)

    def certify(
        self,
        public_key: ec.EllipticCurvePublicKey,
        *,
        profile: Profile,
        name: str,
        proof: str,
        expectation_id: str = "",
        superseded: tuple[bytes, ...] = (),
        hosts: tuple[str, ...] = (),
    ) -> bytes:
        """Make a certificate and log it; durable when this returns."""
        certificate = issue_leaf(
            public_key,
            profile=profile,
            name=name,
            issuer=self.issuer(),
            now_ns=self.now_ns,
            serial=int.from_bytes(self.random_bytes(20), "big") >> 1 | 1 << 156,
            hosts=hosts,
        )
        spki = public_key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        der = certificate.public_bytes(serialization.Encoding.DER)
        self.append(
            entries.Certified(
                name=name,
                profile=profile.value,
                spki_sha256=hashlib.sha256(spki).digest(),
                certificate_der=der,
                proof=proof,
                expectation_id=expectation_id,
                superseded=superseded,
            )
        )
        return der

    def own_certificate(self, profile: Profile, role: Role) -> bytes:
        """Return the certificate of the time or audit key; renewed when a third is left."""
        own = [
            one
            for one in self.state.by_name.get(self.state.server_uri, ())
            if one.profile == profile
        ]
        if own:
            third_ns = (own[-1].not_after_ns - own[-1].not_before_ns) // 3
            if self.now_ns < own[-1].not_after_ns - third_ns:
                return own[-1].der
        return self.certify(
            self.keys.key(role).public_key(),
            profile=profile,
            name=self.state.server_uri,
            proof=OWN_PROOF,
        )

    def issuer(self) -> Issuer:
        """Return issuing certificate and key."""
        return Issuer(load_certificate(self.state.issuing_der), self.keys.key(Role.ISSUING))

    def check_rate(self, name: str, *, new: bool) -> None:
        """Check that one more certificate may leave.

        Raises:
            RateLimited: A rate is used up.
        """
        state, now_ns = self.state, self.now_ns
        state.issued_at = [one for one in state.issued_at if one[0] > now_ns - HOUR_NS]
        check_rate(state.issued_at, limits=state.limits, name=name, new=new, now_ns=now_ns)

    def check_issuing_key(self, issuing_der: bytes) -> None:
        """Check that issuing certificate and key belong together.

        Raises:
            ConfigError: They do not.
        """
        certified = load_certificate(issuing_der).public_key()
        if certified != self.keys.key(Role.ISSUING).public_key():
            raise errors.ConfigError("issuing certificate and issuing key do not belong together")

    def sign(self, role: Role, statement: bytes) -> bytes:
        """Return ES256 over a statement, raw r and s, 64 bytes (RFC 7518 section 3.4)."""
        der = self.keys.key(role).sign(statement, ec.ECDSA(hashes.SHA256()))
        r, s = utils.decode_dss_signature(der)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
