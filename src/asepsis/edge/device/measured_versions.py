"""Measures each version of a compartment before it runs, where the device has a TPM.

A version that cannot be measured runs all the same: the device's work goes before the proof of it.
But then the register is extended without a line, so that the hub says "not verified" and nobody
believes a log that leaves something out.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, LimitExceeded, Unavailable
from asepsis.core.trust.attestation_log import PCR_RUNTIME, Change, Line
from asepsis.edge.device.manifest import SHIPPED as MANIFEST
from asepsis.edge.device.measuring import LOG, Measuring
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import extend_pcr
from asepsis.edge.sandbox.supervision_parts import Tell
from asepsis.edge.sandbox.supervision_state import SHIPPED

FILES_MAX: Final = 5_000
"""Files of one version; a compartment's code has some hundred."""
Measure = Callable[[str, str, Path | None], None]
"""Told compartment, version and package before it runs; the package is None for the shipped one."""


def not_measured(_compartment: str, _version: str, _package: Path | None) -> None:
    """Measure nothing: the device has no TPM, or nobody said where it is."""


def digest_of(package: Path) -> str:
    """Return the hash of a version: over names and hashes of its files, in order of their names.

    Raises:
        LimitExceeded: More than `FILES_MAX` files.
        Unavailable: A file cannot be read, or there is none.
    """
    found = hashlib.sha256()
    try:
        files = sorted(path for path in package.rglob("*") if path.is_file())
        if len(files) > FILES_MAX:
            raise LimitExceeded(f"a version has at most {FILES_MAX} files")
        for path in files:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"{content}  {path.relative_to(package).as_posix()}\n".encode())
    except OSError as error:
        raise Unavailable(f"{package} cannot be read whole") from error
    if not files:
        raise Unavailable(f"{package} holds nothing")
    return found.hexdigest()


class MeasuredVersions:
    """What one device has measured since its start.

    Args:
        tpm: The TPM.
        start: The first line of the log.
        tell: Told what was not measured.
        log: The log.
    """

    def __init__(self, tpm: Path, *, start: Line, tell: Tell, log: Path = LOG) -> None:
        self._tpm = tpm
        self._start = start
        self._tell = tell
        self._log = log
        self._running: dict[str, tuple[str, str]] = {}

    def __call__(self, compartment: str, version: str, package: Path | None) -> None:
        """Measure a version before it runs; the one that ran last is not measured again."""
        try:
            content = self._start.sha256 if package is None else digest_of(package)
        except AsepsisError as error:
            content = hashlib.sha256(b"").hexdigest()
            self._tell(compartment, "not-measured", {"code": error.code, "text": str(error)})
        if (version, content) == self._running.get(compartment, (SHIPPED, self._start.sha256)):
            return
        self._running[compartment] = version, content
        self._measure(
            Line(change=Change.SWAP, subject=compartment, version=version, sha256=content)
        )

    def begin(self) -> None:
        """Begin the log, unless whoever started the device has."""
        self._measure(None)

    def _measure(self, line: Line | None) -> None:
        """Measure a line; without one the first of the log, unless it has one."""
        first = line is None
        measure_line(
            self._tpm, line or self._start, log=self._log, tell=self._tell, only_first=first
        )


def measure_line(
    where: Path, line: Line, *, log: Path, tell: Tell, only_first: bool = False
) -> None:
    """Measure one change before it takes effect; what cannot be measured is told and not hidden.

    Args:
        where: The TPM.
        line: What changes.
        log: The log.
        tell: Told what was not measured.
        only_first: Whether to measure it only into an empty log.
    """
    try:
        with Tpm(where) as tpm:
            found = Measuring(tpm, log)
            if not (only_first and found.lines()):
                _extend(tpm, found, line)
    except AsepsisError as error:
        tell(line.subject, "not-measured", {"code": error.code, "text": str(error)})


def _extend(tpm: Tpm, found: Measuring, line: Line) -> None:
    try:
        found.measure(line)
    except AsepsisError:
        extend_pcr(tpm, PCR_RUNTIME, line.digest)  # Without its line: nobody can explain it.
        raise


def begin_measuring(tpm: Path, *, log: Path, tell: Tell) -> Measure:
    """Begin the log of a device that runs the shipped manifest; return what measures its versions.

    Args:
        tpm: The TPM.
        log: The log, where it does not outlive the start.
        tell: Told what was not measured.
    """
    manifest = hashlib.sha256(MANIFEST.read_bytes()).hexdigest()
    start = Line(change=Change.START, subject="device", version=SHIPPED, sha256=manifest)
    found = MeasuredVersions(tpm, start=start, tell=tell, log=log)
    found.begin()
    return found
