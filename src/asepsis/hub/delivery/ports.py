"""What delivery needs from outside; `hub/app` fills these in."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

from asepsis.core.journal.ports import LaneStatus, Record
from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.lanes import Lane
from asepsis.core.model.observation import Observation


class LaneTail(Protocol):
    """Follows the end of one lane."""

    @property
    def position(self) -> int:
        """Return the lane's end now."""
        ...

    async def beyond(self, position: int) -> int:
        """Wait until the lane has grown beyond a position and return its end."""
        ...


class DeliveryJournal(Protocol):
    """The journal as delivery uses it, on the event loop."""

    async def read(self, lane: Lane, *, after: int, records_max: int) -> Sequence[Record]:
        """Return durable records after a position, ascending."""
        ...

    async def pull(self, consumer: str, lane: Lane, *, records_max: int) -> Sequence[Record]:
        """Return the records after a consumer's durable cursor without moving it."""
        ...

    async def commit(self, consumer: str, lane: Lane, position: int) -> None:
        """Move a consumer's cursor durably."""
        ...

    async def status(self) -> Mapping[Lane, LaneStatus]:
        """Return the fill level of every lane."""
        ...

    def subscribe(self, lane: Lane) -> LaneTail:
        """Return the lane's tail."""
        ...


class LineJournal(DeliveryJournal, Protocol):
    """The journal as the lines of destinations use it."""

    async def register(self, consumer: str, lanes: Mapping[Lane, bool]) -> None:
        """Create or change a consumer; without lanes it has no cursor any more."""
        ...


class LiveNumerics(Protocol):
    """An accepted live batch whose observations are built when somebody looks."""

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


class HeldImage(Protocol):
    """One image that the hub holds, open to be read."""

    @property
    def study(self) -> str:
        """Study Instance UID."""
        ...

    @property
    def series(self) -> str:
        """Series Instance UID."""
        ...

    @property
    def instance(self) -> str:
        """SOP Instance UID."""
        ...

    @property
    def sop_class(self) -> str:
        """SOP Class UID."""
        ...

    @property
    def length(self) -> int:
        """Bytes of the whole file."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """Give the whole file, from its start, in pieces of at most a megabyte.

        Raises:
            SignatureInvalid: It was changed.
            TransientError: The disk failed.
        """
        ...

    def close(self) -> None:
        """Close it."""
        ...


class HeldImages(Protocol):
    """What the hub holds."""

    async def open(self, instance: str) -> HeldImage:
        """Open one image.

        Args:
            instance: SOP Instance UID.

        Raises:
            NotFound: The hub does not hold it.
            SignatureInvalid: Its file was changed.
            TransientError: State or disk do not answer.
        """
        ...


AlarmReader = Callable[[Record], Sequence[AlarmNotice]]
"""Returns the alarm events that a record of the alert lane holds, perhaps none."""
