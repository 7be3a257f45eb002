"""The supervisor: starts the compartments, watches them, and starts anew what fell over.

It stands in no data path. It owns the rings and the connect broker, and judges what the network
compartment reports as coming from somebody who may be owned.
"""

import contextlib
import random
import select
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from asepsis.core.errors import (
    AsepsisError,
    ConfigError,
    Conflict,
    FramingError,
    NotFound,
    SafetyRefusal,
    Unavailable,
)
from asepsis.core.model.clinical import ClinicalState
from asepsis.edge.device.manifest import NETWORK, ORIGIN, VITALS
from asepsis.edge.device.rings import Feed
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor_alerts import Alerts
from asepsis.edge.device.supervisor_orders import Orders
from asepsis.edge.device.supervisor_permits import OnePermit
from asepsis.edge.device.supervisor_service import ServiceZone
from asepsis.edge.device.supervisor_starts import OneStarter, Starts, order_ring
from asepsis.edge.device.supervisor_versions import Versions
from asepsis.edge.sandbox.control import receive_report
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.supervision import Phase
from asepsis.edge.sandbox.supervision_parts import Means, Runner, Tell
from asepsis.edge.sandbox.supervision_watch import Watch
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.folder import IdentityFolder

POLL_S: Final = 0.1
STOP_S: Final = 5.0
REPORTS_MAX: Final = 64
"""Reports read from one compartment in one round; the rest waits, and the others get their turn."""


