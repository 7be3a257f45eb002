"""The rows of associations: a scene read for a decision, written where the decision changed it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Select, Table, delete, insert, or_, select, update

from asepsis.core.model.association import Association, AssociationState
from asepsis.core.model.patient import PatientId, Place
from asepsis.hub.registry.associations.book import Present
from asepsis.hub.registry.associations.row_values import (
    association_of,
    occupant_of,
    patient_of,
    placed_of,
    placed_values,
    stay_of,
    use_of,
    use_values,
)
from asepsis.hub.registry.associations.scene import DeviceUse, KnownPatient, Scene, Stay
from asepsis.hub.registry.associations.tables import (
    associations,
    device_uses,
    patients,
    placements,
    stays,
    ward_rules,
)
from asepsis.hub.store.sealed import ColumnSealer
from asepsis.hub.store.store import next_number
from asepsis.hub.store.tables import counters

COUNTER: Final = "associations"
LOOK_BACK_NS: Final = 31 * 86_400 * 1_000_000_000
"""How far back a decision looks: what ended more than 31 days before is not touched any more."""
ROWS_MAX: Final = 5_000
"""Rows of one kind that one decision or one answer looks at."""
_LOOKUP: Final = "patients.patient"
_ACTIVE: Final = (AssociationState.PROPOSED.value, AssociationState.CONFIRMED.value)
_HELD: Final = (AssociationState.CONFIRMED.value, AssociationState.ENDED.value)

T = TypeVar("T")


class _Identity(msgspec.Struct, frozen=True, array_like=True):
    """What stands sealed about a patient."""

    value: str
    authority: str
    name: str
    birth_date: str


_IDENTITY: Final = msgspec.json.Decoder(_Identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What a decision is about; `load` adds everything that it could reach from there.

    Attributes:
        patients: Identifiers.
        devices: Names.
        places: Beds.
    """

    patients: Collection[PatientId] = ()
    devices: Collection[str] = ()
    places: Collection[Place] = ()


@dataclass(slots=True, kw_only=True)
class Loaded:
    """A scene and what it was before the decision.

    Attributes:
        scene: To be changed.
        before: Rows by table, as they stand.
    """

    scene: Scene
    before: dict[Table, dict[Any, Any]] = field(default_factory=dict[Table, dict[Any, Any]])


