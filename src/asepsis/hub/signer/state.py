"""What the signer knows, rebuilt from its log. Pure: records in, knowledge out."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from asepsis.core.trust.answers import Alarm
from asepsis.core.trust.identity import load_certificate, not_after_ns, not_before_ns
from asepsis.core.trust.signer_values import Expectation, Limits
from asepsis.hub.signer import entries
from asepsis.hub.signer.log import Record

ALARMS_KEPT: Final = 1_000
SERIAL_BYTES: Final = 20
OWN_PROOF: Final = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate that this signer issued, with why.

    Attributes:
        name: Identity.
        profile: Profile.
        serial: Serial number.
        spki_sha256: Its key.
        not_before_ns: Start of validity, nanoseconds since 1970.
        not_after_ns: End of validity, nanoseconds since 1970.
        der: The certificate.
        expectation_id: Who was listed.
    """

    name: str
    profile: str
    serial: int
    spki_sha256: bytes
    not_before_ns: int
    not_after_ns: int
    der: bytes
    expectation_id: str
    superseded: tuple[bytes, ...]


@dataclass(slots=True)
class Listing:
    """An expectation and what became of it."""

    expectation: Expectation
    secret_sha256: bytes
    failures: int = 0
    closed: bool = False
    used: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """Profile -> key that it was used for."""


@dataclass(slots=True)
class State:
    """Everything the signer decides by."""

    issuing_der: bytes = b""
    root_der: bytes = b""
    server_uri: str = ""
    server_names: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    listings: dict[str, Listing] = field(default_factory=dict[str, Listing])
    behind: dict[str, str] = field(default_factory=dict[str, str])
    """Name -> id of the expectation that a certificate was issued by."""
    bound: dict[tuple[str, str], bytes] = field(default_factory=dict[tuple[str, str], bytes])
    """(name, profile) -> key."""
    owners: dict[bytes, tuple[str, str]] = field(default_factory=dict[bytes, tuple[str, str]])
    """Key -> (name, profile), for ever: a key never changes its owner."""
    by_fingerprint: dict[bytes, Certificate] = field(default_factory=dict[bytes, Certificate])
    by_name: dict[str, list[Certificate]] = field(default_factory=dict[str, list[Certificate]])
    by_proof: dict[tuple[str, str], Certificate] = field(
        default_factory=dict[tuple[str, str], Certificate]
    )
    """(proof, profile) -> the newest certificate it gave."""
    revoked_names: dict[str, str] = field(default_factory=dict[str, str])
    revoked_serials: dict[int, tuple[int, str, int]] = field(
        default_factory=dict[int, tuple[int, str, int]]
    )
    """Serial -> (when, reason, end of validity)."""
    makers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    head: tuple[int, bytes] | None = None
    time_left: int = 0
    time_until_ns: int = 0
    crl_number: int = 0
    director_version: int = 0
    refusals: int = 0
    alarm_count: int = 0
    alarms: list[Alarm] = field(default_factory=list[Alarm])
    issued_at: list[tuple[int, str, bool]] = field(default_factory=list[tuple[int, str, bool]])
    """(when, name, whether new) of certificates, for the rates; the caller trims it."""

    def apply(self, record: Record) -> None:
        """Take one record of the log in."""
        _APPLY[type(record.entry)](self, record)

    def open_listings(self, now_ns: int) -> list[Listing]:
        """Return listings that still open something, oldest first."""
        return [
            one
            for one in self.listings.values()
            if not one.closed and one.expectation.expires_ns > now_ns
        ]

    def expectation_of(self, name: str) -> Expectation | None:
        """Return what the person decided who listed this name."""
        listing = self.listings.get(self.behind.get(name, ""))
        return listing.expectation if listing else None

    def live_serials(self, name: str) -> list[int]:
        """Return serials of a name that are not revoked, expired ones included."""
        return [
            one.serial
            for one in self.by_name.get(name, ())
            if one.serial not in self.revoked_serials
        ]


def _installed(state: State, record: Record) -> None:
    entry = cast("entries.Installed", record.entry)
    state.issuing_der, state.root_der = entry.issuing_der, entry.root_der
    state.server_uri, state.server_names = entry.server_uri, entry.server_names


def _reissued(state: State, record: Record) -> None:
    state.issuing_der = cast("entries.Reissued", record.entry).issuing_der


def _listed(state: State, record: Record) -> None:
    entry = cast("entries.Listed", record.entry)
    state.listings[entry.expectation.id] = Listing(entry.expectation, entry.secret_sha256)


def _withdrawn(state: State, record: Record) -> None:
    entry = cast("entries.Withdrawn", record.entry)
    state.listings[entry.id].closed = True


