"""Rows of releases: reads and writes inside a transaction of their caller."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Result, delete, func, insert, select, update

from asepsis.core.errors import Conflict, LimitExceeded, NotFound
from asepsis.hub.fleet.releases.tables import (
    approvals,
    assignments,
    directed,
    documents,
    fits,
    releases,
    roots,
    vendors,
)

_T = TypeVar("_T")
VENDORS_MAX: Final = 32
APPROVALS_MAX: Final = 16
"""Documents kept of one artefact; the oldest go."""
ROWS_MAX: Final = 20_000
PER_QUERY: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A vendor whose first root a person pinned.

    Attributes:
        name: Its name.
        root: The first root.
        person: Who pinned it.
        added_ns: When, nanoseconds since 1970.
        imported_ns: When its repository was verified last; 0 for never.
    """

    name: str
    root: bytes
    person: str
    added_ns: int
    imported_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One artefact of a vendor; the columns of `update_releases`."""

    sha256: str
    vendor: str
    path: str
    length: int
    model: str
    component: str
    version: str
    counter: int
    floor: int
    reboot: str
    document: str
    author: str
    trouble: str
    withdrawn: bool
    imported_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """An authorisation as it was brought."""

    sha256: str
    artefact: str
    content: bytes
    person: str
    added_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a device is for an update, and who said so."""

    device: str
    model: str
    hardware: str
    person: str
    listed_ns: int


def read_vendors(connection: Connection) -> list[Vendor]:
    """Return every vendor."""
    return [Vendor(**row) for row in _words(connection.execute(select(vendors)))]


def read_vendor(connection: Connection, name: str) -> Vendor:
    """Return one vendor.

    Raises:
        NotFound: Nobody pinned its root.
    """
    found = _words(connection.execute(select(vendors).where(vendors.c.name == name)))
    if not found:
        raise NotFound("no root of that vendor was pinned", hint="asepsis release pin")
    return Vendor(**found[0])


def put_vendor(connection: Connection, vendor: Vendor) -> None:
    """Add a vendor.

    Raises:
        Conflict: It has a root already.
        LimitExceeded: Too many.
    """
    known = [one.name for one in read_vendors(connection)]
    if vendor.name in known:
        raise Conflict("this vendor has its root", hint="it changes by its own chain only")
    if len(known) >= VENDORS_MAX:
        raise LimitExceeded(f"a hub knows at most {VENDORS_MAX} vendors")
    connection.execute(insert(vendors).values(**asdict(vendor)))


def replace_releases(
    connection: Connection, vendor: str, found: Sequence[Published], *, now_ns: int
) -> list[str]:
    """Bring a vendor's artefacts to what its repository names now; returns what was withdrawn.

    Raises:
        Conflict: The same bytes are another release, of this vendor or of another.
    """
    present = {one.sha256: one for one in read_releases(connection) if one.vendor == vendor}
    names = {one.sha256 for one in found}
    if len(names) != len(found):
        raise Conflict("two releases of the vendor have the same bytes")
    gone = [sha for sha, one in present.items() if sha not in names and not one.withdrawn]
    for part in _parts([*names, *gone]):
        connection.execute(
            delete(releases).where(releases.c.vendor == vendor, releases.c.sha256.in_(part))
        )
    kept = [asdict(one) for one in found]
    kept += [asdict(present[sha]) | {"withdrawn": True} for sha in gone]
    for part in _parts(kept):
        connection.execute(insert(releases), part)
    connection.execute(update(vendors).where(vendors.c.name == vendor).values(imported_ns=now_ns))
    return gone


def read_releases(connection: Connection) -> list[Published]:
    """Return every artefact, newest counter first."""
    query = select(releases).order_by(releases.c.counter.desc(), releases.c.sha256)
    rows = connection.execute(query.limit(ROWS_MAX))
    return [Published(**row) for row in _words(rows)]


def read_release(connection: Connection, sha256: str) -> Published:
    """Return one artefact.

    Raises:
        NotFound: No imported repository names it.
    """
    rows = _words(connection.execute(select(releases).where(releases.c.sha256 == sha256)))
    if not rows:
        raise NotFound("no imported repository names that artefact")
    return Published(**rows[0])


