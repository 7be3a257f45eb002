"""A file sealed while it is written and opened while it is read, in pieces of bounded memory.

Each file has a key of its own, made by the process that keeps the spool; the process that writes
it forgets the key with the file. The number of a piece, and whether it is the last, stand in the
nonce, so that no piece can be moved, left out or cut off.

Source: NIST SP 800-38D (AES-GCM); Hoang, Reyhanitabar, Rogaway, Vizar 2015 (STREAM).
"""

import os
from collections.abc import Iterator
from io import FileIO
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asepsis.core.errors import LimitExceeded, SignatureInvalid, TransientError

PIECE_BYTES: Final = 262_144
TAG_BYTES: Final = 16
KEY_BYTES: Final = 32


class SealedWriter:
    """Writes one file through a descriptor that cannot read it.

    Args:
        descriptor: Open for writing; owned from now on.
        key: 32 bytes of this file alone.
        bytes_max: Most plaintext bytes taken.

    Attributes:
        length: Plaintext bytes so far.

    Resource handling: `close` closes the descriptor, finished or not.
    """

    def __init__(self, descriptor: int, key: bytes, *, bytes_max: int) -> None:
        self._descriptor = descriptor
        self._cipher = AESGCM(key)
        self._bytes_max = bytes_max
        self._number = 0
        # Memory that is used again and again: fresh pieces of this size cost more than the cipher.
        self._piece = bytearray(PIECE_BYTES)
        self._sealed = bytearray(PIECE_BYTES + TAG_BYTES)
        self._filled = 0
        self.length = 0

    def write(self, data: memoryview) -> None:
        """Take plaintext.

        Raises:
            LimitExceeded: More than the file may have.
            TransientError: The disk refuses.
        """
        self.length += len(data)
        if self.length > self._bytes_max:
            raise LimitExceeded(f"more than {self._bytes_max} bytes")
        while data:
            if self._filled == PIECE_BYTES:  # More follows, so it is not the last.
                self._seal(last=False)
            part = data[: PIECE_BYTES - self._filled]
            self._piece[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            data = data[len(part) :]

    def finish(self) -> None:
        """Write the last piece; durable only after somebody synchronised the file.

        Raises:
            TransientError: The disk refuses.
        """
        self._seal(last=True)

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _seal(self, *, last: bool) -> None:
        plain = memoryview(self._piece)[: self._filled]
        view = memoryview(self._sealed)[: self._filled + TAG_BYTES]
        self._cipher.encrypt_into(_nonce(self._number, last=last), plain, None, view)
        self._number += 1
        self._filled = 0
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise TransientError(f"the spool: {error.strerror}") from error


def sealed_length(length: int) -> int:
    """Return the bytes on disk of a sealed file of `length` plaintext bytes."""
    pieces = max(1, -(-length // PIECE_BYTES))
    return length + pieces * TAG_BYTES


def read_sealed(file: FileIO, key: bytes, *, length: int) -> Iterator[memoryview]:
    """Return the plaintext of a sealed file, piece by piece, each valid until the next.

    Args:
        file: At its beginning, unbuffered.
        key: The file's own.
        length: Plaintext bytes that it must have.

    Raises:
        SignatureInvalid: It was changed, cut or exchanged.
    """
    cipher = AESGCM(key)
    sealed, plain = (
        memoryview(bytearray(PIECE_BYTES + TAG_BYTES)),
        memoryview(bytearray(PIECE_BYTES)),
    )
    left, number = length, 0
    while True:
        size = min(left, PIECE_BYTES)
        left -= size
        _fill(file, sealed[: size + TAG_BYTES])
        nonce = _nonce(number, last=not left)
        try:
            cipher.decrypt_into(nonce, sealed[: size + TAG_BYTES], None, plain[:size])
        except InvalidTag as error:
            raise SignatureInvalid("a file of the spool was changed") from error
        yield plain[:size]
        number += 1
        if not left:
            return


def _fill(file: FileIO, view: memoryview) -> None:
    while view:
        count = file.readinto(view)
        if not count:
            raise SignatureInvalid("a file of the spool was cut")
        view = view[count:]


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes((last,))
