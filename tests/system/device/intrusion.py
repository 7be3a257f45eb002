"""Runs a device with something else put into its compartments."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from asepsis.edge.device.supervisor import Setting, Supervisor
from asepsis.edge.sandbox.layers import Layer
from asepsis.edge.uplink.folder import IdentityFolder


@dataclass
class Ward:
    """One device under test and everything its supervisor told."""

    folder: IdentityFolder
    holding: frozenset[Layer]
    preludes: dict[str, str] = field(default_factory=dict)
    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    on_event: Callable[[str, str], None] = lambda _who, _what: None
    supervisor: Supervisor | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Supervisor]:
        supervisor = Supervisor(
            self.folder,
            holding=self.holding,
            setting=Setting(seed=5, preludes=self.preludes),
            tell=self._tell,
        )
        self.supervisor = supervisor
        try:
            yield supervisor
        finally:
            supervisor.close()

    def _tell(self, compartment: str, event: str, details: Mapping[str, Any]) -> None:
        self.events.append((compartment, event, dict(details)))
        self.on_event(compartment, event)

    def until(self, wanted: Callable[[], object], *, timeout_s: float = 20) -> None:
        """Run the supervisor until something is so."""
        assert self.supervisor
        deadline = time.monotonic() + timeout_s
        while not wanted():
            assert time.monotonic() < deadline, self.events[-20:]
            self.supervisor.step()

    def during(self, seconds: float) -> None:
        """Run the supervisor for some time."""
        assert self.supervisor
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.supervisor.step()

    def told(self, compartment: str, event: str) -> list[dict[str, Any]]:
        return [d for who, what, d in self.events if (who, what) == (compartment, event)]
