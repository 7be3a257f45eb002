"""Rows of actions and their reports: reads and writes inside a transaction of their caller."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from asepsis.core.errors import NotFound
from asepsis.core.model.update import Outcome
from asepsis.core.wire.ddi import Execution, Feedback, Finished
from asepsis.hub.fleet.ddi.model import CLOSED, STATUSES_MAX, Action, Kind, Stage, Window
from asepsis.hub.fleet.ddi.tables import actions, statuses
from asepsis.hub.store.store import next_number

ACTIONS: Final = "ddi actions"
PAGE_MAX: Final = 500
_OPEN: Final = [each.value for each in Stage if each not in CLOSED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One report of a client as it stands.

    Attributes:
        number: From 1 within its action.
        at_ns: When it came.
        feedback: What it said.
    """

    number: int
    at_ns: int
    feedback: Feedback


def read_action(connection: Connection, number: int) -> Action:
    """Return one action.

    Raises:
        NotFound: There is none of this number.
    """
    row = connection.execute(select(actions).where(actions.c.id == number)).one_or_none()
    if row is None:
        raise NotFound("no such action")
    return _action(row)


def read_actions(
    connection: Connection, *, target: str | None = None, before: int | None = None
) -> list[Action]:
    """Return actions, newest first, at most `PAGE_MAX`."""
    query = select(actions).order_by(actions.c.id.desc()).limit(PAGE_MAX)
    if target is not None:
        query = query.where(actions.c.target == target)
    if before is not None:
        query = query.where(actions.c.id < before)
    return [_action(row) for row in connection.execute(query)]


def open_actions(connection: Connection, target: str) -> list[Action]:
    """Return the actions of a target that have not ended, oldest first."""
    query = (
        select(actions)
        .where(actions.c.target == target, actions.c.stage.in_(_OPEN))
        .order_by(actions.c.id)
    )
    return [_action(row) for row in connection.execute(query)]


def current_action(connection: Connection, target: str) -> Action | None:
    """Return the action that a target has to look at: a cancellation first, else the oldest."""
    found = open_actions(connection, target)
    return min(found, key=lambda each: (each.stage is not Stage.CANCELING, each.id), default=None)


def add_action(connection: Connection, action: Action) -> Action:
    """Enter an action and return it with its number."""
    numbered = replace(action, id=next_number(connection, ACTIONS))
    connection.execute(insert(actions).values(**_values(numbered)))
    return numbered


def put_action(connection: Connection, action: Action) -> None:
    """Write an action as it is now."""
    connection.execute(update(actions).where(actions.c.id == action.id).values(**_values(action)))


def add_status(connection: Connection, action: Action, feedback: Feedback, now_ns: int) -> Action:
    """Write a report and return the action with its count.

    Beyond `STATUSES_MAX` only what ends an action is kept.
    """
    number = action.statuses + 1
    if number <= STATUSES_MAX or feedback.execution is Execution.CLOSED:
        connection.execute(
            insert(statuses).values(
                action=action.id,
                number=number,
                at_ns=now_ns,
                execution=feedback.execution.value,
                finished=feedback.finished.value,
                code=feedback.code,
                details=json.dumps(feedback.details),
            )
        )
    return replace(action, statuses=number)


def read_statuses(connection: Connection, number: int, *, newest: int) -> list[Status]:
    """Return reports of an action, newest first.

    Args:
        connection: Where.
        number: Which action.
        newest: How many at most.
    """
    query = (
        select(statuses)
        .where(statuses.c.action == number)
        .order_by(statuses.c.number.desc())
        .limit(min(newest, STATUSES_MAX))
    )
    return [_status(row) for row in connection.execute(query)]


def check_uses(connection: Connection, target: str, module: int) -> Sequence[Action]:
    """Return the open actions of a target that hand out a module, and the newest finished one.

    Raises:
        NotFound: None does.
    """
    query = (
        select(actions)
        .where(
            actions.c.target == target,
            actions.c.stage.in_([*_OPEN, Stage.FINISHED.value, Stage.DOWNLOADED.value]),
        )
        .order_by(actions.c.id.desc())
        .limit(PAGE_MAX)
    )
    found = [_action(row) for row in connection.execute(query)]
    held = [each for each in found if module in each.modules]
    if not held:
        raise NotFound("nothing of this is assigned to the target")
    return held


def _action(row: Row[Any]) -> Action:
    plain = {name: getattr(row, name) for name in _PLAIN}
    return Action(
        **plain,
        modules=tuple(json.loads(row.modules)),
        windows=msgspec.json.decode(row.windows, type=tuple[Window, ...]),
        kind=Kind(row.kind),
        stage=Stage(row.stage),
        outcome=Outcome(row.outcome),
    )


def _values(action: Action) -> dict[str, Any]:
    return {name: getattr(action, name) for name in _PLAIN} | {
        "modules": json.dumps(action.modules),
        "windows": msgspec.json.encode(action.windows).decode(),
        "kind": action.kind.value,
        "stage": action.stage.value,
        "outcome": action.outcome.value,
    }


_PLAIN: Final = (
    *("id", "target", "name", "version", "force_ns", "reason", "retrieved", "served", "boot"),
    *("statuses", "person", "created_ns", "closed_ns"),
)


def _status(row: Row[Any]) -> Status:
    feedback = Feedback(
        execution=Execution(row.execution),
        finished=Finished(row.finished),
        code=row.code,
        details=tuple(json.loads(row.details)),
    )
    return Status(number=row.number, at_ns=row.at_ns, feedback=feedback)
