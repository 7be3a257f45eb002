"""The service medium of a device: what is brought on it reaches the verifier and nothing else.

It is a raw block device, never mounted and never read for partitions. A bounded content is copied
from it and handed to the verifier; what the verifier did not call verified is not looked into.
Numbers of parcels only go up in one life of the machine.
"""

import hashlib
import mmap
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from asepsis.core.errors import AsepsisError, Conflict, Unavailable
from asepsis.core.trust.attestation_log import Change
from asepsis.core.wire.parcel import BLOCK, Head, Parcel, ParcelKind, decode_content, decode_head
from asepsis.edge.device import kernel_patch
from asepsis.edge.device.judging import Judge

POLL_S: Final = 0.5
Measure = Callable[[Change, str, str, str], None]
"""Told change, subject, version and hash before it takes effect."""


class Tell(Protocol):
    """Is told what happens."""

    def __call__(self, event: str, /, **facts: Any) -> None:
        """Take an event."""
        ...


class Medium:
    """Takes parcels from a service medium.

    Args:
        device: The block device.
        judge: Has the verifier judge.
        tell: Told what came, and what came of it.
        measure: Told of each patch before it is loaded.
    """

    def __init__(self, device: Path, *, judge: Judge, tell: Tell, measure: Measure) -> None:
        self._device = device
        self._judge = judge
        self._tell = tell
        self._measure = measure
        self._taken = 0
        self._seen = b""

    def run(self) -> None:
        """Take what comes, for ever; a medium that cannot be read is told once and left alone."""
        try:
            while True:
                self.look()
                time.sleep(POLL_S)
        except (OSError, Unavailable) as error:
            self._tell("medium-lost", text=str(error)[:200])

    def look(self) -> None:
        """Take the parcel that is there, if it is another one than last time.

        Raises:
            OSError: The medium cannot be read.
            Unavailable: It has not even one block.
        """
        block = read_blocks(self._device, at=0, size=BLOCK)
        if block == self._seen:
            return
        self._seen = block
        try:
            head = decode_head(block)
            if head is not None:
                self._take(head)
        except AsepsisError as error:
            self._tell("parcel-refused", code=error.code, text=str(error)[:200])

    def _take(self, head: Head) -> None:
        content = read_blocks(self._device, at=BLOCK, size=head.content_bytes)
        self._judge(content, head.signature)
        parcel = decode_content(content)
        if parcel.number <= self._taken:
            raise Conflict(f"parcel {parcel.number} is not newer than {self._taken}")
        self._taken = parcel.number
        self._tell("parcel", kind=parcel.kind.value, name=parcel.name, number=parcel.number)
        _ACTS[parcel.kind](self, parcel)

    def load(self, parcel: Parcel) -> None:
        """Load a patch of the kernel."""
        digest = hashlib.sha256(parcel.payload).hexdigest()
        self._measure(Change.PATCH, parcel.name, str(parcel.number), digest)
        took_ms = kernel_patch.load(parcel.name, parcel.payload)
        self._tell("patched", name=parcel.name, sha256=digest, took_ms=took_ms, **_kernel())

    def withdraw(self, parcel: Parcel) -> None:
        """Withdraw a patch of the kernel."""
        took_ms = kernel_patch.withdraw(parcel.name)
        digest = hashlib.sha256(b"").hexdigest()
        self._measure(Change.UNPATCH, parcel.name, str(parcel.number), digest)
        self._tell("unpatched", name=parcel.name, took_ms=took_ms, **_kernel())


_ACTS: Final[Mapping[ParcelKind, Callable[[Medium, Parcel], None]]] = {
    ParcelKind.KERNEL_PATCH: Medium.load,
    ParcelKind.KERNEL_UNPATCH: Medium.withdraw,
}


def read_blocks(device: Path, *, at: int, size: int) -> bytes:
    """Read from a block device as it is now, past every cache of this machine.

    Args:
        device: Block device.
        at: Where, a multiple of `BLOCK`.
        size: Bytes.

    Raises:
        OSError: It cannot be read.
        Unavailable: It is shorter.
    """
    whole = (size + BLOCK - 1) // BLOCK * BLOCK
    descriptor = os.open(device, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, whole) as aligned:
            if os.preadv(descriptor, [aligned], at) != whole:
                raise Unavailable("the service medium is shorter than it says")
            return aligned[:size]
    finally:
        os.close(descriptor)


def _kernel() -> dict[str, Any]:
    """Return how the kernel names itself now, and its patches."""
    version = Path("/proc/version").read_text("ascii", "replace").strip()
    return {"version": version[:200], "patches": list(kernel_patch.present())}
