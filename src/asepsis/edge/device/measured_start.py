"""What a machine with a TPM does about attestation when it starts, before any compartment runs.

Its image's number stands on the signed kernel command line (`asepsis.number=N`). The floor is a
counter in the TPM, which nobody can lower: an image with a smaller number is not started, however
well it is signed. A machine whose TPM does not answer is started all the same, because its patient
goes before the proof; the hub then sees no proof.

Source: TCG Trusted Platform Module Library, part 1 clause 37.2 (NV counters).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import AsepsisError, ContentMismatch
from asepsis.core.model.manifest import Compartment
from asepsis.core.trust.attestation_log import Change, Line
from asepsis.edge.device.manifest import ATTESTER
from asepsis.edge.device.measured_versions import (
    Measure,
    begin_measuring,
    measure_line,
    not_measured,
)
from asepsis.edge.device.measuring import LOG
from asepsis.edge.device.tpm import DEVICE, Tpm
from asepsis.edge.device.tpm_keys import floor_number
from asepsis.edge.sandbox.supervision_parts import Tell

ARGUMENTS: Final = Path("/proc/cmdline")
NUMBER_MAX: Final = 9_999
"""Largest number of a release at the hub."""
_NUMBER: Final = re.compile(r"(?:^|\s)asepsis\.number=([0-9]{1,4})(?=\s|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStart:
    """What attestation needs to know of a start.

    Attributes:
        number: Number of the image that runs; 0 where it names none.
        tell: Told what was not measured.
        tpm: The TPM; None for a machine without one.
        log: Log of changes.
    """

    number: int
    tell: Tell
    tpm: Path | None
    log: Path = LOG

    def require_floor(self) -> None:
        """Check that this image may run.

        Raises:
            ContentMismatch: It is older than the oldest that this device starts.
        """
        if self.tpm is None:
            return
        try:
            with Tpm(self.tpm) as tpm:
                floor = floor_number(tpm)
        except AsepsisError as error:
            self.tell("device", "not-measured", {"code": error.code, "text": str(error)})
            return
        if self.number < floor:
            raise ContentMismatch(
                f"image {self.number} is below the floor {floor} of this device",
                hint="an old image was started; install the present one",
            )

    def measure(self) -> Measure:
        """Begin the log; return what measures each version of a compartment before it runs."""
        if self.tpm is None:
            return not_measured
        return begin_measuring(self.tpm, log=self.log, tell=self.tell)

    def change(self, change: Change, subject: str, version: str, sha256: str) -> None:
        """Measure a change of something else, such as a live patch, before it takes effect.

        Raises:
            InputError: Words that no line of the log has.
        """
        if self.tpm is not None:
            line = Line(change=change, subject=subject, version=version, sha256=sha256)
            measure_line(self.tpm, line, log=self.log, tell=self.tell)

    def settings(self) -> dict[str, Any]:
        """Return what of `Setting` attestation is about; begins the log."""
        return {
            "measure": self.measure(),
            "tpm": self.tpm,
            "measured_log": self.log,
            "image_number": self.number,
        }

    def runs(self, compartments: Mapping[str, Compartment]) -> tuple[Compartment, ...]:
        """Return the compartments that this machine runs: nobody attests without a TPM."""
        return tuple(c for c in compartments.values() if c.name != ATTESTER or self.tpm is not None)


def image_number(arguments: str) -> int:
    """Return the number of an image from its kernel command line; 0 where it names none."""
    found = _NUMBER.search(arguments)
    return int(found[1]) if found else 0


def read_start(tell: Callable[..., None], *, tpm: Path = DEVICE) -> MeasuredStart:
    """Return what this machine's start is.

    Args:
        tell: Told what was not measured, by name of the event and keywords.
        tpm: Where a TPM would be.
    """

    def told(compartment: str, event: str, details: Mapping[str, Any]) -> None:
        tell("device", compartment=compartment, what=event, details=dict(details))

    arguments = ARGUMENTS.read_text("ascii", "replace")
    where = tpm if tpm.is_char_device() else None
    return MeasuredStart(number=image_number(arguments), tell=told, tpm=where)
