"""What the index finds: for searches, and what stands behind a study, series or instance.

UIDs, dates, modality and the exact identifiers of patient and order are asked of the database;
what is sealed there is opened and matched here, for at most `LOOKED_AT_MAX` of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, distinct, func, select

from asepsis.core.wire import dicomweb_search as qido
from asepsis.core.wire.dicomweb_search import Level, Search
from asepsis.hub.imaging import tables
from asepsis.hub.imaging.tables import instances
from asepsis.hub.store.store import Store

LOOKED_AT_MAX: Final = 20_000
"""Studies, series or instances whose sealed attributes one search opens."""
PAGE: Final = 500
_COLUMNS: Final = {
    qido.STUDY_UID: instances.c.study,
    qido.SERIES_UID: instances.c.series,
    qido.INSTANCE_UID: instances.c.sop_instance,
    qido.SOP_CLASS: instances.c.sop_class,
    qido.MODALITY: instances.c.modality,
}
_GROUPED: Final = {
    Level.STUDY: instances.c.study,
    Level.SERIES: instances.c.series,
    Level.INSTANCE: instances.c.sop_instance,
}


# Made once: writing a statement anew costs more than the engine takes to do it.
_OF_STUDY: Final = select(
    instances.c.study,
    instances.c.series,
    instances.c.sop_instance,
    instances.c.transfer_syntax,
    instances.c.object,
    instances.c.length,
    instances.c.attributes,
).where(instances.c.study == bindparam("study"))
_INSTANCE: Final = _OF_STUDY.where(
    instances.c.series == bindparam("series"), instances.c.sop_instance == bindparam("instance")
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        answers: DICOM JSON, one for each study, series or instance.
        more: Whether there are more than were asked for.
        cut: Whether the search ended before it had looked at everything.
    """

    answers: Sequence[Mapping[str, Any]]
    more: bool
    cut: bool


@dataclass(frozen=True, slots=True)
class Object:
    """One instance to be retrieved.

    Attributes:
        study: Study Instance UID.
        series: Series Instance UID.
        sop_instance: SOP Instance UID.
        transfer_syntax: Transfer Syntax UID.
        name: Name of the sealed file.
        length: Bytes.
    """

    study: str
    series: str
    sop_instance: str
    transfer_syntax: str
    name: str
    length: int


class ImageFinder:
    """Reads the index.

    Args:
        store: The state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def search(self, search: Search, *, base: str) -> Found:
        """Find studies, series or instances, the newest first.

        Args:
            search: What is asked.
            base: Address below which they are retrieved.

        Raises:
            Unavailable: The state does not answer.
        """
        return await self._store.read(lambda connection: self._search(connection, search, base))

    async def objects(
        self, *, study: str, series: str = "", sop_instance: str = "", most: int
    ) -> tuple[Sequence[Object], bytes]:
        """Return the instances of a study or series, or one, and attributes of the first.

        Args:
            study: Study Instance UID.
            series: Series Instance UID; empty for every series.
            sop_instance: SOP Instance UID; empty for every instance.
            most: How many at most.
        """

        def read(connection: Connection) -> tuple[Sequence[Object], bytes]:
            wanted = {"study": study, "series": series, "instance": sop_instance}
            if series and sop_instance:
                rows = connection.execute(_INSTANCE, wanted).all()
            else:
                query = _OF_STUDY.limit(most)
                if series:
                    query = query.where(instances.c.series == bindparam("series"))
                if sop_instance:
                    query = query.where(instances.c.sop_instance == bindparam("instance"))
                rows = connection.execute(query.order_by(instances.c.id), wanted).all()
            found = [
                Object(
                    study=row.study,
                    series=row.series,
                    sop_instance=row.sop_instance,
                    transfer_syntax=row.transfer_syntax,
                    name=row.object,
                    length=row.length,
                )
                for row in rows
            ]
            return found, rows[0].attributes if rows else b"{}"

        return await self._store.read(read)

    def _search(self, connection: Connection, search: Search, base: str) -> Found:
        wanted, found, more = search.offset + search.limit, list[tuple[str, Any]](), False
        for looked_at, (key, attributes) in enumerate(self._candidates(connection, search), 1):
            if qido.matches(attributes, search):
                if len(found) == wanted:
                    more = True
                    break
                found.append((key, attributes))
            if looked_at == LOOKED_AT_MAX:
                return self._found(connection, search, found, base, more=True, cut=True)
        return self._found(connection, search, found, base, more=more, cut=False)

    def _candidates(
        self, connection: Connection, search: Search
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the first instance of each study or series, or each instance, newest first."""
        group = _GROUPED[search.level]
        newest = func.max(instances.c.id)
        before: int | None = None
        while True:
            heads = select(func.min(instances.c.id).label("head"), newest.label("newest"))
            heads = heads.where(*self._conditions(search)).group_by(group)
            heads = heads.order_by(newest.desc())
            if before is not None:
                heads = heads.having(newest < before)
            page = connection.execute(heads.limit(PAGE)).all()
            if not page:
                return
            rows = connection.execute(
                select(instances.c.id, group.label("key"), instances.c.attributes).where(
                    instances.c.id.in_([row.head for row in page])
                )
            )
            by_id = {row.id: row for row in rows}
            for place in page:
                row = by_id[place.head]
                yield row.key, msgspec.json.decode(row.attributes, type=dict[str, Any])
            before = page[-1].newest

    def _conditions(self, search: Search) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [
            column.in_(values) for tag, column in _COLUMNS.items() if (values := search.exact(tag))
        ]
        for tag, column, name in (
            (qido.PATIENT_ID, instances.c.patient_hash, tables.PATIENT_ID),
            (qido.ACCESSION, instances.c.accession_hash, tables.ACCESSION),
        ):
            if values := search.exact(tag):
                lookup = self._store.sealer.lookup_hash(name, values[0].strip().encode())
                found.append(column == lookup)
        if (dates := search.date_range()) is not None:
            first, last = dates
            found += [instances.c.study_date >= first] if first else []
            found += [instances.c.study_date <= last, instances.c.study_date != ""] if last else []
        if modalities := search.exact(qido.MODALITIES):
            having = select(instances.c.study).where(instances.c.modality.in_(modalities))
            found.append(instances.c.study.in_(having))
        return found

    def _found(
        self,
        connection: Connection,
        search: Search,
        found: Sequence[tuple[str, dict[str, Any]]],
        base: str,
        *,
        more: bool,
        cut: bool,
    ) -> Found:
        page = found[search.offset :]
        counts = _Counts(connection, [key for key, _ in page], search.level)
        answers = [
            _answer(attributes, search.level, base) | counts.of(key) for key, attributes in page
        ]
        return Found(answers, more=more, cut=cut)


