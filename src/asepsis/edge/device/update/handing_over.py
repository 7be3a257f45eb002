"""The rung of another program: RAUC, SWUpdate or a vendor's own writes and starts what it knows.

The agent keeps what no such program has: who approved it, the safe moment, the self-tests. The
program gets a file that the verifier has judged, and says with its exit code that it was written.
That is no success: the machine starts it on trial, and only passed self-tests make it the good one.
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, SafetyRefusal, Unavailable
from asepsis.core.model.manifest import Compartment
from asepsis.edge.device.activation import Activation
from asepsis.edge.device.boot_slot import Examination
from asepsis.edge.device.permit import UpdateRung
from asepsis.edge.device.update.image_rung import restart_machine
from asepsis.edge.device.update.memory import Target
from asepsis.edge.device.update.rungs import Permit, Refused, Work, permitted, states_of
from asepsis.edge.uplink.files import read_state, write_durably

STATE: Final = "handed-over.json"
INSTALL_S_MAX: Final = 3_600.0
WORD_S_MAX: Final = 60.0
"""Longest time for a program's word on slots, seconds."""
ASK_S: Final = 10.0
"""From one question for a permit to the next, once all is written, seconds."""
SAID_BYTES_MAX: Final = 4_096
TEXT_CHARS_MAX: Final = 120
FILE: Final = "{file}"
SLOT: Final = "{slot}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """A program that installs, and its words.

    Attributes:
        component: Of the releases that it installs.
        file: Name of its file in the artefact.
        install: Command that writes a file and makes it what starts next; `{file}` is its path.
        slot: Command that prints the name of the slot that runs.
        good: Command that makes the running slot the good one.
        bad: Command that makes a slot a bad one; `{slot}` is `booted` or `other`.
    """

    component: str
    file: str
    install: tuple[str, ...]
    slot: tuple[str, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What is kept of it over a start.

    Attributes:
        confirmed: The version that passed last.
        trial: The version that was handed over; "" for none.
        before: The slot that ran then.
    """

    confirmed: str = ""
    trial: str = ""
    before: str = ""


