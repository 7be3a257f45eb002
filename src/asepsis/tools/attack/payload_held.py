"""Attacks on what a compartment was given: its ring, its wake-up line, its channels of the broker.

See `payload`: this text runs inside the compartment. The docstring of each says what it tries.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Final

from asepsis.tools.attack.payload import LIBC, TARGETS, Absent, Denied, call

FASTOPEN: Final = 0x20000000
F_SEAL_WRITE: Final = 0x0008
RING_BYTES_MIN: Final = 1 << 20
WATCH_S: Final = 0.25
STILL_S: Final = 10.0
"""A writer that wrote nothing for so long stands still; origin signs once a second."""
DIAL_S: Final = 3.0


def _rings() -> list[int]:
    """Find every descriptor of a ring, also those that a mapping keeps."""
    found: list[int] = []
    for descriptor in range(3, 64):
        try:
            if os.fstat(descriptor).st_size >= RING_BYTES_MIN:
                found.append(descriptor)
        except OSError:
            continue
    if not found:
        raise Absent("no ring is held")
    return found


def _head(worker: Any) -> int:
    return int(worker._reader.head)  # noqa: SLF001 - the attacker's business


def _still_written(worker: Any) -> None:
    """Say that the writer went on: the attack came to nothing.

    Raises:
        Denied: The writer did not mind.
    """
    before, until_s = _head(worker), time.monotonic() + STILL_S
    while _head(worker) == before:
        if time.monotonic() > until_s:
            return
        time.sleep(0.01)
    raise Denied("the writer went on")


def map_ring(_: Any) -> None:
    """Map the ring for writing."""
    for descriptor in _rings():
        mmap.mmap(descriptor, mmap.PAGESIZE).write(b"forged")


def unlock_ring(_: Any) -> None:
    """Make the mapping that it has writable."""
    for descriptor in _rings():
        address = call("mmap", None, mmap.PAGESIZE, 1, 1, descriptor, 0)
        call("mprotect", ctypes.c_void_p(address), mmap.PAGESIZE, 3)


def reopen_ring(_: Any) -> None:
    """Open the ring anew for writing, and map or write that."""
    for descriptor in _rings():
        again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
        os.pwrite(again, b"forged", mmap.PAGESIZE)


def write_ring(_: Any) -> None:
    """Write into the ring's file."""
    for descriptor in _rings():
        os.pwrite(descriptor, b"forged", mmap.PAGESIZE)


def shorten_ring(_: Any) -> None:
    """Cut the ring's file, so that its writer would fall over."""
    for descriptor in _rings():
        os.ftruncate(descriptor, 0)


def seal_ring(_: Any) -> None:
    """Add a seal to the ring, so that its writer could not write."""
    for descriptor in _rings():
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, F_SEAL_WRITE)


def widen_ring(_: Any) -> None:
    """Give itself the right to write the ring's file, then write."""
    for descriptor in _rings():
        os.fchmod(descriptor, 0o666)
        os.pwrite(os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR), b"forged", mmap.PAGESIZE)


def lock_ring(worker: Any) -> None:
    """Lock the ring's file, so that whoever takes that lock would wait."""
    for descriptor in _rings():
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        _still_written(worker)
    finally:
        for descriptor in _rings():
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def never_drain(worker: Any) -> None:
    """Never take a wake-up, so that a writer that waits for its reader would stand still."""
    time.sleep(WATCH_S)
    _still_written(worker)


def answer_wake(worker: Any) -> None:
    """Send something back along the wake-up line."""
    worker._wake.send(b"back")  # noqa: SLF001


def _dial() -> socket.socket:
    if "dial" not in TARGETS:
        raise Absent("no channel of the broker is held")
    deadline_s = time.monotonic() + DIAL_S
    while True:
        try:
            return TARGETS["dial"](0)
        except Exception:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


def _elsewhere() -> bytes:
    return struct.pack("=H", 2) + struct.pack(">H4s8x", TARGETS["elsewhere"], b"\x7f\0\0\1")


def reconnect(_: Any) -> None:
    """Disconnect a socket to the hub, and connect it to somebody else."""
    with _dial() as brokered:
        brokered.setblocking(True)
        call("connect", brokered.fileno(), bytes(16), 16)
        call("connect", brokered.fileno(), _elsewhere(), 16)


def reconnect_by_sending(_: Any) -> None:
    """Try the same without `connect`: before Linux 4.16 MSG_FASTOPEN could do that."""
    with _dial() as brokered:
        for address in (bytes(16), _elsewhere()):
            ctypes.set_errno(0)
            sent = LIBC.sendto(brokered.fileno(), b"x", 1, FASTOPEN, address, 16)
            if sent < 0 and ctypes.get_errno() == errno.EPERM:
                raise Denied("EPERM")
        brokered.setblocking(True)
        if brokered.getpeername()[1] != TARGETS["elsewhere"]:
            raise Denied("still at the hub")


def other_endpoint(_: Any) -> None:
    """Ask the broker for a place that it is not pinned to."""
    _dial().close()
    for number in (2, 7, 255):
        TARGETS["dial"](number).close()


def listen(_: Any) -> None:
    """Turn a socket to the hub into one that others can connect to."""
    with _dial() as brokered:
        call("connect", brokered.fileno(), bytes(16), 16)
        brokered.listen()


ATTACKS: Final[dict[str, Callable[[Any], Any]]] = {
    attack.__name__: attack
    for attack in (
        map_ring, unlock_ring, reopen_ring, write_ring, shorten_ring, seal_ring, widen_ring,
        lock_ring, never_drain, answer_wake, reconnect, reconnect_by_sending, other_endpoint,
        listen,
    )
}  # fmt: skip