class _Counts:
    """How much belongs to each study or series of a page."""

    def __init__(self, connection: Connection, keys: Sequence[str], level: Level) -> None:
        self._level = level
        self._counts: dict[str, tuple[int, int]] = {}
        self._modalities: dict[str, list[str]] = {}
        group = _GROUPED[level]
        if level is Level.INSTANCE:
            return
        for at in range(0, len(keys), PAGE):
            some = keys[at : at + PAGE]
            counted = connection.execute(
                select(
                    group.label("key"),
                    func.count(distinct(instances.c.series)).label("series"),
                    func.count().label("instances"),
                )
                .where(group.in_(some))
                .group_by(group)
            )
            self._counts |= {row.key: (row.series, row.instances) for row in counted}
            kinds = connection.execute(
                select(group.label("key"), instances.c.modality)
                .where(group.in_(some), instances.c.modality != "")
                .distinct()
                .order_by(instances.c.modality)
            )
            for row in kinds:
                self._modalities.setdefault(row.key, []).append(row.modality)

    def of(self, key: str) -> dict[str, Any]:
        """Return the counting attributes of one answer."""
        if self._level is Level.INSTANCE:
            return {}
        series, count = self._counts.get(key, (0, 0))
        if self._level is Level.SERIES:
            return {"00201209": {"vr": "IS", "Value": [count]}}
        return {
            "00080061": {"vr": "CS", "Value": self._modalities.get(key, [])},
            "00201206": {"vr": "IS", "Value": [series]},
            "00201208": {"vr": "IS", "Value": [count]},
        }


def _answer(attributes: dict[str, Any], level: Level, base: str) -> dict[str, Any]:
    kept = {
        tag: value
        for tag, value in attributes.items()
        if qido.LEVEL_OF.get(tag, Level.STUDY) <= level
    }
    url = f"{base}/studies/{_uid(attributes, qido.STUDY_UID)}"
    if level >= Level.SERIES:
        url += f"/series/{_uid(attributes, qido.SERIES_UID)}"
    if level >= Level.INSTANCE:
        url += f"/instances/{_uid(attributes, qido.INSTANCE_UID)}"
    kept["00080056"] = {"vr": "CS", "Value": ["ONLINE"]}
    kept["00081190"] = {"vr": "UR", "Value": [url]}
    return dict(sorted(kept.items()))


def _uid(attributes: dict[str, Any], tag: str) -> str:
    values = cast("list[str]", attributes.get(tag, {}).get("Value", [""]))
    return values[0]
