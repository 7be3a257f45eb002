"""Measures what is changed after the start: a line of the log, and its hash in the register.

Whoever replaces something measures it before it runs. The line is written first: were the machine
stopped between line and register, the next look finds one line too many and extends it then; the
other way round nobody could say what had been extended.

The log lies where it does not outlive the start (`/run`), as the register does not.
"""

import json
import os
from pathlib import Path
from typing import BinaryIO, Final

from asepsis.core.errors import ContentMismatch, InputError, LimitExceeded, Unavailable
from asepsis.core.trust.attestation_log import (
    LINES_MAX,
    PCR_RUNTIME,
    Line,
    read_lines,
    replay,
    write_line,
)
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import extend_pcr, read_pcrs

LOG: Final = Path("/run/asepsis-measured.jsonl")
LOG_BYTES_MAX: Final = 1 << 20


class Measuring:
    """The log of one start, and its register.

    Args:
        tpm: The TPM.
        path: The log; made at the first line.
    """

    def __init__(self, tpm: Tpm, path: Path = LOG) -> None:
        self._tpm = tpm
        self._path = path

    def lines(self) -> tuple[Line, ...]:
        """Return what was measured since the start, and extend a line that was cut short.

        Raises:
            ContentMismatch: The log does not explain the register: somebody else extended it, or
                changed the log.
            InputError: A line is none.
        """
        found = self.read()
        value = read_pcrs(self._tpm, (PCR_RUNTIME,))[PCR_RUNTIME]
        if replay(found) == value:
            return found
        if found and replay(found[:-1]) == value:
            extend_pcr(self._tpm, PCR_RUNTIME, found[-1].digest)
            return found
        raise ContentMismatch(
            "the log of changes does not explain the register of the TPM",
            hint="restart the device: registers are empty then, and so is the log",
        )

    def measure(self, line: Line) -> None:
        """Write a line and extend its hash; only then may what it names run.

        Raises:
            ContentMismatch: As `lines`.
            LimitExceeded: The log is full: restart the device.
            Unavailable: The line cannot be written; nothing was extended.
        """
        present = self.lines()
        if len(present) >= LINES_MAX:
            raise LimitExceeded(f"a start has at most {LINES_MAX} measured changes")
        self._append(write_line(line) + b"\n")
        extend_pcr(self._tpm, PCR_RUNTIME, line.digest)

    def read(self) -> tuple[Line, ...]:
        """Return what the log says, without asking the TPM.

        Raises:
            InputError: A line is none.
            LimitExceeded: The log is too long.
            Unavailable: The log cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                return read_log(file)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise Unavailable("the log of changes cannot be read") from error

    def _append(self, text: bytes) -> None:
        try:
            self._mend()
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.write(fd, text) != len(text):
                    raise Unavailable("the log of changes is full")
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise Unavailable("the log of changes cannot be written") from error

    def _mend(self) -> None:
        """Cut off the rest of a line that was cut short."""
        if not self._path.exists():
            return
        raw = self._path.read_bytes()
        if not raw.endswith(b"\n"):
            os.truncate(self._path, raw.rfind(b"\n") + 1)


def read_log(file: BinaryIO) -> tuple[Line, ...]:
    """Read a log from an open file.

    Raises:
        InputError: A line is none.
        LimitExceeded: The log is too long.
        OSError: The file cannot be read.
    """
    raw = b""
    while len(raw) <= LOG_BYTES_MAX and (chunk := file.read(LOG_BYTES_MAX + 1 - len(raw))):
        raw += chunk
    if len(raw) > LOG_BYTES_MAX:
        raise LimitExceeded("the log of changes is too long")
    try:
        # Without a line end the last line was cut short and never extended.
        return read_lines([json.loads(one) for one in raw.split(b"\n")[:-1]])
    except (ValueError, RecursionError) as error:
        raise InputError("a line of the log of changes is no JSON") from error
