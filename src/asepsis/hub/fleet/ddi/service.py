"""What update clients do: they ask, report, confirm and say what they are.

Each change is one transaction that reads what it judges. What ends, what is verified and what falls
back is audited in the same transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from asepsis.core.errors import Conflict, LimitExceeded, NotFound
from asepsis.core.model.update import Outcome
from asepsis.core.wire.ddi import (
    ATTRIBUTES_MAX,
    Attributes,
    AutoConfirm,
    Confirmation,
    Execution,
    Feedback,
    Finished,
)
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.fleet.ddi import records, records_actions, rules
from asepsis.hub.fleet.ddi.held import Held, Targets
from asepsis.hub.fleet.ddi.model import CLOSED, Action, Module, Stage, Target
from asepsis.hub.fleet.ddi.records_actions import Status
from asepsis.hub.fleet.ddi.rules import Gone
from asepsis.hub.store.store import Store


@dataclass(frozen=True, slots=True)
class Shown:
    """A deployment as a client is shown it."""

    action: Action
    modules: list[Module]
    history: list[Status]


@dataclass(frozen=True, slots=True)
class ClientService:
    """The use cases of update clients.

    Attributes:
        store: Where everything stands.
        audit: Gets what ends.
        targets: What is held in memory.
        clock: Wall time in nanoseconds since 1970.
    """

    store: Store
    audit: AuditLog
    targets: Targets
    clock: Callable[[], int]

    async def register(self, name: str, *, address: str) -> Held:
        """Enter a target that came with a gateway's token or a certificate."""
        target = Target(name=name, added_ns=self.clock(), address=address)

        def work(connection: Connection) -> None:
            if records.read_target(connection, name) is None:
                records.add_target(connection, target)
                self._note(connection, name, "register-ddi-target", address=address)

        await self.store.write(work)
        found = await self.targets.get(name)
        if found is None:
            raise NotFound("the target is gone again")
        return found

    async def care(self, held: Held) -> Held:
        """End an action whose last window has closed before it was begun; return what is now."""
        action, now_ns = held.action, self.clock()
        if (
            action is None
            or action.served
            or action.stage is not Stage.RUNNING
            or not rules.has_lapsed(action, now_ns)
        ):
            return held

        def work(connection: Connection) -> None:
            found = records_actions.read_action(connection, action.id)
            if found.stage is Stage.RUNNING and not found.served:
                self.withdraw(connection, found, "its last window has closed")

        await self.store.write(work)
        self.targets.drop(held.target.name)
        return await self.targets.get(held.target.name) or held

    def withdraw(self, connection: Connection, action: Action, reason: str) -> Action:
        """Take an action back: at once if nobody has looked at it, else the client is asked."""
        if action.retrieved and action.stage is not Stage.CONFIRM:
            changed = replace(action, stage=Stage.CANCELING, reason=reason)
        else:
            changed = replace(
                action,
                stage=Stage.CANCELED,
                outcome=rules.back(action.outcome, Outcome.WITHDRAWN),
                reason=reason,
                closed_ns=self.clock(),
            )
        records_actions.put_action(connection, changed)
        records.touch_target(connection, action.target)
        return changed

    async def look(self, held: Held, number: int, *, stage: Stage | None, history: int) -> Shown:
        """Show an action.

        Args:
            held: Who asks.
            number: Which.
            stage: What it must be; None for one that was finished.
            history: How many reports are wanted.

        Raises:
            NotFound: Not this target's, or not to be seen now.
        """
        profile, now_ns = held.target.profile, self.clock()

        def read(connection: Connection) -> Shown:
            action = self._own(connection, held.target.name, number)
            if stage is None:
                seen = action.id == held.target.installed
            else:
                seen = action.stage is stage
                if stage is Stage.RUNNING:
                    seen &= rules.offer(action, profile, now_ns) is rules.Offer.DEPLOY
            if not seen:
                raise NotFound("no such action now")
            return Shown(
                action,
                records.read_modules(connection, action.modules),
                records_actions.read_statuses(connection, number, newest=history)
                if history
                else [],
            )

        shown = await self.store.read(read)
        if stage is not None and not shown.action.retrieved:
            await self._change(shown.action, retrieved=True)
        return shown

    async def report(self, held: Held, number: int, feedback: Feedback) -> None:
        """Take a report on a deployment.

        Raises:
            Gone: The action has ended.
            NotFound: Not this target's, or it waits for confirmation.
        """

        def work(connection: Connection) -> None:
            target = self._target(connection, held.target.name)
            action = self._own(connection, target.name, number)
            stage = rules.after_feedback(action, feedback, target.profile)
            action = self._told(connection, action, feedback, stage)
            if rules.is_skip(target.profile, feedback):
                action = replace(action, reason="the client skipped it and called that success")
            if stage is Stage.FINISHED:
                action = replace(action, boot=target.attributes.get(rules.BOOT, ""))
                target = replace(target, installed=action.id)
            if stage in CLOSED:
                target = replace(target, wanted=stage in {Stage.FINISHED, Stage.DOWNLOADED})
            records_actions.put_action(connection, action)
            records.put_target(connection, target)

        await self._write(held, work)

    async def report_cancel(self, held: Held, number: int, feedback: Feedback) -> None:
        """Take a report on a cancellation.

        Raises:
            Gone: The action has ended.
            NotCancelable: Nobody cancels it.
            NotFound: Not this target's.
        """

        def work(connection: Connection) -> None:
            action = self._own(connection, held.target.name, number)
            stage = rules.after_cancel(action, feedback)
            action = self._told(connection, action, feedback, stage)
            records_actions.put_action(connection, action)
            records.touch_target(connection, held.target.name)

        await self._write(held, work)

    async def confirm(self, held: Held, number: int, said: Confirmation) -> None:
        """Take what somebody at the client says to an action that waits for them.

        Raises:
            Gone: The action has ended.
            NotFound: Not this target's, or it does not wait.
        """
        feedback = Feedback(
            execution=Execution.SCHEDULED if said.confirmed else Execution.REJECTED,
            finished=Finished.NONE,
            code=said.code,
            details=said.details,
        )

        def work(connection: Connection) -> None:
            action = self._own(connection, held.target.name, number)
            if action.stage in CLOSED:
                raise Gone("the action has ended")
            if action.stage is not Stage.CONFIRM:
                raise NotFound("the action does not wait for confirmation")
            stage = Stage.RUNNING if said.confirmed else Stage.CONFIRM
            action = self._told(connection, action, feedback, stage)
            records_actions.put_action(connection, action)
            records.touch_target(connection, held.target.name)

        await self._write(held, work)

    async def auto_confirm(self, held: Held, confirmer: AutoConfirm | None) -> None:
        """Let every action go on from now on, or no more.

        Raises:
            Conflict: Somebody does already.
        """

        def work(connection: Connection) -> None:
            target = self._target(connection, held.target.name)
            if confirmer is not None and target.auto_confirm is not None:
                raise Conflict("every action goes on already")
            records.put_target(connection, replace(target, auto_confirm=confirmer))
            action = records_actions.current_action(connection, target.name)
            if confirmer is not None and action is not None and action.stage is Stage.CONFIRM:
                records_actions.put_action(connection, replace(action, stage=Stage.RUNNING))
            self._note(connection, target.name, "ddi-auto-confirm", active=confirmer is not None)

        await self._write(held, work)

    async def describe(self, held: Held, said: Attributes) -> None:
        """Take what a client says of itself, and judge its last update by it.

        Raises:
            LimitExceeded: Too many attributes in all.
        """

        def work(connection: Connection) -> None:
            target = self._target(connection, held.target.name)
            known = _merged(target.attributes, said)
            target = replace(target, attributes=known, wanted=False)
            if target.installed:
                self._judge(connection, target)
            records.put_target(connection, target)

        if held.target.wanted or _merged(held.target.attributes, said) != held.target.attributes:
            await self._write(held, work)

    async def say_installed(self, held: Held, name: str, version: str) -> bool:
        """Note by a client's own word what it runs; return whether that is new.

        It is kept as attributes: no action is made of it, and nothing counts as verified by it.
        """
        told = {"asepsis-installed-name": name[:128], "asepsis-installed-version": version[:128]}
        if told.items() <= held.target.attributes.items():
            return False
        await self.describe(held, Attributes(mode="merge", data=told))
        return True

    async def served(self, held: Held, module: int) -> None:
        """Note that a whole file of a module was sent."""
        action = held.action
        if action is None or module not in action.modules or action.served:
            return
        await self._change(
            action, served=True, outcome=rules.forward(action.outcome, Outcome.DOWNLOADED)
        )

    async def _change(self, action: Action, **values: object) -> None:
        def work(connection: Connection) -> None:
            found = records_actions.read_action(connection, action.id)
            if found.stage not in CLOSED:
                changed = replace(found, **values)  # pyright: ignore[reportArgumentType] - fields
                records_actions.put_action(connection, changed)
                records.touch_target(connection, action.target)

        await self.store.write(work)
        self.targets.drop(action.target)

    async def _write(self, held: Held, work: Callable[[Connection], None]) -> None:
        await self.store.write(work)
        self.targets.drop(held.target.name)

    def _told(
        self, connection: Connection, action: Action, feedback: Feedback, stage: Stage
    ) -> Action:
        """Write a report and return the action as it stands after it."""
        now_ns = self.clock()
        action = records_actions.add_status(connection, action, feedback, now_ns)
        outcome = rules.outcome_after(action.outcome, feedback, stage)
        if stage in CLOSED:
            reason = feedback.details[0] if feedback.details else action.reason
            action = replace(action, closed_ns=now_ns, reason=reason)
            self._note(
                connection,
                action.target,
                "end-ddi-action",
                number=action.id,
                stage=stage.value,
                known=outcome.value,
            )
        return replace(action, stage=stage, outcome=outcome)

    def _judge(self, connection: Connection, target: Target) -> None:
        action = records_actions.read_action(connection, target.installed)
        outcome, reason = rules.judge(action, target.attributes)
        if (outcome, reason) != (action.outcome, action.reason):
            changed = replace(action, outcome=outcome, reason=reason)
            records_actions.put_action(connection, changed)
            if outcome in {Outcome.VERIFIED, Outcome.ROLLED_BACK}:
                self._note(
                    connection,
                    target.name,
                    "judge-ddi-action",
                    number=action.id,
                    known=outcome.value,
                    reason=reason,
                )

    def _own(self, connection: Connection, name: str, number: int) -> Action:
        action = records_actions.read_action(connection, number)
        if action.target != name:
            raise NotFound("no such action")
        return action

    def _target(self, connection: Connection, name: str) -> Target:
        target = records.read_target(connection, name)
        if target is None:
            raise NotFound("no such target")
        return target

    def _note(self, connection: Connection, name: str, action: str, **detail: object) -> None:
        self.audit.record(
            connection, Act(actor=f"ddi:{name}", action=action, subject=name, detail=dict(detail))
        )


def _merged(known: dict[str, str], said: Attributes) -> dict[str, str]:
    if said.mode == "replace":
        merged = dict(said.data)
    elif said.mode == "remove":
        merged = {key: value for key, value in known.items() if key not in said.data}
    else:
        merged = known | said.data
    if len(merged) > ATTRIBUTES_MAX:
        raise LimitExceeded(f"more than {ATTRIBUTES_MAX} attributes in all")
    return merged
