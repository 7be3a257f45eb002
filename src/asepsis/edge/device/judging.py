"""Has the verifier compartment judge one file: a process that is started for it and ends with it.

Where the image carries the verifier in machine code, that one is started; else the one in Python.
Both stand behind the same layers and say the same words.
"""

import base64
import contextlib
import fcntl
import hashlib
import os
import select
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import (
    ContentMismatch,
    FramingError,
    SignatureInvalid,
    Unavailable,
)
from asepsis.edge.device.manifest import VERIFIER, whole
from asepsis.edge.device.verify import REFUSED, VERIFIED
from asepsis.edge.sandbox import domains, launcher, native
from asepsis.edge.sandbox.control import receive_report
from asepsis.edge.sandbox.generate import host
from asepsis.edge.sandbox.launcher import Blueprint, Compartment
from asepsis.edge.sandbox.layer import Layer

PROGRAMS: Final = Path("/usr/lib/asepsis/programs")
"""Where an image keeps compartments in machine code."""
_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class OneShotVerifier:
    """Judges files by one key, each in a process of its own.

    Args:
        spki_der: The key that files must be signed with.
        layers: Layers to apply.
        code_folder: Folder that holds only a link to the package.
        log: Takes standard error.
        programs: Where a verifier in machine code would be.
    """

    def __init__(
        self,
        spki_der: bytes,
        *,
        layers: frozenset[Layer],
        code_folder: Path,
        log: Path,
        programs: Path = PROGRAMS,
    ) -> None:
        self._spki_der = spki_der
        self._code_folder = code_folder
        self._log = log
        self._declared = whole().compartments[VERIFIER]
        self._plan = host.blueprint(self._declared, layers=layers, state=code_folder)
        program = programs / VERIFIER
        self.program = program if program.is_file() else None

    def judge(self, content: bytes, signature: bytes) -> None:
        """Judge a file.

        Raises:
            SignatureInvalid: It is refused.
            Unavailable: No verifier ran, or it gave no word in time.
            ContentMismatch: It judged something else.
            ConfigError: It did not give up its rights.
        """
        with sealed("candidate", content) as candidate, sealed("signature", signature) as signed:
            domains.label(candidate, "document", "candidate")
            domains.label(signed, "document", "candidate-signature")
            running = self._start({"candidate": candidate, "signature": signed})
            try:
                word = self._word(running)
            finally:
                running.kill()
        if word.get("event") != VERIFIED:
            raise SignatureInvalid(f"the verifier refuses it: {str(word.get('text'))[:120]}")
        if word.get("sha256") != hashlib.sha256(content).hexdigest():
            raise ContentMismatch("the verifier speaks of another file")

    def _start(self, descriptors: dict[str, int]) -> Compartment:
        with self._log.open("ab", buffering=0) as log:
            if self.program is None:
                spki = base64.b64encode(self._spki_der).decode()
                return launcher.launch(
                    self._plan,
                    body={"spki": spki},
                    descriptors=descriptors,
                    code_folder=self._code_folder,
                    log=log,
                )
            with sealed("key", self._spki_der) as key:
                return native.launch(
                    self.program,
                    name=VERIFIER,
                    confinement=self._plan.confinement,
                    body={},
                    descriptors={**descriptors, "key": key},
                    log=log,
                )

    def _word(self, running: Compartment) -> dict[str, Any]:
        """Wait for its word; until then it has as long as its manifest says."""
        deadline_s = time.monotonic() + self._declared.resources.silence_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            report = _report(running, left_s)
            if report.get("event") == "confined":
                _go_on(running, self._plan)
            elif report.get("event") in (VERIFIED, REFUSED):
                return report
            elif report.get("event") == "failed":
                raise Unavailable(f"the verifier failed: {str(report.get('text'))[:120]}")
        raise Unavailable("the verifier gave no word in time")


def _report(running: Compartment, wait_s: float) -> dict[str, Any]:
    """Wait for the next report; an empty one if there is none in time."""
    if not select.select([running.control], [], [], wait_s)[0]:
        return {}
    try:
        report = receive_report(running.control)
    except BlockingIOError:
        return {}
    except (FramingError, OSError) as error:
        raise Unavailable("the verifier talks nonsense") from error
    if report is None:
        raise Unavailable("the verifier ended without a word")
    return report


def _go_on(running: Compartment, plan: Blueprint) -> None:
    """Let one in machine code judge, once the kernel has said that it gave up its rights.

    Raises:
        ConfigError: It did not.
        Unavailable: It is gone.
    """
    if isinstance(running, native.Native):
        native.check_confined(running, plan.confinement)
        running.order("judge", {})


@contextlib.contextmanager
def sealed(name: str, content: bytes) -> Generator[int]:
    """Yield a memory file that nobody can change any more, at its beginning."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(descriptor, content)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


Judge = Callable[[bytes, bytes], None]
"""Given a file and its signature, raises where the verifier does not call it verified."""
