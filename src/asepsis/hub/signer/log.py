"""The signer's append-only log: one JSON line a record, chained by SHA-256, synced before answers.

A crash can leave a torn last line; it was never answered for, so it is cut off at the next start.
Anything else that does not fit the chain stops the start: a log that somebody edited must not
decide whom a name belongs to.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from asepsis.core.errors import ChainBroken, ConfigError, Unavailable
from asepsis.hub.signer.entries import AnyEntry

LINE_BYTES_MAX: Final = 1_048_576
LOCK_WAIT_S: Final = 5.0
GENESIS: Final = "0" * 64


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line.

    Attributes:
        n: 1, 2, 3...
        at_ns: When, nanoseconds since 1970; never below that of the line before.
        previous: Hex SHA-256 of the line before, zeros for the first.
        entry: What happened.
    """

    n: int
    at_ns: int
    previous: str
    entry: AnyEntry


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Record)


class SignerLog:
    """The open log. One process at a time: the file is locked.

    Args:
        path: The file; made if it does not exist, readable by its owner only.
        owner: (uid, gid) to own the file if this process is root before it becomes that user.
        lock_wait_s: How long to wait for a signer that is just ending, in seconds.

    Resource handling:
        Holds one descriptor and its lock until `close`.

    Raises:
        ConfigError: Another signer holds the log.
    """

    def __init__(
        self,
        path: Path,
        *,
        owner: tuple[int, int] | None = None,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"signer log {path} does not open") from error
        if owner is not None and os.geteuid() == 0:
            os.fchown(self._fd, *owner)
        _lock(self._fd, wait_s=lock_wait_s)
        self._head = GENESIS
        self._count = 0
        self._size = 0
        self._at_ns = 0

    @property
    def count(self) -> int:
        """How many records the log has."""
        return self._count

    @property
    def at_ns(self) -> int:
        """Time of the newest record, nanoseconds since 1970; 0 if there is none."""
        return self._at_ns

    def replay(self) -> Iterator[Record]:
        """Yield all records, oldest first, and cut a torn last line off.

        Raises:
            ChainBroken: A line that does not fit: somebody changed the log.
        """
        with self._path.open("rb") as lines:
            for line in iter(lambda: lines.readline(LINE_BYTES_MAX), b""):
                if not line.endswith(b"\n"):
                    break
                yield self._accept(line)
        if os.fstat(self._fd).st_size != self._size:
            os.ftruncate(self._fd, self._size)
            os.fsync(self._fd)

    def append(self, entries: Sequence[AnyEntry], *, at_ns: int) -> tuple[Record, ...]:
        """Write entries as one durable group; returns only after fsync.

        Raises:
            Unavailable: The disk did not take them; nothing was written.
            SystemExit: fsync failed, so what the disk holds is unknown; the next start reads it.
        """
        records: list[Record] = []
        block = bytearray()
        head = self._head
        for n, entry in enumerate(entries, self._count + 1):
            record = Record(n=n, at_ns=max(at_ns, self._at_ns), previous=head, entry=entry)
            line = _ENCODER.encode(record) + b"\n"
            head = hashlib.sha256(line).hexdigest()
            block += line
            records.append(record)
        self._write(bytes(block))
        self._head, self._count = head, self._count + len(records)
        self._size += len(block)
        self._at_ns = max(at_ns, self._at_ns)
        return tuple(records)

    def close(self) -> None:
        """Release the file and its lock."""
        os.close(self._fd)

    def _write(self, block: bytes) -> None:
        try:
            written = os.pwrite(self._fd, block, self._size)
            if written != len(block):
                raise OSError("short write")  # noqa: TRY301 - joins the disk's own refusals
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise Unavailable("the signer's disk takes no more", hint="free space") from error
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            # After a failed sync the kernel may have dropped the pages: never retry, start anew.
            raise SystemExit("signer log could not be synced") from error

    def _accept(self, line: bytes) -> Record:
        try:
            record = _DECODER.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ChainBroken(f"signer log line {self._count + 1} is not a record") from error
        expected = (self._count + 1, self._head)
        if (record.n, record.previous) != expected or record.at_ns < self._at_ns:
            raise ChainBroken(f"signer log breaks at record {self._count + 1}")
        self._head = hashlib.sha256(line).hexdigest()
        self._count, self._at_ns = record.n, record.at_ns
        self._size += len(line)
        return record


def _lock(fd: int, *, wait_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
    """Take the lock; a signer that is just ending may still hold it for a moment."""
    give_up_s = now_s() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if now_s() >= give_up_s:
                os.close(fd)
                raise ConfigError("another signer holds this data folder") from error
            time.sleep(0.05)
        else:
            return
