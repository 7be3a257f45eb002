"""Events: written with their state, relayed in order, understood in old versions, consumed once."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asepsis.core.errors import BackPressure, Conflict, InputError, LimitExceeded
from asepsis.core.journal.ports import Append, Outcome, Receipt
from asepsis.core.model.lanes import Account, Lane
from asepsis.hub.store.leases import acquire
from asepsis.hub.store.outbox import (
    EVENT_BYTES_MAX,
    Event,
    EventReader,
    consume_once,
    forget,
    pending,
    publish,
)
from asepsis.hub.store.relay import OutboxRelay
from asepsis.hub.store.store import Store


def event(topic: str = "device.enrolled", **data: object) -> Event:
    return Event(topic=topic, version=1, at_ns=5, subject="urn:x", data=dict(data))


def put(store: Store, *events: Event) -> list[int]:
    with store.unit_of_work() as connection:
        return [publish(connection, each) for each in events]


class Shelf:
    """A journal that keeps what the relay appends; refuses when told to."""

    def __init__(self) -> None:
        self.records: list[Append] = []
        self.refuse_from = 1 << 62
        self.arrived = asyncio.Event()

    async def append(self, record: Append) -> Receipt:
        """Keep a record once."""
        await asyncio.sleep(0)
        if record.sequence >= self.refuse_from:
            raise BackPressure("full")
        if any(r.sequence == record.sequence for r in self.records):
            return Receipt(Outcome.DUPLICATE, 0)
        self.records.append(record)
        self.arrived.set()
        return Receipt(Outcome.STORED, len(self.records))

    @property
    def sequences(self) -> list[int]:
        """Return the sequences in order of arrival."""
        return [record.sequence for record in self.records]


def test_an_event_is_as_durable_as_its_state(store: Store) -> None:
    def fail() -> None:
        with store.unit_of_work() as connection:
            publish(connection, event())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert put(store, event(), event()) == [1, 2]
    with store.reading() as connection:
        assert [i for i, _ in pending(connection, events_max=9)] == [1, 2]


def test_the_relay_moves_events_in_order_with_their_ids(store: Store) -> None:
    shelf = Shelf()
    put(store, *(event(n=n) for n in range(130)))
    relay = OutboxRelay(store, shelf.append, holder="a")
    assert asyncio.run(relay.task.step())
    assert shelf.sequences == list(range(1, 131))
    first = shelf.records[0]
    assert (first.lane, first.account) == (Lane.EVENT, Account.EVENT)
    assert first.producer == "hub:outbox"
    read = EventReader().read(first.body)
    assert (read.id, read.data) == (1, {"n": 0})
    with store.reading() as connection:
        assert pending(connection, events_max=1) == []


def test_a_refusal_stops_the_line_and_nothing_overtakes(store: Store) -> None:
    shelf = Shelf()
    shelf.refuse_from = 3
    put(store, *(event() for _ in range(5)))
    relay = OutboxRelay(store, shelf.append, holder="a")
    with pytest.raises(BackPressure):
        asyncio.run(relay.task.step())
    assert shelf.sequences == [1, 2]
    shelf.refuse_from = 99
    asyncio.run(relay.task.step())
    assert shelf.sequences == [1, 2, 3, 4, 5]


def test_a_relay_that_died_after_appending_is_repeated_without_twins(
    store: Store, open_store: Callable[[], Store], clock: Any
) -> None:
    shelf = Shelf()
    put(store, event(), event())

    async def steal_lease_then_append(record: Append) -> Receipt:
        receipt = await shelf.append(record)
        clock.advance_s(60)
        with other.unit_of_work() as connection:
            acquire(connection, "outbox-relay", holder="b", now_ns=clock())
        return receipt

    other = open_store()
    with pytest.raises(Conflict):
        asyncio.run(OutboxRelay(store, steal_lease_then_append, holder="a").task.step())
    with store.reading() as connection:
        assert len(pending(connection, events_max=9)) == 2
    asyncio.run(OutboxRelay(other, shelf.append, holder="b").task.step())
    assert shelf.sequences == [1, 2]


def test_two_relays_at_once_move_each_event_once(
    store: Store, open_store: Callable[[], Store]
) -> None:
    shelf = Shelf()
    relays = [
        OutboxRelay(store, shelf.append, holder="a"),
        OutboxRelay(open_store(), shelf.append, holder="b"),
    ]

    async def scenario() -> None:
        for _ in range(5):
            put(store, event(), event())
            await asyncio.gather(*(relay.task.step() for relay in relays))

    asyncio.run(scenario())
    assert shelf.sequences == list(range(1, 11))


def test_ids_go_on_after_the_outbox_was_emptied(store: Store) -> None:
    put(store, event(), event())
    with store.unit_of_work() as connection:
        forget(connection, through_id=2)
    assert put(store, event()) == [3]


def test_a_wake_up_cuts_the_wait_short(store: Store) -> None:
    shelf = Shelf()

    async def scenario() -> None:
        relay = OutboxRelay(store, shelf.append, holder="a")
        running = asyncio.create_task(relay.run())
        await asyncio.sleep(0.05)
        put(store, event())
        relay.wake()
        await asyncio.wait_for(shelf.arrived.wait(), 0.9)
        running.cancel()

    asyncio.run(scenario())


def test_old_versions_are_lifted_step_by_step() -> None:
    reader = EventReader(
        {("t", 1): lambda d: {**d, "b": 2}, ("t", 2): lambda d: {**d, "c": d["b"] + 1}}
    )
    old = b'{"topic":"t","version":1,"at_ns":1,"subject":"s","data":{"a":1},"id":7}'
    read = reader.read(old)
    assert (read.version, read.data, read.id) == (3, {"a": 1, "b": 2, "c": 3}, 7)


@pytest.mark.parametrize(
    "bad", [b"", b"{", b"[]", b'{"topic":"t"}', b"\xff", b'{"topic":"t","surplus":1}']
)
def test_what_is_no_event(bad: bytes) -> None:
    with pytest.raises(InputError):
        EventReader().read(bad)


def test_events_are_bounded(store: Store) -> None:
    with pytest.raises(LimitExceeded):
        put(store, event(x="y" * EVENT_BYTES_MAX))
    with pytest.raises(LimitExceeded):
        EventReader().read(b" " * (EVENT_BYTES_MAX + 1))


def test_a_consumer_sees_an_event_once(store: Store) -> None:
    def seen(event_id: int, consumer: str = "c") -> bool:
        with store.unit_of_work() as connection:
            return consume_once(connection, consumer, event_id)

    assert [seen(1), seen(1), seen(2), seen(1), seen(3)] == [True, False, True, False, True]
    assert seen(1, "other")
