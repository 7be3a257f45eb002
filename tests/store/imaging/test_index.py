"""The index of images on both engines: groups, repeats, what is sealed, and what a search finds."""

import asyncio
import json
from typing import Any

from sqlalchemy import text

from asepsis.core.wire.dicomweb_search import Level, parse
from asepsis.hub.audit.log import AuditLog, check
from asepsis.hub.imaging.finding import ImageFinder
from asepsis.hub.imaging.index import Apart, Entry, ImageIndex
from asepsis.hub.imaging.rules import Repeat
from asepsis.hub.store.store import Store


def entry(number: int, *, study: int = 1, sha256: bytes = b"a" * 32, **more: str) -> Entry:
    attributes: dict[str, Any] = {
        "00080018": {"vr": "UI", "Value": [f"1.2.{number}"]},
        "00080020": {"vr": "DA", "Value": [more.get("date", "20261122")]},
        "00080060": {"vr": "CS", "Value": [more.get("modality", "CT")]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": more.get("name", "Canary^Ida")}]},
        "00100020": {"vr": "LO", "Value": [more.get("patient", "P-1")]},
        "0020000D": {"vr": "UI", "Value": [f"1.1.{study}"]},
        "0020000E": {"vr": "UI", "Value": [f"1.3.{study}"]},
    }
    return Entry(
        sop_instance=f"1.2.{number}",
        series=f"1.3.{study}",
        study=f"1.1.{study}",
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax="1.2.840.10008.1.2.1",
        length=100,
        sha256=sha256,
        object=f"{number:032x}",
        sender="urn:uuid:gateway",
        device="urn:dev:mac:0000000000000001",
        calling_ae="CT1",
        person="",
        received_at_ns=number,
        attributes=json.dumps(attributes).encode(),
    )


def test_a_group_enters_each_instance_once(store: Store) -> None:
    """REQ-IMG-008."""
    index = ImageIndex(store, AuditLog(store.clock))

    async def work() -> None:
        group = [entry(1), entry(2), entry(1), entry(1, sha256=b"b" * 32), entry(3)]
        found = await asyncio.gather(*(index.add(each) for each in group))
        kinds = [each.repeat for each in found]
        assert kinds == [Repeat.NEW, Repeat.NEW, Repeat.SAME, Repeat.CONFLICT, Repeat.NEW]
        assert len({each.id for each in found}) == 3
        assert await index.held() == (3, 300, 0)
        untold = await index.untold()
        assert [each.sop_instance for _, each in untold] == ["1.2.1", "1.2.2", "1.2.3"]
        assert untold[0][1] == group[0]
        await index.tell([number for number, _ in untold[:2]])
        (again,) = await asyncio.gather(index.add(entry(1)))
        assert (again.repeat, again.told) == (Repeat.SAME, True)
        assert len(await index.untold()) == 1

    asyncio.run(work())


def test_no_name_stands_in_clear(store: Store) -> None:
    index = ImageIndex(store, AuditLog(store.clock))
    asyncio.run(index.add(entry(1)))
    with store.engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM image_instances")).all()
    raw = b"".join(bytes(value) for value in rows[0] if isinstance(value, bytes | memoryview))
    assert b"Canary" not in raw
    assert b"P-1" not in raw


def test_the_quarantine_keeps_the_same_bytes_once_and_tells_the_audit_log(store: Store) -> None:
    index = ImageIndex(store, AuditLog(store.clock))
    item = Apart(
        sop_instance="1.2",
        sop_class="",
        reason="no-magic",
        length=5,
        sha256=b"c" * 32,
        object="0" * 32,
        sender="urn:uuid:gateway",
        device="urn:dev:mac:0000000000000001",
        calling_ae="",
    )
    assert asyncio.run(index.set_apart(item, at_ns=1))
    assert not asyncio.run(index.set_apart(item, at_ns=2))
    with store.reading() as connection:
        assert check(connection) == 1


def test_searches_find_on_both_engines(store: Store) -> None:
    index, finder = ImageIndex(store, AuditLog(store.clock)), ImageFinder(store)
    entries = [
        entry(1, study=1),
        entry(2, study=1, modality="SR"),
        entry(3, study=2, patient="P-2", name="Other^One", date="20261101"),
        entry(4, study=3, patient="P-3", name="Canary^Otto", date=""),
    ]

    async def found(query: str, level: Level = Level.STUDY) -> list[str]:
        search = parse(query.encode(), level, within={})
        answers = (await finder.search(search, base="b")).answers
        tag = {Level.STUDY: "0020000D", Level.SERIES: "0020000E", Level.INSTANCE: "00080018"}
        return [each[tag[level]]["Value"][0] for each in answers]

    async def work() -> None:
        for each in entries:
            await index.add(each)
        assert await found("") == ["1.1.3", "1.1.2", "1.1.1"]
        assert await found("PatientID=P-2") == ["1.1.2"]
        assert await found("PatientName=canary*") == ["1.1.3", "1.1.1"]
        assert await found("StudyDate=20261101-20261130") == ["1.1.2", "1.1.1"]
        assert await found("StudyDate=-20261130") == ["1.1.2", "1.1.1"]
        assert await found("ModalitiesInStudy=SR") == ["1.1.1"]
        assert await found("limit=1&offset=1") == ["1.1.2"]
        assert await found("Modality=SR", Level.INSTANCE) == ["1.2.2"]
        assert await found("SeriesInstanceUID=1.3.1,1.3.2", Level.SERIES) == ["1.3.2", "1.3.1"]
        objects, _ = await finder.objects(study="1.1.1", most=10)
        assert [each.sop_instance for each in objects] == ["1.2.1", "1.2.2"]

    asyncio.run(work())
