"""The service medium of a device: what is brought on it reaches the verifier and nothing else.

It is a raw block device, never mounted and never read for partitions. A bounded content is copied
from it and handed to the verifier; what the verifier did not call verified is not looked into.
Numbers of parcels only go up, also over a restart. What a parcel brought is gone after a restart,
so the newest one may be brought once more then.
"""

import hashlib
import json
import mmap
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from asepsis.core.errors import AsepsisError, Conflict, Unavailable
from asepsis.core.trust.attestation_log import Change
from asepsis.core.wire.parcel import (
    BLOCK,
    NUMBER_MAX,
    Head,
    Parcel,
    ParcelKind,
    decode_content,
    decode_head,
)
from asepsis.edge.device import kernel_patch
from asepsis.edge.device.judging import Judge
from asepsis.edge.uplink.files import read_state, write_durably

MEMORY: Final = "parcels.json"
"""File in the device's folder: number and SHA-256 of the newest parcel that was verified."""
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
        memory: File that keeps which parcel was the newest; damaged or absent, none was.
    """

    def __init__(
        self, device: Path, *, judge: Judge, tell: Tell, measure: Measure, memory: Path
    ) -> None:
        self._device = device
        self._memory = memory
        self._judge = judge
        self._tell = tell
        self._measure = measure
        self._seen = b""
        self._number, self._sha256 = _remembered(memory)
        self._again = True

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
        self._count(parcel.number, hashlib.sha256(content).hexdigest())
        self._tell("parcel", kind=parcel.kind.value, name=parcel.name, number=parcel.number)
        _ACTS[parcel.kind](self, parcel)

    def _count(self, number: int, sha256: str) -> None:
        """Take a parcel's number for good, before what it brings takes effect.

        Raises:
            Conflict: It is not newer than the newest, and not that one after a restart.
            TransientError: The disk does not keep it.
        """
        same = (number, sha256) == (self._number, self._sha256)
        if number <= self._number and not (same and self._again):
            raise Conflict(f"parcel {number} is not newer than {self._number}")
        write_durably(self._memory, json.dumps({"number": number, "sha256": sha256}).encode())
        self._number, self._sha256, self._again = number, sha256, False

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


def _remembered(memory: Path) -> tuple[int, str]:
    """Return number and SHA-256 of the newest parcel; 0 where none was, or nobody knows."""
    state = read_state(memory)
    number, sha256 = state.get("number"), state.get("sha256")
    if isinstance(number, int) and isinstance(sha256, str) and 0 < number <= NUMBER_MAX:
        return number, sha256
    return 0, ""


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