class HandOverActivator:
    """Puts versions into service by another program; see `rungs.RungActivator`.

    Args:
        setting: The program.
        releases: Folder of the component's versions.
        permit: Of the critical compartment.
        activation: The two gates.
        compartments: Of the device: those that test themselves must live.
        refused: Told what was not installed, and why.
        restart: Starts the machine anew.
        now_s: Monotonic seconds.

    Raises:
        Unavailable: The program does not say which slot runs.
    """

    states = states_of(UpdateRung.IMAGE)

    def __init__(
        self,
        setting: HandOver,
        *,
        releases: Path,
        permit: Permit,
        activation: Activation,
        compartments: Iterable[Compartment],
        refused: Refused,
        restart: Callable[[], None] = restart_machine,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._setting = setting
        self._releases = releases
        self._permit = permit
        self._activation = activation
        self._restart = restart
        self._now_s = now_s
        self._work = Work(refused)
        self._examination = Examination(compartments)
        self._lives = False
        self._ending: Iterator[None] = iter(())
        self._state = self._load()
        self._slot = _word(setting.slot)

    def confirmed(self, component: str) -> str:  # noqa: ARG002 - of the port
        """See `Activator`."""
        return self._state.confirmed

    def on_trial(self, component: str, version: str) -> bool:  # noqa: ARG002 - of the port
        """See `Activator`."""
        return self._trying and self._state.trial == version

    def proved(self, component: str, version: str) -> bool:
        """See `Activator`."""
        return self._lives and self.on_trial(component, version)

    def restarts(self, component: str) -> bool:  # noqa: ARG002 - of the port
        """See `Activator`."""
        return True

    def begin(self, target: Target) -> None:
        """See `Activator`."""
        self._work.begin(target, self._install(target))

    def reject(self, component: str, why: str) -> None:  # noqa: ARG002 - of the port
        """See `Activator`."""
        self._work.drop()
        self._ending = self._leave()

    def heard(self, compartment: str, event: str) -> None:
        """See `RungActivator`."""
        self._lives = self._examination.note(compartment, event) or self._lives

    def step(self) -> None:
        """See `RungActivator`."""
        self._work.step()
        try:
            next(self._ending)
        except StopIteration:
            if self._trying and self._lives and self._passed():
                self._ending = self._keep()
        except AsepsisError:
            self._ending = self._paused()  # Tried again; until then the slot stays on trial.

    @property
    def _trying(self) -> bool:
        """Whether what was handed over runs now."""
        return bool(self._state.trial) and self._slot != self._state.before

    def _passed(self) -> bool:
        with contextlib.suppress(AsepsisError):
            self._activation.keeps(self._setting.component, self._state.trial)
            return True
        return False

    def _install(self, target: Target) -> Generator[None]:
        yield from permitted(self._permit, target, activation=self._activation, now_s=self._now_s)
        self._save(replace(self._state, trial=target.version, before=self._slot))
        path = self._releases / target.version / self._setting.file
        try:
            yield from self._run(self._setting.install, INSTALL_S_MAX, file=str(path))
        except AsepsisError:
            self._save(replace(self._state, trial=""))
            raise
        yield from self._permitted_again(target)
        try:
            self._restart()
        except AsepsisError:
            yield from self._leave()
            raise

    def _permitted_again(self, target: Target) -> Generator[None]:
        """Wait for another permit: writing took its time, and somebody may be attached by now."""
        nobody = Activation()
        while True:
            try:
                yield from permitted(self._permit, target, activation=nobody, now_s=self._now_s)
            except SafetyRefusal:
                yield from self._paused()
            else:
                return

    def _keep(self) -> Generator[None]:
        yield from self._run(self._setting.good, WORD_S_MAX)
        self._save(_State(confirmed=self._state.trial))

    def _leave(self) -> Generator[None]:
        tried = self._trying
        which = "booted" if tried else "other"
        yield from self._run(self._setting.bad, WORD_S_MAX, slot=which)
        if tried:
            self._restart()
        else:
            self._save(replace(self._state, trial=""))

    def _paused(self) -> Generator[None]:
        until_s = self._now_s() + ASK_S
        while self._now_s() < until_s:
            yield

    def _run(self, command: tuple[str, ...], limit_s: float, **words: str) -> Generator[None]:
        """Run a command to its end.

        Raises:
            Unavailable: It does not start, takes too long, or says that it failed.
        """
        filled = [words.get(part.strip("{}"), part) for part in command]
        log = self._releases / "program.log"
        try:
            with log.open("wb") as said:
                process = subprocess.Popen(  # noqa: S603 - named in the device's own settings
                    filled, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
                )
        except OSError as error:
            raise Unavailable(f"{command[0]} does not start: {error.strerror}") from error
        until_s = self._now_s() + limit_s
        try:
            while process.poll() is None:
                if self._now_s() > until_s:
                    raise Unavailable(f"{command[0]} takes too long")
                yield
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            raise Unavailable(f"{command[0]} failed: {_last_line(log)}")

    def _load(self) -> _State:
        found = read_state(self._releases / STATE)
        return _State(**{name: str(found.get(name, "")) for name in _State.__slots__})

    def _save(self, state: _State) -> None:
        write_durably(self._releases / STATE, json.dumps(asdict(state)).encode())
        self._state = state


def _word(command: tuple[str, ...]) -> str:
    """Return what a command prints.

    Raises:
        Unavailable: It fails, or prints nothing.
    """
    try:
        done = subprocess.run(  # noqa: S603 - named in the device's own settings
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=WORD_S_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]} does not say which slot runs") from error
    said = done.stdout[:SAID_BYTES_MAX].decode("utf-8", "replace").strip()
    if done.returncode or not said:
        raise Unavailable(f"{command[0]} does not say which slot runs")
    return said


def _last_line(log: Path) -> str:
    """Return the last line that a program said, as text that can be shown."""
    try:
        said = log.read_bytes()[-SAID_BYTES_MAX:].decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line for line in said.splitlines() if line.strip()]
    shown = "".join(c if c.isprintable() else "?" for c in lines[-1]) if lines else ""
    return shown[:TEXT_CHARS_MAX]
