"""The service address of a pair, as the supervisor sees it: whether this gateway has it.

The supervisor holds no key and reads no stranger. It looks at the page of memory, stops and starts
the families, runs the two commands that move the address, and writes `<data>/run/active` for
whatever else moves it (keepalived's `track_file`).
"""

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Final, Self

from asepsis.edge.gateway.families import Family
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.pair.page import VARIABLE, LeasePage
from asepsis.edge.gateway.pair.settings import PairSettings
from asepsis.edge.gateway.settings import Settings

ACTIVE_FILE: Final = "active"
PAIR_FAMILY: Final = "pair"


class ServiceAddress:
    """The lease and the address.

    Args:
        pair: The settings.
        page: Made by this process.
        run_folder: Where `active` stands.
        findings: Told when a command fails.

    Attributes:
        active: What the families were last started for.
    """

    def __init__(
        self, pair: PairSettings, page: LeasePage, *, run_folder: Path, findings: Findings
    ) -> None:
        self._pair = pair
        self._page = page
        self._file = run_folder / ACTIVE_FILE
        self._findings = findings
        self.active = False
        # Families only read: the pair's process alone may write.
        self._readable = os.open(f"/proc/self/fd/{page.descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        self._write()

    @classmethod
    def of(cls, settings: Settings, findings: Findings) -> Self | None:
        """Return the service address that settings ask for; None for a gateway alone."""
        if settings.pair is None:
            return None
        run = Path(settings.data) / "run"
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(settings.pair, LeasePage.make(), run_folder=run, findings=findings)

    def changed(self) -> bool:
        """Whether the lease says otherwise than what the families were started for."""
        return self._page.holds() is not self.active

    def turn(self) -> None:
        """Take or give the address; what listened has ended before this."""
        self.active = self._page.holds()
        self._write()
        self._command(self._pair.take if self.active else self._pair.give)

    def leave(self) -> None:
        """Give the address away because the gateway ends."""
        if self.active:
            self.active = False
            self._write()
            self._command(self._pair.give)

    def environment(self, family: Family) -> dict[str, str]:
        """Return the environment of a family; in it, the page."""
        descriptor = self._page.descriptor if family.name == PAIR_FAMILY else self._readable
        os.set_inheritable(self._page.descriptor, family.name == PAIR_FAMILY)
        os.set_inheritable(self._readable, family.name != PAIR_FAMILY)
        return os.environ | {VARIABLE: str(descriptor)}

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            self._file.write_text("1\n" if self.active else "0\n", "ascii")

    def _command(self, command: tuple[str, ...]) -> None:
        if not command:
            return
        try:
            done = subprocess.run(  # noqa: S603 - an administrator's own command
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._pair.command_s,
                check=False,
            )
            if done.returncode:
                text = done.stderr.decode("utf-8", "replace")[-200:]
                self._findings.note(Finding.ADDRESS, command[0], code=done.returncode, text=text)
        except (OSError, subprocess.TimeoutExpired) as error:
            self._findings.note(Finding.ADDRESS, command[0], code=type(error).__name__)
