"""Dead letters: kept until a person decides, found by what people ask for, sealed at rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from asepsis.core.errors import BackPressure, Conflict, InputError, NotFound
from asepsis.core.mapping.route import patient_key
from asepsis.core.wire.hl7 import Message
from asepsis.hub.delivery.model import (
    UNDECIDED,
    Item,
    ItemKind,
    LetterState,
    Refusal,
)
from asepsis.hub.delivery.tables import letters
from asepsis.hub.store.sealed import ColumnSealer
from asepsis.hub.store.store import next_number

COUNTER: Final = "dead-letters"
LIST_MAX: Final = 500
LETTERS_MAX: Final = 50_000
"""Undecided letters of one destination; beyond them its line waits, and the journal keeps the rest:
a receiver that refuses everything must not fill the state."""
REASON_CHARS_MAX: Final = 500
_CODE_CHARS_MAX: Final = 20
_TYPE_CHARS_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter without its content.

    Attributes:
        id: From 1.
        destination: Who was to have it.
        key: Key of the item.
        kind: What it is.
        route: Which route made it.
        state: Where it stands.
        at_ns: When it was last refused, nanoseconds since 1970.
        message_type: MSH-9 such as `ORU^R01`; empty for an instance.
        code: MSA-1, HTTP status or our own word.
    """

    id: int
    destination: str
    key: str
    kind: ItemKind
    route: str
    state: LetterState
    at_ns: int
    message_type: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A dead letter with its content.

    Attributes:
        letter: The rest.
        reason: The receiver's words.
        item: What was to be delivered.
    """

    letter: Letter
    reason: str
    item: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What to look for; what is empty is not asked.

    Attributes:
        destination: Name.
        state: State; None means those that wait for a decision.
        message_type: Such as `ADT^A40`.
        patient: First component of PID-3.
        control_id: MSH-10.
        after: Letters with a higher id.
        limit: 1 to `LIST_MAX`.
    """

    destination: str = ""
    state: LetterState | None = None
    message_type: str = ""
    patient: str = ""
    control_id: str = ""
    after: int = 0
    limit: int = 100


def put(
    connection: Connection,
    sealer: ColumnSealer,
    *,
    destination: str,
    item: Item,
    refusal: Refusal,
    state: LetterState,
    now_ns: int,
) -> int:
    """Keep an item as a dead letter, or note that the same one was refused again; return its id.

    Args:
        connection: A unit of work.
        sealer: Makes the hashes that letters are found by.
        destination: Who was to have it.
        item: What it is.
        refusal: Why.
        state: Where it stands now.
        now_ns: Wall time.

    Raises:
        BackPressure: Too many letters of this destination wait for a person.
    """
    found = connection.execute(
        select(letters.c.id).where(
            letters.c.destination == destination, letters.c.item_key == item.key
        )
    ).scalar_one_or_none()
    values: dict[str, Any] = {
        "state": state.value,
        "at_ns": now_ns,
        "code": refusal.code[:_CODE_CHARS_MAX],
        "reason": refusal.text[:REASON_CHARS_MAX].encode(),
    }
    if found is not None:
        connection.execute(update(letters).where(letters.c.id == found).values(values))
        return found
    if undecided(connection, destination) >= LETTERS_MAX:
        raise BackPressure(f"{destination} has {LETTERS_MAX} dead letters that nobody decided")
    number = next_number(connection, COUNTER)
    kind, patient, control_id = _facts(item)
    connection.execute(
        insert(letters).values(
            values
            | {
                "id": number,
                "destination": destination,
                "item_key": item.key,
                "kind": item.kind.value,
                "route": item.route,
                "stops": int(item.stop),
                "message_type": kind,
                "patient": sealer.lookup_hash("dead_letters.patient", patient),
                "control_id": sealer.lookup_hash("dead_letters.control_id", control_id),
                "body": item.body,
            }
        )
    )
    return number


def undecided(connection: Connection, destination: str) -> int:
    """Return how many letters of a destination wait for a decision."""
    query = select(func.count()).where(
        letters.c.destination == destination,
        letters.c.state.in_([state.value for state in UNDECIDED]),
    )
    return connection.execute(query).scalar_one()


