"""What the exchange needs from outside; `hub/app` fills these in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from asepsis.core.journal.ports import AccountState, Append, LaneStatus, Receipt, Record
from asepsis.core.model.identity import Assurance
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import Observation
from asepsis.core.wire.frames import WaveformFrame
from asepsis.core.wire.hl7 import Message


class ExchangeJournal(Protocol):
    """The journal as the lanes use it, on the event loop."""

    async def append(self, record: Append) -> Receipt:
        """Store a record; returns once it is durable."""
        ...

    async def account(self, account: Account, producer: str, epoch: int) -> AccountState:
        """Return what was received on an account."""
        ...

    async def read(self, lane: Lane, *, after: int, records_max: int) -> Sequence[Record]:
        """Return durable records after a position, ascending."""
        ...

    async def register(self, consumer: str, lanes: Mapping[Lane, bool]) -> None:
        """Create or change a consumer."""
        ...

    async def pull(self, consumer: str, lane: Lane, *, records_max: int) -> Sequence[Record]:
        """Return the records after a consumer's cursor."""
        ...

    async def commit(self, consumer: str, lane: Lane, position: int) -> None:
        """Move a consumer's cursor."""
        ...

    async def status(self) -> Mapping[Lane, LaneStatus]:
        """Return the fill level of every lane."""
        ...


class LaneTail(Protocol):
    """Follows the end of one lane."""

    @property
    def position(self) -> int:
        """Return the lane's end now."""
        ...

    async def beyond(self, position: int) -> int:
        """Wait until the lane has grown beyond a position and return its end."""
        ...


class EventJournal(ExchangeJournal, Protocol):
    """The journal as a follower of the event lane uses it."""

    def subscribe(self, lane: Lane) -> LaneTail:
        """Return the lane's tail."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What the registry knows of a device and the lanes must know.

    Attributes:
        name: The device.
        lease_ms: Its model's lease; None for the default.
        has_origin_key: Whether an origin key is registered: then only signed data counts.
        origin_required: Whether it may send nothing unsigned even before its key is registered.
        period_s: For a device that others speak for, how often it reports; 0 if nobody said.
    """

    name: str
    lease_ms: int | None
    has_origin_key: bool
    origin_required: bool
    period_s: int = 0

    @property
    def signs(self) -> bool:
        """Whether unsigned data of this device is refused or held against its signed twin."""
        return self.has_origin_key or self.origin_required


class Directory(Protocol):
    """The registry as the lanes use it: in memory, never blocking."""

    def device(self, name: str) -> DeviceFacts:
        """Return the facts of an admitted device.

        Raises:
            NotFound: Unknown or revoked.
        """
        ...

    def origin_key(self, name: str, key_id: bytes) -> bytes:
        """Return the SPKI DER of a registered origin key.

        Raises:
            TrustError: No such key of that device.
        """
        ...

    def observed(self, gateway: str, device: str) -> bool:
        """Whether the gateway has network evidence of a device of its declared list."""
        ...

    def check_source(self, gateway: str, message_type: str) -> None:
        """Let a message type such as `ADT^A40` pass.

        Raises:
            NotPermitted: Only a named source brings it, and this gateway is none.
        """
        ...

    def check_type(self, gateway: str, device: str, what: str) -> None:
        """Let what a gateway brings of a device pass: a message type, or a lane's word.

        Raises:
            NotPermitted: The delegation does not name it.
        """
        ...


class LiveNumerics(Protocol):
    """An accepted live batch or bundle whose observations are built when somebody looks."""

    @property
    def device(self) -> str:
        """Whose values they are."""
        ...

    @property
    def received_at_ns(self) -> int:
        """Wall time of arrival, nanoseconds since 1970."""
        ...

    def observations(self) -> Sequence[Observation]:
        """Build the observations; may cost a millisecond."""
        ...


class ArrivalJudge(Protocol):
    """Compares a message with what its devices declare; in memory, never raising."""

    def names_another(self, device: str, message: Message) -> bool:
        """Whether it names another patient than the one the device is confirmed for now."""
        ...

    def refusal(self, device: str, message: Message) -> str:
        """Return why it is refused, "" if it is not: identity, framing and size alone."""
        ...


class LiveFeed(Protocol):
    """Where live data goes; must return at once, whoever watches."""

    def numerics(self, batch: LiveNumerics) -> None:
        """Offer an accepted live batch."""
        ...

    def waveforms(self, device: str, frames: Sequence[WaveformFrame], assurance: Assurance) -> None:
        """Offer frames whose origin is proven as far as `assurance` says."""
        ...


class Audit(Protocol):
    """The one audit log as the lanes use it."""

    async def record(self, *, actor: str, action: str, subject: str, outcome: str) -> None:
        """Write one refused attempt; `outcome` is the code of the error."""
        ...

    async def report(self, *, device: str, action: str, detail: Mapping[str, Any]) -> None:
        """Write what a device reported of itself; durable when it returns."""
        ...
