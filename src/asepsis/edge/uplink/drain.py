"""Drains the spool to the hub's late lane, in ascending order (REQ-OBS-009)."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from asepsis.core.errors import (
    AsepsisError,
    ChainBroken,
    Conflict,
    InputError,
    NotPermitted,
    SignatureInvalid,
    TransientError,
    TrustError,
)
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import HubConnection
from asepsis.edge.uplink.lanes import QUEUE_RECORDS_MAX, REFUSED_WAIT_S, Report
from asepsis.edge.uplink.outgoing import Fate, InFlight, Outgoing
from asepsis.edge.uplink.spool import Spool, Spooled

IDLE_S: Final = 0.2
"""How often an idle drain looks into the spool, seconds."""


DRAIN_RECORDS: Final = 64
"""Spooled records sent before the spool is told."""


LOOK_AHEAD: Final = QUEUE_RECORDS_MAX + DRAIN_RECORDS
"""Records looked at behind these for lower numbers: lanes share an account and spool at their own
pace, and the hub takes late records of a gap in ascending order only."""


class Drain(threading.Thread):
    """Sends the spool to the hub's late lane, oldest first, while the hub is reachable.

    Args:
        spool: The spool.
        connect: Opens a connection object.
        in_flight: Shared with the live lanes.
        reachable: Whether a live lane got through lately.
        read_header: Reads media type and body into an `Outgoing`.
        backoff: Waiting times.
        report: Told the fate of every record, from this thread.
        instead: What to send after a refusal, in order, of each group the first that is taken: the
            hub takes the records of a gap in ascending order, so that a number without any keeps
            out what follows.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        connect: Callable[[], HubConnection],
        in_flight: InFlight,
        reachable: Callable[[], bool],
        read_header: Callable[[Spooled], Outgoing],
        backoff: Backoff,
        report: Report,
        instead: Callable[[Outgoing], Sequence[Sequence[Outgoing]]] = lambda _: (),
    ) -> None:
        super().__init__(name="lane-late", daemon=True)
        self._instead = instead
        self._spool = spool
        self._connect = connect
        self._in_flight = in_flight
        self._reachable = reachable
        self._read_header = read_header
        self._backoff = backoff
        self._report = report
        self._closing = threading.Event()
        self._ahead: set[int] = set()
        self.empty = threading.Event()

    def close(self) -> None:
        """End the thread; what is not sent stays in the spool."""
        self._closing.set()

    def run(self) -> None:
        """Drain until closed."""
        connection = self._connect()
        while not self._closing.is_set():
            # Held first, then spooled: what moves over in between is seen twice, never not at all.
            held = self._in_flight.oldest()
            waiting = self._spool.peek(DRAIN_RECORDS + LOOK_AHEAD)
            if not waiting:
                self.empty.set()
            else:
                self.empty.clear()
            if not waiting or not self._reachable():
                self._closing.wait(IDLE_S)
                continue
            try:
                self._send_next(connection, waiting, held)
                self._backoff.succeeded()
            except AsepsisError as error:
                connection.close()
                connection = self._connect()
                refused = isinstance(error, TrustError)
                self._closing.wait(REFUSED_WAIT_S if refused else self._backoff.failed())
        connection.close()

    def _send_next(
        self,
        connection: HubConnection,
        waiting: Sequence[Spooled],
        held: Mapping[str, tuple[int, int]],
    ) -> None:
        """Send the oldest records, and before them what has a lower number and was spooled later.

        Raises:
            TransientError: No contact, or a live lane still holds an older record of the account.
            TrustError: The hub refuses this identity.
        """
        last = waiting[:DRAIN_RECORDS][-1].position
        records = [
            (spooled.position, self._read_header(spooled))
            for spooled in waiting
            if spooled.position not in self._ahead
        ]
        upto: dict[str, tuple[int, int]] = {}
        for position, record in records:
            if position <= last:
                number = (record.epoch, record.sequence)
                upto[record.account] = max(upto.get(record.account, number), number)
        chosen = [
            (position, record)
            for position, record in records
            if (record.epoch, record.sequence) <= upto.get(record.account, (-1, -1))
        ]
        for media, number in held.items():
            if number < upto.get(media, number):
                raise TransientError("an older record is still on a live lane")
        self._send_all(connection, [record for _, record in chosen])
        self._spool.done(last)
        # Already sent, but the spool forgets from its beginning only.
        self._ahead |= {position for position, _ in chosen}
        self._ahead = {position for position in self._ahead if position > last}

    def _send_all(self, connection: HubConnection, records: Sequence[Outgoing]) -> None:
        for record in sorted(records, key=lambda r: (r.account, r.epoch, r.sequence)):
            try:
                connection.request(
                    "POST",
                    "/late",
                    body=record.body,
                    headers=record.headers,
                )
            except Conflict as error:
                raise TransientError("the hub expects an older record first") from error
            except (InputError, ChainBroken, SignatureInvalid, NotPermitted) as error:
                if isinstance(error, NotPermitted) and not record.source:
                    raise
                # Final for this content; the hub has audited it. Keeping it would block the lane.
                self._report(record, Fate.REFUSED)
                self._put_instead(connection, record)
                continue
            self._report(record, Fate.ACKNOWLEDGED_LATE)

    def _put_instead(self, connection: HubConnection, refused: Outgoing) -> None:
        for group in self._instead(refused):
            for record in group:
                try:
                    connection.request("POST", "/late", body=record.body, headers=record.headers)
                except (InputError, NotPermitted):
                    continue
                break