class Rows:
    """Reads and writes; one for a hub, safe in every thread.

    Args:
        sealer: Makes the keyed hash that a patient is referred to by.
    """

    def __init__(self, sealer: ColumnSealer) -> None:
        self._sealer = sealer

    def reference(self, patient: PatientId) -> bytes:
        """Return the keyed hash of an identifier."""
        return self._sealer.lookup_hash(_LOOKUP, patient.key().encode())

    def load(
        self, connection: Connection, touched: Touched, *, now_ns: int, fresh_id: Callable[[], str]
    ) -> Loaded:
        """Read everything that a decision about `touched` could look at or change."""
        floor_ns = now_ns - LOOK_BACK_NS
        wanted = self._aliases(connection, {self.reference(p) for p in touched.patients})
        places = {place.key() for place in touched.places}
        places |= set(_column(connection, _recent(select(stays.c.place), stays, floor_ns).where(
            stays.c.patient.in_(wanted), stays.c.cancelled.is_(False)
        )))  # fmt: skip
        places |= set(
            _column(
                connection,
                select(placements.c.place).where(placements.c.device.in_(touched.devices)),
            )
        )
        stood = connection.execute(
            select(placements).where(
                or_(placements.c.place.in_(places), placements.c.device.in_(touched.devices))
            )
        ).all()
        devices = {*touched.devices, *(row.device for row in stood)}
        stay_rows = connection.execute(
            _recent(select(stays), stays, floor_ns)
            .where(or_(stays.c.patient.in_(wanted), stays.c.place.in_(places)))
            .limit(ROWS_MAX)
        ).all()
        association_rows = connection.execute(
            _recent(select(associations), associations, floor_ns)
            .where(
                or_(
                    associations.c.device.in_(devices),
                    associations.c.patient.in_(wanted),
                    associations.c.place.in_(places),
                )
            )
            .limit(ROWS_MAX)
        ).all()
        named = wanted | {row.patient for row in (*stay_rows, *association_rows)}
        known = self._patients(connection, self._aliases(connection, named))
        wards = {Place.of_key(key).point_of_care for key in places}
        scene = Scene(
            now_ns=now_ns,
            fresh_id=fresh_id,
            patients={one.id: one for one in known.values()},
            stays={row.id: stay_of(row, known) for row in stay_rows},
            associations={row.id: association_of(row, known) for row in association_rows},
            placed={row.device: placed_of(row) for row in stood},
            uses=_uses(connection, devices),
            rules=_rules(connection, wards),
        )
        return Loaded(scene=scene, before=_snapshot(scene))

    def save(self, connection: Connection, loaded: Loaded) -> list[Association]:
        """Write what the decision changed; return the associations among it."""
        scene, before = loaded.scene, loaded.before
        changed = [a for key, a in scene.associations.items() if before[associations].get(key) != a]
        wrote = self._write(connection, patients, before, scene.patients, self._patient_values)
        wrote |= self._write(connection, stays, before, scene.stays, self._stay_values)
        wrote |= self._write(
            connection, associations, before, scene.associations, self._association_values
        )
        wrote |= self._write(connection, placements, before, scene.placed, placed_values)
        # What a device said last is no part of what goes on; the books need not read again.
        self._write(connection, device_uses, before, scene.uses, use_values)
        for device in before[placements].keys() - scene.placed.keys():
            connection.execute(delete(placements).where(placements.c.device == device))
            wrote = True
        if wrote:
            touch(connection)
        return changed

    def present(self, connection: Connection) -> Present:
        """Read what goes on now, for the book."""
        open_stays = connection.execute(
            select(stays).where(stays.c.end_ns.is_(None), stays.c.cancelled.is_(False))
        ).all()
        active = connection.execute(
            select(associations).where(associations.c.state.in_(_ACTIVE))
        ).all()
        known = self._patients(connection, {row.patient for row in (*open_stays, *active)})
        return Present(
            version=version(connection),
            occupants=[occupant_of(row, known[row.patient]) for row in open_stays],
            placed=[placed_of(row) for row in connection.execute(select(placements))],
            associations=[association_of(row, known) for row in active],
            patients={one.id: patient_of(one) for one in known.values()},
            rules=frozenset(_column(connection, select(ward_rules.c.ward))),
        )

    def history(
        self,
        connection: Connection,
        *,
        device: str | None,
        patient: PatientId | None,
        merged: bool,
        from_ns: int,
        to_ns: int,
    ) -> list[Association]:
        """Read confirmed intervals that overlap [from_ns, to_ns), by beginning."""
        query = select(associations).where(
            associations.c.state.in_(_HELD),
            associations.c.start_ns < to_ns,
            or_(associations.c.end_ns.is_(None), associations.c.end_ns > from_ns),
        )
        if device is not None:
            query = query.where(associations.c.device == device)
        if patient is not None:
            wanted = {self.reference(patient)}
            names = self._aliases(connection, wanted) if merged else wanted
            query = query.where(associations.c.patient.in_(names))
        ordered = query.order_by(associations.c.start_ns, associations.c.id).limit(ROWS_MAX)
        return self._associations(connection, ordered)

    def listed(
        self, connection: Connection, *, state: AssociationState, rows_max: int
    ) -> list[Association]:
        """Read associations in a state, the newest first."""
        return self._associations(
            connection,
            select(associations)
            .where(associations.c.state == state.value)
            .order_by(associations.c.start_ns.desc(), associations.c.id)
            .limit(min(rows_max, ROWS_MAX)),
        )

    def one(self, connection: Connection, association: str) -> Association | None:
        """Read one association."""
        found = self._associations(
            connection, select(associations).where(associations.c.id == association)
        )
        return found[0] if found else None

    def _associations(
        self, connection: Connection, query: Select[*tuple[Any, ...]]
    ) -> list[Association]:
        rows = connection.execute(query).all()
        known = self._patients(connection, {row.patient for row in rows})
        return [association_of(row, known) for row in rows]

    def _aliases(self, connection: Connection, wanted: Collection[bytes]) -> set[bytes]:
        """Return identifiers together with all that were merged with them."""
        found, grown = set[bytes](), set(wanted)
        while grown - found:
            found = set(grown)
            rows = connection.execute(
                select(patients.c.patient, patients.c.alias_of).where(
                    patients.c.alias_of.is_not(None),
                    or_(patients.c.patient.in_(found), patients.c.alias_of.in_(found)),
                )
            )
            for row in rows:
                grown |= {row.patient, row.alias_of}
        return found

    def _patients(
        self, connection: Connection, wanted: Collection[bytes]
    ) -> dict[bytes, KnownPatient]:
        rows = connection.execute(select(patients).where(patients.c.patient.in_(wanted))).all()
        read = {row.patient: _IDENTITY.decode(row.identity) for row in rows}
        ids = {key: PatientId(one.value, one.authority) for key, one in read.items()}
        missing = {row.alias_of for row in rows if row.alias_of is not None} - ids.keys()
        if missing:
            ids |= {key: one.id for key, one in self._patients(connection, missing).items()}
        return {
            row.patient: KnownPatient(
                id=ids[row.patient],
                name=read[row.patient].name,
                birth_date=read[row.patient].birth_date,
                alias_of=ids[row.alias_of] if row.alias_of is not None else None,
                recorded_ns=row.recorded_ns,
            )
            for row in rows
        }

    def _write(
        self,
        connection: Connection,
        table: Table,
        before: Mapping[Table, Mapping[Any, Any]],
        after: Mapping[Any, T],
        values: Callable[[T], dict[str, Any]],
    ) -> bool:
        changed = {key: one for key, one in after.items() if before[table].get(key) != one}
        key_column = next(iter(table.primary_key.columns))
        for key, one in changed.items():
            row = values(one)
            if key in before[table]:
                where = key_column == row[key_column.name]
                connection.execute(update(table).where(where).values(row))
            else:
                connection.execute(insert(table).values(row))
        return bool(changed)

    def _patient_values(self, one: KnownPatient) -> dict[str, Any]:
        identity = _Identity(one.id.value, one.id.authority, one.name, one.birth_date)
        return {
            "patient": self.reference(one.id),
            "identity": msgspec.json.encode(identity),
            "alias_of": self.reference(one.alias_of) if one.alias_of is not None else None,
            "recorded_ns": one.recorded_ns,
        }

    def _stay_values(self, one: Stay) -> dict[str, Any]:
        return {
            "id": one.id,
            "patient": self.reference(one.patient),
            "place": one.place.key(),
            "event_ns": one.event_ns,
            "start_ns": one.start_ns,
            "end_ns": one.end_ns,
            "certain": one.certain,
            "cancelled": one.cancelled,
        }

    def _association_values(self, one: Association) -> dict[str, Any]:
        return {
            "id": one.id,
            "device": one.device,
            "patient": self.reference(one.patient),
            "place": one.place.key() if one.place is not None else None,
            "state": one.state.value,
            "basis": one.basis.value,
            "start_ns": one.start_ns,
            "end_ns": one.end_ns,
            "proposed_by": one.proposed_by,
            "confirmed_by": one.confirmed_by,
            "end_reason": one.end_reason.encode() if one.end_reason is not None else None,
        }


