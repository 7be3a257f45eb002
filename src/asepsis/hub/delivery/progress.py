"""What a line remembers in the store: what is done ahead of its cursor, and what was delivered."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, delete, insert, select

from asepsis.core.errors import InputError
from asepsis.hub.delivery import letters
from asepsis.hub.delivery.model import Item
from asepsis.hub.delivery.tables import delivered, lines


class Done(NamedTuple):
    """What a destination took since progress was saved last.

    Attributes:
        letters: Keys of dead letters that it took after all.
        instances: SOP Instance UIDs that it has now.
        now_ns: Wall time, nanoseconds since 1970.
    """

    letters: Sequence[str]
    instances: Sequence[str]
    now_ns: int


class Remembered(NamedTuple):
    """What a line knows of before it was started.

    Attributes:
        known: Whether the destination had a line before.
        ahead: Keys of records that are done although the cursor stands before them.
        again: Dead letters that a person put on their way again.
        letters: Keys of all dead letters.
    """

    known: bool
    ahead: Sequence[str]
    again: Sequence[Item]
    letters: Sequence[str]


def load(connection: Connection, name: str) -> Remembered:
    """Return what the line of a destination knows."""
    raw = connection.execute(
        select(lines.c.ahead).where(lines.c.destination == name)
    ).scalar_one_or_none()
    ahead = msgspec.json.decode(raw, type=list[str]) if raw is not None else []
    again = letters.queued(connection, name)
    return Remembered(raw is not None, ahead, again, letters.keys(connection, name))


def save(
    connection: Connection, name: str, ahead: Sequence[str] = (), done: Done | None = None
) -> None:
    """Replace what is done ahead of the cursor, and note what was delivered."""
    connection.execute(delete(lines).where(lines.c.destination == name))
    connection.execute(insert(lines).values(destination=name, ahead=msgspec.json.encode(ahead)))
    if done is None:
        return
    if done.letters:
        letters.deliver(connection, name, done.letters)
    for instance in dict.fromkeys(done.instances):
        connection.execute(
            delete(delivered).where(
                delivered.c.destination == name, delivered.c.instance == instance
            )
        )
        connection.execute(
            insert(delivered).values(destination=name, instance=instance, at_ns=done.now_ns)
        )


class _Reference(msgspec.Struct, frozen=True):
    instance: str


def instance_of(body: bytes) -> str:
    """Return the SOP Instance UID of an instance's record.

    Raises:
        InputError: The record names none: a mistake of our own.
    """
    try:
        return msgspec.json.decode(body, type=_Reference).instance
    except msgspec.MsgspecError as error:
        raise InputError("a record of the image lane names no instance") from error
