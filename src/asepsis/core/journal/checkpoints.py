"""Keeps the write-ahead log short without making a record wait for it.

A checkpoint copies the log into the file and syncs it, which takes long on slow disks. The bulk is
copied by a thread of its own while groups go on; then the writer copies the small rest between two
groups, so that the log is copied whole at one moment and starts over.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_PASSIVE: Final = "PRAGMA wal_checkpoint(PASSIVE)"


class Checkpointer:
    """The checkpoints of one file.

    Args:
        open_connection: Opens a connection for the copying thread.
        wal_bytes_max: Length of the log, as estimated, that starts a checkpoint.
        name: Name of the thread.
    """

    def __init__(
        self,
        open_connection: Callable[[], sqlite3.Connection],
        *,
        wal_bytes_max: int,
        name: str,
    ) -> None:
        self._open_connection = open_connection
        self._wal_bytes_max = wal_bytes_max
        self._wal_bytes = 0
        self._changed = threading.Condition()
        self._wanted = False
        self._copied = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the copying thread; without it, on a disk that fails, the writer copies all."""
        self._thread.start()

    def close(self) -> None:
        """End the copying thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def after_group(self, connection: sqlite3.Connection, written_bytes: int) -> None:
        """Count what a group wrote; copy the rest of the log if its bulk has been copied.

        Args:
            connection: The writer's, outside of a transaction.
            written_bytes: About what the group added to the log.
        """
        self._wal_bytes += written_bytes
        if self._wal_bytes < self._wal_bytes_max:
            return
        with self._changed:
            copied, self._copied = self._copied, False
            if not copied and not self._wanted:
                self._wanted = True
                self._changed.notify()
        if copied:
            # A full disk or a busy reader leaves the log as it is; the next group asks again.
            with suppress(sqlite3.Error):
                busy, frames, done = connection.execute(_PASSIVE).fetchone()
                if not busy and frames == done:
                    self._wal_bytes = 0

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            while self._wait():
                with suppress(sqlite3.Error):  # As above: asked for again, connection and all.
                    connection = connection or self._open_connection()
                    connection.execute(_PASSIVE).fetchall()
                with self._changed:
                    self._wanted = False
                    self._copied = True
        finally:
            if connection is not None:
                connection.close()

    def _wait(self) -> bool:
        with self._changed:
            while not (self._wanted or self._closed):
                self._changed.wait()
            return not self._closed
