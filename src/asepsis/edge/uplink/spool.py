"""What could not be acknowledged in time waits here, durably, and drains in order as late data.

The spool is the journal of `core` with a numbering of its own: a record's producer, epoch,
sequence, signature and previous hash stand in its bytes and stay as they were.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import TransientError
from asepsis.core.journal.ports import Append, Journal
from asepsis.core.model.lanes import Account, Lane

CONSUMER: Final = "uplink"
PRODUCER: Final = "spool"
EPOCH: Final = 0
DISK_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Spooled:
    """One record that waits.

    Attributes:
        position: Place in the spool, ascending.
        media_type: Media type to send it with.
        body: The bytes as they would have gone live.
    """

    position: int
    media_type: str
    body: bytes


class Spool:
    """Durable first-in, first-out store of unsent records.

    Args:
        journal: An open journal that only this spool uses.
        now_ns: Wall time for the age of records, nanoseconds since 1970.

    Resource handling: the caller closes the journal.
    """

    def __init__(self, journal: Journal, *, now_ns: Callable[[], int]) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._now_ns = now_ns
        journal.register(CONSUMER, {Lane.LATE: True})
        self._next = journal.account(Account.EVENT, PRODUCER, EPOCH).highest + 1

    def put(self, media_type: str, body: bytes) -> None:
        """Make one record durable.

        Raises:
            BackPressure: The spool or its disk is full. The oldest data is kept, because it is
                next in the chain of signatures.
            TransientError: The disk does not answer in time.
        """
        with self._lock:
            record = Append(
                lane=Lane.LATE,
                account=Account.EVENT,
                producer=PRODUCER,
                epoch=EPOCH,
                sequence=self._next,
                kind=media_type,
                body=body,
                received_at_ns=self._now_ns(),
            )
            try:
                self._journal.submit(record).result(DISK_TIMEOUT_S)
            except TimeoutError as error:
                raise TransientError("the spool's disk does not answer") from error
            self._next += 1

    def peek(self, records_max: int = 32) -> Sequence[Spooled]:
        """Return the oldest records that are not yet acknowledged by the hub."""
        records = self._journal.pull(CONSUMER, Lane.LATE, records_max=records_max)
        return [Spooled(r.position, r.append.kind, r.append.body) for r in records]

    def done(self, position: int) -> None:
        """Forget everything up to `position`: the hub has it, and its room is free again.

        Raises:
            TransientError: The disk refuses; what is committed is not sent again.
        """
        self._journal.commit(CONSUMER, Lane.LATE, position)
        # One nanosecond on: what arrived at this very moment counts as older than now.
        self._journal.expire(self._now_ns() + 1)
