"""The registry's rows: read for the book, changed in the caller's unit of work."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust.identity import OriginCertificate, PeerCertificate, Profile
from asepsis.core.trust.signer_values import Expectation
from asepsis.hub.registry.book import (
    BookState,
    CertificateEntry,
    DeviceEntry,
)
from asepsis.hub.registry.delegations import rows
from asepsis.hub.registry.tables import certificates, devices, revocations
from asepsis.hub.store.store import next_number
from asepsis.hub.store.tables import counters

COUNTER: Final = "registry"
NAMES_PER_QUERY: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSummary:
    """One line of the list of devices.

    Attributes:
        name: SAN URI.
        kind: Device, gateway or consumer.
        model: What a person listed it as.
        origin_key: Whether its origin compartment has a key.
        enrolled_at_ns: First enrolment, nanoseconds since 1970.
        renewed_at_ns: Newest certificate, nanoseconds since 1970.
        expires_at_ns: End of the newest certificate that is not void; 0 if there is none.
        revoked_at_ns: When it was revoked, None if it is not.
    """

    name: str
    kind: str
    model: str
    origin_key: bool
    enrolled_at_ns: int
    renewed_at_ns: int
    expires_at_ns: int
    revoked_at_ns: int | None


def read_all(connection: Connection) -> BookState:
    """Read everything that the book holds."""
    lines, named = rows.read_lines(connection)
    return BookState(
        version=version(connection),
        devices=_devices(connection, select(devices)),
        certificates=_certificates(connection, _opening()),
        void=connection.execute(select(certificates.c.fingerprint).where(certificates.c.void))
        .scalars()
        .all(),
        revoked=connection.execute(select(revocations.c.name)).scalars().all(),
        declarations=lines,
        sources=named,
    )


def read_names(connection: Connection, names: Iterable[str]) -> BookState:
    """Read what the book holds of some names, at most `NAMES_PER_QUERY`."""
    wanted = list(names)
    lines, named = rows.read_lines(connection, holders=wanted)
    return BookState(
        devices=_devices(connection, select(devices).where(devices.c.name.in_(wanted))),
        certificates=_certificates(connection, _opening().where(certificates.c.name.in_(wanted))),
        void=connection.execute(
            select(certificates.c.fingerprint).where(
                certificates.c.void, certificates.c.name.in_(wanted)
            )
        )
        .scalars()
        .all(),
        revoked=connection.execute(select(revocations.c.name).where(revocations.c.name.in_(wanted)))
        .scalars()
        .all(),
        declarations=lines,
        sources=named,
    )


def version(connection: Connection) -> int:
    """Return the number of the registry's last change, 0 before the first."""
    found = connection.execute(
        select(counters.c.value).where(counters.c.name == COUNTER)
    ).scalar_one_or_none()
    return found or 0


def changed_since(connection: Connection, seen: int) -> tuple[int, list[str]]:
    """Return a later version and the names that changed up to it, at most `NAMES_PER_QUERY`."""
    found = connection.execute(
        select(devices.c.name, devices.c.version)
        .where(devices.c.version > seen)
        .order_by(devices.c.version)
        .limit(NAMES_PER_QUERY)
    ).all()
    return (found[-1].version if found else seen), [row.name for row in found]


def touch(connection: Connection, name: str) -> None:
    """Note that something about a name changed, for the other hubs."""
    connection.execute(
        update(devices)
        .where(devices.c.name == name)
        .values(version=next_number(connection, COUNTER))
    )


def is_recorded(connection: Connection, fingerprint: bytes) -> bool:
    """Whether a certificate is in the registry."""
    query = select(certificates.c.serial).where(certificates.c.fingerprint == fingerprint)
    return connection.execute(query).first() is not None


def put_device(
    connection: Connection, peer: PeerCertificate, listed: Expectation, *, now_ns: int
) -> None:
    """Add a machine or bring it to what a person listed; a new key voids what the old one had."""
    values: dict[str, Any] = {
        "kind": peer.kind.value,
        "model": listed.model,
        "key_sha256": peer.spki_sha256,
        "origin_required": listed.origin_required,
        "lease_ms": listed.lease_ms,
        "renewal_window_days": listed.renewal_window_days,
        "renewed_at_ns": now_ns,
    }
    known = connection.execute(
        select(devices.c.key_sha256).where(devices.c.name == peer.uri)
    ).scalar_one_or_none()
    if known is None:
        values |= {"name": peer.uri, "enrolled_at_ns": now_ns, "version": 0}
        connection.execute(insert(devices).values(values))
        return
    if known != peer.spki_sha256:
        values |= {"enrolled_at_ns": now_ns, "origin_spki": None}
        void_all(connection, peer.uri)
    connection.execute(update(devices).where(devices.c.name == peer.uri).values(values))


