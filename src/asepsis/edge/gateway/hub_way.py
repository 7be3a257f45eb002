"""The connections of one family to the hub, and the time that judges the hub's certificate."""

import random
import secrets
import time
from collections.abc import Callable
from typing import Final, TypeVar

from asepsis.core.errors import Unavailable
from asepsis.core.trust import tls
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.caretaker import Caretaker
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.edge.uplink.connection import Dial, HubConnection
from asepsis.edge.uplink.folder import IdentityFolder

BUILD_NS: Final = 1_767_225_600 * 10**9
"""2026-01-01: no signed time can be older than the software."""
Connection = TypeVar("Connection", bound=HubConnection)


class _Timekeeper(Caretaker):
    """Only asks for signed time: another family of this gateway renews the certificate."""

    def _renewal_due(self, name: str) -> bool:  # noqa: ARG002 - whatever its name
        return False


class HubWay:
    """Makes connections with the certificates of now.

    Args:
        settings: Of the gateway.
        folder: Its identity.
        dial: Connects to the hub; None connects itself.
        name: Of the family, for its file of trusted time.
        renews: Whether this family renews the certificate: see `families.renews`.

    Resource handling: `start` starts a thread that keeps time, `close` ends it.
    """

    def __init__(
        self,
        settings: Settings,
        folder: IdentityFolder,
        dial: Dial | None,
        *,
        name: str,
        renews: bool,
    ) -> None:
        self._folder = folder
        self._dial = dial
        identity, self._hospital, self._root_der = folder.load()
        self._system = settings.hub.clock == "system"
        self._clock = TrustedClock(
            folder.path / f"time-{name}.json",
            boot_id=secrets.token_bytes(16),
            monotonic=time.monotonic_ns,
            build_ns=BUILD_NS,
        )
        kind = Caretaker if renews else _Timekeeper
        self._caretaker = kind(
            folder,
            name=identity,
            hospital=self._hospital,
            root_der=self._root_der,
            clock=self._clock,
            monotonic=time.monotonic_ns,
            backoff=Backoff(rng=random.Random()),  # noqa: S311 - jitter
            on_renewed=lambda: None,  # Every connection asks the folder anew.
            dial=dial,
        )

    def start(self) -> None:
        """Begin to keep time, and the certificate fresh if this family renews it."""
        self._caretaker.start()

    def close(self) -> None:
        """End the thread that keeps time."""
        self._caretaker.close()

    def connect(self, kind: Callable[..., Connection], *, answer_s: float) -> Connection:
        """Return a connection that was not opened yet.

        Args:
            kind: Makes it; called as `HubConnection` is.
            answer_s: Longest wait for an answer, seconds.

        Raises:
            ConfigError: Key or chain do not load.
        """
        identity = self._folder.identity
        now_ns: Callable[[], int] | None = None
        if self._system:
            context = tls.client_context(root_der=self._root_der, identity=identity)
        else:
            context = tls.client_context_without_time_check(
                root_der=self._root_der, identity=identity
            )
            now_ns = _trusted(self._clock)
        return kind(
            self._hospital.clinical, context, now_ns=now_ns, timeout_s=answer_s, dial=self._dial
        )


def _trusted(clock: TrustedClock) -> Callable[[], int]:
    def now_ns() -> int:
        if not clock.synchronised:
            raise Unavailable("no trusted time yet")
        return clock.now_ns()

    return now_ns
