"""The spool of instances: sealed files, each durable with its sealed record before it counts.

`<number>.image` is a sealed data set, `<number>.record` says what it is and holds its key, sealed
under the gateway's own. A file without a record was never acknowledged and goes at the next start.
`refused/` holds what was acknowledged here and what the hub then refused for good: for a person.
"""

import fcntl
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

from asepsis.core.errors import AsepsisError, BackPressure, ConfigError, TransientError
from asepsis.core.trust.sealing import (
    KeyEncryptionKey,
    open_with_nonce,
    seal_with_nonce,
    sync_folder,
    write_durably,
)
from asepsis.core.trust.sealing_libcrypto import LibcryptoAead
from asepsis.edge.gateway.imaging.channel import Written
from asepsis.edge.gateway.imaging.sealedfile import KEY_BYTES, read_sealed, sealed_length

RECORD_BYTES_MAX: Final = 16_384
DISK_SPARE_BYTES: Final = 64 << 20
"""Left free on the disk for records, logs and the rest of the gateway."""
_PURPOSE: Final = "gateway images"


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known about a file.

    Attributes:
        written: What the parser said.
        key: Key of the file.
        received_at_ns: Wall time, nanoseconds since 1970.
        refusal: Why the hub refused it for good; empty otherwise.
    """

    written: Written
    key: bytes
    received_at_ns: int
    refusal: str = ""


class Vault:
    """The spool's folder; thread-safe.

    Args:
        folder: `<data>/spool/images`; made if absent.
        kek: The key above.
        bytes_max: What may wait, bytes on disk.
        wall: Wall time, nanoseconds.

    Raises:
        ConfigError: The folder cannot be made, or another process has it.

    Resource handling: locks the folder until the process ends.
    """

    def __init__(
        self, folder: Path, kek: KeyEncryptionKey, *, bytes_max: int, wall: Callable[[], int]
    ) -> None:
        self._folder = folder
        self._key = kek.subkey(_PURPOSE)
        self._aead = LibcryptoAead()
        self._bytes_max = bytes_max
        self._wall = wall
        self._lock = threading.Lock()
        self._numbers = wall()
        try:
            (folder / "refused").mkdir(mode=0o700, parents=True, exist_ok=True)
            self._locked = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._locked, fcntl.LOCK_EX)
        except OSError as error:
            raise ConfigError(f"{folder}: {error.strerror}") from error
        self._bytes = self._tidy()

    def new(self) -> tuple[int, int, bytes, int]:
        """Make a file.

        Returns:
            Its number, a descriptor that can only write, its key, and the bytes that it may have.

        Raises:
            BackPressure: The spool is full.
            TransientError: The disk refuses.
        """
        room = self._room()
        if room <= 0:
            raise BackPressure("the gateway's spool is full")
        with self._lock:
            self._numbers += 1
            number = self._numbers
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path(number), flags, 0o600)
        except OSError as error:
            raise TransientError(f"the spool: {error.strerror}") from error
        return number, descriptor, secrets.token_bytes(KEY_BYTES), room

    def keep(self, number: int, record: Record) -> None:
        """Make a file and its record durable: from now on it survives a power cut.

        Raises:
            TransientError: The disk refuses; the file does not count.
        """
        try:
            descriptor = os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            write_durably(self._record_path(number), self._seal(record))
        except OSError as error:
            raise TransientError(f"the spool: {error.strerror}") from error
        with self._lock:
            self._bytes += sealed_length(record.written.length)

    def waiting(self) -> list[int]:
        """Return the numbers of all durable files, oldest first."""
        return sorted(int(path.stem, 16) for path in self._folder.glob("*.record"))

    def record(self, number: int) -> Record:
        """Read a record.

        Raises:
            SignatureInvalid: It was changed, or sealed under another key.
            TransientError: It cannot be read.
        """
        try:
            with self._record_path(number).open("rb") as file:
                sealed = file.read(RECORD_BYTES_MAX)
        except OSError as error:
            raise TransientError(f"the spool: {error.strerror}") from error
        plain = open_with_nonce(self._aead, self._key, sealed, _PURPOSE.encode())
        return msgspec.json.decode(plain, type=Record)

    def read(self, number: int, record: Record) -> Iterator[memoryview]:
        """Return the data set of a file, piece by piece, each valid until the next.

        Raises:
            SignatureInvalid: It was changed.
            TransientError: It cannot be read.
        """
        try:
            with FileIO(self._path(number)) as file:
                yield from read_sealed(file, record.key, length=record.written.length)
        except OSError as error:
            raise TransientError(f"the spool: {error.strerror}") from error

    def remove(self, number: int, *, length: int | None = None) -> None:
        """Forget a file; its key goes first, so what is left of it is noise.

        Args:
            number: The file.
            length: Bytes of its data set if it was kept; None if it never was.
        """
        if length is not None:
            self._record_path(number).unlink(missing_ok=True)
            with self._lock:
                self._bytes -= sealed_length(length)
        self._path(number).unlink(missing_ok=True)

    def refuse(self, number: int, record: Record, *, reason: str) -> None:
        """Put a kept file aside for a person: the hub does not take it, and the sender is gone.

        Raises:
            TransientError: The disk refuses; it stays in the queue.
        """
        refused = msgspec.structs.replace(record, refusal=reason)
        aside = self._folder / "refused"
        try:
            write_durably(aside / self._record_path(number).name, self._seal(refused))
            self._path(number).rename(aside / self._path(number).name)
            self._record_path(number).unlink()
            sync_folder(self._folder)
        except OSError as error:
            raise TransientError(f"the spool: {error.strerror}") from error

    def _room(self) -> int:
        try:
            disk = os.statvfs(self._folder)
        except OSError as error:
            raise TransientError(f"the spool: {error.strerror}") from error
        free = disk.f_bavail * disk.f_frsize - min(
            DISK_SPARE_BYTES, disk.f_blocks * disk.f_frsize // 16
        )
        with self._lock:
            return min(self._bytes_max - self._bytes, free)

    def _tidy(self) -> int:
        """Remove what was never acknowledged; return the bytes of the rest."""
        total = 0
        for path in self._folder.glob("*.image"):
            if path.with_suffix(".record").exists():
                total += path.stat().st_size
            else:
                path.unlink()
        return total + sum(path.stat().st_size for path in self._folder.glob("refused/*.image"))

    def _seal(self, record: Record) -> bytes:
        return seal_with_nonce(
            self._aead, self._key, msgspec.json.encode(record), _PURPOSE.encode()
        )

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:016x}.image"

    def _record_path(self, number: int) -> Path:
        return self._folder / f"{number:016x}.record"


def refused(folder: Path, kek: KeyEncryptionKey) -> list[tuple[str, Record]]:
    """Return what was put aside for a person, oldest first; changes nothing, takes no lock.

    Args:
        folder: `<data>/spool/images`.
        kek: The key above.

    Raises:
        SignatureInvalid: A record was changed, or sealed under another key.
    """
    key, aead = kek.subkey(_PURPOSE), LibcryptoAead()
    found: list[tuple[str, Record]] = []
    for path in sorted((folder / "refused").glob("*.record")):
        sealed = path.read_bytes()[:RECORD_BYTES_MAX]
        plain = open_with_nonce(aead, key, sealed, _PURPOSE.encode())
        found.append((path.stem, msgspec.json.decode(plain, type=Record)))
    return found


def describe(error: AsepsisError) -> str:
    """Return an error as a comment for a modality: our own words, no paths."""
    return f"{error.code} {error}"
