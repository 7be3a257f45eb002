"""Image objects as sealed files: written as they come, read in pieces, never whole in memory.

A file begins with its own key, wrapped by a subkey of the key above all keys, and goes on in
pieces of `PIECE_BYTES`, each sealed with AES-256-GCM under its number. Whoever destroys the first
bytes has destroyed the object. Methods block: they are called from threads, never from the loop.

Source: NIST SP 800-38D.
"""

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from asepsis.core.errors import BackPressure, NotFound, SignatureInvalid, TransientError
from asepsis.core.trust.sealing import (
    KEY_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    Aead,
    KeyEncryptionKey,
    open_with_nonce,
    seal_with_nonce,
    sync_folder,
)

PIECE_BYTES: Final = 131_072
MAGIC: Final = b"ASPIMG1\n"
HEAD_BYTES: Final = len(MAGIC) + NONCE_BYTES + KEY_BYTES + TAG_BYTES
NAME_CHARS: Final = 32
SHARDS: Final = 256
"""Folders that objects are spread over, by the first byte of their name."""
RETRY_DISK_S: Final = 30
CHECK_EVERY_BYTES: Final = 64 << 20
"""How often a long object asks whether the disk still has room."""
WRITTEN_MAX: Final = 64
"""Pieces that are written at once; the kernel takes 1,024."""
_SEALED_BYTES: Final = PIECE_BYTES + TAG_BYTES


