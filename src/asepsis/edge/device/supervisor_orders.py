"""Orders to a running supervisor over a local socket: versions, swap, rollback, the service port.

Whoever may open the socket (see `panel`) is a person at the device, or what acts for one as the
supervisor's own user. An order is typed, and is carried out or refused by the same rules as any
other way in: manifest, clinical state, self-tests, permit.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from asepsis.core.errors import InputError, NotFound
from asepsis.core.model.clinical import ClinicalState
from asepsis.edge.device.panel import Panel, ask_socket
from asepsis.edge.device.supervisor_service import ServiceZone
from asepsis.edge.device.supervisor_versions import Versions
from asepsis.edge.sandbox.supervision_watch import Watch

NAME: Final = "supervisor.sock"
WORDS_MAX: Final = 200
_KEPT: Final = frozenset(
    {"version-refused", "version-takes-over", "version-confirmed", "version-not-kept"}
)
"""What is remembered of a compartment for whoever asks later."""


class Ordered(Protocol):
    """What a supervisor does for an order."""

    @property
    def clinical_state(self) -> ClinicalState | None:
        """The clinical state now; None where nobody knows."""
        ...

    def swap(self, name: str, version: str) -> None:
        """Begin to replace a compartment."""
        ...

    def require_swappable(self, name: str, version: str) -> None:
        """Check what `swap` checks."""
        ...

    def before(self, name: str) -> str:
        """Return the version to go back to."""
        ...


class Orders:
    """Serves the socket; a part of the supervisor.

    Args:
        folder: The device's folder.
        supervisor: Carries orders out.
        watches: Compartments.
        versions: Their versions.
        service: The service zone.

    Raises:
        ConfigError: The socket cannot be made.

    Resource handling: `close` removes the socket.
    """

    def __init__(
        self,
        folder: Path,
        *,
        supervisor: Ordered,
        watches: Mapping[str, Watch],
        versions: Versions,
        service: ServiceZone,
    ) -> None:
        self._supervisor = supervisor
        self._watches = watches
        self._versions = versions
        self._service = service
        self._last: dict[str, dict[str, str]] = {}
        self._orders: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
            "versions": self._tell_versions,
            "swap": self._swap,
            "rollback": self._roll_back,
            "service-open": self._open_service,
            "service-close": self._close_service,
        }
        self._socket = Panel(folder, answer=self.answer, name=NAME)

    def note(self, compartment: str, event: str, details: Mapping[str, Any]) -> None:
        """Remember what became of a version."""
        if event in _KEPT or "rolled_back" in details:
            words = {name: str(value)[:WORDS_MAX] for name, value in details.items()}
            self._last[compartment] = {**words, "event": event}

    def step(self, now_s: float) -> None:
        """Take and answer what is there; never waits."""
        self._socket.step(now_s)

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def answer(self, do: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one order.

        Raises:
            InputError: There is no such order, or it is of another form.
            AsepsisError: It is refused.
        """
        order = self._orders.get(do)
        if order is None:
            raise InputError(
                f"there is no order {do[:40]!r}", hint=f"known: {', '.join(self._orders)}"
            )
        return order(body)

    def _tell_versions(self, _body: Mapping[str, Any]) -> dict[str, Any]:
        state = self._supervisor.clinical_state
        return {
            "state": state.name.lower() if state else "unknown",
            "replacing": [name for name, watch in self._watches.items() if watch.replacing],
            "service_open_s": round(self._service.left_s),
            "service": list(self._service.names),
            "compartments": {name: self._facts(watch) for name, watch in self._watches.items()},
        }

    def _facts(self, watch: Watch) -> dict[str, Any]:
        try:
            before = self._supervisor.before(watch.name)
        except NotFound:
            before = ""
        return {
            "serves": watch.version,
            "confirmed": watch.confirmed,
            "before": before,
            "phase": watch.phase.value,
            "starts": watch.starts,
            "here": self._versions.here(watch.name),
            "rung": watch.declared.update.rung.value,
            "when": [state.name.lower() for state in watch.declared.update.when],
            "last": self._last.get(watch.name, {}),
        }

    def _swap(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._replace(_text(body, "compartment"), _text(body, "version"), body)

    def _roll_back(self, body: Mapping[str, Any]) -> dict[str, Any]:
        name = _text(body, "compartment")
        return self._replace(name, self._supervisor.before(name), body)

    def _replace(self, name: str, version: str, body: Mapping[str, Any]) -> dict[str, Any]:
        begin = body.get("dry_run") is not True
        self._supervisor.require_swappable(name, version)
        before = self._watches[name].version
        if begin:
            self._last.pop(name, None)
            self._supervisor.swap(name, version)
        return {"compartment": name, "from": before, "to": version, "begun": begin}

    def _open_service(self, body: Mapping[str, Any]) -> dict[str, Any]:
        seconds = body.get("seconds")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            raise InputError("seconds is a number")
        self._service.open(float(seconds), state=self._supervisor.clinical_state)
        return {"service": list(self._service.names), "service_open_s": round(self._service.left_s)}

    def _close_service(self, _body: Mapping[str, Any]) -> dict[str, Any]:
        return {"closed": self._service.close("a person at the device closed it")}


def _text(body: Mapping[str, Any], key: str) -> str:
    found = body.get(key)
    if not isinstance(found, str) or not found:
        raise InputError(f"{key} is a text")
    return found


def ask_supervisor(folder: Path, do: str, **body: Any) -> dict[str, Any]:
    """Give one order to a running device and return its answer.

    Raises:
        Unavailable: No device runs there.
        AsepsisError: What the device answered.
    """
    return ask_socket(folder, NAME, do, body, hint="start it: asepsis device run")