class Supervisor:
    """Keeps one device going.

    Args:
        folder: The enrolled device's folder.
        holding: Layers to apply; `run_device` refuses a machine where too few hold.
        setting: What to measure with.
        tell: Told everything that happens.

    Raises:
        NotFound: The device is not enrolled.
        ConfigError: The folder cannot be used.

    Resource handling: `close` ends all compartments.
    """

    def __init__(
        self,
        folder: IdentityFolder,
        *,
        holding: frozenset[Layer],
        setting: Setting,
        tell: Tell,
    ) -> None:
        self._orders: Orders | None = None

        def note(compartment: str, event: str, details: Mapping[str, Any]) -> None:
            if self._orders:
                self._orders.note(compartment, event, details)
            tell_all(compartment, event, details)

        tell_all, tell = tell, note
        self._tell = tell
        self._versions = Versions(folder.path, tell=tell)
        self._activation = setting.activation
        self._starts = Starts(
            folder, holding=holding, setting=setting, versions=self._versions, tell=tell
        )
        rng = random.Random()  # noqa: S311 - jitter
        self._watches = {
            name: Watch(
                declared,
                means=Means(
                    starter=OneStarter(self._starts, name),
                    permit=OnePermit(self._starts.gate, declared, begins=self._begin),
                    wait=Backoff(rng=rng, cap_s=declared.resources.restart_s_max),
                    confirm=self._keep,
                ),
                version=self._versions.confirmed(name),
                pace=setting.pace,
                tell=tell,
                clock_s=time.monotonic,
            )
            for name, declared in self._starts.manifest.compartments.items()
            if self._starts.wanted(name)
        }
        self._alerts = Alerts(tell)
        self.gate = self._starts.gate
        self._state: ClinicalState | None = None
        self._closed = False
        self._service = ServiceZone(
            self._watches,
            ports=self._starts.ports,
            tell=tell,
            note=self._starts.denials.note_request,
        )
        if setting.orders:
            self._orders = Orders(
                folder.path,
                supervisor=self,
                watches=self._watches,
                versions=self._versions,
                service=self._service,
            )

    @property
    def starts(self) -> Mapping[str, int]:
        """How often each compartment was started or taken over by what stood by."""
        return {name: watch.starts for name, watch in self._watches.items()}

    @property
    def versions(self) -> Mapping[str, str]:
        """The version of each compartment that serves, or is started next."""
        return {name: watch.version for name, watch in self._watches.items()}

    @property
    def confirmed(self) -> Mapping[str, str]:
        """The version of each compartment that starts after a power cut."""
        return {name: watch.confirmed for name, watch in self._watches.items()}

    @property
    def phases(self) -> Mapping[str, Phase]:
        """Where each compartment stands."""
        return {name: watch.phase for name, watch in self._watches.items()}

    def pid(self, name: str) -> int:
        """Return the process id of a running compartment; 0 if it does not run."""
        serving = self._watches[name].serving
        return serving.process.pid if serving else 0

    @property
    def clinical_state(self) -> ClinicalState | None:
        """The clinical state as vitals decided it; None while vitals does not run."""
        return self._state if self._watches[VITALS].serving else None

    @property
    def _pids(self) -> Mapping[str, int]:
        return {name: self.pid(name) for name in self._watches}

    def _sign(self, event: Mapping[str, Any]) -> None:
        """Have a security event signed; one that cannot be now was told to whoever watches."""
        origin = self._watches[ORIGIN].serving
        if origin:
            with contextlib.suppress(Unavailable):
                origin.process.order("security", event)

    def note_plugged(self, what: Iterable[str]) -> None:
        """Take what was plugged into the machine, for the security team; from any thread."""
        self._starts.denials.note_plugged(what)

    def standby_pid(self, name: str) -> int:
        """Return the process id of what stands by beside a compartment; 0 if nothing does."""
        standby = self._watches[name].standby
        return standby.process.pid if standby else 0

    def feed(self, name: str) -> Feed | None:
        """Return the sealed ring of `vitals` or `origin`, for one more reader; None before it is.

        The descriptors stay the supervisor's: duplicate them.
        """
        return self._starts.written_by(name).feed

    def replaceable(self, name: str) -> frozenset[ClinicalState]:
        """Return the clinical states in which the manifest lets a compartment be replaced."""
        watch = self._watches.get(name)
        return frozenset(watch.declared.update.when) if watch else frozenset()

    def reject(self, name: str, why: str) -> None:
        """End a version that is on trial: the confirmed one starts at once; else do nothing."""
        watch = self._watches.get(name)
        if watch and watch.serving and watch.version != watch.confirmed:
            watch.gone(watch.serving, why)

    def report_update(self, body: Mapping[str, Any]) -> bool:
        """Have an update report signed and sent; returns whether origin takes it now."""
        origin = self._watches[ORIGIN].serving
        if origin is None:
            return False
        try:
            origin.process.order("update", body)
        except Unavailable:
            return False
        return True

    def carry_updates(self, lines: Mapping[str, int], *, bytes_per_s: int) -> None:
        """Let the network compartment read at the hub what a fetcher asks for on these lines.

        Args:
            lines: Its ends; they stay ours.
            bytes_per_s: Budget for artefacts; 0 for none.

        Raises:
            Unavailable: The network compartment does not run, or takes no orders.
        """
        serving = self._watches[NETWORK].serving
        if serving is None:
            raise Unavailable("the network compartment does not run")
        serving.process.order("updates", {"bytes_per_s": bytes_per_s}, descriptors=lines)

    def _begin(self, compartment: str, version: str) -> None:
        """Ask whoever updates the device, with the permit in hand."""
        self._activation.begins(compartment, version)

    def _keep(self, compartment: str, version: str) -> None:
        """Make a version the confirmed one, where whoever updates the device agrees."""
        self._activation.keeps(compartment, version)
        self._versions.confirm(compartment, version)

    def bedside(self, key: str) -> None:
        """Pass on a key that a person pressed at the bedside.

        Raises:
            Unavailable: The vitals compartment does not run.
        """
        serving = self._watches[VITALS].serving
        if serving is None:
            raise Unavailable("the vitals compartment does not run")
        serving.process.order("bedside", {"key": key})

    def swap(self, name: str, version: str) -> None:
        """Begin to replace a compartment by another version of it; `step` goes on with it.

        By rung `swap` the new version gets ready beside the old one, which serves until the new one
        has reported its self-tests. By rung `restart` it starts in its place. Before either, the
        critical compartment is asked for a permit. Where the new version fails before the end of
        its trial, the old one serves again. `versions` says which one serves.

        Raises:
            NotFound: No such compartment, or no such version of it.
            InputError: No version has such a name.
            SafetyRefusal: The manifest does not allow it in this clinical state.
            Unavailable: The compartment does not serve now.
            Conflict: A compartment is being replaced already, or this one comes with the image.
        """
        self.require_swappable(name, version)
        self._watches[name].swap(version)

    def before(self, name: str) -> str:
        """Return where to go back to: from a trial the confirmed version, else the one before it.

        To go back is a swap as any other, with self-tests and a permit.

        Raises:
            NotFound: No such compartment, or it has run no other version before.
        """
        watch = self._watch(name)
        if watch.version != watch.confirmed:
            return watch.confirmed
        return self._versions.previous(name)

    def require_swappable(self, name: str, version: str) -> None:
        """Check what `swap` checks before it begins; errors as there."""
        if any(watch.replacing for watch in self._watches.values()):
            raise Conflict("one compartment is replaced at a time")
        watch = self._watch(name)
        self._versions.package(name, version)
        if self._state not in watch.declared.update.when:
            state = self._state.name.lower() if self._state else "unknown"
            allowed = ", ".join(state.name.lower() for state in watch.declared.update.when)
            raise SafetyRefusal(
                f"{name} is not replaced in clinical state {state}", hint=f"allowed: {allowed}"
            )

    def _watch(self, name: str) -> Watch:
        if name not in self._watches:
            raise NotFound(f"this device has no compartment {name!r}")
        return self._watches[name]

    def step(self) -> None:
        """Do what is due, then wait for reports, at most `POLL_S`."""
        now_s = time.monotonic()
        for watch in self._watches.values():
            for runner in watch.runners:
                if not runner.process.running:
                    self._listen(watch, runner)  # Its last words come before its end.
            watch.look(now_s)
        deciding = self._watches[VITALS].serving
        self.gate.step(deciding.process if deciding else None)
        self._starts.denials.step(now_s, self._pids, sign=self._sign)
        self._service.step(self.clinical_state)
        if self._orders:
            self._orders.step(now_s)
        running = {
            runner.process.control: (watch, runner)
            for watch in self._watches.values()
            for runner in watch.runners
        }
        if not running:
            time.sleep(POLL_S)
            return
        readable, _, _ = select.select(list(running), [], [], POLL_S)
        for line in readable:
            self._listen(*running[line])
        self._alerts.look(time.monotonic())

    def close(self) -> None:
        """Stop the compartments in order, then let go of everything; twice is once."""
        if self._closed:
            return
        self._closed = True
        if self._orders:
            self._orders.close()
        for name, watch in self._watches.items():
            serving = watch.serving
            if serving:
                with contextlib.suppress(Unavailable):
                    serving.process.order("stop", {})
                if not serving.process.wait(STOP_S):
                    self._tell(name, "killed", {"why": "did not stop"})
            watch.end()
        self._starts.close()

    def _listen(self, watch: Watch, runner: Runner) -> None:
        for _ in range(REPORTS_MAX):
            if runner not in watch.runners:
                return  # What it said before has ended it.
            try:
                report = receive_report(runner.process.control)
            except BlockingIOError:
                return
            except (FramingError, OSError):
                watch.gone(runner, "reported nonsense")
                return
            if report is None:
                watch.gone(runner, "ended")
                return
            self._judge(watch, runner, report)

    def _judge(self, watch: Watch, runner: Runner, report: dict[str, Any]) -> None:
        event = str(report.pop("event", ""))[:40]
        serves = runner is watch.serving
        if event == "mapped" and serves and watch.declared.writes:
            self._mapped(watch.name)
        elif watch.name == VITALS and serves and event in {"state", "alive"}:
            self._state = ClinicalState.__members__.get(str(report.get("state")))
        if serves:
            self._alerts.heard(watch.name, event, report)
            if watch.name == VITALS:
                self.gate.reported(event, report)
            self._tell(watch.name, event, report)
        elif event == "failed":
            self._tell(watch.name, event, {**report, "standby": True})
        watch.heard(runner, event)

    def _mapped(self, name: str) -> None:
        owner = self._starts.written_by(name)
        if not owner.waiting:
            return
        try:
            feed = owner.mapped()
        except ConfigError as error:
            self._tell(name, "failed", {"code": error.code, "text": str(error)})
            return
        self._alerts.began(name)
        written = set(self._watches[name].declared.writes)
        for watch in self._watches.values():
            if watch.serving and set(watch.declared.reads) & written:
                with contextlib.suppress(AsepsisError):
                    order_ring(watch.serving, feed)
