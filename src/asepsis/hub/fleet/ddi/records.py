"""Rows of the DDI interface: reads and writes inside a transaction of their caller."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from asepsis.core.errors import Conflict, LimitExceeded, NotFound
from asepsis.core.wire.ddi import AutoConfirm
from asepsis.hub.fleet.ddi.model import File, Module, Target
from asepsis.hub.fleet.ddi.profiles import GENERIC, PROFILES
from asepsis.hub.fleet.ddi.tables import gateways, modules, targets
from asepsis.hub.store.store import next_number

CHANGES: Final = "ddi changes"
MODULES: Final = "ddi modules"
TARGETS: Final = "ddi targets"
PAGE_MAX: Final = 500
GATEWAYS_MAX: Final = 1_000
MODULES_KEPT_MAX: Final = 10_000
TARGETS_MAX: Final = 2_000_000


# -- Targets --------------------------------------------------------------------------------------


def read_target(connection: Connection, name: str) -> Target | None:
    """Return one target, or None."""
    row = connection.execute(select(targets).where(targets.c.name == name)).one_or_none()
    return None if row is None else _target(row)


def read_targets(connection: Connection, *, after: str, limit: int) -> list[Target]:
    """Return targets in the order of their names."""
    query = select(targets).where(targets.c.name > after).order_by(targets.c.name)
    return [_target(row) for row in connection.execute(query.limit(min(limit, PAGE_MAX)))]


def add_target(connection: Connection, target: Target) -> None:
    """Enter a target.

    Raises:
        Conflict: There is one of this name.
        LimitExceeded: Too many.
    """
    if read_target(connection, target.name) is not None:
        raise Conflict("a target of this name exists")
    counted = next_number(connection, TARGETS)
    if counted > TARGETS_MAX:
        raise LimitExceeded(f"a hub has at most {TARGETS_MAX} targets")
    connection.execute(
        insert(targets).values(**_target_values(target), changed=next_number(connection, CHANGES))
    )


def put_target(connection: Connection, target: Target) -> None:
    """Write a target as it is now; every hub hears of it."""
    connection.execute(
        update(targets)
        .where(targets.c.name == target.name)
        .values(**_target_values(target), changed=next_number(connection, CHANGES))
    )


def touch_target(connection: Connection, name: str) -> None:
    """Let every hub look at a target again."""
    number = next_number(connection, CHANGES)
    connection.execute(update(targets).where(targets.c.name == name).values(changed=number))


def changed_since(connection: Connection, number: int) -> tuple[int, list[str] | None]:
    """Return the newest change, and whose there were since; None for too many to name."""
    newest = connection.execute(select(func.max(targets.c.changed))).scalar_one() or 0
    if newest == number:
        return number, []
    query = select(targets.c.name).where(targets.c.changed > number).limit(PAGE_MAX + 1)
    names = list(connection.execute(query).scalars())
    return newest, None if len(names) > PAGE_MAX else names


def note_seen(connection: Connection, seen: Sequence[tuple[str, int, str]]) -> None:
    """Write when targets asked last, and where from."""
    for name, at_ns, address in seen:
        connection.execute(
            update(targets).where(targets.c.name == name).values(seen_ns=at_ns, address=address)
        )


# -- Gateways' tokens -----------------------------------------------------------------------------


def read_gateways(connection: Connection) -> list[tuple[str, str, str, int]]:
    """Return name, hash of the token, person and time of every gateway."""
    query = select(gateways).order_by(gateways.c.name).limit(GATEWAYS_MAX)
    rows = connection.execute(query)
    return [(row.name, row.token_sha256, row.person, row.added_ns) for row in rows]


def add_gateway(
    connection: Connection, name: str, *, token_sha256: str, person: str, now_ns: int
) -> None:
    """Enter a gateway's token.

    Raises:
        Conflict: There is one of this name.
        LimitExceeded: Too many.
    """
    known = read_gateways(connection)
    if any(each[0] == name for each in known):
        raise Conflict("a gateway of this name exists")
    if len(known) >= GATEWAYS_MAX:
        raise LimitExceeded(f"a hub has at most {GATEWAYS_MAX} gateways' tokens")
    connection.execute(
        insert(gateways).values(
            name=name, token_sha256=token_sha256, person=person, added_ns=now_ns
        )
    )


def remove_gateway(connection: Connection, name: str) -> None:
    """Let a gateway's token count no more.

    Raises:
        NotFound: There is none.
    """
    if not connection.execute(delete(gateways).where(gateways.c.name == name)).rowcount:
        raise NotFound("no such gateway")


# -- Modules --------------------------------------------------------------------------------------


def read_modules(connection: Connection, ids: Sequence[int] | None = None) -> list[Module]:
    """Return modules by number, in the order asked; all of them, newest first, for None."""
    if ids is None:
        query = select(modules).order_by(modules.c.id.desc()).limit(PAGE_MAX)
        return [_module(row) for row in connection.execute(query)]
    rows = connection.execute(select(modules).where(modules.c.id.in_(ids)))
    found = {row.id: _module(row) for row in rows}
    return [found[each] for each in ids if each in found]


def add_module(connection: Connection, module: Module) -> Module:
    """Enter a module and return it with its number.

    Raises:
        LimitExceeded: Too many.
    """
    number = next_number(connection, MODULES)
    if number > MODULES_KEPT_MAX:
        raise LimitExceeded(f"a hub keeps at most {MODULES_KEPT_MAX} modules")
    numbered = replace(module, id=number)
    connection.execute(
        insert(modules).values(
            id=number,
            name=module.name,
            version=module.version,
            part=module.part,
            files=msgspec.json.encode(module.files).decode(),
            person=module.person,
            added_ns=module.added_ns,
        )
    )
    return numbered


def _module(row: Row[Any]) -> Module:
    return Module(
        id=row.id,
        name=row.name,
        version=row.version,
        part=row.part,
        files=msgspec.json.decode(row.files, type=tuple[File, ...]),
        person=row.person,
        added_ns=row.added_ns,
    )


def _target(row: Row[Any]) -> Target:
    return Target(
        name=row.name,
        profile=PROFILES.get(row.profile, GENERIC),
        token_sha256=row.token_sha256,
        blocked=row.blocked,
        attributes=json.loads(row.attributes),
        wanted=row.wanted,
        auto_confirm=AutoConfirm(**json.loads(row.auto_confirm)) if row.auto_confirm else None,
        installed=row.installed,
        person=row.person,
        added_ns=row.added_ns,
        seen_ns=row.seen_ns,
        address=row.address,
    )


def _target_values(target: Target) -> dict[str, Any]:
    found = {name: getattr(target, name) for name in _PLAIN}
    confirmer = target.auto_confirm
    return found | {
        "profile": target.profile.name,
        "attributes": json.dumps(target.attributes),
        "auto_confirm": json.dumps(asdict(confirmer)) if confirmer else "",
    }


_PLAIN: Final = (
    *("name", "token_sha256", "blocked", "wanted", "installed", "person"),
    *("added_ns", "seen_ns", "address"),
)
