"""Every bound of the journal, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.journal.ports import Append
from asepsis.core.journal.rules import GAPS_MAX
from asepsis.core.model.lanes import Account, Lane

MIB: Final = 1 << 20
PRODUCER_CHARS_MAX: Final = 120
KIND_CHARS_MAX: Final = 40
INTEGER_MAX: Final = 2**63 - 1
"""Largest epoch, sequence and time: what a column of SQLite holds."""
RETRY_QUEUE_S: Final = 1
RETRY_WATERMARK_S: Final = 30
RETRY_DISK_S: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneBudget:
    """What one lane may hold.

    Attributes:
        bytes_max: Watermark, sealed payload bytes; at it the lane refuses with BackPressure. The
            late lane may hold so much in each of its two files.
        age_s: Seconds after which a delivered record expires.
        record_bytes_max: Largest body.
    """

    bytes_max: int
    age_s: int
    record_bytes_max: int = MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLimits:
    """Bounds on work in progress; the defaults suit a hub of 1,000 beds.

    Attributes:
        group_records_max: Records per commit; an alert waits for at most one such group.
        group_bytes_max: Payload bytes per commit.
        queue_records_max: Records that may wait per lane.
        queue_bytes_max: Payload bytes that may wait per lane.
        linger_s: How long a group waits for company, in seconds; a sender that is alone does not
            wait.
        hurried: Lanes whose records wait for no company: an alert is urgent, a record of messages
            is a group already, whose gateway sends the next one after its receipt, and a modality
            sends its next image after the receipt of the one before.
        gaps_max: Open gaps per account.
        reserve_bytes: Disk space kept back so that alerts go on when the disk is full; 0 for none.
        read_records_max: Most records one read returns.
        read_bytes_max: Payload bytes after which a read returns early.
        accounts_cached_max: Accounts kept in memory per file.
        consumers_max: Registered consumers.
        wal_bytes_max: About how long the write-ahead log grows before it is copied.
    """

    group_records_max: int = 128
    group_bytes_max: int = MIB
    queue_records_max: int = 4096
    queue_bytes_max: int = 32 * MIB
    linger_s: float = 0.01
    hurried: frozenset[Lane] = frozenset({Lane.ALERT, Lane.MESSAGE, Lane.IMAGE_INDEX})
    gaps_max: int = GAPS_MAX
    reserve_bytes: int = 16 * MIB
    read_records_max: int = 10_000
    read_bytes_max: int = 16 * MIB
    accounts_cached_max: int = 20_000
    consumers_max: int = 256
    wal_bytes_max: int = 32 * MIB


def check_record(record: Append, lanes: Mapping[Lane, LaneBudget]) -> None:
    """Refuse at the door what could not be stored whatever the state.

    Raises:
        InputError: Lane not kept, wrong account for it, or a field outside its range.
        LimitExceeded: Body over the lane's record limit.
    """
    budget = lanes.get(record.lane)
    if budget is None:
        raise InputError(f"this journal keeps no lane {record.lane.value}")
    if len(record.body) > budget.record_bytes_max:
        raise LimitExceeded(
            f"a record of lane {record.lane.value} has at most {budget.record_bytes_max} bytes"
        )
    _check_names(record)
    _check_numbers(record)
    waveform_account = record.account is Account.WAVEFORM
    if waveform_account != (record.lane is Lane.WAVEFORM) and record.lane is not Lane.LATE:
        raise InputError(f"account {record.account.value} has no place in lane {record.lane.value}")


def _check_names(record: Append) -> None:
    if not (0 < len(record.producer) <= PRODUCER_CHARS_MAX and record.producer.isprintable()):
        raise InputError(f"a producer has 1 to {PRODUCER_CHARS_MAX} printable characters")
    if not (0 < len(record.kind) <= KIND_CHARS_MAX and record.kind.isprintable()):
        raise InputError(f"a kind has 1 to {KIND_CHARS_MAX} printable characters")


def _check_numbers(record: Append) -> None:
    if not 1 <= record.sequence <= INTEGER_MAX:
        raise InputError("sequences run from 1 to 2**63 - 1")
    if not 0 <= record.epoch <= INTEGER_MAX:
        raise InputError("epochs run from 0 to 2**63 - 1")
    if not 0 <= record.received_at_ns <= INTEGER_MAX:
        raise InputError("times run from 0 to 2**63 - 1 nanoseconds")
    link = record.link
    if link is not None and {len(link.digest), len(link.previous or link.digest)} != {32}:
        raise InputError("digests have 32 bytes")
