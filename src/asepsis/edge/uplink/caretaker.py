"""Keeps time trusted and certificates fresh, without a person (REQ-ID-013, REQ-ID-015)."""

import ssl
import threading
from collections.abc import Callable
from typing import Final

from asepsis.core.errors import AsepsisError, Unavailable
from asepsis.core.trust import libcrypto, libcrypto_x509, statements, tls
from asepsis.edge.uplink import est
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.edge.uplink.connection import ANSWER_BYTES_MAX, Dial, HubConnection
from asepsis.edge.uplink.folder import Hospital, IdentityFolder

CHECK_S: Final = 60.0
"""How often certificate and time are looked at, seconds."""
TIME_AGE_S_MAX: Final = 3_600.0
"""Signed time is asked for again after this, seconds."""


class Caretaker(threading.Thread):
    """Background thread of the uplink.

    Args:
        folder: The enrolled identity's folder.
        name: Its name.
        hospital: Addresses.
        root_der: Pinned root.
        clock: Trusted clock to set.
        monotonic: Nanoseconds since boot.
        backoff: Waiting times while the hub is away.
        on_renewed: Told when new certificates are in the folder.
        dial: Connects to the hub instead of this process.
    """

    def __init__(  # noqa: PLR0913 - made in one place, by the uplink
        self,
        folder: IdentityFolder,
        *,
        name: str,
        hospital: Hospital,
        root_der: bytes,
        clock: TrustedClock,
        monotonic: Callable[[], int],
        backoff: Backoff,
        on_renewed: Callable[[], None],
        dial: Dial | None = None,
    ) -> None:
        super().__init__(name="uplink-caretaker", daemon=True)
        self._folder = folder
        self._name = name
        self._hospital = hospital
        self._root_der = root_der
        self._clock = clock
        self._monotonic = monotonic
        self._backoff = backoff
        self._on_renewed = on_renewed
        self._dial = dial
        self._closing = threading.Event()
        self._time_asked_ns: int | None = None
        self.last_error: AsepsisError | None = None

    def close(self) -> None:
        """End the thread."""
        self._closing.set()

    def run(self) -> None:
        """Look after time and certificates until closed."""
        while not self._closing.is_set():
            try:
                self.care_once()
                self._backoff.succeeded()
                self.last_error = None
                wait_s = CHECK_S
            except AsepsisError as error:
                self.last_error = error
                wait_s = self._backoff.failed()
            self._closing.wait(wait_s)

    def care_once(self) -> None:
        """Synchronise if due, then renew what is due.

        Raises:
            TransientError: The hub is away.
            TrustError: Hub or signed time do not hold.
        """
        if self._time_due():
            self._synchronise()
        for name, label in (("tls", ""), ("origin", "origin")):
            path = self._folder.path / f"{name}.pem"
            if path.exists() and self._renewal_due(name):
                self._renew(name, label)

    def _time_due(self) -> bool:
        if not self._clock.synchronised or self._time_asked_ns is None:
            return True
        return self._monotonic() - self._time_asked_ns > TIME_AGE_S_MAX * 1e9

    def _connection(self) -> HubConnection:
        context = tls.client_context_without_time_check(
            root_der=self._root_der, identity=self._folder.identity
        )
        now_ns = self._clock.now_ns if self._clock.synchronised else None
        return HubConnection(self._hospital.enrolment, context, now_ns=now_ns, dial=self._dial)

    def _synchronise(self) -> None:
        hub = self._connection()
        asked_ns = self._monotonic()
        try:
            wall_ns = signed_time(hub, root_der=self._root_der)
        finally:
            hub.close()
        self._clock.accept(wall_ns, asked_monotonic_ns=asked_ns)
        self._time_asked_ns = asked_ns

    def _renewal_due(self, name: str) -> bool:
        facts = libcrypto_x509.read_certificate(self._folder.leaf(name))
        third_ns = (facts.not_after_ns - facts.not_before_ns) // 3
        return self._clock.now_ns() > facts.not_after_ns - third_ns

    def _renew(self, name: str, label: str) -> None:
        request = self._folder.request(name, uri=self._name)
        hub = self._connection()
        try:
            self._folder.store_chain(name, est.renew(hub, request, label=label))
        finally:
            hub.close()
        self._on_renewed()


def signed_time(hub: HubConnection, *, root_der: bytes) -> int:
    """Ask for signed time and verify chain, purpose, signature and nonce (REQ-ID-018).

    Returns:
        The hospital's wall time, nanoseconds since 1970; the caller knows the round trip.

    Raises:
        TransientError: The hub is away.
        TrustError: The answer does not hold.
    """
    answer = est.ask_time(hub)
    signer_der = answer.chain_der[0]
    libcrypto_x509.verify_chain(
        signer_der,
        intermediates=answer.chain_der[1:],
        roots=(root_der,),
        purpose=libcrypto_x509.Purpose.TIMESTAMP_SIGN,
    )
    spki_der = libcrypto_x509.read_certificate(signer_der).spki_der
    libcrypto.verify(spki_der, answer.signature, answer.statement)
    return statements.read_time_statement(answer.statement, nonce=answer.nonce)[0]


def clinical_connection(
    folder: IdentityFolder,
    *,
    hospital: Hospital,
    root_der: bytes,
    clock: TrustedClock,
    timeout_s: float,
    dial: Dial | None = None,
    answer_bytes_max: int = ANSWER_BYTES_MAX,
) -> HubConnection:
    """Return a connection to the clinical listener with the certificates of now.

    Until time is trusted, its requests raise TransientError: validity cannot be judged yet.

    Raises:
        ConfigError: Key or chain do not load.
    """

    def trusted_now_ns() -> int:
        if not clock.synchronised:
            raise Unavailable("no trusted time yet")
        return clock.now_ns()

    context: ssl.SSLContext = tls.client_context_without_time_check(
        root_der=root_der, identity=folder.identity
    )
    return HubConnection(
        hospital.clinical,
        context,
        now_ns=trusted_now_ns,
        timeout_s=timeout_s,
        dial=dial,
        answer_bytes_max=answer_bytes_max,
    )
