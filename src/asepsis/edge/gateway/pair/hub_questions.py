"""What a gateway of a pair asks the hub, one question at a time."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from asepsis.core.errors import AsepsisError, InputError
from asepsis.edge.gateway.families import renews
from asepsis.edge.gateway.hub_way import HubWay
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.uplink.connection import Dial, HubConnection
from asepsis.edge.uplink.folder import IdentityFolder

TIMEOUT_S: Final = 1.5
EPOCHS_MAX: Final = 256
Received = Mapping[int, tuple[int, Sequence[tuple[int, int]]]]
_HEADERS: Final = {"Content-Type": "application/json"}


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


class HubQuestions:
    """Asks the hub, one question at a time.

    Args:
        settings: Of the gateway.
        partner: The other gateway's name.
        dial: Connects for this process; None connects itself.

    Resource handling: `start` asks for signed time where that judges; `close` ends everything.
    """

    def __init__(self, settings: Settings, *, partner: str, dial: Dial | None = None) -> None:
        folder = IdentityFolder(Path(settings.data) / "identity")
        self._way = HubWay(settings, folder, dial, name="pair", renews=renews(settings, "pair"))
        self._partner = partner
        self._turn = threading.Lock()
        self._hub: HubConnection | None = None

    def start(self) -> None:
        """Ask for signed time from now on."""
        self._way.start()

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
        self._way.close()
        if self._hub is not None:
            self._hub.close()

    def _ask(self, path: str, body: object, kind: type[Any]) -> Any:
        with self._turn:
            return self._ask_one(path, body, kind)

    def _ask_one(self, path: str, body: object, kind: type[Any]) -> Any:
        if self._hub is None:
            self._hub = self._way.connect(HubConnection, answer_s=TIMEOUT_S)
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
