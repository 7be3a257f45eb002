"""Which messages were taken already, by keyed hash: bounded per peer in number and age, durable.

A duplicate is the same bytes (hence the same MSH-3, MSH-4 and MSH-10); the same id over other
bytes is a new message, because some devices begin to count at 1 again every day.

Durability costs no write per message: what is in the spool is read from there after a crash, and
`save` makes the rest durable before the spool may let go of it.
"""

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, TransientError
from asepsis.core.trust.sealing import sync_folder, write_durably

MAGIC: Final = b"AGM1\0\0\0\0"
HASH_BYTES: Final = 16
_ENTRY: Final = struct.Struct(">8s16s16sQ")
_PIECE_BYTES: Final = 2_047
"""Python gives up its lock to hash more at once; getting it back costs more than the hash does."""
_IN_PIECES_MAX: Final = 65_536
REWRITE_PARTS: Final = 2
"""The file is written anew once it holds so many times what is remembered."""


class Known(Enum):
    """What the memory says of a message."""

    NEW = "new"
    DUPLICATE = "duplicate"
    ID_REUSED = "id-reused"


@dataclass(frozen=True, slots=True)
class Mark:
    """A message as it is remembered.

    Attributes:
        peer: Name of the peer.
        identity: Keyed hash of MSH-3, MSH-4 and MSH-10.
        body: Keyed hash of the bytes.
    """

    peer: str
    identity: bytes
    body: bytes


@dataclass(slots=True)
class _Book:
    """What is remembered of one peer; both in order of arrival."""

    bodies: dict[bytes, tuple[bytes, int]] = field(default_factory=dict[bytes, tuple[bytes, int]])
    ids: dict[bytes, int] = field(default_factory=dict[bytes, int])

    def drop(self, body: bytes) -> None:
        identity, _ = self.bodies.pop(body)
        left = self.ids[identity] - 1
        if left:
            self.ids[identity] = left
        else:
            del self.ids[identity]


class Memory:
    """Remembers messages; in one thread but for `write`.

    Args:
        path: Its file; made at the first `write`.
        key: Secret of the hashes, 32 bytes: without it the file says nothing about messages.
        messages_max: Messages per peer.
        age_s: Seconds.

    Raises:
        ConfigError: The file is not one of ours, or cannot be read.
    """

    def __init__(self, path: Path, *, key: bytes, messages_max: int, age_s: int) -> None:
        self._path = path
        self._key = key
        self._messages_max = messages_max
        self._age_s = age_s
        self._books: dict[bytes, _Book] = {}
        self._shorts: dict[str, bytes] = {}
        self._fresh: list[bytes] = []
        self._in_file = 0
        self._rewrite = False
        self._load()

    def mark(self, peer: str, identity: bytes, body: bytes) -> Mark:
        """Return the hashes of a message."""
        return Mark(peer, self._hash(identity), self._hash(body))

    def known(self, mark: Mark, *, now_s: int) -> Known:
        """Say whether a message was taken already."""
        book = self._books.get(self._short(mark.peer))
        if book is None:
            return Known.NEW
        self._trim(book, now_s)
        if mark.body in book.bodies:
            return Known.DUPLICATE
        return Known.ID_REUSED if mark.identity in book.ids else Known.NEW

    def add(self, mark: Mark, *, now_s: int) -> None:
        """Remember a durable message; the oldest of its peer gives way at the limit."""
        short = self._short(mark.peer)
        self._put(short, mark.identity, mark.body, now_s)
        self._fresh.append(_ENTRY.pack(short, mark.identity, mark.body, now_s))

    def forget(self, mark: Mark) -> None:
        """Forget a message that the hub refused: its repetition is judged anew."""
        book = self._books.get(self._short(mark.peer))
        if book is not None and mark.body in book.bodies:
            book.drop(mark.body)
            self._rewrite = True

    def take_unsaved(self) -> tuple[Sequence[bytes], bool]:
        """Return what `write` has to make durable; true if it replaces the whole file."""
        remembered = sum(len(book.bodies) for book in self._books.values())
        whole = self._rewrite or self._in_file > REWRITE_PARTS * max(remembered, 1_024)
        entries = list(self._entries()) if whole else self._fresh
        self._fresh = []
        self._rewrite = False
        self._in_file = len(entries) if whole else self._in_file + len(entries)
        return entries, whole

    def write(self, entries: Sequence[bytes], *, whole: bool) -> None:
        """Make entries durable; may run in another thread.

        Raises:
            TransientError: The disk refuses; the entries are in memory only.
        """
        try:
            if whole or not self._path.exists():
                write_durably(self._path, MAGIC + b"".join(entries))
                return
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                _write_all(descriptor, b"".join(entries))
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise TransientError(f"{self._path.name}: {error.strerror}") from error

    def not_written(self) -> None:
        """Take note that `write` failed: the next one replaces the file."""
        self._rewrite = True

    def _put(self, short: bytes, identity: bytes, body: bytes, at_s: int) -> None:
        book = self._books.setdefault(short, _Book())
        if body in book.bodies:
            book.drop(body)
        book.bodies[body] = (identity, at_s)
        book.ids[identity] = book.ids.get(identity, 0) + 1
        if len(book.bodies) > self._messages_max:
            book.drop(next(iter(book.bodies)))

    def _trim(self, book: _Book, now_s: int) -> None:
        while book.bodies:
            oldest = next(iter(book.bodies))
            if now_s - book.bodies[oldest][1] <= self._age_s:
                return
            book.drop(oldest)

    def _entries(self) -> Iterator[bytes]:
        for short, book in self._books.items():
            for body, (identity, at_s) in book.bodies.items():
                yield _ENTRY.pack(short, identity, body, at_s)

    def _load(self) -> None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}") from error
        if not data.startswith(MAGIC):
            raise ConfigError(f"{self._path}: not a gateway's memory")
        whole = (len(data) - len(MAGIC)) // _ENTRY.size * _ENTRY.size
        # A power cut may leave half an entry; the spool still has its message.
        self._rewrite = len(MAGIC) + whole != len(data)
        self._in_file = whole // _ENTRY.size
        for short, identity, body, at_s in _ENTRY.iter_unpack(data[len(MAGIC) :][:whole]):
            self._put(short, identity, body, at_s)

    def _hash(self, data: bytes) -> bytes:
        if len(data) >= _IN_PIECES_MAX:
            return hashlib.blake2b(data, digest_size=HASH_BYTES, key=self._key).digest()
        digest = hashlib.blake2b(digest_size=HASH_BYTES, key=self._key)
        view = memoryview(data)
        for start in range(0, len(data), _PIECE_BYTES):
            digest.update(view[start : start + _PIECE_BYTES])
        return digest.digest()

    def _short(self, peer: str) -> bytes:
        short = self._shorts.get(peer)
        if short is None:
            short = self._shorts[peer] = self._short_of(peer)
        return short

    def _short_of(self, peer: str) -> bytes:
        return hashlib.blake2b(peer.encode(), digest_size=8, key=self._key).digest()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def make_folder(path: Path) -> None:
    """Make the spool's folder, readable by its owner only.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
