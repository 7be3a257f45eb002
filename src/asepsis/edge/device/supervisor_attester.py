"""What the supervisor hands for attestation: two lines between two compartments, TPM and log."""

import os
import socket
from contextlib import ExitStack
from typing import Final

from asepsis.edge.device.manifest import ATTESTER, NETWORK
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.sandbox import domains
from asepsis.edge.sandbox.ring import wake_pair

_ENDS: Final = {NETWORK: ("question", "evidence"), ATTESTER: ("evidence", "question")}
"""Compartment -> line that it says on, line that it hears on."""


class AttesterLines:
    """The lines of one device; they outlive the processes at their ends.

    Args:
        setting: Whether there is a TPM, and where.

    Resource handling: holds the lines until `close`; without a TPM there are none.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._pairs: dict[str, tuple[socket.socket, socket.socket]] = {}
        if setting.tpm is not None:
            for name in _ENDS[NETWORK]:
                with domains.sockets_as("line", name):
                    self._pairs[name] = wake_pair()

    def handed(self, name: str) -> dict[str, int]:
        """Return the descriptors of lines that a compartment gets; they stay ours."""
        says, hears = _ENDS.get(name, ("", ""))
        if says not in self._pairs:
            return {}
        return {says: self._pairs[says][0].fileno(), hears: self._pairs[hears][1].fileno()}

    def open(self, files: ExitStack) -> dict[str, int]:
        """Open TPM and log for one process.

        Args:
            files: Closes them here.

        Raises:
            ConfigError: There is no such TPM.
            OSError: The log cannot be opened.
        """
        if self._setting.tpm is None:
            return {}
        found = {"tpm": Tpm(self._setting.tpm).release()}
        files.callback(os.close, found["tpm"])
        domains.label(found["tpm"], "document", "tpm")
        log = self._setting.measured_log
        if log is not None and log.exists():
            found["measured-log"] = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
            files.callback(os.close, found["measured-log"])
            domains.label(found["measured-log"], "document", "measured-log")
        return found

    def close(self) -> None:
        """Let go of the lines."""
        for pair in self._pairs.values():
            for line in pair:
                line.close()
