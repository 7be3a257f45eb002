"""Blocks on disk: nothing lost, nothing twice, late data in its own minute, days that go."""

import dataclasses
import random
from pathlib import Path

import pytest
from record_house import (
    DAY,
    MONITOR,
    MS,
    PUMP,
    START,
    House,
    S,
    batch,
    frame,
    numeric,
    packet,
)

from asepsis.core.errors import SignatureInvalid
from asepsis.core.journal.ports import Append, Record
from asepsis.core.model.lanes import Lane
from asepsis.hub.records import queries
from asepsis.hub.records.kinds import Kind, slot_of


def morning(seconds: int = 130) -> list[Append]:
    """Return what two devices send in some minutes, waveforms included."""
    sent: list[Append] = []
    for n in range(1, seconds + 1):
        at_ns = START + n * S
        made = [frame(n, at_ns, [n, -n, 5])]
        sent.append(batch(n, at_ns, [numeric(60 + n % 7)], promised=made))
        sent.append(packet(n, made, received_ns=at_ns + 60 * MS))
        sent.append(batch(n, at_ns, [numeric(5, handle=9)], device=PUMP))
    return sent


def numbered(appends: list[Append]) -> list[Record]:
    """Return records with positions that count up in each lane."""
    last: dict[Lane, int] = {}
    found: list[Record] = []
    for append in appends:
        last[append.lane] = last.get(append.lane, 0) + 1
        found.append(Record(last[append.lane], append))
    return found


def feed(house: House, records: list[Record]) -> None:
    for record in records:
        house.clock.now_ns = max(house.clock.now_ns, record.append.received_at_ns)
        house.keeper.take(record.append.lane, [record])


def finish(house: House) -> dict[tuple[Kind, str, int], bytes]:
    house.keeper.flush(everything=True)
    return house.keeper.partitions.content()


def test_a_row_is_a_device_and_minute_and_moves_to_disk_when_it_is_over(house: House) -> None:
    feed(house, numbered(morning(61)))
    assert house.keeper.flush() > 0
    content = house.keeper.partitions.content()
    minute = slot_of(Kind.NUMERICS, START)
    assert {key for key in content if key[0] is Kind.NUMERICS} == set()
    house.clock.now_ns += 4 * S
    while house.keeper.flush():
        pass
    content = house.keeper.partitions.content()
    assert {key for key in content if key[0] is Kind.NUMERICS} == {
        (Kind.NUMERICS, MONITOR, minute),
        (Kind.NUMERICS, PUMP, minute),
    }
    assert len(house.find(devices=(MONITOR,)).body) > 0
    state = house.keeper.state()
    assert state.positions["vitals"] == 122
    assert state.durable["vitals"] == 118, "the last two seconds of each device are in memory"


def test_reading_is_the_same_before_and_after_disk(house: House) -> None:
    """Goal: where a value lies makes no difference to whoever reads."""
    feed(house, numbered(morning()))
    before = house.find().body
    house.keeper.flush()
    assert house.find().body == before
    house.keeper.flush(everything=True)
    assert house.find().body == before
    house.reopen()
    assert house.find().body == before


def test_a_record_that_is_projected_twice_changes_nothing(house: House) -> None:
    records = numbered(morning())
    feed(house, records)
    once = finish(house)
    feed(house, records)
    assert finish(house) == once


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_lanes_and_flushes_gives_the_same_record(
    house: House, tmp_path: Path, seed: int
) -> None:
    """Goal: a record that is made anew equals the one that grew with the ward."""
    rng, records = random.Random(seed), numbered(morning())
    feed(house, records)
    other = House(tmp_path / "other")
    lanes = {lane: [r for r in records if r.append.lane is lane] for lane in Lane}
    while waiting := [lane for lane, rest in lanes.items() if rest]:
        lane = rng.choice(waiting)
        count = rng.randint(1, 40)
        feed(other, lanes[lane][:count])
        del lanes[lane][:count]
        if rng.random() < 0.3:
            other.keeper.flush(everything=rng.random() < 0.5)
    assert finish(other) == finish(house)
    other.keeper.close()


def test_after_a_crash_the_positions_on_disk_lose_nothing(house: House, tmp_path: Path) -> None:
    """Goal: whatever was in memory is after the position, whatever is on disk may come again."""
    records = numbered(morning())
    whole = House(tmp_path / "whole")
    feed(whole, records)
    expected = finish(whole)
    for record in records:
        feed(house, [record])
        if record.position % 37 == 0:
            house.keeper.flush()
        if record.position % 91 == 0:  # The process dies: memory is gone, files are as they are.
            house.reopen()
            for lane, position in house.keeper.projector.durable().items():
                again = [r for r in records if r.append.lane is lane and r.position > position]
                feed(house, [r for r in again if records.index(r) <= records.index(record)])
    assert finish(house) == expected
    whole.keeper.close()


def test_late_data_merges_into_its_own_minute(house: House) -> None:
    """Goal: what comes an hour later stands where it was measured, marked late."""
    house.take(batch(1, START, [numeric(60)]), batch(3, START + 2 * S, [numeric(62)]))
    finish(house)
    later = START + 3_600 * S
    house.take(batch(2, START + S, [numeric(61)], lane=Lane.LATE, received_ns=later))
    content = finish(house)
    assert [key for key in content if key[0] is Kind.NUMERICS] == [
        (Kind.NUMERICS, MONITOR, slot_of(Kind.NUMERICS, START))
    ]
    body = house.find().body.decode()
    assert [body.index(f'"value":{v}') for v in (60, 61, 62)] == sorted(
        body.index(f'"value":{v}') for v in (60, 61, 62)
    )
    assert body.count('"code":"late"') == 1
    only_new = house.find(received_from_ns=later).body.decode()
    assert only_new.count('"resourceType":"Observation"') == 1
    assert '"value":61' in only_new


