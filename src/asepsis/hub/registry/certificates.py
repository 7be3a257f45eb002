"""What people see of a machine besides its line: certificates, revocation, declared lists."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from asepsis.hub.registry.tables import certificates, delegations, devices, revocations


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateLine:
    """One certificate that was handed out; times in nanoseconds since 1970.

    Attributes:
        serial: Hexadecimal.
        profile: What it is for.
        not_before_ns: First moment of its validity.
        not_after_ns: Last moment.
        void: Whether it never opens again.
    """

    serial: str
    profile: str
    not_before_ns: int
    not_after_ns: int
    void: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFile:
    """Everything that stands about one machine.

    Attributes:
        lease_ms: After how much silence it counts as gone; 0 for the default.
        key_sha256: SHA-256 of its public key, hexadecimal.
        certificates: The newest first.
        revoked_by: Who revoked it; empty if it is not revoked.
        revoked_because: In whose words; may name a patient.
        speaks_for: Devices on its declared list.
        spoken_for_by: Gateways whose declared list it is on.
    """

    lease_ms: int
    key_sha256: str
    certificates: tuple[CertificateLine, ...]
    revoked_by: str
    revoked_because: str
    speaks_for: tuple[str, ...]
    spoken_for_by: tuple[str, ...]


def machine_file(connection: Connection, name: str, *, certificates_max: int) -> MachineFile:
    """Return what stands about a machine; empty fields for a name that is not known.

    Args:
        connection: A consistent view.
        name: Its name.
        certificates_max: How many of its certificates.
    """
    machine = connection.execute(select(devices).where(devices.c.name == name)).one_or_none()
    revoked = connection.execute(
        select(revocations.c.person, revocations.c.reason).where(revocations.c.name == name)
    ).one_or_none()
    rows = connection.execute(
        select(certificates)
        .where(certificates.c.name == name)
        .order_by(certificates.c.issued_at_ns.desc())
        .limit(certificates_max)
    )
    held = select(delegations.c.device).where(delegations.c.holder == name)
    holders = select(delegations.c.holder).where(delegations.c.device == name)
    return MachineFile(
        lease_ms=0 if machine is None else machine.lease_ms,
        key_sha256="" if machine is None else machine.key_sha256.hex(),
        certificates=tuple(
            CertificateLine(
                serial=row.serial,
                profile=row.profile,
                not_before_ns=row.not_before_ns,
                not_after_ns=row.not_after_ns,
                void=row.void,
            )
            for row in rows
        ),
        revoked_by="" if revoked is None else revoked.person,
        revoked_because="" if revoked is None else revoked.reason.decode("utf-8", "replace"),
        speaks_for=tuple(connection.scalars(held.order_by(delegations.c.device))),
        spoken_for_by=tuple(connection.scalars(holders.order_by(delegations.c.holder))),
    )
