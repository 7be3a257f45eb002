"""Carries out the table of supervision for one compartment: its processes, versions and waits.

How a process is started is the `Starter`'s matter; what it reports is believed as little as the
table allows: a report can end its own process's service, and no other's.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from asepsis.core.errors import AsepsisError, Conflict, Unavailable
from asepsis.core.model.manifest import Compartment as Declared
from asepsis.core.model.manifest import Rung
from asepsis.edge.sandbox.supervision import SERVED, Act, Happened, Phase, step
from asepsis.edge.sandbox.supervision_parts import Means, Pace, Runner, Tell

ALIVE: Final = "alive"
"""Self-test that needs service: the first heartbeat."""
RELEASED: Final = "released"
"""Last word of a process that was told to let go."""
LOST_AFTER: Final = 5
"""Starts in a row that came to nothing, after which people are told that this compartment is lost.
It is tried again all the same."""


class Watch:
    """One compartment under supervision.

    Args:
        declared: What the manifest says.
        means: Starts its processes, asks for permits, waits, confirms.
        version: The confirmed version.
        pace: Waits.
        tell: Told what happens.
        clock_s: Monotonic seconds.

    Resource handling: `end` ends its processes.
    """

    def __init__(
        self,
        declared: Declared,
        *,
        means: Means,
        version: str,
        pace: Pace,
        tell: Tell,
        clock_s: Callable[[], float],
    ) -> None:
        self.declared = declared
        self.name = declared.name
        self.phase = Phase.DOWN
        self.serving: Runner | None = None
        self.standby: Runner | None = None
        self.confirmed = self.version = version
        self.starts = 0
        self._means = means
        self._pace = pace
        self._tell = tell
        self._clock_s = clock_s
        self._next_version = ""
        self._next_start_s = 0.0
        self._asked_s = 0.0
        self._permit_asked_s: float | None = None
        self._steady_s = 0.0
        self._in_vain = 0
        self._why = ""
        self._events: deque[Happened] = deque()
        self._warm_tests = frozenset(declared.self_tests) - {ALIVE}
        self._keeps_spare = declared.update.rung is Rung.SWAP and bool(declared.reads)
        self._spare_due_s = 0.0
        self._looked_s = clock_s()
        self._acts: Final[Mapping[Act, Callable[[], None]]] = {
            Act.START: self._start,
            Act.WARM: self._warm,
            Act.DROP_STANDBY: self._drop_standby,
            Act.REFUSE: self._refuse,
            Act.RELEASE: self._release,
            Act.PROMOTE: self._promote,
            Act.BACK_OFF: self._back_off,
            Act.AT_ONCE: self._at_once,
            Act.CONFIRM: self._confirm,
        }

    @property
    def runners(self) -> tuple[Runner, ...]:
        """The processes there are."""
        return tuple(runner for runner in (self.serving, self.standby) if runner)

    @property
    def replacing(self) -> bool:
        """Whether another version was asked for, and has not taken over or been refused yet."""
        return bool(self._next_version)

    def swap(self, version: str) -> None:
        """Begin to replace what serves by another version; `look` goes on with it.

        While a version is on trial, only the confirmed one may take its place.

        Raises:
            Unavailable: Nothing serves now that could be replaced.
            Conflict: It is being replaced already, or comes with the image only.
        """
        rung = self.declared.update.rung
        if rung is Rung.IMAGE:
            raise Conflict(f"{self.name} comes with the image of the whole device")
        on_trial = self.version != self.confirmed
        if self._next_version or (on_trial and version != self.confirmed):
            raise Conflict(f"{self.name} is being replaced already")
        if self.phase not in SERVED:
            raise Unavailable(f"{self.name} does not serve now")
        self._next_version = version
        self._permit_asked_s = None
        if rung is Rung.SWAP:
            self._happen(Happened.WANTED)

    def look(self, now_s: float) -> None:
        """Do what is due."""
        self._excuse(now_s)
        if self.phase is Phase.DOWN:
            if now_s >= self._next_start_s and self._means.starter.may_start():
                self._happen(Happened.DUE)
            return
        self._look_at_serving(now_s)
        self._look_at_standby(now_s)
        self._look_at_permit(now_s)
        if self.phase in SERVED and now_s >= self._steady_s:
            self._happen(Happened.STEADY)
        # A version on trial gets no spare: if it falls, the confirmed one comes back.
        proven = self.version == self.confirmed and not self._next_version
        spare_due = self._keeps_spare and proven and now_s >= self._spare_due_s
        if self.phase is Phase.SERVING and spare_due:
            self._happen(Happened.WANTED)

    def heard(self, runner: Runner, event: str) -> None:
        """Take note of a report."""
        runner.heard_s = self._clock_s()
        if event not in {*self.declared.self_tests, RELEASED}:
            return
        runner.told.add(event)
        if runner is self.standby:
            if self.phase is Phase.WARMING and runner.told >= self._warm_tests:
                self._happen(Happened.STANDBY_PROVED)
        elif event == RELEASED:
            self._happen(Happened.RELEASED)
        elif runner.told >= set(self.declared.self_tests):
            self._happen(Happened.PROVED)

    def gone(self, runner: Runner, why: str) -> None:
        """One of the processes ended, hung or talked nonsense."""
        self._why = why
        if runner is self.standby:
            self._happen(Happened.STANDBY_FAILED)
        elif runner is self.serving:
            self._happen(Happened.FAILED)

    def end(self) -> None:
        """End every process."""
        for runner in self.runners:
            runner.end()
        self.serving = self.standby = None
        self._next_version = ""
        self.phase = Phase.DOWN

    def _excuse(self, now_s: float) -> None:
        """Count little of a pause in which the supervisor did not run itself as silence."""
        stood_s = now_s - self._looked_s - self._pace.blind_s
        self._looked_s = now_s
        if stood_s > 0:
            for runner in self.runners:
                runner.heard_s = min(runner.heard_s + stood_s, now_s)
                runner.begun_s = min(runner.begun_s + stood_s, now_s)

    def _look_at_serving(self, now_s: float) -> None:
        runner = self.serving
        if runner is None:
            return
        limit_s = self._pace.start_s
        if self.phase in SERVED:
            limit_s = self.declared.resources.silence_s
        letting_go = self.phase in {Phase.HANDING_OVER, Phase.ENDING}
        if not runner.process.running:
            self.gone(runner, "ended")
        elif letting_go and now_s - self._asked_s > self._pace.release_s:
            self._happen(Happened.RELEASED)
        elif now_s - runner.heard_s > limit_s:
            self.gone(runner, "hung")

    def _look_at_standby(self, now_s: float) -> None:
        runner = self.standby
        if runner is None:
            return
        if not runner.process.running:
            self.gone(runner, "ended")
        elif self.phase is Phase.WARMING and now_s - runner.begun_s > self._pace.start_s:
            self.gone(runner, "hung")

    def _look_at_permit(self, now_s: float) -> None:
        """Activate what was asked for and is ready, once the critical compartment permits it."""
        swaps = self.declared.update.rung is Rung.SWAP
        ready = self.phase is Phase.READY if swaps else self.phase in SERVED
        if not self._next_version or not ready:
            return
        try:
            verdict = self._verdict(now_s)
        except AsepsisError as error:
            verdict = str(error)
        if verdict == "":
            self._happen(Happened.SWAP if swaps else Happened.REPLACE)
        elif verdict is not None:
            self._why = f"no permit: {verdict}"
            if swaps:
                self._happen(Happened.STANDBY_FAILED)
            else:
                self._refuse()

    def _verdict(self, now_s: float) -> str | None:
        """Ask once, then return what came of it; a permit that is there is used up."""
        if self._permit_asked_s is None:
            self._permit_asked_s = now_s
            self._means.permit.ask(self._next_version)
            return None
        verdict = self._means.permit.verdict()
        if verdict is None and now_s - self._permit_asked_s > self._pace.permit_s:
            return "no answer"
        if verdict == "":
            self._means.permit.redeem()
        return verdict

    def _happen(self, happened: Happened) -> None:
        """Follow the table; what acts bring about comes after them."""
        self._events.append(happened)
        if len(self._events) > 1:
            return
        while self._events:
            self.phase, acts = step(self.phase, self._events[0])
            for act in acts:
                self._acts[act]()
            self._events.popleft()

    def _start(self) -> None:
        self.starts += 1
        self.serving = self._launch(self.version, warm=False)
        self._begin_trial(self._clock_s())
        if self.serving is None:
            self._events.append(Happened.FAILED)

    def _warm(self) -> None:
        self.standby = self._launch(self._next_version or self.version, warm=True)
        if self.standby is None:
            self._events.append(Happened.STANDBY_FAILED)

    def _launch(self, version: str, *, warm: bool) -> Runner | None:
        try:
            runner = self._means.starter.start(version, warm=warm)
        except (AsepsisError, OSError) as error:
            self._why = f"did not start: {type(error).__name__}"
            return None
        runner.begun_s = runner.heard_s = self._clock_s()
        return runner

    def _begin_trial(self, now_s: float) -> None:
        self._steady_s = now_s + self._pace.trial_s
        self._spare_due_s = now_s + self._pace.spare_s

    def _drop_standby(self) -> None:
        if self.standby:
            self.standby.end()
        self.standby = None

    def _refuse(self) -> None:
        version, self._next_version = self._next_version, ""
        self._drop_standby()
        # A spare that fails is made anew, not at once: what it failed by may still be there.
        self._spare_due_s = self._clock_s() + self._pace.trial_s
        event = "version-refused" if version else "spare-failed"
        self._tell(self.name, event, {"why": self._why, "version": version or self.version})

    def _release(self) -> None:
        self._asked_s = self._clock_s()
        if self.serving:
            with contextlib.suppress(Unavailable):
                self.serving.process.order("stop", {})

    def _promote(self) -> None:
        runner, self.standby = self.standby, None
        version, self._next_version = self._next_version, ""
        if not version:
            self._tell(self.name, self._why, {"restart_in_s": 0.0, "starts": self.starts})
        self._end_serving()
        self.serving = runner
        now_s = self._clock_s()
        if runner is None or runner.likeness != self._means.starter.likeness(runner.version):
            # What would be started now is another thing: the setting has changed since.
            self._why = "stood by for another setting"
            self._events.append(Happened.FAILED)
            return
        self.starts += 1
        runner.begun_s = runner.heard_s = now_s
        self._begin_trial(now_s)
        self.version = runner.version
        try:
            self._means.starter.serve(runner)
        except (AsepsisError, OSError) as error:
            self._why = f"did not take over: {type(error).__name__}"
            self._events.append(Happened.FAILED)
        event = "version-takes-over" if version else "spare-takes-over"
        self._tell(self.name, event, {"version": runner.version})

    def _back_off(self) -> None:
        self._end_serving()
        wait_s = self._means.wait.failed()
        details: dict[str, Any] = {"starts": self.starts}
        if self.version != self.confirmed:
            details["rolled_back"] = self.version
            self.version = self.confirmed
            wait_s = 0.0
        self._next_version = ""
        self._next_start_s = self._clock_s() + wait_s
        self._tell(self.name, self._why, {"restart_in_s": round(wait_s, 2), **details})
        self._in_vain += 1
        if self._in_vain == LOST_AFTER:
            self._tell(self.name, "compartment-lost", {"starts": self.starts, "why": self._why})

    def _at_once(self) -> None:
        self._end_serving()
        self.version, self._next_version = self._next_version or self.version, ""
        self._next_start_s = 0.0
        self._events.append(Happened.DUE)

    def _confirm(self) -> None:
        self._steady_s = self._clock_s() + self._pace.trial_s
        self._means.wait.succeeded()
        self._in_vain = 0
        if self.confirmed in {self.version, self._next_version}:
            return  # Nothing new, or somebody is going back to the old one.
        try:
            self._means.confirm(self.name, self.version)
        except AsepsisError as error:
            # It goes on serving, and is asked to be kept again; a power cut brings the old one.
            self._tell(self.name, "version-not-kept", {"code": error.code, "text": str(error)})
            return
        self.confirmed = self.version
        self._tell(self.name, "version-confirmed", {"version": self.version})

    def _end_serving(self) -> None:
        if self.serving:
            self.serving.end()
        self.serving = None