def put_certificate(
    connection: Connection,
    peer: PeerCertificate | OriginCertificate,
    profile: Profile,
    *,
    now_ns: int,
) -> None:
    """Add a certificate that is about to be handed out."""
    name = peer.uri if isinstance(peer, PeerCertificate) else peer.device.uri
    connection.execute(
        insert(certificates).values(
            fingerprint=peer.fingerprint,
            serial=f"{peer.serial:x}",
            name=name,
            profile=profile.value,
            not_before_ns=peer.not_before_ns,
            not_after_ns=peer.not_after_ns,
            issued_at_ns=now_ns,
            void=False,
        )
    )


def origin_spki(connection: Connection, name: str) -> tuple[bool, bytes | None]:
    """Return whether a device is enrolled, and its origin key."""
    row = connection.execute(
        select(devices.c.origin_spki).where(devices.c.name == name)
    ).one_or_none()
    return (False, None) if row is None else (True, row.origin_spki)


def bind_origin(connection: Connection, name: str, spki_der: bytes) -> None:
    """Bind an origin key to a device."""
    connection.execute(update(devices).where(devices.c.name == name).values(origin_spki=spki_der))


def void_all(connection: Connection, name: str) -> None:
    """End every certificate of a name for ever."""
    connection.execute(update(certificates).where(certificates.c.name == name).values(void=True))


def void_serials(connection: Connection, serials: Iterable[int]) -> None:
    """End some certificates for ever."""
    wanted = [f"{serial:x}" for serial in serials]
    connection.execute(
        update(certificates).where(certificates.c.serial.in_(wanted)).values(void=True)
    )


def revocation_told(connection: Connection, name: str) -> bool | None:
    """Return None if a name is not revoked, else whether the signer knows that it is."""
    return connection.execute(
        select(revocations.c.signer_told).where(revocations.c.name == name)
    ).scalar_one_or_none()


def put_revocation(
    connection: Connection, name: str, *, person: str, reason: str, now_ns: int
) -> None:
    """Revoke a name and end its certificates."""
    connection.execute(
        insert(revocations).values(
            name=name, at_ns=now_ns, person=person, reason=reason.encode(), signer_told=False
        )
    )
    void_all(connection, name)


def lift_revocation(connection: Connection, name: str) -> None:
    """Forget a revocation after a person listed the name again; its certificates stay void."""
    connection.execute(delete(revocations).where(revocations.c.name == name))


def mark_told(connection: Connection, name: str) -> None:
    """Note that the signer knows of a revocation."""
    connection.execute(
        update(revocations).where(revocations.c.name == name).values(signer_told=True)
    )


def untold(connection: Connection) -> list[tuple[str, str]]:
    """Return names and reasons of revocations that the signer does not know of yet."""
    found = connection.execute(
        select(revocations.c.name, revocations.c.reason).where(~revocations.c.signer_told)
    )
    return [(row.name, row.reason.decode()) for row in found]


def summaries(
    connection: Connection, *, name: str | None = None, after: str = "", limit: int = 1
) -> list[DeviceSummary]:
    """Return lines of the list of devices, by name: one name, or a page after a name."""
    newest = (
        select(certificates.c.name, func.max(certificates.c.not_after_ns).label("until_ns"))
        .where(~certificates.c.void, certificates.c.profile != Profile.ORIGIN.value)
        .group_by(certificates.c.name)
        .subquery()
    )
    query = (
        select(devices, newest.c.until_ns, revocations.c.at_ns.label("revoked_at_ns"))
        .outerjoin(newest, newest.c.name == devices.c.name)
        .outerjoin(revocations, revocations.c.name == devices.c.name)
        .where(devices.c.name > after if name is None else devices.c.name == name)
        .order_by(devices.c.name)
        .limit(limit)
    )
    return [
        DeviceSummary(
            name=row.name,
            kind=row.kind,
            model=row.model,
            origin_key=row.origin_spki is not None,
            enrolled_at_ns=row.enrolled_at_ns,
            renewed_at_ns=row.renewed_at_ns,
            expires_at_ns=row.until_ns or 0,
            revoked_at_ns=row.revoked_at_ns,
        )
        for row in connection.execute(query)
    ]


def _opening() -> Select[Any]:
    """Select the certificates that open connections."""
    return select(certificates).where(
        ~certificates.c.void, certificates.c.profile != Profile.ORIGIN.value
    )


def _devices(connection: Connection, query: Select[Any]) -> list[DeviceEntry]:
    return [
        DeviceEntry(
            name=row.name,
            kind=PrincipalKind(row.kind),
            model=row.model,
            key_sha256=row.key_sha256,
            origin_required=row.origin_required,
            origin_spki=row.origin_spki,
            lease_ms=row.lease_ms,
            renewal_window_days=row.renewal_window_days,
        )
        for row in connection.execute(query)
    ]


def _certificates(connection: Connection, query: Select[Any]) -> list[CertificateEntry]:
    return [
        CertificateEntry(
            name=row.name,
            serial=int(row.serial, 16),
            fingerprint=row.fingerprint,
            not_before_ns=row.not_before_ns,
            not_after_ns=row.not_after_ns,
            issued_at_ns=row.issued_at_ns,
        )
        for row in connection.execute(query)
    ]