def search(connection: Connection, sealer: ColumnSealer, wanted: Search) -> list[Letter]:
    """Return letters without their content, ascending by id."""
    query = select(letters).where(letters.c.id > wanted.after)
    states = [wanted.state] if wanted.state is not None else UNDECIDED
    query = query.where(letters.c.state.in_([state.value for state in states]))
    if wanted.destination:
        query = query.where(letters.c.destination == wanted.destination)
    if wanted.message_type:
        query = query.where(letters.c.message_type == wanted.message_type)
    for column, text in (("patient", wanted.patient), ("control_id", wanted.control_id)):
        if text:
            digest = sealer.lookup_hash(f"dead_letters.{column}", text.encode())
            query = query.where(letters.c[column] == digest)
    rows = connection.execute(query.order_by(letters.c.id).limit(min(wanted.limit, LIST_MAX)))
    return [_letter(row) for row in rows]


def read(connection: Connection, number: int) -> Opened:
    """Return a letter with its content.

    Raises:
        NotFound: No such letter.
        SignatureInvalid: It was changed.
    """
    row = connection.execute(select(letters).where(letters.c.id == number)).one_or_none()
    if row is None:
        raise NotFound("no such dead letter")
    return _opened(row)


def decide(connection: Connection, number: int, state: LetterState) -> Opened:
    """Move an undecided letter to a state and return it as it was.

    Raises:
        NotFound: No such letter.
        Conflict: Somebody decided already.
    """
    opened = read(connection, number)
    if opened.letter.state not in UNDECIDED:
        raise Conflict(f"the dead letter is {opened.letter.state.value} already")
    connection.execute(update(letters).where(letters.c.id == number).values(state=state.value))
    return opened


def queue_for(connection: Connection, number: int, destination: str) -> Opened:
    """Send an undecided letter on its way again, perhaps elsewhere; errors as `decide`."""
    opened = decide(connection, number, LetterState.QUEUED)
    connection.execute(
        update(letters)
        .where(letters.c.id == number)
        .values(destination=destination, item_key=f"L{number}")
    )
    return opened


def queued(connection: Connection, destination: str) -> list[Item]:
    """Return the letters that are on their way to a destination, oldest first."""
    rows = connection.execute(
        select(letters)
        .where(
            letters.c.destination == destination,
            letters.c.state == LetterState.QUEUED.value,
            letters.c.item_key.startswith("L"),
        )
        .order_by(letters.c.id)
    )
    return [_opened(row).item for row in rows]


def keys(connection: Connection, destination: str) -> list[str]:
    """Return the keys of the letters that the line of a destination has on its hands."""
    states = (LetterState.BLOCKING.value, LetterState.QUEUED.value)
    rows = connection.execute(
        select(letters.c.item_key).where(
            letters.c.destination == destination, letters.c.state.in_(states)
        )
    )
    return [row.item_key for row in rows]


def deliver(connection: Connection, destination: str, keys: Sequence[str]) -> None:
    """Note that letters arrived."""
    connection.execute(
        update(letters)
        .where(letters.c.destination == destination, letters.c.item_key.in_(keys))
        .values(state=LetterState.DELIVERED.value)
    )


def _opened(row: Row[Any]) -> Opened:
    letter = _letter(row)
    item = Item(
        key=f"L{letter.id}",
        kind=letter.kind,
        body=row.body,
        route=letter.route,
        letter=letter.id,
    )
    return Opened(letter=letter, reason=row.reason.decode("utf-8", "replace"), item=item)


def _letter(row: Row[Any]) -> Letter:
    return Letter(
        id=row.id,
        destination=row.destination,
        key=row.item_key,
        kind=ItemKind(row.kind),
        route=row.route,
        state=LetterState(row.state),
        at_ns=row.at_ns,
        message_type=row.message_type,
        code=row.code,
    )


def _facts(item: Item) -> tuple[str, bytes, bytes]:
    """Return type, patient and control id of an item; empty where it has none."""
    if item.kind is not ItemKind.HL7:
        return "", b"", b""
    try:
        message = Message.parse(item.body)
        header = message.header
        kind = f"{header.message_code}^{header.trigger_event}"[:_TYPE_CHARS_MAX]
        patient = patient_key(message).split(message.delimiters.component, 1)[0]
        return kind, patient, header.control_id.encode()
    except InputError:
        return "", b"", b""
