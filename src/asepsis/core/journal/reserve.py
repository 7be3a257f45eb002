"""Disk space kept back for alerts.

While there is space, a file of fixed size occupies it. When the disk is full and an alert waits,
the file gives its blocks back and only alerts are written until it could be filled again.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

RETRY_NS: Final = 10**9
"""Between two attempts to fill the reserve again."""


class DiskReserve:
    """The reserve of one journal; both writers share it.

    Args:
        path: The file; made here.
        size_bytes: Its size; 0 keeps no reserve.
        clock: Wall time in nanoseconds.
    """

    def __init__(self, path: Path, *, size_bytes: int, clock: Callable[[], int]) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._tried_at_ns: int | None = None
        self._pressed = not self._fill()

    @property
    def pressed(self) -> bool:
        """Whether the reserve is in use, so that only alerts may be written."""
        return self._pressed

    def release(self) -> None:
        """Give the blocks back to the disk, for alerts."""
        with self._lock:
            with suppress(OSError):  # What can not be given back is not there.
                os.truncate(self._path, 0)
            self._pressed = True
            self._tried_at_ns = self._clock()

    def recover(self) -> bool:
        """Try, at most once a second, to fill the reserve again; return whether it is whole."""
        with self._lock:
            if not self._pressed:
                return True
            now_ns = self._clock()
            # A clock that was set back must not keep the lanes shut: any other second will do.
            if self._tried_at_ns is not None and abs(now_ns - self._tried_at_ns) < RETRY_NS:
                return False
            self._tried_at_ns = now_ns
            self._pressed = not self._fill()
            return not self._pressed

    def _fill(self) -> bool:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if self._size_bytes:
                os.posix_fallocate(descriptor, 0, self._size_bytes)
            os.truncate(descriptor, self._size_bytes)
        except OSError:
            os.truncate(descriptor, 0)  # Half a reserve would hide that the disk is full.
            return False
        finally:
            os.close(descriptor)
        return True