def put_document(connection: Connection, sha256: str, content: bytes) -> None:
    """Keep a release document; again is no error."""
    known = connection.execute(select(documents.c.sha256).where(documents.c.sha256 == sha256))
    if known.first() is None:
        connection.execute(insert(documents).values(sha256=sha256, content=content))


def read_documents(connection: Connection, hashes: Iterable[str]) -> dict[str, bytes]:
    """Return release documents by their hash."""
    found: dict[str, bytes] = {}
    for part in _parts([*hashes]):
        for row in connection.execute(select(documents).where(documents.c.sha256.in_(part))):
            found[row.sha256] = row.content
    return found


def put_approval(connection: Connection, approval: Approval) -> bool:
    """Keep an authorisation; says whether it is new. The oldest of an artefact give way."""
    of_artefact = (
        select(approvals.c.sha256)
        .where(approvals.c.artefact == approval.artefact)
        .order_by(approvals.c.added_ns)
    )
    known = connection.execute(of_artefact).scalars().all()
    if approval.sha256 in known:
        return False
    for sha256 in known[: max(0, len(known) - APPROVALS_MAX + 1)]:
        connection.execute(delete(approvals).where(approvals.c.sha256 == sha256))
    connection.execute(insert(approvals).values(**asdict(approval)))
    return True


def read_approvals(
    connection: Connection, *, artefact: str | None = None, sha256: str | None = None
) -> list[Approval]:
    """Return authorisations, the newest first: of one artefact, one of them, or all."""
    query = select(approvals).order_by(approvals.c.added_ns.desc()).limit(ROWS_MAX)
    if artefact is not None:
        query = query.where(approvals.c.artefact == artefact)
    if sha256 is not None:
        query = query.where(approvals.c.sha256 == sha256)
    return [Approval(**row) for row in _words(connection.execute(query))]


def put_root(
    connection: Connection, version: int, content: bytes, *, person: str, now_ns: int
) -> None:
    """Keep a version of the director's root."""
    connection.execute(
        insert(roots).values(version=version, content=content, person=person, added_ns=now_ns)
    )


def read_root(connection: Connection, version: int | None = None) -> tuple[int, bytes] | None:
    """Return a version of the director's root, the newest by default; None where there is none."""
    query = select(roots.c.version, roots.c.content).order_by(roots.c.version.desc()).limit(1)
    if version is not None:
        query = query.where(roots.c.version == version)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.version, row.content)


def put_fits(connection: Connection, listed: Sequence[Listed]) -> None:
    """List devices, or list them anew."""
    for part in _parts([one.device for one in listed]):
        connection.execute(delete(fits).where(fits.c.device.in_(part)))
    for part in _parts([asdict(one) for one in listed]):
        connection.execute(insert(fits), part)


def read_fits(connection: Connection, devices: Sequence[str]) -> dict[str, Listed]:
    """Return what is listed of devices."""
    found: dict[str, Listed] = {}
    for part in _parts(devices):
        rows = connection.execute(select(fits).where(fits.c.device.in_(part)))
        found |= {row["device"]: Listed(**row) for row in _words(rows)}
    return found


def count_fits(connection: Connection) -> int:
    """Return how many devices are listed."""
    return connection.execute(select(func.count()).select_from(fits)).scalar_one()


def stir(connection: Connection, artefacts: Sequence[str]) -> int:
    """Have everything signed anew that assigns one of these artefacts; returns how many devices."""
    touched = 0
    for part in _parts(artefacts):
        holding = select(assignments.c.device).where(assignments.c.artefact.in_(part))
        touched += connection.execute(
            update(directed)
            .where(directed.c.device.in_(holding))
            .values(revision=directed.c.revision + 1)
        ).rowcount
    return touched


def _parts(values: Sequence[_T]) -> Iterable[Sequence[_T]]:
    return (values[i : i + PER_QUERY] for i in range(0, len(values), PER_QUERY))


def _words(rows: Result[Any]) -> list[dict[str, Any]]:
    """Return rows as values by the names of their columns."""
    return [{str(key): value for key, value in row.items()} for row in rows.mappings()]
