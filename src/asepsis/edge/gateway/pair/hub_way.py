"""The pair's connection to the hub: the gateway's identity, signed time, single questions."""

import random
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from asepsis.core.errors import AsepsisError, InputError, Unavailable
from asepsis.core.trust import tls
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.caretaker import Caretaker
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.edge.uplink.connection import Dial, HubConnection
from asepsis.edge.uplink.folder import IdentityFolder

BUILD_NS: Final = 1_767_225_600 * 10**9
TIMEOUT_S: Final = 1.5
EPOCHS_MAX: Final = 256
Received = Mapping[int, tuple[int, Sequence[tuple[int, int]]]]
_HEADERS: Final = {"Content-Type": "application/json"}


class Timekeeper(Caretaker):
    """Only asks for signed time: another family of this gateway renews the certificate."""

    def _renewal_due(self, name: str) -> bool:  # noqa: ARG002 - whatever its name
        return False


class Granted(msgspec.Struct, frozen=True):
    """The hub's answer to a question for the lease; members as `pairs.Grant`."""

    token: int
    holder: str
    left_ms: int
    granted: bool


class _Row(msgspec.Struct, frozen=True):
    epoch: int
    highest: int
    gaps: tuple[tuple[int, int], ...]


class _Rows(msgspec.Struct, frozen=True):
    received: tuple[_Row, ...]


class HubWay:
    """Asks the hub, one question at a time.

    Args:
        settings: Of the gateway.
        partner: The other gateway's name.
        dial: Connects for this process; None connects itself.

    Resource handling: `start` asks for signed time where that judges; `close` ends everything.
    """

    def __init__(self, settings: Settings, *, partner: str, dial: Dial | None = None) -> None:
        self._folder = IdentityFolder(Path(settings.data) / "identity")
        self._partner = partner
        self._dial = dial
        name, self._hospital, self._root_der = self._folder.load()
        self._turn = threading.Lock()
        self._hub: HubConnection | None = None
        self._clock: TrustedClock | None = None
        self._caretaker: Caretaker | None = None
        if settings.hub.clock == "system":
            return
        self._clock = TrustedClock(
            self._folder.path / "time-pair.json",
            boot_id=secrets.token_bytes(16),
            monotonic=time.monotonic_ns,
            build_ns=BUILD_NS,
        )
        self._caretaker = Timekeeper(
            self._folder,
            name=name,
            hospital=self._hospital,
            root_der=self._root_der,
            clock=self._clock,
            monotonic=time.monotonic_ns,
            backoff=Backoff(rng=random.Random()),  # noqa: S311 - jitter
            on_renewed=lambda: None,
            dial=dial,
        )

    def start(self) -> None:
        """Ask for signed time from now on."""
        if self._caretaker is not None:
            self._caretaker.start()

    def lease(self, *, token: int, promoted: dict[str, Any] | None) -> Granted:
        """Ask for the lease, or renew it; errors as `HubConnection.request`."""
        body: dict[str, Any] = {"partner": self._partner, "token": token}
        if promoted is not None:
            body["promoted"] = promoted
        return self._ask("/gateway/pair", body, Granted)

    def received(self, epochs: Sequence[int]) -> Received:
        """Return what the hub has of the other gateway; errors as `HubConnection.request`.

        Args:
            epochs: Boots of the other gateway; with none this only asks whether the hub is there.
        """
        found: dict[int, tuple[int, Sequence[tuple[int, int]]]] = {}
        for at in range(0, max(1, len(epochs)), EPOCHS_MAX):
            body = {"partner": self._partner, "epochs": list(epochs[at : at + EPOCHS_MAX])}
            rows = self._ask("/gateway/pair/received", body, _Rows).received
            found |= {row.epoch: (row.highest, row.gaps) for row in rows}
        return found

    def close(self) -> None:
        """End the connection and the asking for time."""
        if self._caretaker is not None:
            self._caretaker.close()
        if self._hub is not None:
            self._hub.close()

    def _ask(self, path: str, body: object, kind: type[Any]) -> Any:
        with self._turn:
            return self._ask_one(path, body, kind)

    def _ask_one(self, path: str, body: object, kind: type[Any]) -> Any:
        if self._hub is None:
            self._hub = self._connection()
        try:
            answer = self._hub.request(
                "POST", path, body=msgspec.json.encode(body), headers=_HEADERS
            )
            return msgspec.json.decode(answer.body, type=kind)
        except AsepsisError:
            self._hub.close()
            self._hub = None  # The next one takes the certificates of then.
            raise
        except msgspec.DecodeError as error:
            raise InputError("the hub's answer is not understood") from error

    def _connection(self) -> HubConnection:
        identity, clock = self._folder.identity, self._clock
        if clock is None:
            context = tls.client_context(root_der=self._root_der, identity=identity)
        else:
            context = tls.client_context_without_time_check(
                root_der=self._root_der, identity=identity
            )

        def now_ns() -> int:
            if clock is None or not clock.synchronised:
                raise Unavailable("no trusted time yet")
            return clock.now_ns()

        return HubConnection(
            self._hospital.clinical,
            context,
            now_ns=None if clock is None else now_ns,
            timeout_s=TIMEOUT_S,
            dial=self._dial,
        )
