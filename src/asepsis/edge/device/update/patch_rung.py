"""The rung of live patches: a release that changes the running kernel, without a start.

The module has a signature of its own, which the kernel judges; the release has its approvals, which
the verifier judged. A patch is gone with every start of the machine, so the confirmed one is loaded
again then, as soon as the critical compartment permits. It stays a debt until an image has it.
"""

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final, Protocol

from asepsis.core.errors import AsepsisError, ContentMismatch, NotFound, TransientError, Unavailable
from asepsis.core.wire.parcel import NAME
from asepsis.edge.device import kernel_patch
from asepsis.edge.device.activation import Activation
from asepsis.edge.device.permit import UpdateRung
from asepsis.edge.device.update.memory import Target
from asepsis.edge.device.update.rungs import Permit, Refused, Work, permitted, states_of
from asepsis.edge.uplink.files import read_state, write_durably

STATE: Final = "live-patch.json"
MODULE_BYTES_MAX: Final = 4 << 20
AGAIN_S: Final = 30.0
"""From one try to load the confirmed patch after a start to the next, seconds."""


class Patches(Protocol):
    """What the kernel does with patches; see `kernel_patch`."""

    def load(self, name: str, module: bytes) -> int:
        """Load a patch and wait until it is in effect everywhere; returns milliseconds.

        Raises:
            AsepsisError: The kernel refuses it.
        """
        ...

    def withdraw(self, name: str) -> int:
        """Withdraw a patch; returns milliseconds.

        Raises:
            NotFound: There is none of that name.
            AsepsisError: It stays.
        """
        ...

    def present(self) -> tuple[str, ...]:
        """Return the names of all patches that the kernel has."""
        ...


class ThisKernel:
    """The kernel of this machine, as `Patches`."""

    def load(self, name: str, module: bytes) -> int:
        """See `Patches`."""
        return kernel_patch.load(name, module)

    def withdraw(self, name: str) -> int:
        """See `Patches`."""
        return kernel_patch.withdraw(name)

    def present(self) -> tuple[str, ...]:
        """See `Patches`."""
        return kernel_patch.present()


class PatchActivator:
    """Puts live patches into effect; see `rungs.RungActivator`.

    Args:
        component: Of the releases.
        releases: Folder of its versions; each holds one file `NAME.ko`.
        patches: What the kernel does.
        permit: Of the critical compartment.
        activation: The two gates.
        refused: Told what was not installed, and why.
        now_s: Monotonic seconds.
    """

    states = states_of(UpdateRung.LIVE_PATCH)

    def __init__(
        self,
        component: str,
        *,
        releases: Path,
        patches: Patches,
        permit: Permit,
        activation: Activation,
        refused: Refused,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._component = component
        self._releases = releases
        self._patches = patches
        self._permit = permit
        self._activation = activation
        self._now_s = now_s
        self._work = Work(refused)
        self._beside: Iterator[None] = iter(())
        self._again_s = now_s()
        self._confirmed = str(read_state(releases / STATE).get("confirmed", ""))
        self._trial = ""

    def confirmed(self, component: str) -> str:  # noqa: ARG002 - of the port
        """See `Activator`: the patch that is loaded again after a start."""
        return self._confirmed

    def on_trial(self, component: str, version: str) -> bool:  # noqa: ARG002 - of the port
        """See `Activator`."""
        return bool(version) and self._trial == version

    def proved(self, component: str, version: str) -> bool:
        """See `Activator`."""
        if not self.on_trial(component, version):
            return False
        try:
            return self._module(version).stem in self._patches.present()
        except AsepsisError:
            return False

    def restarts(self, component: str) -> bool:  # noqa: ARG002 - of the port
        """See `Activator`."""
        return False

    def begin(self, target: Target) -> None:
        """See `Activator`."""
        self._work.begin(target, self._install(target))

    def reject(self, component: str, why: str) -> None:  # noqa: ARG002 - of the port
        """See `Activator`."""
        self._work.drop()
        if self._trial:
            self._beside, self._trial = self._withdrawn(self._trial), ""

    def heard(self, compartment: str, event: str) -> None:
        """See `RungActivator`: a patch says nothing of itself."""

    def step(self) -> None:
        """See `RungActivator`."""
        self._work.step()
        try:
            next(self._beside)
        except StopIteration:
            self._look()
        except AsepsisError:
            self._beside = iter(())  # What did not work is looked at again.

    def _look(self) -> None:
        if self._trial:
            try:
                self._activation.keeps(self._component, self._trial)
            except TransientError:
                return
            self._beside = self._kept(self._trial)
        elif self._confirmed and self._work.target is None and self._now_s() >= self._again_s:
            self._again_s = self._now_s() + AGAIN_S
            if self._module(self._confirmed).stem not in self._patches.present():
                self._beside = self._again(self._confirmed)

    def _install(self, target: Target) -> Generator[None]:
        module = self._module(target.version)
        yield from permitted(self._permit, target, activation=self._activation, now_s=self._now_s)
        content = _read(module)
        yield from _aside(lambda: self._patches.load(module.stem, content))
        self._trial = target.version

    def _again(self, version: str) -> Generator[None]:
        """Load the confirmed patch once more, where the critical compartment permits it."""
        module = self._module(version)
        target = Target(
            release="",
            path="",
            component=self._component,
            version=version,
            counter=0,
            floor=0,
            reboot="none",
        )
        yield from permitted(self._permit, target, activation=Activation(), now_s=self._now_s)
        content = _read(module)
        yield from _aside(lambda: self._patches.load(module.stem, content))

    def _kept(self, version: str) -> Generator[None]:
        before, self._trial = self._confirmed, ""
        write_durably(self._releases / STATE, json.dumps({"confirmed": version}).encode())
        self._confirmed = version
        if before and before != version:
            yield from self._withdrawn(before, unless=self._module(version).stem)

    def _withdrawn(self, version: str, *, unless: str = "") -> Generator[None]:
        name = self._module(version).stem
        if name != unless and name in self._patches.present():
            yield from _aside(lambda: self._patches.withdraw(name))

    def _module(self, version: str) -> Path:
        """Return the module of a version.

        Raises:
            NotFound: The version is gone.
            ContentMismatch: It has not exactly one module with a name of a patch.
        """
        try:
            found = [path for path in (self._releases / version).iterdir() if path.suffix == ".ko"]
        except OSError as error:
            raise NotFound(f"the patch is gone: {error.strerror}") from error
        if len(found) != 1 or not NAME.fullmatch(found[0].stem):
            raise ContentMismatch("a release of a live patch holds one module, NAME.ko")
        return found[0]


def _read(module: Path) -> bytes:
    try:
        with module.open("rb") as file:
            content = file.read(MODULE_BYTES_MAX + 1)
    except OSError as error:
        raise Unavailable(f"the patch cannot be read: {error.strerror}") from error
    if len(content) > MODULE_BYTES_MAX:
        raise ContentMismatch(f"a live patch has at most {MODULE_BYTES_MAX} bytes")
    return content


def _aside(work: Callable[[], int]) -> Generator[None]:
    """Do what takes seconds in a thread, and wait for it a step at a time.

    Raises:
        AsepsisError: What it raised.
    """
    failed: list[AsepsisError] = []

    def run() -> None:
        try:
            work()
        except AsepsisError as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="live-patch", daemon=True)
    thread.start()
    while thread.is_alive():
        yield
    if failed:
        raise failed[0]
