"""Rows of attestation: reads and writes inside a transaction of their caller."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, Result, Row, delete, insert, select

from asepsis.core.errors import Conflict, LimitExceeded, NotFound
from asepsis.core.trust.attestation import Release
from asepsis.hub.registry.attestation.standing import Device
from asepsis.hub.registry.attestation.tables import attested, floors, makers, releases

MAKERS_MAX: Final = 200
RELEASES_MAX: Final = 2_000
DEVICES_MAX: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """A trusted CA certificate of a maker of TPMs."""

    sha256: str
    subject: str
    certificate: bytes
    person: str
    added_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A release of a model with who entered it."""

    model: str
    release: Release
    person: str
    added_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The oldest release of a model that may run."""

    model: str
    number: int
    person: str
    decided_ns: int


def read_makers(connection: Connection) -> list[Maker]:
    """Return every trusted maker."""
    rows = connection.execute(select(makers).order_by(makers.c.subject).limit(MAKERS_MAX))
    return [Maker(**row) for row in _words(rows)]


def put_maker(connection: Connection, maker: Maker) -> None:
    """Trust a maker; again is no error.

    Raises:
        LimitExceeded: Too many.
    """
    present = read_makers(connection)
    if any(one.sha256 == maker.sha256 for one in present):
        return
    if len(present) >= MAKERS_MAX:
        raise LimitExceeded(f"a hub trusts at most {MAKERS_MAX} makers of TPMs")
    connection.execute(insert(makers).values(**asdict(maker)))


def remove_maker(connection: Connection, sha256: str) -> None:
    """Trust a maker no more.

    Raises:
        NotFound: It is not trusted.
    """
    if not connection.execute(delete(makers).where(makers.c.sha256 == sha256)).rowcount:
        raise NotFound("no such maker of TPMs")


def read_releases(connection: Connection, *, model: str | None = None) -> list[Released]:
    """Return the releases of a model, or all."""
    query = select(releases).order_by(releases.c.model, releases.c.number.desc())
    if model is not None:
        query = query.where(releases.c.model == model)
    return [_released(row) for row in connection.execute(query.limit(RELEASES_MAX))]


def put_release(connection: Connection, released: Released) -> None:
    """Enter a release, or enter it anew.

    Raises:
        LimitExceeded: Too many.
    """
    remove_release(connection, released.model, released.release.name)
    if len(connection.execute(select(releases.c.name)).all()) >= RELEASES_MAX:
        raise LimitExceeded(f"a hub knows at most {RELEASES_MAX} releases")
    release = released.release
    connection.execute(
        insert(releases).values(
            model=released.model,
            name=release.name,
            number=release.number,
            registers=json.dumps({str(p): v.hex() for p, v in release.registers.items()}),
            parts=json.dumps(sorted(release.parts)),
            person=released.person,
            added_ns=released.added_ns,
        )
    )


def remove_release(connection: Connection, model: str, name: str) -> bool:
    """Forget a release; say whether there was one."""
    gone = connection.execute(
        delete(releases).where(releases.c.model == model, releases.c.name == name)
    )
    return gone.rowcount > 0


def read_floors(connection: Connection) -> list[Floor]:
    """Return every floor."""
    rows = connection.execute(select(floors).order_by(floors.c.model).limit(RELEASES_MAX))
    return [Floor(**row) for row in _words(rows)]


def floor_of_model(connection: Connection, model: str) -> int:
    """Return the number of the oldest release of a model that may run; 0 where none was said."""
    found = connection.execute(select(floors.c.number).where(floors.c.model == model))
    return found.scalar_one_or_none() or 0


def put_floor(connection: Connection, floor: Floor) -> None:
    """Raise a floor.

    Raises:
        Conflict: It would be lowered, which the TPMs could not follow.
    """
    present = floor_of_model(connection, floor.model)
    if floor.number < present:
        raise Conflict(f"the floor of {floor.model} is {present} and is never lowered")
    connection.execute(delete(floors).where(floors.c.model == floor.model))
    connection.execute(insert(floors).values(**asdict(floor)))


def read_devices(connection: Connection) -> list[Device]:
    """Return every device whose commissioning was opened."""
    rows = connection.execute(select(attested).order_by(attested.c.device).limit(DEVICES_MAX))
    return [_device(row) for row in _words(rows)]


def read_device(connection: Connection, name: str) -> Device | None:
    """Return one device; None if its commissioning was never opened."""
    rows = _words(connection.execute(select(attested).where(attested.c.device == name)))
    return _device(rows[0]) if rows else None


def put_device(connection: Connection, device: Device) -> None:
    """Write one device."""
    remove_device(connection, device.name)
    values = asdict(device)
    connection.execute(insert(attested).values(device=values.pop("name"), **values))


def remove_device(connection: Connection, name: str) -> bool:
    """Forget a device; say whether it was there."""
    return connection.execute(delete(attested).where(attested.c.device == name)).rowcount > 0


def holder_of(connection: Connection, ek_sha256: str) -> str | None:
    """Return the device that a TPM belongs to; None for nobody's."""
    found = connection.execute(select(attested.c.device).where(attested.c.ek_sha256 == ek_sha256))
    return found.scalars().first()


def _released(row: Row[Any]) -> Released:
    registers = {int(p): bytes.fromhex(v) for p, v in json.loads(row.registers).items()}
    parts = frozenset[str](json.loads(row.parts))
    release = Release(name=row.name, number=row.number, registers=registers, parts=parts)
    return Released(model=row.model, release=release, person=row.person, added_ns=row.added_ns)


def _device(row: dict[str, Any]) -> Device:
    return Device(name=row.pop("device"), **row)


def _words(rows: Result[Any]) -> list[dict[str, Any]]:
    """Return rows as values by the names of their columns."""
    return [{str(key): value for key, value in row.items()} for row in rows.mappings()]
