"""Listening sockets of a device: the supervisor's, handed to compartments that declare them.

A port stays open while its compartment is replaced or starts anew: who connects meanwhile waits in
the kernel's queue and is served by the next one. No compartment can bind a port itself.

Source: listen(2); docs/reference/manifest.md, `ports`.
"""

import socket
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.core.model.manifest import Manifest, Zone
from asepsis.edge.sandbox import domains
from asepsis.edge.sandbox.supervision_parts import Tell

BACKLOG: Final = 128
"""Connections that wait for a compartment that is being replaced; the kernel drops those beyond."""


class Ports:
    """Opens what the manifest declares.

    Args:
        manifest: Which compartment has which ports.
        host: Address at which they listen.
        tell: Told, once for each compartment, why a port cannot be opened.

    Resource handling: holds listening sockets until `close`.
    """

    def __init__(self, manifest: Manifest, *, host: str, tell: Tell) -> None:
        self._compartments = manifest.compartments
        self._host = host
        self._tell = tell
        self._lines: dict[int, socket.socket] = {}
        self._told: set[str] = set()

    def ready(self, name: str) -> bool:
        """Return whether every port of a compartment is open; opens what may always be open.

        The ports of the service zone are opened by a person only.
        """
        declared = self._compartments[name]
        if declared.zone is not Zone.SERVICE:
            try:
                self.open(name)
            except ConfigError as error:
                # A port that somebody else has must cost this compartment, never vitals.
                if name not in self._told:
                    self._told.add(name)
                    self._tell(name, "failed", {"code": error.code, "text": str(error)})
                return False
        return all(port in self._lines for port in declared.ports)

    def open(self, name: str) -> None:
        """Open every port of a compartment; twice is once.

        Raises:
            ConfigError: A port cannot be had; none of them is open then.
        """
        for port in self._compartments[name].ports:
            if port in self._lines:
                continue
            try:
                with domains.sockets_as("port", str(port)):
                    self._lines[port] = socket.create_server((self._host, port), backlog=BACKLOG)
            except OSError as error:
                self.shut(name)
                raise ConfigError(f"cannot open port {port}: {error.strerror}") from error

    def shut(self, name: str) -> None:
        """Close every port of a compartment; who waits in the queue is refused."""
        for port in self._compartments[name].ports:
            line = self._lines.pop(port, None)
            if line:
                line.close()

    def handed(self, name: str) -> dict[str, int]:
        """Return the listening descriptors that a compartment gets; they stay ours."""
        return {
            f"port{port}": self._lines[port].fileno()
            for port in self._compartments[name].ports
            if port in self._lines
        }

    def close(self) -> None:
        """Close every port."""
        for line in self._lines.values():
            line.close()
        self._lines.clear()
