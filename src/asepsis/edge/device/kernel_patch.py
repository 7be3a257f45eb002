"""Live patches of the running kernel: load one, see it take effect, withdraw it.

The kernel verifies the module's own signature; nothing here can make it take another one. A patch
counts once every process runs through it: until then `transition` of the kernel says 1, and what
does not get there in `TRANSITION_S` is taken back.

Source: Documentation/livepatch/livepatch.rst; Documentation/ABI/testing/sysfs-kernel-livepatch;
init_module(2), delete_module(2).
"""

import ctypes
import errno
import os
import time
from pathlib import Path
from typing import Final

from asepsis.core.errors import (
    AsepsisError,
    ConfigError,
    ContentMismatch,
    NotFound,
    SignatureInvalid,
    Unavailable,
)
from asepsis.edge.sandbox.kernel import system_call

PATCHES: Final = Path("/sys/kernel/livepatch")
TRANSITION_S: Final = 15.0
POLL_S: Final = 0.02
_CALLS: Final = {"x86_64": (175, 176), "aarch64": (105, 106)}
"""Numbers of init_module and delete_module."""
_NOT_SIGNED: Final = (
    errno.ENOKEY,
    errno.EKEYREJECTED,
    errno.EBADMSG,
    errno.EPERM,
    errno.ENOPKG,
)
_NO_MODULE: Final = (errno.ENOEXEC, errno.EINVAL, errno.ENOENT)


def load(name: str, module: bytes) -> int:
    """Load a patch and wait until it is in effect everywhere.

    Args:
        name: Of the module; it must be the one that the module has itself.
        module: With the signature for the kernel.

    Returns:
        Milliseconds from the call until it was in effect.

    Raises:
        SignatureInvalid: The kernel does not take the signature.
        ContentMismatch: It is no module for this kernel, or no patch of this name.
        Unavailable: The kernel refuses otherwise, or it did not get everywhere and was taken back.
        ConfigError: No live patches on this machine.
    """
    began_s = time.monotonic()
    result, error = system_call(_calls()[0], module, len(module), ctypes.c_char_p(b""))
    if result < 0:
        _refused(name, error)
    try:
        _until_settled(name, enabled=True)
    except AsepsisError:
        withdraw(name)
        raise
    return round((time.monotonic() - began_s) * 1_000)


def withdraw(name: str) -> int:
    """Withdraw a patch: nobody runs through it any more, and its module is gone.

    Returns:
        Milliseconds that it took.

    Raises:
        NotFound: There is no such patch.
        Unavailable: It could not be taken back in time.
        ConfigError: No live patches on this machine.
    """
    began_s = time.monotonic()
    switch = PATCHES / name / "enabled"
    if not switch.exists():
        raise NotFound(f"no patch {name} is in effect")
    try:
        switch.write_text("0", "ascii")
    except OSError as error:
        raise Unavailable(f"the kernel keeps {name}: {error.strerror}") from error
    _until_settled(name, enabled=False)
    while True:
        result, error_number = system_call(
            _calls()[1], ctypes.c_char_p(name.encode("ascii")), os.O_NONBLOCK
        )
        if result == 0:
            return round((time.monotonic() - began_s) * 1_000)
        if time.monotonic() - began_s > TRANSITION_S:
            raise Unavailable(f"the module {name} stays: {os.strerror(error_number)}")
        time.sleep(POLL_S)


def present() -> tuple[str, ...]:
    """Return the names of all patches that the kernel has."""
    try:
        return tuple(sorted(path.name for path in PATCHES.iterdir() if path.is_dir()))
    except OSError:
        return ()


def _calls() -> tuple[int, int]:
    try:
        return _CALLS[os.uname().machine]
    except KeyError:
        raise ConfigError("no live patches on this sort of processor") from None


def _refused(name: str, error: int) -> None:
    text = f"the kernel refuses {name}: {os.strerror(error)}"
    if error in _NOT_SIGNED:
        raise SignatureInvalid(text)
    if error in _NO_MODULE:
        raise ContentMismatch(text, hint="build it against the kernel of this image")
    raise Unavailable(text)


def _until_settled(name: str, *, enabled: bool) -> None:
    """Wait until a patch is in effect, or is gone."""
    folder = PATCHES / name
    deadline_s = time.monotonic() + TRANSITION_S
    while time.monotonic() < deadline_s:
        try:
            settled = (folder / "transition").read_text("ascii").strip() == "0"
            state = (folder / "enabled").read_text("ascii").strip() == "1"
        except OSError:
            if not enabled:
                return  # The kernel takes the folder away with the patch.
            raise ContentMismatch(f"the module is no patch of the name {name}") from None
        if settled and state == enabled:
            return
        time.sleep(POLL_S)
    raise Unavailable(f"the patch {name} did not get to every process in {TRANSITION_S:.0f} s")
