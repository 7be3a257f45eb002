"""What the hub holds, in its state: written in groups, each instance once.

Instances that become ready at once share one transaction; the first of two with one UID wins.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, func, insert, select, update

from asepsis.core.errors import AsepsisError, BackPressure
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.imaging import tables
from asepsis.hub.imaging.rules import HELD_MAX, QUARANTINED_MAX, Repeat, repeat
from asepsis.hub.imaging.tables import instances, quarantine
from asepsis.hub.store.store import Store, next_number
from asepsis.hub.store.tables import counters

COUNTER: Final = "image"
GROUP_MAX: Final = 64
"""Instances of one transaction."""
TOLD_PAGE: Final = 500
_TAGS: Final = {"study_date": "00080020", "modality": "00080060"}
_PATIENT_ID, _ACCESSION = "00100020", "00080050"
# Made once: writing a statement anew costs more than the engine takes to do it.
_HELD: Final = select(
    instances.c.id,
    instances.c.sop_instance,
    instances.c.length,
    instances.c.sha256,
    instances.c.told,
).where(instances.c.sop_instance.in_(bindparam("wanted", expanding=True)))
_INSERT: Final = insert(instances)
_TAKE: Final = (
    update(counters)
    .where(counters.c.name == COUNTER)
    .values(value=counters.c.value + bindparam("count"))
    .returning(counters.c.value)
)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as the index keeps it, and as the journal tells of it.

    Attributes:
        sop_instance: SOP Instance UID; the key of the instance.
        series: Series Instance UID.
        study: Study Instance UID.
        sop_class: SOP Class UID.
        transfer_syntax: Transfer Syntax UID.
        length: Bytes.
        sha256: SHA-256 of the bytes.
        object: Name of the sealed file.
        sender: Identity that sent it.
        device: Device whose image it is.
        calling_ae: Calling AE title, empty if there was none.
        person: User that the modality proved, empty if there was none.
        received_at_ns: Wall time, nanoseconds since 1970.
        attributes: DICOM JSON of what searches need.
    """

    sop_instance: str
    series: str
    study: str
    sop_class: str
    transfer_syntax: str
    length: int
    sha256: bytes
    object: str
    sender: str
    device: str
    calling_ae: str
    person: str
    received_at_ns: int
    attributes: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """One object for the quarantine.

    Attributes:
        sop_instance: UID that it claims; may be empty.
        sop_class: Class that it claims; may be empty.
        reason: Word of `dicom_file.Reason`, or `conflict`.
        length: Bytes.
        sha256: SHA-256 of the bytes.
        object: Name of the sealed file.
        sender: Identity that sent it.
        device: Device whose image it is said to be.
        calling_ae: Calling AE title.
    """

    sop_instance: str
    sop_class: str
    reason: str
    length: int
    sha256: bytes
    object: str
    sender: str
    device: str
    calling_ae: str


@dataclass(frozen=True, slots=True)
class Indexed:
    """What became of an entry.

    Attributes:
        repeat: New, the same again, or a conflict.
        id: Number of the instance that is held.
        told: Whether the journal tells of it already.
    """

    repeat: Repeat
    id: int
    told: bool


