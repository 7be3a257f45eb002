"""Events: written with the state they tell of, read back in order, understood in old versions.

`publish` puts an event into the outbox in the caller's transaction; `relay.py` moves it to the
journal. Ids have no holes and follow the order of commits, so that they serve the journal as
sequence. Consumers are idempotent: `consume_once` remembers the last id in the transaction of the
consumer's own change.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.hub.store.store import next_number
from asepsis.hub.store.tables import consumed, outbox

EVENT_BYTES_MAX: Final = 65_536
"""Largest encoded event."""

Data = Mapping[str, Any]
Upcaster = Callable[[Data], Data]


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that happened, in the past tense.

    Attributes:
        topic: What happened, such as "device.enrolled", at most 60 characters.
        version: Version of `data` for this topic, from 1.
        at_ns: Wall time of the hub, nanoseconds since 1970.
        subject: Whom it is about, usually a device's name.
        data: The rest, by topic.
        id: Outbox id, from 1; 0 until it is published.
    """

    topic: str
    version: int
    at_ns: int
    subject: str
    data: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    id: int = 0


def publish(connection: Connection, event: Event) -> int:
    """Write an event in the transaction of the state it tells of; return its id.

    Raises:
        LimitExceeded: Encoded, it is over `EVENT_BYTES_MAX` bytes.
    """
    event_id = next_number(connection, "outbox")
    body = msgspec.json.encode(msgspec.structs.replace(event, id=event_id))
    if len(body) > EVENT_BYTES_MAX:
        raise LimitExceeded(f"an event is over {EVENT_BYTES_MAX} bytes")
    connection.execute(
        insert(outbox).values(id=event_id, topic=event.topic, version=event.version, body=body)
    )
    return event_id


def pending(connection: Connection, *, events_max: int) -> list[tuple[int, bytes]]:
    """Return the oldest events that are not yet relayed, ascending: id and encoded body."""
    rows = connection.execute(
        select(outbox.c.id, outbox.c.body).order_by(outbox.c.id).limit(events_max)
    )
    return [(row.id, row.body) for row in rows]


def forget(connection: Connection, *, through_id: int) -> None:
    """Remove events that are durable in the journal, up to and with `through_id`."""
    connection.execute(delete(outbox).where(outbox.c.id <= through_id))


def consume_once(connection: Connection, consumer: str, event_id: int) -> bool:
    """Say whether `consumer` sees this event for the first time, and remember it.

    Call it in the transaction of what the consumer changes. Events come in ascending order, so one
    number a consumer is enough.
    """
    last = connection.execute(
        select(consumed.c.event_id).where(consumed.c.consumer == consumer)
    ).scalar_one_or_none()
    if last is not None and event_id <= last:
        return False
    if last is None:
        connection.execute(insert(consumed).values(consumer=consumer, event_id=event_id))
    else:
        connection.execute(
            update(consumed).where(consumed.c.consumer == consumer).values(event_id=event_id)
        )
    return True


class EventReader:
    """Decodes events and lifts old versions to the present one.

    Args:
        upcasters: (topic, version) -> function from that version's data to the next version's.
    """

    def __init__(self, upcasters: Mapping[tuple[str, int], Upcaster] | None = None) -> None:
        self._upcasters = dict(upcasters or {})
        self._decoder = msgspec.json.Decoder(Event)

    def read(self, body: bytes) -> Event:
        """Return the event in its present version.

        Raises:
            LimitExceeded: Over `EVENT_BYTES_MAX` bytes.
            InputError: Not an event.
        """
        if len(body) > EVENT_BYTES_MAX:
            raise LimitExceeded(f"an event is over {EVENT_BYTES_MAX} bytes")
        try:
            event = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError("not an event of this hub") from error
        while upcast := self._upcasters.get((event.topic, event.version)):
            event = msgspec.structs.replace(
                event, version=event.version + 1, data=dict(upcast(event.data))
            )
        return event
