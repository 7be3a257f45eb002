"""Starts the self-test compartment with the code of a release and judges what it measured."""

import contextlib
import select
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import AsepsisError, FramingError
from asepsis.core.model.update import TestResult
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.records import VITALS_RING
from asepsis.edge.device.rings import RingOwner
from asepsis.edge.device.selftest import MEASURED
from asepsis.edge.device.update.compartments import SELFTEST, updating
from asepsis.edge.device.update.memory import Target
from asepsis.edge.device.update.plan import Plan
from asepsis.edge.sandbox import launcher
from asepsis.edge.sandbox.control import receive_report
from asepsis.edge.sandbox.generate import host
from asepsis.edge.sandbox.launcher import Compartment
from asepsis.edge.sandbox.layer import Layer

TESTS_S_MAX: Final = 30.0
REPORTS_MAX: Final = 16
Facts = Callable[[], Mapping[str, float]]
"""Returns counts of the running device: what they grow by during the trial is measured too."""


class SelfTests:
    """See `ports.Tests`.

    Args:
        package_of: Returns the code of what is tested.
        layers: Layers to apply.
        kind: What sort of device it is.
        log: Takes standard error of the compartment.
        facts: Counts of the running device.
        observe_s: How long the new version is watched at least, seconds.

    Resource handling: `close` ends a run.
    """

    def __init__(
        self,
        package_of: Callable[[Target], Path],
        *,
        layers: frozenset[Layer],
        kind: Kind,
        log: Path,
        facts: Facts,
        observe_s: float = 3.0,
    ) -> None:
        self._package_of = package_of
        self._layers = layers
        self._kind = kind
        self._log = log
        self._facts = facts
        self._observe_s = observe_s
        self._plan: Plan | None = None
        self._running: Compartment | None = None
        self._before: Mapping[str, float] = {}
        self._measured: dict[str, float] | None = None
        self._began_s = 0.0

    def begin(self, target: Target, plan: Plan) -> None:
        """See `Tests`."""
        self.close()
        self._plan, self._measured = plan, None
        self._before, self._began_s = dict(self._facts()), time.monotonic()
        try:
            self._running = self._start(self._package_of(target))
        except (AsepsisError, OSError):
            self._measured = {}  # What does not start measures nothing, and nothing passes.

    def results(self) -> tuple[TestResult, ...] | None:
        """See `Tests`."""
        if self._plan is None:
            return ()
        watched_s = time.monotonic() - self._began_s
        if self._measured is None:
            self._listen(watched_s)
        if self._measured is None or watched_s < self._observe_s:
            return None
        now = self._facts()
        grown = {name: now[name] - self._before[name] for name in now if name in self._before}
        found = {**self._measured, **grown}
        return tuple(test.result(found.get(test.name)) for test in self._plan.tests)

    def close(self) -> None:
        """End a run."""
        if self._running:
            self._running.kill()
        self._running = None

    def _start(self, package: Path) -> Compartment:
        declared = updating().compartments[SELFTEST]
        plan = host.blueprint(declared, layers=self._layers, state=package, package=package)
        owner = RingOwner(SELFTEST, geometry=VITALS_RING)
        try:
            descriptors, _ = owner.begin()
            handed = {**descriptors, "read": descriptors["ring"]}
            folder = package.parent
            with self._log.open("ab", buffering=0) as log:
                return launcher.launch(
                    plan,
                    body={"kind": self._kind.value},
                    descriptors=handed,
                    code_folder=folder,
                    log=log,
                )
        finally:
            owner.close()

    def _listen(self, watched_s: float) -> None:
        """Take what it says; its end without a value, or its silence, is no value."""
        running = self._running
        if running is None or watched_s > TESTS_S_MAX:
            self._measured = {}
            self.close()
            return
        for _ in range(REPORTS_MAX):
            if not select.select([running.control], [], [], 0)[0]:
                return
            self._measured = _heard(running)
            if self._measured is not None:
                self.close()
                return


def _heard(running: Compartment) -> dict[str, float] | None:
    """Take one report; returns what it measured, nothing where it ended, None where it goes on."""
    try:
        report = receive_report(running.control)
    except BlockingIOError:
        return None
    except (FramingError, OSError):
        return {}
    if report is None or report.get("event") == "failed":
        return {}
    return _numbers(report.get("values")) if report.get("event") == MEASURED else None


def _numbers(values: Any) -> dict[str, float]:
    """Read what it measured; what is no number is no value."""
    found: dict[str, float] = {}
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        for name, value in values.items():
            found[str(name)] = float(value)
    return found
