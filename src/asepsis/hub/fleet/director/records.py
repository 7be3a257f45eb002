"""Rows of the director: what is assigned, and what was signed of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update

from asepsis.hub.fleet.releases.tables import assignments, directed

PER_QUERY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a device is to have, in one state.

    Attributes:
        device: Its name.
        revision: Number of that state.
        artefacts: Component -> SHA-256 of the artefact.
    """

    device: str
    revision: int
    artefacts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the director says to a device.

    Attributes:
        device: Its name.
        revision: Which state of its assignments was signed.
        version: Of the signed roles.
        renew_ns: When it is to be signed anew, nanoseconds since 1970.
        files: JSON: file name -> its text.
    """

    device: str
    revision: int
    version: int
    renew_ns: int
    files: str


def assign(
    connection: Connection, device: str, component: str, artefact: str, *, now_ns: int
) -> bool:
    """Assign an artefact in place of what the component had; says whether that is a change."""
    same = (assignments.c.device == device, assignments.c.component == component)
    present = connection.execute(select(assignments.c.artefact).where(*same)).scalar_one_or_none()
    if present == artefact:
        return False
    connection.execute(delete(assignments).where(*same))
    connection.execute(
        insert(assignments).values(
            device=device, component=component, artefact=artefact, assigned_ns=now_ns
        )
    )
    stir(connection, device)
    return True


def clear(connection: Connection, device: str, component: str | None) -> bool:
    """Take back what is assigned; says whether there was anything."""
    of = assignments.c.device == device
    which = of if component is None else of & (assignments.c.component == component)
    if not connection.execute(delete(assignments).where(which)).rowcount:
        return False
    stir(connection, device)
    return True


def stir(connection: Connection, device: str) -> None:
    """Note that a device's assignments changed, or that something is to be said to it at all."""
    changed = connection.execute(
        update(directed).where(directed.c.device == device).values(revision=directed.c.revision + 1)
    )
    if not changed.rowcount:
        connection.execute(
            insert(directed).values(
                device=device, revision=1, signed_revision=0, version=0, renew_ns=0, files="{}"
            )
        )


def assigned(connection: Connection, device: str) -> dict[str, str]:
    """Return what is assigned to a device: component -> SHA-256 of the artefact."""
    rows = connection.execute(select(assignments).where(assignments.c.device == device))
    return {row.component: row.artefact for row in rows}


def wanted(connection: Connection, devices: Sequence[str]) -> list[Wanted]:
    """Return what devices are to have; who was never stirred is not in it."""
    found: list[Wanted] = []
    for start in range(0, len(devices), PER_QUERY):
        part = devices[start : start + PER_QUERY]
        artefacts: dict[str, dict[str, str]] = {}
        for row in connection.execute(select(assignments).where(assignments.c.device.in_(part))):
            artefacts.setdefault(row.device, {})[row.component] = row.artefact
        rows = connection.execute(
            select(directed.c.device, directed.c.revision).where(directed.c.device.in_(part))
        )
        found += [
            Wanted(
                device=row.device, revision=row.revision, artefacts=artefacts.get(row.device, {})
            )
            for row in rows
        ]
    return found


def due(connection: Connection, *, now_ns: int, limit: int, after: str = "") -> list[str]:
    """Return devices to whom something else is to be said, or the same anew, by name."""
    query = (
        select(directed.c.device)
        .where(
            directed.c.device > after,
            or_(directed.c.signed_revision < directed.c.revision, directed.c.renew_ns <= now_ns),
        )
        .order_by(directed.c.device)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def keep(connection: Connection, said: Sequence[Said]) -> None:
    """Keep what was signed, unless something newer was signed meanwhile."""
    if not said:
        return
    newer = (
        update(directed)
        .where(
            directed.c.device == bindparam("of_device"),
            directed.c.version < bindparam("new_version"),
            directed.c.signed_revision <= bindparam("of_revision"),
        )
        .values(
            signed_revision=bindparam("of_revision"),
            version=bindparam("new_version"),
            renew_ns=bindparam("new_renew_ns"),
            files=bindparam("new_files"),
        )
    )
    rows = [
        {
            "of_device": one.device,
            "of_revision": one.revision,
            "new_version": one.version,
            "new_renew_ns": one.renew_ns,
            "new_files": one.files,
        }
        for one in said
    ]
    connection.execute(newer, rows)


def read(connection: Connection, device: str) -> tuple[bool, str] | None:
    """Return whether what was signed is of the newest state, and the files; None for none."""
    row = connection.execute(select(directed).where(directed.c.device == device)).one_or_none()
    if row is None or not row.version:
        return None
    return row.signed_revision == row.revision, row.files


def counts(connection: Connection) -> tuple[int, int]:
    """Return to how many devices something is said, and for how many it is not signed yet."""
    every = connection.execute(select(func.count()).select_from(directed)).scalar_one()
    behind = directed.c.signed_revision < directed.c.revision
    late = connection.execute(select(func.count()).select_from(directed).where(behind)).scalar_one()
    return every, late
