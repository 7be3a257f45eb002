"""Loads one journal for ever and prints a line for each acknowledgement; killed, never stopped.

Run as `python _durability_load.py FOLDER PASSPHRASE_FILE SYNCHRONOUS` on the machine, or inside the
guest whose power is cut. Every record follows from its name, so the checker knows what it must be.
"""

import hashlib
import queue
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from asepsis.core.errors import AsepsisError, TransientError
from asepsis.core.journal import schema
from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.ports import Append, Journal, Link, Receipt
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.trust.sealing import kek_from_passphrase
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.trust.sealing_libcrypto import LibcryptoAead

BEDS = 24
BODY_BYTES = {Account.ORIGIN: 1000, Account.WAVEFORM: 3700}
SKIP_ONE_IN = 20
"""One record in so many is left out first and sent late."""


def open_journal(folder: Path, passphrase_file: Path, synchronous: str = "FULL") -> SqliteJournal:
    """Open the journal under test; OFF is the negative control."""
    schema.WRITER_PRAGMAS = (*schema.WRITER_PRAGMAS, f"PRAGMA synchronous={synchronous}")
    kek = kek_from_passphrase(passphrase_file, salt_file=folder / "salt")
    return SqliteJournal(
        folder / "journal",
        cipher=DayKeys(folder / "keys", kek=kek, aead=LibcryptoAead()),
        lanes=dict.fromkeys(Lane, LaneBudget(bytes_max=1 << 32, age_s=86_400)),
        clock=time.time_ns,
        limits=JournalLimits(reserve_bytes=0, linger_s=0.002, wal_bytes_max=1 << 20),
    )


def body_of(account: Account, producer: str, sequence: int) -> bytes:
    """Return the body that a record must have."""
    seed = hashlib.sha256(f"{account} {producer} {sequence}".encode()).digest()
    size = BODY_BYTES[account]
    return (seed * (size // len(seed) + 1))[:size]


def record_of(lane: Lane, account: Account, producer: str, sequence: int) -> Append:
    """Return the record of a place in a chain."""
    own, before = (
        hashlib.sha256(f"{producer} {n}".encode()).digest() if n else bytes(32)
        for n in (sequence, sequence - 1)
    )
    return Append(
        lane=lane,
        account=account,
        producer=producer,
        epoch=1,
        sequence=sequence,
        kind="load",
        body=body_of(account, producer, sequence),
        received_at_ns=time.time_ns(),
        link=Link(own, before) if account is Account.ORIGIN else None,
    )


class Bed:
    """One sender on one account: goes on where the journal says, and fills its gaps late."""

    def __init__(self, journal: Journal, account: Account, producer: str) -> None:
        self.account, self.producer = account, producer
        state = journal.account(account, producer, 1)
        self.highest = state.highest
        self.missing = [n for first, last in state.gaps for n in range(first, last + 1)]

    def records(self) -> Iterator[Append]:
        """Yield the records to send, one after the other, for ever."""
        live = Lane.WAVEFORM if self.account is Account.WAVEFORM else Lane.VITALS
        while True:
            if self.missing:
                yield record_of(Lane.LATE, self.account, self.producer, self.missing.pop(0))
            self.highest += 1
            if random.randrange(SKIP_ONE_IN) == 0:
                self.missing.append(self.highest)
                continue
            alert = live is Lane.VITALS and random.randrange(10) == 0
            lane = Lane.ALERT if alert else live
            yield record_of(lane, self.account, self.producer, self.highest)


class Acknowledged:
    """Takes results from the writers."""

    def __init__(self) -> None:
        self.groups: queue.SimpleQueue[Sequence[tuple[object, Receipt | AsepsisError]]] = (
            queue.SimpleQueue()
        )

    def settle(self, results: Sequence[tuple[object, Receipt | AsepsisError]]) -> None:
        """Pass a group on."""
        self.groups.put(results)


def main() -> None:
    """Load the journal until somebody kills this process."""
    folder, passphrase_file, synchronous = sys.argv[1:4]
    journal = open_journal(Path(folder), Path(passphrase_file), synchronous)
    sink = Acknowledged()
    beds = [
        Bed(journal, account, f"bed-{n}")
        for n in range(BEDS)
        for account in (Account.ORIGIN, Account.WAVEFORM)
    ]
    for bed in beds:
        source = bed.records()
        record = next(source)
        journal.submit_to(record, sink, (source, record))
    while True:
        lines: list[str] = []
        for token, result in sink.groups.get():
            source, record = token  # type: ignore[misc]
            if isinstance(result, TransientError):
                raise result
            if isinstance(result, AsepsisError):
                raise SystemExit(f"refused {record.producer} {record.sequence}: {result}")
            lines.append(
                f"ack {record.account} {record.producer} {record.epoch} {record.sequence}\n"
            )
            record = next(source)
            journal.submit_to(record, sink, (source, record))
        # An acknowledgement counts once it has left this process.
        sys.stdout.write("".join(lines))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
