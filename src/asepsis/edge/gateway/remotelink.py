"""A connection to the hub as the keeper sees it: the uplink has it, and the key it needs."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from asepsis.core.errors import AsepsisError, FramingError, InputError, Unavailable
from asepsis.core.wire.message_record import BatchGroup, encode_batch
from asepsis.edge.gateway.handover import Ask, LinkNews, Post, error_of
from asepsis.edge.gateway.hub_answers import Verdict
from asepsis.edge.gateway.hublink import LinkState, age_ms
from asepsis.edge.gateway.spool import Parcel

_STATES: Final = {state.value: state for state in LinkState}


class RemoteLink:
    """One kept connection, at the other end of a channel.

    Args:
        number: Its number.
        say: Says something to the uplink.
        idle: Told when the link can take a batch.
        answered: Told what became of the batch.
        failed: Told why a connection failed or the hub pushed back.
    """

    def __init__(
        self,
        number: int,
        *,
        say: Callable[[Post | Ask], None],
        idle: "Callable[[RemoteLink], None]",
        answered: "Callable[[RemoteLink, Verdict], None]",
        failed: Callable[[AsepsisError], None],
    ) -> None:
        self._number = number
        self._say = say
        self._idle = idle
        self._answered = answered
        self._failed = failed
        self._posted = False
        self.state = LinkState.DOWN
        self.deadline_s = float("inf")
        """The uplink minds the time of its connections itself."""

    async def run(self) -> None:
        """Wait until cancelled: the uplink keeps the connection."""
        await asyncio.Event().wait()

    def post(self, parcels: Sequence[Parcel], *, now_s: float, deadline_s: float) -> None:
        """Have a batch sent; only when idle.

        Args:
            parcels: Its groups, of one epoch, in order.
            now_s: Event loop time.
            deadline_s: Event loop time by which an answer must be here.
        """
        self.state, self._posted = LinkState.BUSY, True
        body = encode_batch(
            BatchGroup(parcel.sequence, age_ms(parcel, now_s), parcel.body) for parcel in parcels
        )
        count = sum(parcel.count for parcel in parcels)
        self._say(Post(self._number, parcels[0].epoch, count, body, deadline_s - now_s))

    def ask(self, *, deadline_s: float) -> None:
        """Have the hub told that this gateway lives; only when idle."""
        self.state = LinkState.BUSY
        self._say(Ask(self._number, deadline_s - asyncio.get_running_loop().time()))

    def abort(self) -> None:
        """Do nothing: the uplink ends what took too long."""

    def news(self, found: LinkNews) -> None:
        """Take what the uplink says of this connection.

        Raises:
            FramingError: It makes no sense.
        """
        state = _STATES.get(found.state)
        if state is None or (found.answers and not self._posted):
            raise FramingError("the uplink says what no connection does")
        self.state = state
        if found.answers:
            self._posted = False
            self._answered(self, self._verdict(found))
        elif found.kind == "idle":
            self._idle(self)
        else:
            self._failed(error_of(found.kind, found.text))

    def _verdict(self, found: LinkNews) -> Verdict:
        if found.kind != "stored":
            return error_of(found.kind, found.text)
        if not all(index >= 0 for _, index, _ in found.refused):
            return Unavailable("the uplink refuses messages that it was not sent")
        return {(sequence, index): InputError(text) for sequence, index, text in found.refused}
