"""The journal's interface; every adapter passes the same contract tests.

A journal holds one append-only *stream* per lane. A record belongs to an *account*: the sequence
space of one producer and boot epoch, shared by the lanes of one chain (a live lane and its late
batches). Appending is idempotent for ever: what an account received is stored in the transaction
of the record itself. A jump forward is accepted and opens a gap; late records fill gaps in
ascending order, and their hash chain must fit at both edges of the gap.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from asepsis.core.errors import AsepsisError
from asepsis.core.model.lanes import Account, Lane


@dataclass(frozen=True, slots=True)
class Link:
    """What identifies a record, and its place in its producer's hash chain if it has one.

    Attributes:
        digest: SHA-256 of the signed part of this record, or of an unsigned record's bytes; 32
            bytes. Another record under the same sequence is a fork, never a duplicate.
        previous: Digest of the record before it, 32 bytes, zeros for the first of an epoch; None
            for accounts without a chain.
    """

    digest: bytes
    previous: bytes | None = None

    @classmethod
    def of(cls, body: bytes) -> "Link":
        """Return the identity of a record without a chain: the SHA-256 of its bytes."""
        return cls(hashlib.sha256(body).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """One record to be made durable.

    Attributes:
        lane: Stream it goes to.
        account: Sequence space it is counted in.
        producer: Name of the sender, a SAN URI or a service name, at most 120 characters.
        epoch: Boot epoch of the producer, 0 to 2**63 - 1.
        sequence: From 1 within the epoch.
        kind: Short media kind such as "origin-batch", at most 40 characters.
        body: The record, at most the lane's record limit.
        received_at_ns: Hub wall time of arrival, nanoseconds since 1970.
        link: Identity and place in the hash chain; without one, any record under a used sequence
            counts as its duplicate, so only producers inside the hub leave it out.
    """

    lane: Lane
    account: Account
    producer: str
    epoch: int
    sequence: int
    kind: str
    body: bytes
    received_at_ns: int
    link: Link | None = None


class Outcome(Enum):
    """What an append did."""

    STORED = "stored"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a record is durable.

    Attributes:
        outcome: Stored now, or already received before.
        position: Position in the lane's stream, from 1; 0 for a duplicate.
        gap_opened: First and last missing sequence if this record jumped forward, else None.
        gap_closed: Whether this record filled the last hole of its gap.
    """

    outcome: Outcome
    position: int
    gap_opened: tuple[int, int] | None = None
    gap_closed: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read back.

    Attributes:
        position: Position in its lane's stream, ascending, not necessarily dense after expiry.
        append: The record as it was appended, body decrypted.
    """

    position: int
    append: Append


@dataclass(frozen=True, slots=True)
class AccountState:
    """What was received from one producer in one epoch.

    Attributes:
        highest: Highest sequence received, 0 if none.
        gaps: Open gaps as (first, last), ascending, at most the configured number.
    """

    highest: int
    gaps: tuple[tuple[int, int], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """Fill level of one lane.

    Attributes:
        first: Lowest position still held, 0 if empty.
        last: Highest position ever given, 0 if none.
        bytes_held: Payload bytes held, as sealed.
        bytes_budget: Watermark in bytes; at it the lane refuses with BackPressure.
        undelivered: Records that a mandatory consumer has not committed; in the late lane at most
            so many, because positions of failed groups are skipped there.
    """

    first: int
    last: int
    bytes_held: int
    bytes_budget: int
    undelivered: int


class Sink(Protocol):
    """Takes the results of a group in the writer's thread, once per group."""

    def settle(self, results: Sequence[tuple[object, Receipt | AsepsisError]]) -> None:
        """Pass on each result to the one who waits under its token. Must not raise or block."""
        ...


class Journal(Protocol):
    """The durable log as its callers see it; thread-safe.

    Errors that `submit`'s future carries: BackPressure (queue, watermark or disk full: nothing
    stored), ChainBroken (fork), LimitExceeded (record too large, too many open gaps), InputError
    (malformed; a late record that fills no gap in order; a live record of an epoch that is over),
    TransientError (the disk failed: nothing stored), Unavailable (closed).
    """

    def submit(self, record: Append) -> "Future[Receipt]":
        """Queue a record; the future completes once the record is durable or refused."""
        ...

    def submit_to(self, record: Append, sink: Sink, token: object) -> None:
        """Queue a record like `submit`; its result goes to `sink` under `token`.

        One call of the sink brings all its results of a group, so that an event loop wakes once.

        Raises:
            AsepsisError: Refused at once; the sink hears nothing.
        """
        ...

    def listen(self, grown: Callable[[Mapping[Lane, int]], None]) -> None:
        """Call `grown` after each group, in the writer's thread, with the new end of each lane."""
        ...

    def account(self, account: Account, producer: str, epoch: int) -> AccountState:
        """Return what was received on an account; zeros if nothing was."""
        ...

    def abandon(
        self, account: Account, producer: str, epoch: int, *, through: int
    ) -> Sequence[tuple[int, int]]:
        """Give up durably what is missing up to `through`; return the lost ranges, ascending.

        For a source that no longer holds the records of a gap: without this its account would
        wait for ever, and at the limit of open gaps refuse live records. A lost record that comes
        after all is acknowledged as a duplicate. The caller records the loss and tells people.

        Raises:
            NotFound: Nothing was ever received on the account.
        """
        ...

    def read(self, lane: Lane, *, after: int, records_max: int) -> Sequence[Record]:
        """Return durable records with position > `after`, ascending."""
        ...

    def register(self, consumer: str, lanes: Mapping[Lane, bool]) -> None:
        """Create or change a consumer; True marks a lane whose delivery is mandatory."""
        ...

    def pull(self, consumer: str, lane: Lane, *, records_max: int) -> Sequence[Record]:
        """Return the records after the consumer's durable cursor without moving it.

        Raises:
            NotFound: Unknown consumer, or a lane it is not registered for.
        """
        ...

    def commit_to(
        self, consumer: str, lane: Lane, position: int, sink: Sink, token: object
    ) -> None:
        """Queue a `commit`; the sink gets a receipt at position 0 once the cursor is durable.

        Raises:
            AsepsisError: Refused at once; the sink hears nothing.
        """
        ...

    def commit(self, consumer: str, lane: Lane, position: int) -> None:
        """Move the consumer's cursor durably to `position`; a lower value is ignored.

        Raises:
            NotFound: Unknown consumer or lane.
            InputError: Position beyond the end of the stream.
        """
        ...

    def expire(self, now_ns: int) -> Mapping[Lane, int]:
        """Remove what is older than its lane's age and delivered; destroy keys of empty days."""
        ...

    def status(self) -> Mapping[Lane, LaneStatus]:
        """Return the fill level of every lane."""
        ...

    def close(self) -> None:
        """Make what is queued durable and release every resource."""
        ...