class ImageIndex:
    """Writes the index.

    Args:
        store: The state.
        audit: Gets an entry for each object in quarantine.
    """

    def __init__(self, store: Store, audit: AuditLog) -> None:
        self._store = store
        self._audit = audit
        self._waiting: list[tuple[Entry, asyncio.Future[Indexed]]] = []
        self._writing = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, entry: Entry) -> Indexed:
        """Enter an instance; return once that is durable.

        Raises:
            BackPressure: The index is full.
            Unavailable: The state does not answer; nothing was entered.
        """
        future: asyncio.Future[Indexed] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, future))
        if not self._writing:
            self._writing = True
            task = asyncio.get_running_loop().create_task(self._write())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def tell(self, ids: Sequence[int]) -> None:
        """Note that the journal tells of these."""
        statement = update(instances).where(instances.c.id.in_(ids)).values(told=True)
        await self._store.write(lambda connection: connection.execute(statement))

    async def untold(self) -> Sequence[tuple[int, Entry]]:
        """Return instances that the journal does not tell of yet, oldest first."""

        def read(connection: Connection) -> Sequence[tuple[int, Entry]]:
            rows = connection.execute(
                select(instances)
                .where(instances.c.told.is_(False))
                .order_by(instances.c.id)
                .limit(TOLD_PAGE)
            )
            return [(row.id, entry_of(row)) for row in rows]

        return await self._store.read(read)

    async def held(self) -> tuple[int, int, int]:
        """Return how many instances are held, their bytes, and the bytes in quarantine."""

        def read(connection: Connection) -> tuple[int, int, int]:
            count, total = connection.execute(
                select(func.count(), func.coalesce(func.sum(instances.c.length), 0)).select_from(
                    instances
                )
            ).one()
            apart = connection.execute(
                select(func.coalesce(func.sum(quarantine.c.length), 0)).select_from(quarantine)
            ).scalar_one()
            return int(count), int(total), int(apart)

        return await self._store.read(read)

    async def set_apart(self, item: Apart, *, at_ns: int) -> bool:
        """Enter an object into the quarantine; return whether its file is to be kept.

        The same bytes stand there once. A full quarantine keeps no more, and the log says so.
        """

        def write(connection: Connection) -> bool:
            known = connection.execute(
                select(quarantine.c.id).where(quarantine.c.sha256 == item.sha256)
            ).first()
            if known is not None:
                return False
            count = connection.execute(select(func.count()).select_from(quarantine)).scalar_one()
            kept = count < QUARANTINED_MAX
            if kept:
                number = next_number(connection, COUNTER)
                row: dict[str, Any] = {
                    name: getattr(item, name) for name in Apart.__dataclass_fields__
                }
                connection.execute(insert(quarantine).values(id=number, at_ns=at_ns, **row))
            act = Act(
                actor=item.sender,
                action="quarantine-image",
                subject=item.device,
                outcome=item.reason,
                detail={
                    "instance": item.sop_instance,
                    "sha256": item.sha256.hex(),
                    "bytes": item.length,
                    "calling_ae": item.calling_ae,
                    "kept": kept,
                },
            )
            self._audit.record(connection, act)
            return kept

        return await self._store.write(write)

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
            try:
                found = await self._store.write(
                    lambda connection, group=group: self._enter(connection, [e for e, _ in group])
                )
            except AsepsisError as error:
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), indexed in zip(group, found, strict=True):
                if not future.done():
                    future.set_result(indexed)
        self._writing = False

    def _enter(self, connection: Connection, entries: Sequence[Entry]) -> list[Indexed]:
        wanted = [entry.sop_instance for entry in entries]
        rows = connection.execute(_HELD, {"wanted": wanted})
        held = {row.sop_instance: (row.length, bytes(row.sha256), row.id, row.told) for row in rows}
        fresh: dict[str, Entry] = {}
        for entry in entries:
            if entry.sop_instance not in held:
                fresh.setdefault(entry.sop_instance, entry)
        if fresh:
            held |= self._insert(connection, list(fresh.values()))
        found: list[Indexed] = []
        for entry in entries:
            length, sha256, number, told = held[entry.sop_instance]
            if fresh.get(entry.sop_instance) is entry:
                found.append(Indexed(Repeat.NEW, number, told=False))
            else:
                kind = repeat((length, sha256), entry.length, entry.sha256)
                found.append(Indexed(kind, number, told))
        return found

    def _insert(
        self, connection: Connection, fresh: Sequence[Entry]
    ) -> dict[str, tuple[int, bytes, int, bool]]:
        first = _take_numbers(connection, len(fresh))
        if first > HELD_MAX and self._count(connection) >= HELD_MAX:
            raise BackPressure("the hub holds too many images")
        rows = [
            {"id": first + place, "told": False} | self._row(entry)
            for place, entry in enumerate(fresh)
        ]
        connection.execute(_INSERT, rows)
        return {
            entry.sop_instance: (entry.length, entry.sha256, first + place, False)
            for place, entry in enumerate(fresh)
        }

    def _count(self, connection: Connection) -> int:
        return connection.execute(select(func.count()).select_from(instances)).scalar_one()

    def _row(self, entry: Entry) -> dict[str, Any]:
        attributes = msgspec.json.decode(entry.attributes)
        row = msgspec.structs.asdict(entry)
        row |= {
            name: first_value(attributes, tag)[: 8 if name == "study_date" else 16]
            for name, tag in _TAGS.items()
        }
        row["patient_hash"] = self._hash(tables.PATIENT_ID, first_value(attributes, _PATIENT_ID))
        row["accession_hash"] = self._hash(tables.ACCESSION, first_value(attributes, _ACCESSION))
        return row

    def _hash(self, column: str, value: str) -> bytes | None:
        return self._store.sealer.lookup_hash(column, value.encode()) if value else None


def _take_numbers(connection: Connection, count: int) -> int:
    """Take so many numbers at once and return the first; see `next_number`."""
    last = connection.execute(_TAKE, {"count": count}).scalar_one_or_none()
    if last is None:  # The first image of this hub.
        connection.execute(insert(counters).values(name=COUNTER, value=count))
        return 1
    return last - count + 1


def first_value(attributes: dict[str, Any], tag: str) -> str:
    """Return the first value of an attribute of DICOM JSON as text; empty if there is none."""
    values = attributes.get(tag, {}).get("Value", [])
    return values[0].strip() if values and isinstance(values[0], str) else ""


def entry_of(row: Any) -> Entry:
    """Return the entry of a row of `image_instances`."""
    return Entry(**{name: getattr(row, name) for name in Entry.__struct_fields__})
