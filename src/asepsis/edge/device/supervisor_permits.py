"""How the supervisor asks the critical compartment for a permit to activate a version."""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Final

from asepsis.core.errors import SafetyRefusal
from asepsis.core.model.manifest import Compartment, Rung
from asepsis.edge.device.gate import Gate
from asepsis.edge.device.permit import UNANSWERED, UpdateRung

GAP_MS: Final[Mapping[Rung, int]] = {Rung.SWAP: 50, Rung.RESTART: 2_000}
"""Longest time without service that a replacement by this rung takes, milliseconds."""


class OnePermit:
    """Permits for one compartment; the `Permit` of its watch.

    Args:
        gate: Carries questions and answers.
        declared: The compartment.
        begins: Asked last, with the permit in hand; raises AsepsisError, and it is not used.
    """

    def __init__(
        self, gate: Gate, declared: Compartment, *, begins: Callable[[str, str], None]
    ) -> None:
        self._gate = gate
        self._declared = declared
        self._begins = begins
        self._version = ""
        self._release = b""

    def ask(self, version: str) -> None:
        """Ask for a version.

        Raises:
            SafetyRefusal: Nobody can answer.
        """
        self._version = version
        self._release = release_digest(self._declared.name, version)
        self._gate.ask_permit(
            self._release,
            self._rung,
            gap_ms=GAP_MS[self._declared.update.rung],
            touches=self._declared.criticality,
        )

    def verdict(self) -> str | None:
        """Return why it is not permitted, "" where it is, None where there is no answer yet."""
        reason = self._gate.permits.reason(now_s=time.monotonic())
        return None if reason == UNANSWERED else reason

    def redeem(self) -> None:
        """Use the permit up.

        Raises:
            SafetyRefusal: It does not hold any more.
            AsepsisError: Whoever updates the device does not want it now.
        """
        why = self._gate.permits.reason(now_s=time.monotonic())
        if why:
            raise SafetyRefusal(why)
        self._begins(self._declared.name, self._version)
        self._gate.permits.redeem(self._release, self._rung, now_s=time.monotonic())

    @property
    def _rung(self) -> UpdateRung:
        return UpdateRung(self._declared.update.rung.value)


def release_digest(compartment: str, version: str) -> bytes:
    """Return what names a version of a compartment in a permit: a SHA-256 digest."""
    return hashlib.sha256(f"{compartment}/{version}".encode()).digest()
