"""What the network compartment does at the hub besides forwarding: attest, and fetch requests.

Everything here is on somebody else's behalf. A question of the hub goes to whoever has the TPM, a
request to the supervisor's gate; what comes back is carried to the hub. This compartment decides
nothing and is believed by nobody.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from asepsis.core.errors import AsepsisError, Conflict, NotPermitted, TransientError
from asepsis.edge.device.attesting import Attester
from asepsis.edge.device.proving import Prover
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import HubConnection

ATTEST_S: Final = 900.0
"""How often the hub is asked for a question once an answer was judged, seconds."""
PATIENCE_S: Final = 120.0
"""Wait after a refusal that only a person at the hub can change, seconds."""
LOOK_S: Final = 1.0
Report = Callable[..., None]


class Errand(Protocol):
    """One thing to do at the hub, again and again."""

    def run(self, hub: HubConnection) -> float:
        """Do it once; returns after how many seconds it is due again.

        Raises:
            AsepsisError: It failed; told, and tried again later.
        """
        ...


@dataclass(frozen=True, slots=True)
class Attestation:
    """Answers one question of the hub; where the TPM is not known there, brings it first.

    Attributes:
        prover: Whoever has the TPM.
        tls_spki: Returns the public half of the key that the connection authenticates with.
        report: Told what the hub found.
    """

    prover: Prover
    tls_spki: Callable[[], bytes]
    report: Report

    def run(self, hub: HubConnection) -> float:
        """See `Errand`."""
        attester = Attester(self.prover, hub, self.tls_spki())
        try:
            found = self._attest(attester)
        except TransientError:
            raise
        except NotPermitted:
            return PATIENCE_S  # Nobody has opened its commissioning: that is no refusal.
        except AsepsisError as error:
            self.report("attestation", verified="", code=error.code, text=str(error)[:200])
            return PATIENCE_S
        self.report("attestation", verified=found[0][:40], release=found[1][:80])
        return ATTEST_S

    @staticmethod
    def _attest(attester: Attester) -> tuple[str, str]:
        try:
            found = attester.attest()
        except Conflict:  # The hub does not know this TPM.
            attester.bind()
            found = attester.attest()
        return found.standing, found.release


class Errands(threading.Thread):
    """Runs one errand until closed.

    Args:
        name: Of the thread.
        errand: What to do.
        connect: Opens a connection to the clinical listener.
        backoff: Waiting times while the hub is away.
        kept: Whether the connection is kept from one time to the next.
    """

    def __init__(
        self,
        name: str,
        errand: Errand,
        *,
        connect: Callable[[], HubConnection],
        backoff: Backoff,
        kept: bool = False,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._errand = errand
        self._connect = connect
        self._backoff = backoff
        self._kept = kept
        self._closing = threading.Event()
        self._hub: HubConnection | None = None

    def close(self) -> None:
        """End the thread; what it waits for ends it too."""
        self._closing.set()

    def run(self) -> None:
        """Run until closed."""
        while not self._closing.is_set():
            try:
                self._hub = self._hub or self._connect()
                wait_s = self._errand.run(self._hub)
                self._backoff.succeeded()
            except AsepsisError:
                self._let_go()
                wait_s = self._backoff.failed()
            if not self._kept:
                self._let_go()
            self._wait(wait_s)
        self._let_go()

    def _wait(self, wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        while not self._closing.is_set() and (rest_s := until_s - time.monotonic()) > 0:
            self._closing.wait(min(rest_s, LOOK_S))

    def _let_go(self) -> None:
        if self._hub is not None:
            self._hub.close()
            self._hub = None
