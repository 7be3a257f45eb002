"""The record of what was asked of a device: one JSON object a line, bounded in size."""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

LINES_A_MINUTE: Final = 60
"""More are counted and not written: whoever asks in a flood must not fill the disk."""
FILE_BYTES_MAX: Final = 1 << 20
"""A full file becomes `NAME.1`, in place of the last one."""


class GateLog:
    """Writes down what became of each request.

    A disk that takes nothing stops neither device nor request: the record also goes to whoever
    watches the supervisor.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._minute_s = 0.0
        self._written = 0
        self._left_out = 0

    def write(self, outcome: Mapping[str, Any]) -> None:
        """Append an outcome."""
        now_s = time.monotonic()
        if now_s - self._minute_s >= 60:
            self._minute_s, self._written = now_s, 0
        if self._written >= LINES_A_MINUTE:
            self._left_out += 1
            return
        self._written += 1
        line = {"at_ns": time.time_ns(), **outcome, "left_out": self._left_out}
        self._left_out = 0
        with contextlib.suppress(OSError):
            self._append(json.dumps(line).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        try:
            if os.fstat(descriptor).st_size + len(line) > FILE_BYTES_MAX:
                self._path.rename(self._path.with_name(self._path.name + ".1"))
                os.close(descriptor)
                descriptor = os.open(self._path, flags, 0o600)
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
