"""Where the projection has come to, and which metrics every device has: one small SQLite file.

Positions are written after the blocks they speak of are durable. A crash in between projects some
records again, which changes nothing (`blocks.py`).
"""

import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from asepsis.core.errors import TransientError
from asepsis.core.model.lanes import Lane
from asepsis.hub.records.files import open_writer

VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE position (lane TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE metric (device TEXT, wave INTEGER, handle INTEGER, mdc INTEGER, unit INTEGER, slot INTEGER NOT NULL, PRIMARY KEY (device, wave, handle, mdc, unit)) WITHOUT ROWID;
"""  # noqa: E501 - one statement a line


class Metric(NamedTuple):
    """One metric of a device, as it was seen in its data.

    Attributes:
        device: Name of the device.
        wave: 1 for a waveform, 0 for numerics.
        handle: On the device.
        mdc_code: What it measures.
        unit_code: In which unit.
    """

    device: str
    wave: int
    handle: int
    mdc_code: int
    unit_code: int


class Index:
    """Positions and metrics; any thread may read, one writes.

    Args:
        path: The file; made if absent.

    Raises:
        ConfigError: Not a file of this version.
        TransientError: The disk failed.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = open_writer(path, schema=_SCHEMA, version=VERSION)
            self.positions: dict[Lane, int] = {
                Lane(lane): position
                for lane, position in self._connection.execute("SELECT * FROM position")
            }
            self._slots: dict[str, dict[Metric, int]] = {}
            for row in self._connection.execute("SELECT * FROM metric"):
                self._slots.setdefault(row[0], {})[Metric(*row[:5])] = row[5]
        except sqlite3.Error as error:
            raise TransientError(f"{path}: {error}") from error

    def commit(self, positions: Mapping[Lane, int], seen: Mapping[Metric, int]) -> None:
        """Write durably how far the blocks on disk go, and which metrics were seen last when.

        Raises:
            TransientError: The disk failed.
        """
        with self._lock:
            newer = {m: slot for m, slot in seen.items() if slot > self._slot(m)}
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "INSERT OR REPLACE INTO position VALUES (?, ?)",
                [(lane.value, position) for lane, position in positions.items()],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO metric VALUES (?, ?, ?, ?, ?, ?)",
                [(*metric, slot) for metric, slot in newer.items()],
            )
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise TransientError(f"the record's index cannot be written: {error}") from error
        with self._lock:
            self.positions.update(positions)
            for metric, slot in newer.items():
                self._slots.setdefault(metric.device, {})[metric] = slot

    def metrics(self, device: str) -> dict[Metric, int]:
        """Return the metrics of a device, each with the last slot that is on disk."""
        with self._lock:
            return dict(self._slots.get(device, {}))

    def devices(self) -> list[str]:
        """Return every device with a record, by name."""
        with self._lock:
            return sorted(self._slots)

    def forget(self, gone: Iterable[Metric]) -> None:
        """Leave out metrics whose last slot has expired."""
        gone = list(gone)
        try:
            with self._connection:
                self._connection.executemany(
                    "DELETE FROM metric WHERE device=? AND wave=? AND handle=? AND mdc=?"
                    " AND unit=?",
                    gone,
                )
        except sqlite3.Error as error:
            raise TransientError(f"the record's index cannot be written: {error}") from error
        with self._lock:
            for metric in gone:
                metrics = self._slots.get(metric.device, {})
                metrics.pop(metric, None)
                if not metrics:
                    self._slots.pop(metric.device, None)

    def before(self, wave: int, slot: int) -> list[Metric]:
        """Return the metrics that were last seen before a slot."""
        with self._lock:
            return [
                metric
                for metrics in self._slots.values()
                for metric, last in metrics.items()
                if metric.wave == wave and last < slot
            ]

    def _slot(self, metric: Metric) -> int:
        return self._slots.get(metric.device, {}).get(metric, -1)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
