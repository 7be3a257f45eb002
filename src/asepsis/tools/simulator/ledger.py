"""Ledgers of senders and receivers, kept by separate processes and compared afterwards.

A ledger is a text file with one line per record: `mark media producer epoch sequence sha256`.
`made` means the device produced it, `acked` that the hub acknowledged it, `got` that a receiver
pulled it. Loss and duplication are differences between files, never anybody's counters.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TextIO

MADE: Final = "made"
ACKED: Final = "acked"
ACKED_LATE: Final = "acked-late"
GOT: Final = "got"
REFUSED: Final = "refused"
MESSAGE: Final = "message"


class Key(NamedTuple):
    """Which record: media kind, producer, epoch, sequence and SHA-256 of its bytes."""

    kind: str
    producer: str
    epoch: int
    sequence: int
    sha256: str


class LedgerWriter:
    """Appends lines; each is flushed, so that a killed process leaves what it knew.

    Args:
        path: File to append to.

    Resource handling: holds the file open; `close` releases it.
    """

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", encoding="ascii", buffering=1)

    def write(self, mark: str, key: Key) -> None:
        """Append one line."""
        self._file.write(" ".join((mark, *map(str, key))) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def key_of(kind: str, producer: str, epoch: int, sequence: int, body: bytes) -> Key:
    """Return the key of a record with these bytes."""
    return Key(kind, producer, epoch, sequence, hashlib.sha256(body).hexdigest())


def message_key(body: bytes) -> Key:
    """Return the key of an HL7 v2 message: its bytes alone, for its sender knows no number of it.

    The same bytes again are the same message (docs/reference/gateway.md), so they are one key.
    """
    return key_of(MESSAGE, "-", 0, 0, body)


def read(paths: Iterable[Path], *marks: str) -> Counter[Key]:
    """Return how often each record stands in the ledgers under one of `marks`.

    A last line that a killed process left unfinished is not counted.
    """
    found: Counter[Key] = Counter()
    for path in paths:
        for line in path.read_text("ascii").splitlines(keepends=True):
            fields = line.split()
            if line.endswith("\n") and len(fields) == 6 and fields[0] in marks:
                _, kind, producer, epoch, sequence, sha256 = fields
                found[Key(kind, producer, int(epoch), int(sequence), sha256)] += 1
    return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of what was acknowledged.

    Attributes:
        made: Records that devices produced.
        acknowledged: Different records that the hub acknowledged.
        received: Different records that receivers pulled.
        lost: Acknowledged records that no receiver got.
        duplicated: Surplus receipts of records got more than once.
        foreign: Received records that no device ever made.
    """

    made: int
    acknowledged: int
    received: int
    lost: tuple[Key, ...]
    duplicated: int
    foreign: int


def compare(senders: Iterable[Path], receivers: Iterable[Path]) -> Comparison:
    """Compare the ledgers of all senders with those of all receivers."""
    sending = list(senders)
    made = read(sending, MADE)
    acknowledged = read(sending, ACKED, ACKED_LATE)
    received = read(receivers, GOT)
    return Comparison(
        made=len(made),
        acknowledged=len(acknowledged),
        received=len(received),
        lost=tuple(sorted(acknowledged.keys() - received.keys())),
        duplicated=sum(received.values()) - len(received),
        foreign=len(received.keys() - made.keys()),
    )
