"""The service zone under a supervisor: opens and closes its ports, and ends who serves there."""

import time
from collections.abc import Callable, Mapping

from asepsis.core.errors import ConfigError, NotFound
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.manifest import Zone
from asepsis.edge.device.ports import Ports
from asepsis.edge.device.service_port import ServicePort
from asepsis.edge.sandbox.supervision_parts import Tell
from asepsis.edge.sandbox.supervision_watch import Watch


class ServiceZone:
    """The compartments of the service zone; a part of the supervisor.

    Args:
        watches: All compartments.
        ports: Listening sockets.
        tell: Told `service-opened` and `service-closed`.
        note: Told compartment and what was done, for the security team.
    """

    def __init__(
        self,
        watches: Mapping[str, Watch],
        *,
        ports: Ports,
        tell: Tell,
        note: Callable[[str, str], None],
    ) -> None:
        self._watches = {
            name: watch for name, watch in watches.items() if watch.declared.zone is Zone.SERVICE
        }
        self._ports = ports
        self._tell = tell
        self._note = note
        self._service = ServicePort()

    @property
    def names(self) -> tuple[str, ...]:
        """The compartments in it."""
        return tuple(self._watches)

    @property
    def left_s(self) -> float:
        """For how long it stays open, seconds; 0 where it is closed."""
        return self._service.left_s(now_s=time.monotonic())

    def open(self, seconds: float, *, state: ClinicalState | None) -> None:
        """Open it, because a person at the device says so.

        Args:
            seconds: For how long.
            state: Clinical state now; None where nobody knows.

        Raises:
            NotFound: This device has no service port.
            InputError: Too short or too long.
            SafetyRefusal: The device is not in maintenance.
            ConfigError: A port cannot be had.
        """
        if not self._watches:
            raise NotFound("this device has no service port", hint="its manifest declares none")
        self._service.open(seconds, state=state, now_s=time.monotonic())
        try:
            for name in self._watches:
                self._ports.open(name)
        except ConfigError:
            self.close("a port cannot be had")
            raise
        for name in self._watches:
            self._tell(name, "service-opened", {"seconds": seconds})
            self._note(name, f"service port opened at the device for {seconds:.0f} s")

    def close(self, why: str) -> bool:
        """Close it and end every connection; returns whether it was open."""
        was_open = self._service.close()
        self._end(why)
        return was_open

    def step(self, state: ClinicalState | None) -> None:
        """Close it when it is time."""
        why = self._service.why_closed(state=state, now_s=time.monotonic())
        if why:
            self._end(why)

    def _end(self, why: str) -> None:
        for name, watch in self._watches.items():
            self._ports.shut(name)
            watch.end()
            self._tell(name, "service-closed", {"why": why})
            self._note(name, f"service port closed: {why}")
