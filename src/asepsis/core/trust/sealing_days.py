"""One key per scope and day, each in a small file wrapped by the key-encryption key.

Implements the journal's cipher port. To destroy a day's key is to make all records sealed with it
unreadable, on every copy of the data, as long as the key-encryption key is not also lost to the
thief who kept the wrapped key: hence the file is overwritten before it is removed.
"""

import errno
import os
import re
import secrets
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from asepsis.core.errors import (
    BackPressure,
    ConfigError,
    NotFound,
    SignatureInvalid,
    TransientError,
)
from asepsis.core.trust.sealing import (
    KEY_BYTES,
    Aead,
    KeyEncryptionKey,
    open_with_nonce,
    seal_with_nonce,
    sync_folder,
    write_durably,
)

CACHED_MAX: Final = 256
"""Unwrapped keys kept in memory."""

RETRY_DISK_S: Final = 10
_CHECK_NAME: Final = "check"
_CHECK_TEXT: Final = b"asepsis day keys 1"
_SCOPE: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")


class DayKeys:
    """The day keys of one data folder and the cipher over them; thread-safe.

    Args:
        folder: Holds one wrapped key per file; made if absent.
        kek: Wraps them.
        aead: The cipher, for wrapping and for records.

    Raises:
        ConfigError: The folder belongs to another key-encryption key.
    """

    def __init__(self, folder: Path, *, kek: KeyEncryptionKey, aead: Aead) -> None:
        self._folder = folder
        self._wrapping = kek.subkey("day keys")
        self._aead = aead
        self._lock = threading.Lock()
        self._keys: dict[tuple[str, int], bytes] = {}
        self._check_kek(kek)

    def seal(self, scope: str, day: int, aad: bytes, plaintext: bytes) -> bytes:
        """Encrypt under the key of a scope and day, which is durable before this returns.

        Raises:
            BackPressure: No space for a new key.
            TransientError: The disk failed.
        """
        key = self._keys.get((scope, day))
        if key is None:
            key = self._load_or_make(scope, day)
        return seal_with_nonce(self._aead, key, plaintext, aad)

    def open(self, scope: str, day: int, aad: bytes, sealed: bytes) -> bytes:
        """Decrypt.

        Raises:
            SignatureInvalid: The text, what it is bound to, or its wrapped key was changed.
            NotFound: The day's key does not exist, or no longer.
            TransientError: The disk failed.
        """
        key = self._keys.get((scope, day))
        if key is None:
            with self._lock:
                key = self._load(scope, day)
            if key is None:
                raise NotFound(f"no key for {scope}, day {day}")
        return open_with_nonce(self._aead, key, sealed, aad)

    def destroy(self, scope: str, day: int) -> None:
        """Forget a day's key for ever; absent keys are no error.

        Raises:
            TransientError: The disk failed.
        """
        path = self._path(scope, day)
        try:
            with self._lock:
                self._keys.pop((scope, day), None)
                if path.exists():
                    _overwrite(path)
                    path.unlink()
                    sync_folder(self._folder)
        except OSError as error:
            raise TransientError(f"{path}: {error.strerror}") from error

    def days(self, scope: str) -> list[int]:
        """Return the days a scope has keys for, ascending."""
        names = (path.name for path in self._folder.glob(f"{scope}.*.key"))
        return sorted(int(name.split(".")[1]) for name in names)

    def _load_or_make(self, scope: str, day: int) -> bytes:
        with self._lock:
            key = self._load(scope, day)
            if key is None:
                key = secrets.token_bytes(KEY_BYTES)
                wrapped = seal_with_nonce(self._aead, self._wrapping, key, _label(scope, day))
                self._write(self._path(scope, day), wrapped)
                self._remember(scope, day, key)
            return key

    def _load(self, scope: str, day: int) -> bytes | None:
        path = self._path(scope, day)
        try:
            wrapped = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TransientError(f"{path}: {error.strerror}") from error
        key = open_with_nonce(self._aead, self._wrapping, wrapped, _label(scope, day))
        self._remember(scope, day, key)
        return key

    def _remember(self, scope: str, day: int, key: bytes) -> None:
        if len(self._keys) >= CACHED_MAX:
            self._keys.pop(next(iter(self._keys)))
        self._keys[scope, day] = key

    def _write(self, path: Path, wrapped: bytes) -> None:
        try:
            write_durably(path, wrapped)
        except OSError as error:
            with suppress(OSError):
                path.with_name(path.name + ".partial").unlink(missing_ok=True)
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise BackPressure(
                    "the disk is full: no space for a new day's key", retry_after_s=RETRY_DISK_S
                ) from error
            raise TransientError(f"{path}: {error.strerror}") from error

    def _path(self, scope: str, day: int) -> Path:
        if not _SCOPE.fullmatch(scope) or day < 0:
            raise ConfigError(f"not a key scope: {scope!r}, day {day}")
        return self._folder / f"{scope}.{day}.key"

    def _check_kek(self, kek: KeyEncryptionKey) -> None:
        path = self._folder / _CHECK_NAME
        key = kek.subkey("day keys check")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                write_durably(path, seal_with_nonce(self._aead, key, _CHECK_TEXT, b""))
                sync_folder(self._folder.parent)
            open_with_nonce(self._aead, key, path.read_bytes(), b"")
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        except SignatureInvalid as error:
            raise ConfigError(
                f"{self._folder}: these keys belong to another key-encryption key",
                hint=f"now in use: {kek.describe()}",
            ) from error


def _label(scope: str, day: int) -> bytes:
    return f"asepsis day key 1 {scope} {day}".encode()


def _overwrite(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, os.urandom(os.fstat(descriptor).st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
