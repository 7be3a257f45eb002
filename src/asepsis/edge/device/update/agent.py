"""The update agent: one update at a time, from the director's offer to verified, or back.

It runs in the supervisor's process and waits for nothing: every `step` looks, and does at most one
thing. What it is about to do it first writes down durably, so that a power cut leaves the old
version or a verified new one. It holds two gates of the supervisor: nothing is activated before
`begins` has judged the moment once more, and no version is kept before `keeps` has seen self-tests
that passed.

Source: docs/explanation/updates.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from asepsis.core.errors import (
    AsepsisError,
    InputError,
    SafetyRefusal,
    TransientError,
    TrustError,
)
from asepsis.core.model.update import Outcome, WaitsFor
from asepsis.edge.device.update.memory import DEBTS_MAX, Debt, Held, Memory
from asepsis.edge.device.update.moment import Consent, Situation, judge
from asepsis.edge.device.update.plan import Plan
from asepsis.edge.device.update.ports import Means

RETRY_S: Final = 5.0
"""Wait after something that may work later: a full disk, a refused permit, a busy supervisor."""


class Agent:
    """One device's updates.

    Args:
        means: What it works with.

    Raises:
        FramingError: Its memory is damaged; a person has to look before anything is installed.
        TransientError: The disk does not let it be read.
    """

    def __init__(self, means: Means) -> None:
        self._means = means
        self._memory = means.store.load()
        self._consent = Consent()
        self._asked = False
        self._testing = False
        self._fallen = ""
        self._plan: Plan | None = None
        self._retry_s = 0.0
        self._began_s = 0.0
        self._acts: Final[Mapping[Outcome, Callable[[Held], None]]] = {
            Outcome.OFFERED: self._offered,
            Outcome.DOWNLOADED: self._downloaded,
            Outcome.STAGED: self._staged,
            Outcome.WAITING: self._staged,
            Outcome.INSTALLING: self._installing,
            Outcome.BOOTED: self._booted,
            Outcome.SELF_TESTED: self._self_tested,
        }
        self._pay_debts()
        if self._memory.held:
            self._means.tell(self._memory.held)
            self._resume(self._memory.held)

    @property
    def memory(self) -> Memory:
        """What is kept."""
        return self._memory

    @property
    def consent(self) -> Consent:
        """What a person said of the update in hand."""
        return self._consent

    @property
    def asks(self) -> bool:
        """Whether a person at the device is asked now."""
        held = self._memory.held
        waits = held is not None and held.waits_for is WaitsFor.CONSENT
        return waits and self._consent.asks(self._situation().now_s)

    def step(self) -> None:
        """Do what is due."""
        self._means.supply.step()
        if self._situation().now_s < self._retry_s:
            return
        held = self._memory.held
        try:
            if held is None or held.over:
                self._choose()
            else:
                self._acts[held.outcome](held)
        except AsepsisError:
            # Nothing here may end the supervisor; the outcome stays what it is, and is tried again.
            self._retry_s = self._situation().now_s + RETRY_S

    def begins(self, component: str, version: str) -> None:
        """The permit is there and is about to be used: the last moment at which nothing happens.

        Raises:
            SafetyRefusal: The moment is not safe any more, or it is not to be installed.
            TransientError: It cannot be written down.
        """
        held = self._memory.held
        if held is None or not _is(held, component, version) or held.over:
            return  # Not ours: a person at the device replaces it.
        if not self._asked or held.outcome not in {Outcome.STAGED, Outcome.WAITING}:
            raise SafetyRefusal("nobody asked for it")
        waits_for = self._waits_for(held)
        if waits_for is not None:
            raise SafetyRefusal(f"waits for {waits_for.value}")
        self._began_s = self._situation().now_s
        before = self._means.surroundings.fingerprint()
        self._to(held, Outcome.INSTALLING, before=dict(before))

    def keeps(self, component: str, version: str) -> None:
        """A version has served for the time of its trial and is about to be the confirmed one.

        Raises:
            TransientError: Not before its self-tests passed.
        """
        held = self._memory.held
        if held is None or not _is(held, component, version) or held.over:
            return
        if held.outcome is not Outcome.SELF_TESTED or _fault(held):
            raise TransientError("its self-tests have not passed")

    def heard(self, component: str, event: str, details: Mapping[str, Any]) -> None:
        """Take what the supervisor tells."""
        held = self._memory.held
        if held is None or held.over or component != held.target.component:
            return
        why = str(details.get("why", event))
        if details.get("rolled_back") == held.target.version:
            self._fallen = f"rolled back: {why or event}"
        elif event == "version-refused" and details.get("version") == held.target.version:
            self._asked = False
            self._refused(held, why)

    def confirm(self) -> None:
        """A person at the device says: now.

        Raises:
            SafetyRefusal: Nobody asked.
        """
        self._require_question()
        self._consent = self._consent.confirm(self._situation().now_s)

    def postpone(self) -> None:
        """A person at the device says: later.

        Raises:
            SafetyRefusal: Nobody asked, or it was postponed too often.
        """
        self._require_question()
        if not self._consent.may_postpone:
            raise SafetyRefusal(
                "it was postponed too often", hint="it still waits; talk to clinical engineering"
            )
        self._consent = self._consent.postpone(self._situation().now_s)

    def out_of_service(self, who: str) -> None:
        """A person takes the device out of service, or with an empty name back into it.

        Raises:
            TransientError: It cannot be written down; nothing changed.
        """
        self._save(replace(self._memory, out_of_service=who[:64]))

    def _require_question(self) -> None:
        if not self.asks:
            raise SafetyRefusal("no update waits for a person's word")

    def _situation(self) -> Situation:
        found = self._means.surroundings.situation()
        return replace(found, out_of_service=bool(self._memory.out_of_service))

    def _waits_for(self, held: Held) -> WaitsFor | None:
        self._plan = self._means.supply.plan(held.target)
        terms = replace(
            self._means.surroundings.terms(held.target, self._plan),
            assigned=self._means.supply.windows(held.target),
        )
        waits_for = judge(terms, self._situation(), self._consent)
        if waits_for is None and terms.hub and self._means.supply.offers() is None:
            return WaitsFor.CONNECTIVITY  # It may have been taken back.
        return waits_for

    def _known_plan(self, held: Held) -> Plan:
        """Return the plan as it was when the moment was judged, whatever the disk does now."""
        if self._plan is None:
            self._plan = self._means.supply.plan(held.target)
        return self._plan

    def _save(self, memory: Memory) -> None:
        self._memory = self._means.store.save(memory)

    def _to(self, held: Held, outcome: Outcome, **changes: Any) -> None:
        """Make the next state durable, then tell it."""
        following = held.to(outcome, **changes)
        memory = replace(self._memory, held=following)
        if following.over:
            ended = {**memory.ended, following.target.release: outcome}
            memory = replace(memory, ended=ended)
        self._save(memory)
        self._means.tell(following)

    def _choose(self) -> None:
        """Take the next offer that is not decided; what failed once waits for a new assignment."""
        offers = self._means.supply.offers()
        if offers is None:
            return
        names = {target.release for target in offers}
        ended = {name: found for name, found in self._memory.ended.items() if name in names}
        if ended != self._memory.ended:
            self._save(replace(self._memory, ended=ended))
        confirmed = self._means.activator.confirmed
        for target in offers:
            if target.release not in ended and confirmed(target.component) != target.version:
                self._asked, self._fallen, self._consent = False, "", Consent()
                self._testing, self._plan = False, None
                held = Held(target=target)
                self._save(replace(self._memory, held=held))
                self._means.tell(held)
                return

    def _withdrawn(self, held: Held) -> bool:
        offers = self._means.supply.offers()
        if offers is None or held.target in offers:
            return False
        self._to(held, Outcome.WITHDRAWN, reason="the director assigns it no more")
        return True

    def _offered(self, held: Held) -> None:
        if not self._withdrawn(held) and self._means.supply.ready(held.target):
            self._to(held, Outcome.DOWNLOADED)

    def _downloaded(self, held: Held) -> None:
        if self._withdrawn(held):
            return
        try:
            self._means.supply.stage(held.target)
            self._means.supply.plan(held.target)
        except TransientError:
            raise
        except AsepsisError as error:
            self._to(held, Outcome.REFUSED, reason=str(error))
            return
        self._to(held, Outcome.STAGED)

    def _staged(self, held: Held) -> None:
        if self._asked:
            return  # The supervisor makes it ready, and comes back by `begins` or `heard`.
        if self._withdrawn(held):
            return
        try:
            waits_for = self._waits_for(held)
        except (InputError, TrustError) as error:
            self._to(held, Outcome.REFUSED, reason=str(error))
            return
        if waits_for is not None:
            self._wait(held, waits_for)
            return
        try:
            self._asked = True
            self._means.activator.begin(held.target)
        except AsepsisError as error:
            self._asked = False
            if isinstance(error, SafetyRefusal):
                self._wait(held, WaitsFor.CLINICAL_STATE, reason=str(error))
            else:
                self._retry_s = self._situation().now_s + RETRY_S

    def _wait(self, held: Held, waits_for: WaitsFor, *, reason: str = "") -> None:
        # What changes to and fro is not written down more often than that.
        self._retry_s = self._situation().now_s + RETRY_S
        if (held.outcome, held.waits_for) != (Outcome.WAITING, waits_for):
            self._to(held, Outcome.WAITING, waits_for=waits_for, reason=reason)

    def _refused(self, held: Held, why: str) -> None:
        """The supervisor did not activate it, or could not go through with it."""
        if held.outcome is Outcome.INSTALLING:
            self._fallen = f"rolled back: {why}"
            return
        self._retry_s = self._situation().now_s + RETRY_S
        if why.startswith("no permit"):
            self._wait(held, WaitsFor.PERMIT, reason=why)
        elif held.outcome in {Outcome.STAGED, Outcome.WAITING}:
            self._to(held, Outcome.REFUSED, reason=f"it does not start: {why}")

    def _installing(self, held: Held) -> None:
        if self._fell_back(held) or self._too_late(held, "it did not prove itself in time"):
            return
        if self._means.activator.proved(held.target.component, held.target.version):
            self._to(held, Outcome.BOOTED)

    def _booted(self, held: Held) -> None:
        if self._fell_back(held) or self._too_late(held, "its self-tests took too long"):
            return
        if not self._testing:
            # After a start of the device in the middle of its tests they begin anew.
            self._testing = self._means.activator.proved(held.target.component, held.target.version)
            if self._testing:
                self._means.tests.begin(held.target, self._known_plan(held))
            return
        results = self._means.tests.results()
        if results is None:
            return
        plan = self._known_plan(held)
        after = self._means.surroundings.fingerprint()
        changed = differences(held.before, after) - plan.changes
        reason = f"changed: {', '.join(sorted(changed))}" if changed else ""
        self._to(held, Outcome.SELF_TESTED, tests=results, reason=reason)

    def _self_tested(self, held: Held) -> None:
        if self._fell_back(held):
            return
        target, fault = held.target, _fault(held)
        if fault:
            self._means.activator.reject(target.component, fault)
            self._to(held, Outcome.ROLLED_BACK, reason=fault, tests=held.tests)
        elif self._means.activator.confirmed(target.component) == target.version:
            self._verified(held)

    def _verified(self, held: Held) -> None:
        acceptance = self._known_plan(held).acceptance
        self._means.supply.verified(held.target)
        debts = self._memory.debts
        starts = self._means.activator.restarts(held.target.component)
        if held.target.reboot == "device" and not starts:
            debt = Debt(
                component=held.target.component,
                version=held.target.version,
                boot=self._means.boot,
            )
            debts = (*(one for one in debts if one.component != debt.component), debt)
        self._memory = replace(self._memory, debts=debts[-DEBTS_MAX:])
        self._to(held, Outcome.VERIFIED, tests=held.tests)
        held = self._memory.held or held
        if acceptance:
            self._to(held, Outcome.AWAITING_ACCEPTANCE, tests=held.tests)

    def _fell_back(self, held: Held) -> bool:
        if self._fallen:
            self._to(held, Outcome.ROLLED_BACK, reason=self._fallen, tests=held.tests)
        return bool(self._fallen)

    def _too_late(self, held: Held, why: str) -> bool:
        """Bring the old version back where the release's own time is over."""
        plan = self._known_plan(held)
        if self._situation().now_s - self._began_s <= plan.run_s:
            return False
        self._means.activator.reject(held.target.component, why)
        self._fallen = why
        return self._fell_back(held)

    def _resume(self, held: Held) -> None:
        """Find out after a start what became of an update that was under way."""
        component, version = held.target.component, held.target.version
        runs = self._means.activator.confirmed(component) == version
        under_way = {Outcome.INSTALLING, Outcome.BOOTED, Outcome.SELF_TESTED}
        done = {Outcome.VERIFIED, Outcome.AWAITING_ACCEPTANCE}
        if held.outcome in under_way and (
            runs or self._means.activator.on_trial(component, version)
        ):
            self._began_s = self._situation().now_s  # The start was a part of installing it.
        elif held.outcome in under_way:
            self._fallen = "the device was started anew before it was verified"
        elif held.outcome in done and not runs:
            # It was verified and does not run: what the device runs wins over what anybody wants.
            self._to(held, Outcome.ROLLED_BACK, reason="another version runs after a start")

    def _pay_debts(self) -> None:
        """What waited for a start of the device waits no more."""
        kept = tuple(one for one in self._memory.debts if one.boot == self._means.boot)
        if kept != self._memory.debts:
            self._save(replace(self._memory, debts=kept))


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """Return what is another thing than before, appeared or is gone."""
    names = before.keys() | after.keys()
    return frozenset(name for name in names if before.get(name) != after.get(name))


def _is(held: Held, component: str, version: str) -> bool:
    return (held.target.component, held.target.version) == (component, version)


def _fault(held: Held) -> str:
    """Return why a tested release is not kept; empty if it is."""
    failed = [test.name for test in held.tests if not test.passed]
    if held.reason:
        return held.reason
    if failed or not held.tests:
        return f"self-test failed: {', '.join(failed) or 'none was run'}"
    return ""
