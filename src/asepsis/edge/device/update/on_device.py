"""The update agent's other half on a real device: the supervisor, its clinical state, its files."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from asepsis.core.model.clinical import ClinicalState
from asepsis.edge.device.manifest import NETWORK, ORIGIN, VITALS
from asepsis.edge.device.occupied import Occupied, read_occupied
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.device.update.memory import Target
from asepsis.edge.device.update.moment import Situation, Terms, Window
from asepsis.edge.device.update.plan import Plan
from asepsis.edge.sandbox.supervision import SERVED

FILES: Final[Mapping[str, str]] = {
    "network": "identity.json",
    "hospital-root": "root.der",
    "operator-key": "operator-key.pem",
    "calibration": "calibration.json",
    "drug-library": "datasets/drug-library.json",
    "alarm-defaults": "datasets/alarm-profile.json",
}
"""What an update must not change, by name, in the device's folder."""
FILE_BYTES_MAX: Final = 64 << 20
SUPPLIES: Final = Path("/sys/class/power_supply")
NOBODY: Final = frozenset({ClinicalState.IDLE, ClinicalState.CLEANING, ClinicalState.MAINTENANCE})
"""States that a device leaves as soon as a patient is attached."""


class SupervisorActivator:
    """See `ports.Activator`.

    Args:
        supervisor: Of the device.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def confirmed(self, component: str) -> str:
        """See `Activator`."""
        return self._supervisor.confirmed.get(component, "")

    def proved(self, component: str, version: str) -> bool:
        """See `Activator`."""
        serves = self._supervisor.versions.get(component) == version
        return serves and self._supervisor.phases[component] in SERVED

    def on_trial(self, component: str, version: str) -> bool:
        """See `Activator`: no trial of a compartment outlives the supervisor."""
        running = self._supervisor.versions.get(component)
        return running == version != self.confirmed(component)

    def restarts(self, component: str) -> bool:  # noqa: ARG002 - of the port
        """See `Activator`."""
        return False

    def begin(self, target: Target) -> None:
        """See `Activator`."""
        self._supervisor.swap(target.component, target.version)

    def reject(self, component: str, why: str) -> None:
        """See `Activator`."""
        self._supervisor.reject(component, why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the hospital decided for this device.

    Attributes:
        reserve: Whether it stands ready for an emergency.
        consent: Whether a person at the device has to agree, whatever the release says.
        windows: When installations are allowed; none for always.
        without_hub: Components that are installed without the hub being reachable: what mends the
            way to it.
    """

    reserve: bool = False
    consent: bool = False
    windows: tuple[Window, ...] = ()
    without_hub: frozenset[str] = frozenset({NETWORK})


def _nothing() -> frozenset[Occupied]:
    return frozenset()


@dataclass(slots=True, kw_only=True)
class DeviceSurroundings:
    """See `ports.Surroundings`; `heard` is given everything that the supervisor tells.

    Attributes:
        supervisor: Of the device.
        folder: The device's folder.
        policy: What the hospital decided.
        now_s: Monotonic seconds.
        replaceable: Returns the clinical states in which this device lets a component be replaced.
        wall_s: The machine's time, seconds since 1970; counts while origin's clock is synchronised.
        occupied: What else knows of the device being used, beside its critical compartment.
        supplies: Where the kernel tells of power supplies.
    """

    supervisor: Supervisor
    folder: Path
    policy: Policy
    replaceable: Callable[[str], frozenset[ClinicalState]]
    now_s: Callable[[], float]
    wall_s: Callable[[], float]
    occupied: Callable[[], frozenset[Occupied]] = _nothing
    supplies: Path = SUPPLIES
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    def heard(self, compartment: str, event: str, details: Mapping[str, Any]) -> None:
        """Take what the supervisor tells."""
        if event == "alive":
            self.facts[compartment] = dict(details)
        elif compartment == VITALS and event == "state":
            # The count of alarms belongs to the state before: not known until the next heartbeat.
            self.facts[VITALS] = {"occupied": details.get("occupied")}
        elif compartment == VITALS and event == "occupied":
            known = self.facts.get(VITALS, {})
            self.facts[VITALS] = {**known, "occupied": details.get("occupied")}

    def situation(self) -> Situation:
        """See `Surroundings`."""
        state = self.supervisor.clinical_state
        alarms = self.facts.get(VITALS, {}).get("alarms")
        synchronised = self.facts.get(ORIGIN, {}).get("synchronised") is True
        mains, battery = read_power(self.supplies)
        return Situation(
            state=state,
            attached=None if state is None else state not in NOBODY,
            alarms=alarms if isinstance(alarms, int) else None,
            occupied=self.occupied() | read_occupied(self.facts.get(VITALS, {}).get("occupied")),
            mains=mains,
            battery_percent=battery,
            reachable=self.facts.get(NETWORK, {}).get("reachable") is True,
            wall_s=int(self.wall_s()) if synchronised else None,
            now_s=self.now_s(),
        )

    def terms(self, target: Target, plan: Plan) -> Terms:
        """See `Surroundings`: what both the manufacturer and the manifest allow."""
        return Terms(
            states=plan.states & self.replaceable(target.component),
            run_s=plan.run_s,
            rollback_s=plan.rollback_s,
            consent=plan.consent or self.policy.consent,
            reserve=self.policy.reserve,
            windows=self.policy.windows,
            hub=target.component not in self.policy.without_hub,
        )

    def fingerprint(self) -> Mapping[str, str]:
        """See `Surroundings`; what is not there has no entry, so it shows when it appears."""
        found = {name: _digest(self.folder / path) for name, path in FILES.items()}
        limits = self.facts.get(VITALS, {}).get("limits")
        found["alarm-limits"] = hashlib.sha256(limits.encode()).hexdigest() if limits else ""
        state = self.supervisor.clinical_state
        attached = state is not None and state not in NOBODY
        found["patient-context"] = hashlib.sha256(str(attached).encode()).hexdigest()
        return {name: digest for name, digest in found.items() if digest}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"unreadable: {error.errno}"


def read_power(supplies: Path = SUPPLIES) -> tuple[bool | None, int | None]:
    """Return whether a device runs on mains, and the charge of its weakest battery in percent.

    A machine whose kernel knows no supply at all has no battery, so it runs on mains. Where there
    is a battery and no word of mains, nothing is known.

    Source: Linux, Documentation/ABI/testing/sysfs-class-power.
    """
    try:
        found = sorted(supplies.iterdir())
    except FileNotFoundError:
        return True, None
    except OSError:
        return None, None
    if not found:
        return True, None
    online, charges = None, list[int]()
    for supply in found:
        kind = _word(supply / "type")
        if kind in {"Mains", "USB"}:
            online = bool(online) or _word(supply / "online") == "1"
        charge = _word(supply / "capacity")
        if kind == "Battery" and charge.isdecimal():
            charges.append(min(int(charge), 100))
    return online, min(charges, default=None)


def _word(path: Path) -> str:
    try:
        with path.open("r", encoding="ascii") as file:
            return file.read(64).strip()
    except (OSError, ValueError):
        return ""