def version(connection: Connection) -> int:
    """Return the number of the last change, 0 before the first."""
    found = connection.execute(
        select(counters.c.value).where(counters.c.name == COUNTER)
    ).scalar_one_or_none()
    return found or 0


def touch(connection: Connection) -> None:
    """Note that something changed, for the books of all hubs."""
    next_number(connection, COUNTER)


def set_rule(connection: Connection, ward: str, *, since_ns: int | None, person: str) -> None:
    """Let the fixed monitors of a ward follow ADT since a moment, or no longer (None)."""
    connection.execute(delete(ward_rules).where(ward_rules.c.ward == ward))
    if since_ns is not None:
        connection.execute(insert(ward_rules).values(ward=ward, since_ns=since_ns, person=person))
    touch(connection)


def all_uses(connection: Connection) -> list[DeviceUse]:
    """Read the last known use of every device."""
    return [use_of(row) for row in connection.execute(select(device_uses))]


def _column(connection: Connection, query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
    return connection.execute(query).scalars().all()


def _recent(
    query: Select[*tuple[Any, ...]], table: Table, floor_ns: int
) -> Select[*tuple[Any, ...]]:
    return query.where(or_(table.c.end_ns.is_(None), table.c.end_ns > floor_ns))


def _snapshot(scene: Scene) -> dict[Table, dict[Any, Any]]:
    return {
        patients: dict(scene.patients),
        stays: dict(scene.stays),
        associations: dict(scene.associations),
        placements: dict(scene.placed),
        device_uses: dict(scene.uses),
    }


def _uses(connection: Connection, devices: Collection[str]) -> dict[str, DeviceUse]:
    rows = connection.execute(select(device_uses).where(device_uses.c.device.in_(devices)))
    return {row.device: use_of(row) for row in rows}


def _rules(connection: Connection, wards: Collection[str]) -> dict[str, int]:
    rows = connection.execute(select(ward_rules).where(ward_rules.c.ward.in_(wards)))
    return {row.ward: row.since_ns for row in rows}
