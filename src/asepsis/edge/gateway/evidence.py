"""Tells the hub what the network shows of the devices: address, port, VLAN, key.

The hub compares it with what a person declared (docs/reference/delegation.md). A report that the
hub does not get is repeated; of a device only the newest counts.
"""

import json
import threading
from collections.abc import Callable
from typing import Any, Final

from asepsis.core.errors import AsepsisError, TransientError
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import HubConnection

PATH: Final = "/gateway/evidence"
REPORT_MAX: Final = 500
WAITING_MAX: Final = 10_000
REPEAT_S: Final = 60.0
"""All is told again so often: a person may have declared a device anew meanwhile."""
_HEADERS: Final = {"Content-Type": "application/json"}


class EvidenceReporter(threading.Thread):
    """Background thread of the uplink.

    Args:
        connect: Returns a connection to the clinical listener with the certificates of now.
        backoff: Waiting times while the hub is away.
        findings: Told what differs from what was declared, and what the hub refuses.
    """

    def __init__(
        self, connect: Callable[[], HubConnection], *, backoff: Backoff, findings: Findings
    ) -> None:
        super().__init__(name="uplink-evidence", daemon=True)
        self._connect = connect
        self._backoff = backoff
        self._findings = findings
        self._closing = threading.Event()
        self._due = threading.Event()
        self._lock = threading.Lock()
        self._waiting: dict[str, dict[str, Any]] = {}
        self._newest: dict[str, dict[str, Any]] = {}

    def note(self, devices: tuple[str, ...], network: dict[str, Any]) -> None:
        """Have a report sent; returns at once."""
        with self._lock:
            for device in devices:
                if device in self._newest or len(self._newest) < WAITING_MAX:
                    self._newest[device] = self._waiting[device] = network
        self._due.set()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._due.set()

    def run(self) -> None:
        """Report until closed."""
        while True:
            told = self._due.wait(REPEAT_S)
            if self._closing.is_set():
                return
            self._due.clear()
            with self._lock:
                if not told:
                    self._waiting = dict(self._newest)
                taken = dict(list(self._waiting.items())[:REPORT_MAX])
                for device in taken:
                    del self._waiting[device]
                if self._waiting:
                    self._due.set()
            if taken:
                self._report(taken)

    def _report(self, taken: dict[str, dict[str, Any]]) -> None:
        try:
            differs = self._send(taken)
        except TransientError:
            with self._lock:
                self._waiting = taken | self._waiting
            self._due.set()
            self._closing.wait(self._backoff.failed())
        except AsepsisError as error:
            self._findings.note(Finding.REFUSED_BY_HUB, "evidence", code=error.code)
        else:
            self._backoff.succeeded()
            for device in differs:
                self._findings.note(Finding.EVIDENCE, device)

    def _send(self, taken: dict[str, dict[str, Any]]) -> list[str]:
        """Send one report.

        Raises:
            TransientError: The hub is away.
            TrustError: It refuses this gateway.
            InputError: It does not understand the report.
        """
        seen = [{"device": device, "network": network} for device, network in taken.items()]
        hub = self._connect()
        try:
            body = json.dumps({"seen": seen}).encode()
            answer = hub.request("POST", PATH, body=body, headers=_HEADERS)
        finally:
            hub.close()
        try:
            return [str(device) for device in json.loads(answer.body)["differs"]]
        except (ValueError, KeyError, TypeError):
            return []  # Delivered; what the hub thinks of it stands at the hub.
