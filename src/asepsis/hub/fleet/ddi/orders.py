"""What people let update clients do: updates are assigned, confirmed and taken back.

Who brought a module never assigns it: two people stand behind every update, whatever their roles.
Each decision is audited in its transaction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from asepsis.core.errors import Conflict, InputError, NotFound, NotPermitted
from asepsis.core.model.update import Outcome
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.fleet.ddi import records, records_actions, rules
from asepsis.hub.fleet.ddi.held import Targets
from asepsis.hub.fleet.ddi.model import CLOSED, WINDOWS_MAX, Action, Kind, Module, Stage, Window
from asepsis.hub.fleet.ddi.people import found_target
from asepsis.hub.fleet.ddi.records_actions import Status
from asepsis.hub.fleet.ddi.service import ClientService
from asepsis.hub.store.store import Store

TARGETS_MAX: Final = 1_000
"""Targets of one assignment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be assigned.

    Attributes:
        targets: Whom.
        modules: Numbers of the modules.
        name: Of the set; empty for that of the first module.
        version: Of the set; empty for that of the first module.
        kind: How much is left to the device.
        force_ns: With `TIME_FORCED`, from when.
        windows: When it may be installed; empty for always.
        confirm: Whether somebody has to confirm it first.
    """

    targets: tuple[str, ...]
    modules: tuple[int, ...]
    name: str = ""
    version: str = ""
    kind: Kind = Kind.FORCED
    force_ns: int = 0
    windows: tuple[Window, ...] = ()
    confirm: bool = False


@dataclass(frozen=True, slots=True)
class Orders:
    """The use cases of people for updates.

    Attributes:
        store: Where everything stands.
        audit: Gets every decision.
        targets: What is held in memory.
        clients: Takes actions back.
        clock: Wall time in nanoseconds since 1970.
    """

    store: Store
    audit: AuditLog
    targets: Targets
    clients: ClientService
    clock: Callable[[], int]

    async def assign(self, order: Order, *, person: str) -> list[Action]:
        """Assign modules to targets; what they had open is taken back first.

        Raises:
            NotFound: A target or module is unknown.
            Conflict: A target's client can not do that.
            NotPermitted: This person brought one of the modules.
            InputError: The windows are not in order, or all over.
        """
        check_windows(order.windows, self.clock())

        def work(connection: Connection) -> list[Action]:
            found = records.read_modules(connection, order.modules)
            if not found or len(found) != len(order.modules):
                raise NotFound("a module is unknown")
            if any(module.person == person for module in found):
                raise NotPermitted(
                    "who brought a module may not assign it", hint="ask a second person"
                )
            return [self._assign(connection, n, order, found[0], person) for n in order.targets]

        made = await self.store.write(work)
        for name in order.targets:
            self.targets.drop(name)
        return made

    def _assign(
        self, connection: Connection, name: str, order: Order, first: Module, person: str
    ) -> Action:
        target = found_target(connection, name)
        rules.check_kind(order.kind, target.profile)
        for action in records_actions.open_actions(connection, name):
            if action.stage is not Stage.CANCELING:
                self.clients.withdraw(connection, action, "another update was assigned")
        waits = order.confirm and target.auto_confirm is None
        made = records_actions.add_action(
            connection,
            Action(
                id=0,
                target=name,
                name=order.name or first.name,
                version=order.version or first.version,
                modules=order.modules,
                kind=order.kind,
                force_ns=order.force_ns,
                windows=order.windows,
                stage=Stage.CONFIRM if waits else Stage.RUNNING,
                person=person,
                created_ns=self.clock(),
            ),
        )
        records.touch_target(connection, name)
        self._note(
            connection,
            person,
            "assign-ddi-update",
            name,
            number=made.id,
            modules=order.modules,
            version=made.version,
            kind=order.kind.value,
        )
        return made

    async def cancel(self, number: int, *, person: str, at_once: bool) -> Action:
        """Take an action back.

        Args:
            number: Which.
            person: Who.
            at_once: Without asking the client, which may go on with it.

        Raises:
            NotFound: There is none.
            Conflict: It has ended.
        """

        def work(connection: Connection) -> Action:
            action = records_actions.read_action(connection, number)
            if action.stage in CLOSED:
                raise Conflict("the action has ended")
            if at_once:
                action = replace(action, retrieved=False)
            changed = self.clients.withdraw(connection, action, f"taken back by {person}")
            if at_once:
                # It may be under way on the device: nobody knows, and nobody says otherwise.
                changed = replace(changed, outcome=rules.back(action.outcome, Outcome.WITHDRAWN))
                records_actions.put_action(connection, changed)
            subject = changed.target
            self._note(
                connection, person, "cancel-ddi-update", subject, number=number, at_once=at_once
            )
            return changed

        changed = await self.store.write(work)
        self.targets.drop(changed.target)
        return changed

    async def confirm(self, number: int, *, person: str) -> Action:
        """Let an action go on that waits for confirmation.

        Raises:
            NotFound: There is none.
            Conflict: It does not wait.
        """

        def work(connection: Connection) -> Action:
            action = records_actions.read_action(connection, number)
            if action.stage is not Stage.CONFIRM:
                raise Conflict("the action does not wait for confirmation")
            changed = replace(action, stage=Stage.RUNNING, reason=f"confirmed by {person}")
            records_actions.put_action(connection, changed)
            records.touch_target(connection, action.target)
            self._note(connection, person, "confirm-ddi-update", action.target, number=number)
            return changed

        changed = await self.store.write(work)
        self.targets.drop(changed.target)
        return changed

    async def action(self, number: int) -> tuple[Action, list[Status]]:
        """Return an action with its newest reports.

        Raises:
            NotFound: There is none.
        """

        def read(connection: Connection) -> tuple[Action, list[Status]]:
            action = records_actions.read_action(connection, number)
            return action, records_actions.read_statuses(connection, number, newest=100)

        return await self.store.read(read)

    async def actions(self, *, before: int | None) -> list[Action]:
        """Return actions of all targets, newest first."""
        return await self.store.read(lambda c: records_actions.read_actions(c, before=before))

    def _note(
        self, connection: Connection, person: str, action: str, subject: str, **detail: object
    ) -> None:
        self.audit.record(
            connection,
            Act(actor=f"person:{person}", action=action, subject=subject, detail=dict(detail)),
        )


def check_windows(windows: Sequence[Window], now_ns: int) -> None:
    """Let windows pass that are in order, do not overlap, and are not all over.

    Raises:
        InputError: They are not.
    """
    if len(windows) > WINDOWS_MAX:
        raise InputError(f"more than {WINDOWS_MAX} windows")
    last_ns = 0
    for window in windows:
        if not last_ns <= window.opens_ns < window.closes_ns:
            raise InputError("windows are in order, do not overlap, and end after they begin")
        last_ns = window.closes_ns
    if windows and last_ns <= now_ns:
        raise InputError("the last window is over")
