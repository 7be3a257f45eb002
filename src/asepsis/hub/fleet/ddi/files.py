"""Files of modules: one copy by hash in a folder of the hub, written before it is named.

The hub serves what a person brought and believes nothing of it: the client checks the vendor's
signature inside. Hashes are taken here while the bytes come.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import IO, Final

from asepsis.core.errors import BackPressure, LimitExceeded, NotFound, Unavailable
from asepsis.hub.fleet.ddi.model import File

PIECE_BYTES: Final = 262_144
SHA256_CHARS: Final = 64


class Files:
    """The folder.

    Args:
        folder: Where; made if it is absent.
        bytes_max: Longest file, in bytes.
        reserve_bytes: Disk space that files leave to everything else.
    """

    def __init__(self, folder: Path, *, bytes_max: int, reserve_bytes: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._reserve = reserve_bytes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob("*.partial"):
            left.unlink()  # Whoever brought it was cut off by the end of the hub.

    async def take(self, filename: str, pieces: AsyncIterator[bytes]) -> File:
        """Store a file as its bytes come; it is durable when this returns.

        Raises:
            LimitExceeded: Longer than a file may be.
            BackPressure: The disk is full.
            Unavailable: The disk fails.
        """
        partial = self._folder / f"{secrets.token_hex(8)}.partial"
        try:
            with partial.open("xb") as out:
                found = await self._write(filename, pieces, out)
            await asyncio.to_thread(self._name, partial, self._folder / found.sha256)
        except OSError as error:
            raise Unavailable("the file can not be stored", hint=str(error.strerror)) from error
        finally:
            partial.unlink(missing_ok=True)
        return found

    async def _write(self, filename: str, pieces: AsyncIterator[bytes], out: IO[bytes]) -> File:
        # Clients compare SHA-1 and MD5 as sums of the transfer; trust is in the vendor's signature.
        sums = [hashlib.sha256(), *(hashlib.new(n, usedforsecurity=False) for n in ("sha1", "md5"))]
        size = 0
        async for piece in pieces:
            size += len(piece)
            if size > self._bytes_max:
                raise LimitExceeded(f"a file is over {self._bytes_max} bytes")
            await asyncio.to_thread(self._put, out, piece)
            for each in sums:
                each.update(piece)
        await asyncio.to_thread(_sync, out)
        sha256, sha1, md5 = (each.hexdigest() for each in sums)
        return File(filename=filename, size=size, sha256=sha256, sha1=sha1, md5=md5)

    def _put(self, out: IO[bytes], piece: bytes) -> None:
        state = os.statvfs(self._folder)
        if state.f_bavail * state.f_frsize < self._reserve + len(piece):
            raise BackPressure("no room for files of updates")
        out.write(piece)

    def _name(self, partial: Path, target: Path) -> None:
        partial.replace(target)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def open(self, file: File) -> IO[bytes]:
        """Open a file for reading.

        Raises:
            NotFound: It is not there any more.
        """
        try:
            return (self._folder / file.sha256).open("rb")
        except OSError as error:
            raise NotFound("the file is not here") from error


async def read_span(file: IO[bytes], first: int, length: int) -> AsyncGenerator[bytes]:
    """Read a part of a file piece by piece.

    Raises:
        Unavailable: The file is shorter, or the disk fails.
    """
    while length:
        try:
            piece = await asyncio.to_thread(
                os.pread, file.fileno(), min(length, PIECE_BYTES), first
            )
        except OSError as error:
            raise Unavailable("the file can not be read") from error
        if not piece:
            raise Unavailable("the file is shorter than it was")
        yield piece
        first += len(piece)
        length -= len(piece)


def _sync(out: IO[bytes]) -> None:
    out.flush()
    os.fsync(out.fileno())
