"""The log in the store: written in the transaction of the act, proven in O(log n), checked whole.

The store has one writer at a time, so entries have one order on both engines.
"""

import os
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection, Row, insert, select, tuple_

from asepsis.core.errors import ChainBroken, InputError
from asepsis.core.trust import merkle
from asepsis.hub.audit.rules import (
    ACTOR_CHARS_MAX,
    SALT_BYTES,
    WORD_CHARS_MAX,
    Act,
    Entry,
    SignedHead,
    compare_root,
    encode_detail,
    leaf,
)
from asepsis.hub.audit.tables import entries, heads, nodes
from asepsis.hub.store.store import next_number
from asepsis.hub.store.tables import counters

COUNTER: Final = "audit"
PAGE_MAX: Final = 500
"""Entries read at once, by people and by the check."""
LATELY_MAX: Final = 100_000
"""Entries looked through for what was done lately; a hospital writes fewer in a day."""


class AuditLog:
    """Writes entries; one for a hub, safe in every thread.

    Args:
        clock: Wall time in nanoseconds since 1970.
        rng: Returns that many random bytes.
    """

    def __init__(
        self, clock: Callable[[], int], *, rng: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._clock = clock
        self._rng = rng

    def record(self, connection: Connection, act: Act) -> int:
        """Write an act in the transaction that does it; return the entry's index.

        Raises:
            LimitExceeded: The detail is too large.
        """
        index = next_number(connection, COUNTER) - 1
        entry = Entry(
            index=index,
            at_ns=self._clock(),
            # Names from outside are cut, not refused: a long name must not keep an act unlogged.
            actor=act.actor[:ACTOR_CHARS_MAX],
            action=act.action[:WORD_CHARS_MAX],
            subject=act.subject[:ACTOR_CHARS_MAX],
            outcome=act.outcome[:WORD_CHARS_MAX],
            detail=encode_detail(act.detail).decode(),
            salt=self._rng(SALT_BYTES).hex(),
        )
        connection.execute(
            insert(entries).values(
                leaf_index=index,
                at_ns=entry.at_ns,
                actor=entry.actor,
                action=entry.action,
                subject=entry.subject,
                outcome=entry.outcome,
                detail=bytes.fromhex(entry.salt) + entry.detail.encode(),
            )
        )
        _, grown = _frontier(connection, index).append(leaf(entry))
        connection.execute(
            insert(nodes),
            [{"level": n.level, "node_index": n.index, "hash": n.digest} for n in grown],
        )
        return index

    def note(
        self, connection: Connection, *, actor: str, action: str, subject: str, **detail: object
    ) -> int:
        """Write an act that was done, for callers who know no `Act` (see `access/ports.py`)."""
        act = Act(actor=actor, action=action, subject=subject, detail=detail)
        return self.record(connection, act)


def note_read(
    connection: Connection,
    audit: AuditLog,
    *,
    reader: str,
    asked: Sequence[str] = (),
    patients: Sequence[str] = (),
) -> None:
    """Write that somebody reads the log, before anything of it is shown.

    Args:
        connection: A unit of work.
        audit: Writes it.
        reader: Who, as "kind:name".
        asked: Names of what was searched by.
        patients: Patients that were searched for.
    """
    audit.note(
        connection,
        actor=reader,
        action="read-audit",
        subject="audit log",
        asked=list(asked),
        patients=list(patients),
    )


def size(connection: Connection) -> int:
    """Return the number of entries."""
    value = connection.execute(
        select(counters.c.value).where(counters.c.name == COUNTER)
    ).scalar_one_or_none()
    return value or 0


def root(connection: Connection, count: int) -> bytes:
    """Return the Merkle root that the log had with `count` entries."""
    return _frontier(connection, count).root()


def page(connection: Connection, *, after: int, entries_max: int = PAGE_MAX) -> list[Entry]:
    """Return entries with an index above `after`, ascending.

    Args:
        connection: A consistent view.
        after: -1 for the start.
        entries_max: 1 to `PAGE_MAX`.

    Raises:
        SignatureInvalid: A sealed detail was changed.
    """
    rows = connection.execute(
        select(entries)
        .where(entries.c.leaf_index > after)
        .order_by(entries.c.leaf_index)
        .limit(min(entries_max, PAGE_MAX))
    )
    return [_entry(row) for row in rows]


def lately(connection: Connection, *, action: str, since_ns: int) -> list[Entry]:
    """Return entries of one action, ascending, among the newest `LATELY_MAX` of the log.

    Args:
        connection: A consistent view.
        action: Of the entries.
        since_ns: Nanoseconds since 1970.

    Raises:
        SignatureInvalid: A sealed detail was changed.
    """
    rows = connection.execute(
        select(entries)
        .where(entries.c.leaf_index >= size(connection) - LATELY_MAX)
        .where(entries.c.action == action, entries.c.at_ns >= since_ns)
        .order_by(entries.c.leaf_index)
    )
    return [_entry(row) for row in rows]


def inclusion(connection: Connection, index: int, *, count: int) -> tuple[bytes, ...]:
    """Prove that entry `index` stands in the log of `count` entries.

    Raises:
        InputError: The log has no such entry or is not that long.
    """
    _check_count(connection, count)
    return merkle.inclusion_proof(index, size=count, node=_reader(connection))


def consistency(connection: Connection, first: int, second: int) -> tuple[bytes, ...]:
    """Prove that the log of `second` entries begins with the one of `first`.

    Raises:
        InputError: The log is not that long, or the order is wrong.
    """
    _check_count(connection, second)
    return merkle.consistency_proof(first, second=second, node=_reader(connection))


def signed_heads(connection: Connection, *, last: int | None = None) -> list[SignedHead]:
    """Return the signed heads ascending by size, or only the newest `last` of them."""
    rows = connection.execute(select(heads).order_by(heads.c.size.desc()).limit(last)).all()
    return [
        SignedHead(
            size=row.size, root=row.root.hex(), at_ns=row.at_ns, signature=row.signature.hex()
        )
        for row in reversed(rows)
    ]


def check(connection: Connection) -> int:
    """Check every row of the log against its tree and its heads; return the number of entries.

    Signatures of heads are `verify_head`'s business; this finds which row was touched.

    Raises:
        ChainBroken: An entry, node or head was changed, removed, added or moved.
        SignatureInvalid: A sealed detail was changed.
    """
    state = merkle.Frontier()
    waiting = signed_heads(connection)
    while found := page(connection, after=state.size - 1):
        grown: list[tuple[int, merkle.Node]] = []
        for entry in found:
            if entry.index != state.size:
                raise ChainBroken(f"audit entry {state.size} is missing")
            state, complete = state.append(leaf(entry))
            grown += [(entry.index, node) for node in complete]
            while waiting and waiting[0].size == state.size:
                compare_root(waiting.pop(0), state.root())
        _compare_nodes(connection, grown)
    if waiting or state.size != size(connection):
        raise ChainBroken(f"the audit log was cut after entry {state.size - 1}")
    return state.size


def _compare_nodes(connection: Connection, grown: list[tuple[int, merkle.Node]]) -> None:
    stored = _stored(connection, [(node.level, node.index) for _, node in grown])
    for index, node in grown:
        if stored.get((node.level, node.index)) != node.digest:
            raise ChainBroken(f"audit entry {index} was changed")


def _entry(row: Row[*tuple[object, ...]]) -> Entry:
    sealed: bytes = row.detail
    return Entry(
        index=row.leaf_index,
        at_ns=row.at_ns,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        outcome=row.outcome,
        detail=sealed[SALT_BYTES:].decode(),
        salt=sealed[:SALT_BYTES].hex(),
    )


def _frontier(connection: Connection, count: int) -> merkle.Frontier:
    """Read the state of the tree in one query: one node for each bit that is set."""
    levels = [level for level in reversed(range(count.bit_length())) if count >> level & 1]
    places = [(level, (count >> level) - 1) for level in levels]
    found = _stored(connection, places)
    if len(found) != len(places):
        raise ChainBroken("nodes of the audit log are missing")
    return merkle.Frontier(count, tuple(found[place] for place in places))


def _stored(connection: Connection, places: list[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    if not places:
        return {}
    rows = connection.execute(
        select(nodes).where(tuple_(nodes.c.level, nodes.c.node_index).in_(places))
    )
    return {(row.level, row.node_index): row.hash for row in rows}


def _reader(connection: Connection) -> merkle.NodeReader:
    def read(level: int, index: int) -> bytes:
        found = _stored(connection, [(level, index)])
        if not found:
            raise ChainBroken("nodes of the audit log are missing")
        return found[level, index]

    return read


def _check_count(connection: Connection, count: int) -> None:
    if not 0 <= count <= size(connection):
        raise InputError("the log has no such size")