def test_a_day_goes_with_its_file_and_its_key(house: House) -> None:
    """Goal: each kind by its own retention; what is gone cannot be read, whoever has a copy."""
    feed(house, numbered(morning(10)))
    finish(house)
    folder = house.folder
    house.reopen()  # A closed file has its log in it, so a thief gets it all.
    day = START // DAY
    assert (folder / f"waveforms.{day}.db").exists()
    stolen = (folder / f"waveforms.{day}.db").read_bytes()
    house.clock.now_ns = START + 5 * DAY
    assert house.keeper.expire(house.clock.now_ns) == 1
    assert not list(folder.glob("waveforms.*"))
    assert not (folder / "keys" / f"waveforms.{day}.key").exists()
    assert (folder / f"numerics.{day}.db").exists()
    assert house.find().body.count(b'"resourceType":"Observation"') == 20 // 2
    house.clock.now_ns = START + 32 * DAY
    assert house.keeper.expire(house.clock.now_ns) == 1
    assert house.keeper.index.devices() == []
    (folder / f"waveforms.{day}.db").write_bytes(stolen)
    scope = {"from_ns": START, "to_ns": START + 9 * S, "unsigned": (MONITOR,)}
    assert b"Observation" not in house.find("waveforms", **scope).body.replace(
        b"fhir/Observation", b""
    )


def test_what_is_too_old_is_not_even_kept(house: House) -> None:
    house.clock.now_ns = START + 40 * DAY
    house.take(batch(1, START, [numeric(60)], lane=Lane.LATE, received_ns=house.clock.now_ns))
    assert finish(house) == {}


def test_a_changed_block_is_refused(house: House) -> None:
    """Goal: what was stored is read as it was stored, or not at all."""
    house.take(batch(1, START, [numeric(60)]))
    finish(house)
    house.keeper.close()
    path = house.folder / f"numerics.{START // DAY}.db"
    raw = path.read_bytes()
    import sqlite3  # noqa: PLC0415 - as somebody with the disk would

    with sqlite3.connect(path) as connection:
        (body,) = connection.execute("SELECT body FROM block").fetchone()
        connection.execute("UPDATE block SET body=?", (body[:-1] + bytes([body[-1] ^ 1]),))
    connection.close()
    assert path.read_bytes() != raw
    house.keeper = house.open()
    with pytest.raises(SignatureInvalid):
        house.find()


def test_a_block_of_another_device_is_refused(house: House) -> None:
    """Goal: no value moves to another device's minute by somebody who can write files."""
    house.take(batch(1, START, [numeric(60)]), batch(1, START, [numeric(99)], device=PUMP))
    finish(house)
    house.keeper.close()
    import sqlite3  # noqa: PLC0415 - as somebody with the disk would

    with sqlite3.connect(house.folder / f"numerics.{START // DAY}.db") as connection:
        rows = connection.execute("SELECT id, body FROM block ORDER BY id").fetchall()
        connection.execute("UPDATE block SET body=? WHERE id=?", (rows[0][1], rows[1][0]))
        connection.execute("UPDATE block SET body=? WHERE id=?", (rows[1][1], rows[0][0]))
    connection.close()
    house.keeper = house.open()
    with pytest.raises(SignatureInvalid):
        house.find()


def test_nothing_stands_in_clear(house: House) -> None:
    """Goal: neither numbers nor samples nor texts, in no file of the record."""
    samples = [21_554] * 40  # "T2" forty times.
    made = [frame(1, START, samples)]
    value = int.from_bytes(b"CAN!")
    house.take(
        batch(1, START, [numeric(value)], promised=made),
        packet(1, made, received_ns=START + MS),
    )
    finish(house)
    house.keeper.close()
    searched = 0
    for path in house.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            searched += len(content)
            assert b"CAN!" not in content, path
            assert b"T2T2" not in content, path
    assert searched > 20_000
    house.keeper = house.open()
    row = queries.Find(
        kind="numerics", scope=house.scope(), count=1, self_url="https://h/fhir/x", next_url=""
    )
    assert isinstance(house.keeper.answer(row), queries.Page)


def test_an_unreadable_record_is_counted_and_skipped(house: House) -> None:
    broken = dataclasses.replace(batch(1, START, [numeric(60)]), body=b"AOB1nonsense")
    house.take(broken, batch(2, START + S, [numeric(61)]))
    assert house.keeper.state().skipped == 1
    assert b'"value":61' in house.find().body


def test_a_stretch_without_end_is_written_and_grows(house: House) -> None:
    """Goal: a device whose clock stands still fills one row, and memory stays small."""
    for n in range(1, 200):
        house.clock.now_ns = START + n * S
        house.take(batch(n, START, [numeric(60)], lane=Lane.LATE, received_ns=house.clock.now_ns))
        house.keeper.flush()
    assert house.keeper.state().durable["late"] > 100
    assert house.find().body.count(b'"resourceType":"Observation"') == 199


def test_another_journal_is_read_from_its_beginning(house: House) -> None:
    """Goal: a journal that was restored or begun anew is no reason to miss what it holds."""
    feed(house, numbered(morning(20)))
    before = finish(house)
    house.reopen()
    assert house.keeper.projector.position(Lane.VITALS) == 40
    house.keeper.ends({Lane.VITALS: 3, Lane.WAVEFORM: 20})
    assert house.keeper.projector.position(Lane.VITALS) == 0
    assert house.keeper.projector.position(Lane.WAVEFORM) == 20
    feed(house, numbered(morning(20))[:9])
    assert finish(house) == before