class Vault:
    """The folder of objects.

    Args:
        folder: `incoming` and `objects` lie below it; made if absent.
        kek: Key above the objects' keys.
        aead: The cipher.
        reserve_bytes: Disk space that images leave to everything else.
    """

    def __init__(
        self, folder: Path, *, kek: KeyEncryptionKey, aead: Aead, reserve_bytes: int
    ) -> None:
        self.incoming = folder / "incoming"
        self.objects = folder / "objects"
        self.wrapping = kek.subkey("image objects")
        self.aead = aead
        self._folder = folder
        self._reserve_bytes = reserve_bytes

    def open(self) -> int:
        """Make the folders, remove what an earlier run left half received; return how many.

        Raises:
            TransientError: The disk failed.
        """
        try:
            self.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.objects.mkdir(mode=0o700, parents=True, exist_ok=True)
            for shard in range(SHARDS):
                (self.objects / f"{shard:02x}").mkdir(mode=0o700, exist_ok=True)
            sync_folder(self.objects)
            left = list(self.incoming.iterdir())
            for path in left:
                path.unlink()
        except OSError as error:
            raise _translated(error) from error
        return len(left)

    def check_room(self) -> None:
        """Refuse before the disk is full: alarms are written to the same one.

        Raises:
            BackPressure: Less than the reserve is left.
        """
        free_bytes = self.free_bytes()
        if free_bytes < self._reserve_bytes:
            raise BackPressure("no space for images", retry_after_s=RETRY_DISK_S)

    def free_bytes(self) -> int:
        """Return the space that this user may still fill, in bytes.

        Raises:
            TransientError: The disk failed.
        """
        try:
            found = os.statvfs(self._folder)
        except OSError as error:
            raise _translated(error) from error
        return found.f_bavail * found.f_frsize

    def create(self) -> "ObjectWriter":
        """Begin a new object.

        Raises:
            BackPressure: No space.
            TransientError: The disk failed.
        """
        self.check_room()
        return ObjectWriter(self, secrets.token_hex(NAME_CHARS // 2))

    def reader(self, name: str, *, byte_count: int) -> "ObjectReader":
        """Open an object that was kept.

        Raises:
            NotFound: No such object.
            SignatureInvalid: Not sealed by this hub.
            TransientError: The disk failed.
        """
        return ObjectReader(self, self.path(name), name, byte_count=byte_count)

    def path(self, name: str) -> Path:
        """Return where an object lies."""
        return self.objects / name[:2] / name

    def remove(self, name: str) -> None:
        """Destroy an object's key, then its file; an absent one is no error.

        Raises:
            TransientError: The disk failed.
        """
        path = self.path(name)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _translated(error) from error
        try:
            os.pwrite(descriptor, bytes(HEAD_BYTES), 0)
            os.fsync(descriptor)
            path.unlink()
            sync_folder(path.parent)
        except OSError as error:
            raise _translated(error) from error
        finally:
            os.close(descriptor)


class ObjectWriter:
    """One object being received.

    Attributes:
        name: Its name, 32 hex digits.
        byte_count: Bytes so far, unsealed.
        is_kept: Whether `keep` made it durable.

    Resource handling:
        `keep` or `discard` ends it; both once.
    """

    def __init__(self, vault: Vault, name: str) -> None:
        self._vault = vault
        self.name = name
        self.byte_count = 0
        self._key = secrets.token_bytes(KEY_BYTES)
        self._hash = hashlib.sha256()
        self._rest = bytearray()
        self._pieces = 0
        self._checked_bytes = 0
        self._path = vault.incoming / name
        self.is_kept = False
        wrapped = seal_with_nonce(vault.aead, vault.wrapping, self._key, name.encode())
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(self._path, flags, 0o600)
            self._put([MAGIC + wrapped])
        except OSError as error:
            raise _translated(error) from error

    def write(self, data: bytes) -> None:
        """Add bytes.

        Raises:
            BackPressure: No space; the object must be discarded.
            TransientError: The disk failed; as above.
        """
        self.byte_count += len(data)
        if self.byte_count - self._checked_bytes > CHECK_EVERY_BYTES:
            self._checked_bytes = self.byte_count
            self._vault.check_room()
        self._hash.update(data)
        sealed: list[bytes] = []
        if self._rest:
            missing = PIECE_BYTES - len(self._rest)
            self._rest += data[:missing]
            data = data[missing:]
            if len(self._rest) < PIECE_BYTES:
                return
            sealed.append(self._seal(bytes(self._rest)))
            self._rest.clear()
        whole = len(data) - len(data) % PIECE_BYTES
        sealed += [self._seal(data[at : at + PIECE_BYTES]) for at in range(0, whole, PIECE_BYTES)]
        self._rest += data[whole:]
        if sealed:
            self._write(sealed)

    def settle(self) -> bytes:
        """Write everything; return the SHA-256 of the object's bytes. `keep` makes it durable.

        Raises:
            BackPressure: No space.
            TransientError: The disk failed.
        """
        if self._rest:
            self._write([self._seal(bytes(self._rest))])
            self._rest.clear()
        return self._hash.digest()

    def reader(self) -> "ObjectReader":
        """Read what `settle` has written, before it is kept."""
        return ObjectReader(self._vault, self._path, self.name, byte_count=self.byte_count)

    def keep(self) -> None:
        """Give the settled object its name, then make bytes and name durable.

        Named first: both are then in one commit of the file system's own journal, and the second
        flush finds its work done. What a crash leaves has no entry in the index.

        Raises:
            BackPressure: No space.
            TransientError: The disk failed.
        """
        path = self._vault.path(self.name)
        try:
            self._path.rename(path)
            self._path = path
            os.fdatasync(self._descriptor)
            sync_folder(path.parent)
        except OSError as error:
            raise _translated(error) from error
        self.is_kept = True
        self._close()

    def discard(self) -> None:
        """Forget what was not kept; harmless after an error, never raises."""
        if self.is_kept:
            return
        self._close()
        with suppress(OSError):
            self._path.unlink()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _seal(self, piece: bytes) -> bytes:
        nonce = self._pieces.to_bytes(NONCE_BYTES, "big")
        self._pieces += 1
        return self._vault.aead.seal(self._key, nonce, piece, b"")

    def _write(self, sealed: Sequence[bytes]) -> None:
        try:
            self._put(sealed)
        except OSError as error:
            raise _translated(error) from error

    def _put(self, pieces: Sequence[bytes]) -> None:
        for first in range(0, len(pieces), WRITTEN_MAX):
            some = pieces[first : first + WRITTEN_MAX]
            done = os.writev(self._descriptor, some)
            if done < sum(map(len, some)):  # The disk is nearly full: what is left says so.
                view = memoryview(b"".join(some))[done:]
                while view:
                    view = view[os.write(self._descriptor, view) :]


class ObjectReader:
    """Reads one object in pieces; not for two threads at once.

    Args:
        vault: Whose keys and cipher.
        path: The file.
        name: Name of the object.
        byte_count: Its length, unsealed.

    Raises:
        NotFound: No such file.
        SignatureInvalid: Not sealed by this hub under this name.
        TransientError: The disk failed.

    Resource handling:
        Holds an open file until `close`.
    """

    def __init__(self, vault: Vault, path: Path, name: str, *, byte_count: int) -> None:
        self.byte_count = byte_count
        self._aead = vault.aead
        self._piece = (-1, b"")
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise NotFound("the object is not held") from error
        except OSError as error:
            raise _translated(error) from error
        try:
            self._key = self._unwrap(vault, name)
        except OSError as error:
            self.close()
            raise _translated(error) from error
        except SignatureInvalid:
            self.close()
            raise

    def _unwrap(self, vault: Vault, name: str) -> bytes:
        head = os.pread(self._descriptor, HEAD_BYTES, 0)
        if head[: len(MAGIC)] != MAGIC:
            raise SignatureInvalid("not a sealed object")
        return open_with_nonce(vault.aead, vault.wrapping, head[len(MAGIC) :], name.encode())

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer only at the end.

        Raises:
            SignatureInvalid: The file was changed.
            TransientError: The disk failed.
        """
        end = min(offset + count, self.byte_count)
        found: list[bytes] = []
        while offset < end:
            number, skip = divmod(offset, PIECE_BYTES)
            piece = self._open(number)[skip : skip + end - offset]
            found.append(piece)
            offset += len(piece)
        return b"".join(found)

    def pieces(self) -> Iterator[bytes]:
        """Give the whole object in pieces of at most `PIECE_BYTES`; errors as `read`."""
        for offset in range(0, self.byte_count, PIECE_BYTES):
            yield self.read(offset, PIECE_BYTES)

    def close(self) -> None:
        """Close the file; harmless twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, number: int) -> bytes:
        if self._piece[0] == number:
            return self._piece[1]
        try:
            sealed = os.pread(self._descriptor, _SEALED_BYTES, HEAD_BYTES + number * _SEALED_BYTES)
        except OSError as error:
            raise _translated(error) from error
        piece = self._aead.open(self._key, number.to_bytes(NONCE_BYTES, "big"), sealed, b"")
        if len(piece) != min(PIECE_BYTES, self.byte_count - number * PIECE_BYTES):
            raise SignatureInvalid("a sealed object is cut short")
        self._piece = (number, piece)
        return piece


def _translated(error: OSError) -> TransientError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return BackPressure("no space for images", retry_after_s=RETRY_DISK_S)
    return TransientError(f"the disk failed: {error.strerror}")
