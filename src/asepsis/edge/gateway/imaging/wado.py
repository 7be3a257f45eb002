"""WADO-RS of one instance from the hub, as a stream; and the list of what is to be brought.

Source: DICOM PS3.18 section 10.4 (retrieve transaction, `application/dicom`).
"""

import http.client
import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import msgspec

from asepsis.core.errors import FramingError, Unavailable
from asepsis.edge.uplink.connection import ANSWER_BYTES_MAX, HubConnection, refusal

PIECE_BYTES: Final = 262_144
PATH_CHARS_MAX: Final = 512


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One instance that the hub wants to be brought.

    Attributes:
        seq: Its number at the hub.
        path: Where the hub has it.
        sha256: Of the whole file, hex.
        length: Bytes of the whole file; None where the hub does not say.
    """

    seq: Annotated[int, msgspec.Meta(ge=0)]
    kind: str
    path: Annotated[str, msgspec.Meta(pattern=r"^/dicom-web/[A-Za-z0-9./-]{1,500}$")] = ""
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] = ""
    length: Annotated[int, msgspec.Meta(ge=0)] | None = None


class _Items(msgspec.Struct, frozen=True):
    items: Annotated[tuple[Item, ...], msgspec.Meta(max_length=1_024)]


class RetrieveConnection(HubConnection):
    """Retrieves instances; arguments, attributes and resources as `HubConnection`."""

    def items(self, destination: str, *, after: int, wait_s: int) -> tuple[Item, ...]:
        """Return what is to be brought to a destination, as `HubConnection.request` raises.

        Args:
            destination: Name at the hub.
            after: Highest number that is known here.
            wait_s: How long the hub may wait for something, seconds.

        Raises:
            FramingError: The answer is no list of instances.
        """
        answer = self.request("GET", f"/outbound/{destination}?after={after}&wait={wait_s}")
        try:
            return msgspec.json.decode(answer.body, type=_Items).items
        except msgspec.DecodeError as error:
            raise FramingError("the hub's answer is no list of instances") from error

    def report(self, destination: str, outcomes: Sequence[dict[str, object]]) -> None:
        """Say what became of instances; raises as `HubConnection.request`."""
        body = json.dumps({"outcomes": outcomes}).encode()
        path = f"/outbound/{destination}/outcomes"
        self.request("POST", path, body=body, headers={"Content-Type": "application/json"})

    def retrieve(self, path: str) -> Iterator[bytes]:
        """Return a file of the hub, piece by piece.

        Raises:
            InputError: The hub has it no more, or refuses it for good.
            TrustError: The hub's certificate does not hold, or it refuses this identity.
            TransientError: No connection, a cut one, or the hub asks to come again.
        """
        self.open()
        connection = self._http
        if connection is None:
            raise AssertionError("open, and nothing there")
        whole = False
        try:
            connection.request("GET", path, headers={"Accept": "application/dicom"})
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                body = response.read(ANSWER_BYTES_MAX)
                retry_after = response.getheader("Retry-After")
                raise refusal(response.status, body, retry_after)
            while piece := response.read(PIECE_BYTES):
                yield piece
            if response.length:
                raise Unavailable("the hub's answer was cut")
            whole = True
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"no answer from the hub ({type(error).__name__})") from error
        finally:
            if not whole:
                self.close()
