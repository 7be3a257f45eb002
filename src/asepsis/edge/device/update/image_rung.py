"""The rung of whole images: written beside the running one, started on trial, kept or gone back.

The boot loader counts the tries, so whatever goes wrong before the agent runs again goes back by
itself. The agent keeps an image only after every compartment has lived in it and its self-tests
have passed; one that does not pass is taken away from the loader, and the machine starts the other.
"""

import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, TransientError, Unavailable
from asepsis.core.model.manifest import Compartment
from asepsis.edge.device.activation import Activation
from asepsis.edge.device.boot_entry import Slot
from asepsis.edge.device.boot_slot import Examination
from asepsis.edge.device.permit import UpdateRung
from asepsis.edge.device.update.image_slots import ImageSlots
from asepsis.edge.device.update.memory import Target
from asepsis.edge.device.update.rungs import (
    Permit,
    Refused,
    Work,
    number_of,
    permitted,
    states_of,
)

GAP_MS: Final = 300_000
"""Longest time from the end of one image to the vital signs of the other, milliseconds."""
_RESTART: Final = 0x01234567
"""RB_AUTOBOOT of reboot(2)."""


def restart_machine() -> None:
    """Start the machine anew.

    Raises:
        Unavailable: This process may not.
    """
    os.sync()
    if ctypes.CDLL(None, use_errno=True).reboot(_RESTART):
        raise Unavailable(f"the machine does not restart: {os.strerror(ctypes.get_errno())}")


class ImageActivator:
    """Puts images into service; see `rungs.RungActivator`.

    Args:
        slots: Where they are.
        releases: Folder of this image's versions; each holds an artefact that was read back.
        permit: Of the critical compartment.
        activation: The two gates.
        compartments: Of the device: an image has proved itself when those that test themselves
            live.
        refused: Told what was not installed, and why.
        restart: Starts the machine anew.
        now_s: Monotonic seconds.
    """

    states = states_of(UpdateRung.IMAGE)

    def __init__(
        self,
        slots: ImageSlots,
        *,
        releases: Path,
        permit: Permit,
        activation: Activation,
        compartments: Iterable[Compartment],
        refused: Refused,
        restart: Callable[[], None] = restart_machine,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = slots
        self._releases = releases
        self._permit = permit
        self._activation = activation
        self._restart = restart
        self._now_s = now_s
        self._work = Work(refused)
        self._examination = Examination(compartments)
        self._lives = False
        self._leaving = False
        self._placed = ""
        self._settled = False
        self._offered = False

    def confirmed(self, component: str) -> str:  # noqa: ARG002 - of the port
        """See `Activator`: the newest image that is known to work."""
        try:
            known = [slot for slot in self._slots.entries() if slot.works]
        except Unavailable:
            return ""
        return self._version(known[0]) if known else ""

    def proved(self, component: str, version: str) -> bool:  # noqa: ARG002 - of the port
        """See `Activator`."""
        # Whoever took the counter off its name has not tested it: that it runs is what counts.
        running = self._running()
        return self._lives and running is not None and self._version(running) == version

    def on_trial(self, component: str, version: str) -> bool:  # noqa: ARG002 - of the port
        """See `Activator`."""
        trial = self._trial()
        return trial is not None and self._version(trial) == version

    def restarts(self, component: str) -> bool:  # noqa: ARG002 - of the port
        """See `Activator`."""
        return True

    def begin(self, target: Target) -> None:
        """See `Activator`."""
        self._work.begin(target, self._install(target))

    def reject(self, component: str, why: str) -> None:  # noqa: ARG002 - of the port
        """See `Activator`: the loader forgets it, and the machine starts the one before."""
        self._work.drop()
        running = self._running()
        if running is None:
            return
        with contextlib.suppress(AsepsisError):  # The loader's own count goes on, to the same end.
            others = [slot for slot in self._slots.entries() if slot.number != running.number]
            if self._offered:
                for slot in others:
                    self._slots.give_up(slot)
            elif any(slot.works for slot in others):
                self._slots.give_up(running)
                self._leaving = True

    def heard(self, compartment: str, event: str) -> None:
        """See `RungActivator`."""
        self._lives = self._examination.note(compartment, event) or self._lives

    def step(self) -> None:
        """See `RungActivator`."""
        if self._leaving:
            with contextlib.suppress(AsepsisError):  # Tried again with the next step.
                self._restart()
            return
        self._work.step()
        if not self._lives or self._settled:
            return
        trial = self._trial()
        if trial is None:
            self._settled = True  # Nothing is on trial in this life of the machine any more.
            return
        with contextlib.suppress(TransientError):  # Not tested yet, or a disk that refuses.
            self._activation.keeps(trial.name, self._version(trial))
            self._slots.keep(trial)

    def _install(self, target: Target) -> Generator[None]:
        number = number_of(target.version)
        if self._placed != target.version:
            yield from self._slots.install(self._releases / target.version)
            self._placed = target.version
        yield from permitted(self._permit, target, activation=self._activation, now_s=self._now_s)
        self._slots.offer(number)
        self._offered = True
        try:
            self._restart()
        except AsepsisError:
            self.reject(target.component, "the machine does not start anew")
            raise

    def _trial(self) -> Slot | None:
        """Return the running image while it is on trial."""
        running = self._running()
        return None if running is None or running.works else running

    def _running(self) -> Slot | None:
        """Return the running image; None where it is not known, or is being left."""
        if self._leaving:
            return None
        try:
            return self._slots.running()
        except AsepsisError:
            return None

    def _version(self, slot: Slot) -> str:
        """Return the version of an image: its release's, or where none is here its number."""
        try:
            found = sorted(self._releases.glob(f"*+{slot.number}"))
        except OSError:
            found = []
        return found[0].name if found else f"{slot.name}+{slot.number}"
