"""The association with the declared destination of a C-MOVE; what it accepts is what is asked for.

Source: DICOM PS3.4 section C.4.2.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from asepsis.core.errors import Unavailable
from asepsis.core.wire.relay import Begun
from asepsis.edge.gateway.imaging.dimse import Status
from asepsis.edge.gateway.imaging.requestor import Pair, Remote, Requestor, associate


@dataclass(frozen=True, slots=True)
class MoveDestination:
    """Where images of a C-MOVE may go.

    Attributes:
        remote: The provider.
        pairs: What it is offered.
    """

    remote: Remote
    pairs: tuple[Pair, ...]


_ABSENT: Final = Status.SOP_CLASS_NOT_SUPPORTED


class Movement:
    """Stores what a C-MOVE brings; a context manager that opens and releases the association.

    Args:
        destination: Where to.
        originator: AE title and message id of the C-MOVE.
    """

    def __init__(self, destination: MoveDestination, *, originator: tuple[str, int]) -> None:
        self._destination = destination
        self._originator = originator
        self._user: Requestor | None = None

    async def __aenter__(self) -> Self:
        """Open the association.

        Raises:
            AsepsisError: As `associate`.
        """
        self._user = await associate(self._destination.remote, self._destination.pairs)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release it, or abort what did not go to its end."""
        user, self._user = self._user, None
        if user is None:
            return
        await (user.release() if kind is None else user.abort())

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """What the destination takes."""
        return tuple(self._user.accepted) if self._user is not None else ()

    async def store(self, begun: Begun, pieces: AsyncIterator[bytes]) -> int:
        """Store one instance and return its status.

        Raises:
            AsepsisError: The instance did not come whole, or the destination is gone.
            TimeoutError: It is too slow.
        """
        if self._user is None:
            raise Unavailable("no association with the destination")
        pair = (begun.sop_class, begun.transfer_syntax)
        if pair not in self._user.accepted:
            async for _ in pieces:
                continue
            return _ABSENT
        status, _ = await self._user.store(
            pair, begun.sop_instance, pieces, originator=self._originator
        )
        return status
