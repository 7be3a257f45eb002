"""Rows of delegations and sources: read for the book, changed in the caller's unit of work."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from asepsis.hub.registry.delegations.lines import (
    NOTHING,
    WARN_NS,
    Declaration,
    Network,
    Source,
    SourceKind,
)
from asepsis.hub.registry.rules import Evidence
from asepsis.hub.registry.tables import delegations, sources

ROWS_MAX: Final = 10_000
"""Delegations that one list shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a person decides about delegations beside holder, device and expiry.

    Attributes:
        evidence: How the gateway knows.
        partner: The other gateway of a pair; empty for none.
        interface: By which family or listener, for people.
        message_types: What may come; empty for all.
        network: What the gateway must see.
        period_s: How often a device reports at least; 0 for the default lease.
    """

    evidence: Evidence = Evidence.CLAIMED
    partner: str = ""
    interface: str = ""
    message_types: tuple[str, ...] = ()
    network: Network = NOTHING
    period_s: int = 0


DEFAULT_TERMS: Final = Terms()


def put(
    connection: Connection,
    holder: str,
    named: Iterable[str],
    *,
    person: str,
    now_ns: int,
    expires_at_ns: int,
    terms: Terms = DEFAULT_TERMS,
) -> None:
    """Add delegations, or replace them: a person looked, so what had changed is forgotten."""
    wanted = list(dict.fromkeys(named))
    if not wanted:
        return
    withdraw(connection, holder, wanted)
    connection.execute(
        insert(delegations),
        [
            {
                "holder": holder,
                "device": device,
                "person": person,
                "declared_at_ns": now_ns,
                "expires_at_ns": expires_at_ns,
                "evidence": terms.evidence.value,
                "partner": terms.partner,
                "interface": terms.interface,
                "message_types": msgspec.json.encode(terms.message_types).decode(),
                "network": msgspec.json.encode(terms.network).decode(),
                "period_s": terms.period_s,
            }
            for device in wanted
        ],
    )


def withdraw(connection: Connection, holder: str, named: Iterable[str]) -> int:
    """Remove delegations; return how many there were."""
    return connection.execute(
        delete(delegations).where(
            delegations.c.holder == holder, delegations.c.device.in_(list(named))
        )
    ).rowcount


def note_seen(
    connection: Connection, holder: str, device: str, seen: Network, *, changed_at_ns: int
) -> None:
    """Keep what a gateway says it sees of a device."""
    connection.execute(
        update(delegations)
        .where(delegations.c.holder == holder, delegations.c.device == device)
        .values(seen=msgspec.json.encode(seen).decode(), changed_at_ns=changed_at_ns)
    )


def put_source(connection: Connection, source: Source, *, now_ns: int) -> None:
    """Name a gateway as a source, or give that a new end."""
    withdraw_source(connection, source.holder, source.kind)
    connection.execute(
        insert(sources).values(
            holder=source.holder,
            kind=source.kind.value,
            person=source.person,
            declared_at_ns=now_ns,
            expires_at_ns=source.expires_at_ns,
            partner=source.partner,
        )
    )


def withdraw_source(connection: Connection, holder: str, kind: SourceKind) -> int:
    """Remove a source; return how many there were."""
    return connection.execute(
        delete(sources).where(sources.c.holder == holder, sources.c.kind == kind.value)
    ).rowcount


def read_lines(
    connection: Connection, *, holders: list[str] | None = None
) -> tuple[list[Declaration], list[Source]]:
    """Return delegations and sources, all or those of some holders."""
    lines, named = select(delegations), select(sources)
    if holders is not None:
        lines = lines.where(delegations.c.holder.in_(holders))
        named = named.where(sources.c.holder.in_(holders))
    return _lines(connection, lines), [_source(row) for row in connection.execute(named)]


def expiring(connection: Connection, now_ns: int) -> tuple[list[Declaration], list[Source]]:
    """Return what ends within `WARN_NS` and nobody was told of; note that they are told now."""
    found = (
        _lines(connection, select(delegations).where(*_due(delegations, now_ns))),
        [_source(row) for row in connection.execute(select(sources).where(*_due(sources, now_ns)))],
    )
    for table in (delegations, sources):
        connection.execute(update(table).where(*_due(table, now_ns)).values(warned_at_ns=now_ns))
    return found


def _due(table: Any, now_ns: int) -> tuple[Any, ...]:
    return (table.c.expires_at_ns < now_ns + WARN_NS, table.c.warned_at_ns == 0)


def _lines(connection: Connection, query: Select[Any]) -> list[Declaration]:
    ordered = query.order_by(delegations.c.holder, delegations.c.device)
    return [_line(row) for row in connection.execute(ordered)]


def _line(row: Row[Any]) -> Declaration:
    return Declaration(
        holder=row.holder,
        device=row.device,
        expires_at_ns=row.expires_at_ns,
        evidence=Evidence(row.evidence),
        person=row.person,
        partner=row.partner,
        interface=row.interface,
        message_types=msgspec.json.decode(row.message_types, type=tuple[str, ...]),
        network=msgspec.json.decode(row.network, type=Network),
        period_s=row.period_s,
        seen=None if row.seen is None else msgspec.json.decode(row.seen, type=Network),
        changed_at_ns=row.changed_at_ns,
    )


def _source(row: Row[Any]) -> Source:
    return Source(
        holder=row.holder,
        kind=SourceKind(row.kind),
        expires_at_ns=row.expires_at_ns,
        person=row.person,
        partner=row.partner,
    )