def _certified(state: State, record: Record) -> None:
    entry = cast("entries.Certified", record.entry)
    parsed = load_certificate(entry.certificate_der)
    certificate = Certificate(
        name=entry.name,
        profile=entry.profile,
        serial=parsed.serial_number,
        spki_sha256=entry.spki_sha256,
        not_before_ns=not_before_ns(parsed),
        not_after_ns=not_after_ns(parsed),
        der=entry.certificate_der,
        expectation_id=entry.expectation_id,
        superseded=entry.superseded,
    )
    fingerprint = hashlib.sha256(entry.certificate_der).digest()
    state.by_fingerprint[fingerprint] = certificate
    state.by_name.setdefault(entry.name, []).append(certificate)
    state.by_proof[(entry.proof, entry.profile)] = certificate
    state.issued_at.append((record.at_ns, entry.name, not entry.proof.startswith("renewal:")))
    if entry.proof == OWN_PROOF:
        return
    state.bound[(entry.name, entry.profile)] = entry.spki_sha256
    state.owners[entry.spki_sha256] = (entry.name, entry.profile)
    state.behind[entry.name] = entry.expectation_id
    state.listings[entry.expectation_id].used[entry.profile] = entry.spki_sha256
    for serial in entry.superseded:
        _end_serial(state, int.from_bytes(serial, "big"), entry.name, record.at_ns, "superseded")


def _revoked(state: State, record: Record) -> None:
    entry = cast("entries.Ended", record.entry)
    state.revoked_names[entry.name] = entry.reason
    for serial in state.live_serials(entry.name):
        _end_serial(state, serial, entry.name, record.at_ns, entry.reason)
    for listing in state.listings.values():
        if listing.expectation.name == entry.name:
            listing.closed = True


def _end_serial(state: State, serial: int, name: str, at_ns: int, reason: str) -> None:
    ends = next(one.not_after_ns for one in state.by_name[name] if one.serial == serial)
    state.revoked_serials[serial] = (at_ns, reason, ends)


def _released(state: State, record: Record) -> None:
    name = cast("entries.Released", record.entry).name
    state.revoked_names.pop(name, None)


def _maker_trusted(state: State, record: Record) -> None:
    der = cast("entries.MakerTrusted", record.entry).certificate_der
    state.makers[hashlib.sha256(der).digest()] = der


def _maker_distrusted(state: State, record: Record) -> None:
    state.makers.pop(cast("entries.MakerDistrusted", record.entry).fingerprint, None)


def _limits_set(state: State, record: Record) -> None:
    state.limits = cast("entries.LimitsSet", record.entry).limits


def _head_signed(state: State, record: Record) -> None:
    entry = cast("entries.HeadSigned", record.entry)
    state.head = (entry.size, entry.root)


def _head_forgotten(state: State, record: Record) -> None:
    del record
    state.head = None


def _time_allowed(state: State, record: Record) -> None:
    entry = cast("entries.TimeAllowed", record.entry)
    state.time_left, state.time_until_ns = entry.count, entry.until_ns


def _crl_signed(state: State, record: Record) -> None:
    state.crl_number = cast("entries.CrlSigned", record.entry).number


def _directed(state: State, record: Record) -> None:
    state.director_version = cast("entries.Directed", record.entry).version


def _denied(state: State, record: Record) -> None:
    del record
    state.refusals += 1


def _denied_more(state: State, record: Record) -> None:
    state.refusals += cast("entries.DeniedMore", record.entry).count


def _token_failed(state: State, record: Record) -> None:
    state.listings[cast("entries.TokenFailed", record.entry).id].failures += 1


def _alarmed(state: State, record: Record) -> None:
    entry = cast("entries.Alarmed", record.entry)
    state.alarm_count += 1
    state.alarms.append(
        Alarm(
            number=state.alarm_count,
            at_ns=record.at_ns,
            code=entry.code,
            text=entry.text,
            name=entry.name,
        )
    )
    del state.alarms[:-ALARMS_KEPT]


_APPLY: Final[Mapping[type[entries.Entry], Callable[[State, Record], None]]] = {
    entries.Installed: _installed,
    entries.Reissued: _reissued,
    entries.Listed: _listed,
    entries.Withdrawn: _withdrawn,
    entries.Certified: _certified,
    entries.Ended: _revoked,
    entries.Released: _released,
    entries.MakerTrusted: _maker_trusted,
    entries.MakerDistrusted: _maker_distrusted,
    entries.LimitsSet: _limits_set,
    entries.HeadSigned: _head_signed,
    entries.HeadForgotten: _head_forgotten,
    entries.TimeAllowed: _time_allowed,
    entries.Directed: _directed,
    entries.CrlSigned: _crl_signed,
    entries.Denied: _denied,
    entries.DeniedMore: _denied_more,
    entries.TokenFailed: _token_failed,
    entries.Alarmed: _alarmed,
}
