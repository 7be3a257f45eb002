"""Rings in memory files: made by the supervisor, written by one compartment, read by others.

The supervisor makes a memory file; the writer maps it; then the supervisor seals it, so that
nobody can map it writable again, write to it, resize it or lift a seal (F_SEAL_FUTURE_WRITE), and
hands readers a descriptor opened read-only. A writer that starts anew gets a new ring.

Source: memfd_create(2); fcntl(2), "File Sealing"; design of the device, "The diode".
"""

import contextlib
import fcntl
import mmap
import os
import socket
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import ConfigError, FramingError
from asepsis.edge.sandbox.ring_layout import RING_BYTES_MAX, Geometry, RingView

F_SEAL_FUTURE_WRITE: Final = 0x0010
"""Not named by Python 3.11; Linux 5.1 and later."""
SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | F_SEAL_FUTURE_WRITE
MFD_NOEXEC_SEAL: Final = 0x0008
"""Linux 6.3 and later: the file can never be executed."""
_WAKE: Final = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Where a reader goes on: the writer's epoch and the last record it is done with.

    Attributes:
        epoch: Ring epoch.
        sequence: Last record done; 0 for none.
    """

    epoch: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """What a reader got at once.

    Attributes:
        records: Numbers and payloads, ascending, without holes.
        lost: Records before them that were overwritten before this reader came.
    """

    records: tuple[tuple[int, bytes], ...]
    lost: int


def create(name: str, *, geometry: Geometry) -> int:
    """Make the memory file of a ring; the supervisor's side.

    Returns:
        A descriptor, readable and writable until `seal`.

    Raises:
        ConfigError: The kernel refuses.
    """
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        try:
            descriptor = os.memfd_create(name, flags | MFD_NOEXEC_SEAL)
        except OSError:  # Before Linux 6.3.
            descriptor = os.memfd_create(name, flags)
        os.ftruncate(descriptor, geometry.total_bytes)
    except OSError as error:
        raise ConfigError(f"cannot make the ring {name}: {error.strerror}") from error
    return descriptor


def seal(descriptor: int) -> int:
    """Seal a ring that its writer has mapped, and return a read-only descriptor for readers.

    Raises:
        ConfigError: The kernel knows no such seals (before Linux 5.1): there is no diode here.
    """
    try:
        # Mode 0400: another user cannot open it anew at all; the same user gains nothing by it.
        os.fchmod(descriptor, 0o400)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(
            f"cannot seal the ring: {error.strerror}", hint="needs Linux 5.1 and /proc"
        ) from error


class RingWriter:
    """Writes a ring; never waits for a reader.

    Args:
        descriptor: From `create`, not sealed yet. Closed here; the mapping stays.
        geometry: Size of the ring.
        epoch: Epoch of this writer, at least 1.
        first: Number of the first record, at least 1.
        wakes: Sending ends of `wake_pair`, one a reader.

    Resource handling: holds the mapping until `close`.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        geometry: Geometry,
        epoch: int,
        first: int = 1,
        wakes: tuple[socket.socket, ...] = (),
    ) -> None:
        self._map = mmap.mmap(descriptor, geometry.total_bytes)
        os.close(descriptor)
        self._view = RingView.format(
            memoryview(self._map), geometry=geometry, epoch=epoch, first=first
        )
        self._next = first
        self._wakes = wakes

    @property
    def head(self) -> int:
        """Number of the newest record."""
        return self._next - 1

    def write(self, payload: bytes) -> int:
        """Publish a record and wake readers; returns its number.

        Raises:
            LimitExceeded: The payload does not fit a slot.
        """
        sequence = self._next
        self._view.publish(sequence, payload)
        self._next += 1
        for wake in self._wakes:
            # A full queue means that the reader has wake-ups enough; a closed one, no reader.
            with contextlib.suppress(OSError):
                wake.send(_WAKE, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return sequence

    def close(self) -> None:
        """Unmap the ring; readers keep what they have."""
        self._view.release()
        self._map.close()
        for wake in self._wakes:
            wake.close()


class RingReader:
    """Reads a ring from where a token says.

    Args:
        descriptor: Read-only descriptor from `seal`. Closed here; the mapping stays.
        token: Where to go on; None starts with the oldest record that is still there. A token of
            another epoch starts there too, because every record of this epoch is new.

    Raises:
        FramingError: Not a ring.

    Resource handling: holds the mapping until `close`.
    """

    def __init__(self, descriptor: int, *, token: Token | None = None) -> None:
        size = os.fstat(descriptor).st_size
        if not 0 < size <= RING_BYTES_MAX:
            raise FramingError("no ring has this size")
        self._map = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        os.close(descriptor)
        self._view = RingView.attach(memoryview(self._map))
        self.epoch = self._view.epoch
        self._next = self._oldest(self._view.head)
        if token is not None and token.epoch == self.epoch:
            self._next = max(token.sequence + 1, self._view.first)

    @property
    def token(self) -> Token:
        """Where this reader would go on."""
        return Token(epoch=self.epoch, sequence=self._next - 1)

    @property
    def head(self) -> int:
        """Number of the newest record."""
        return self._view.head

    def read(self, *, records_max: int = 64) -> Chunk:
        """Return the next records, at most `records_max`, without waiting."""
        head = self._view.head
        lost = 0
        records: list[tuple[int, bytes]] = []
        while self._next <= head and len(records) < records_max:
            payload = self._view.read(self._next)
            if payload is not None:
                records.append((self._next, payload))
                self._next += 1
            elif records:
                break  # The hole is told with the next chunk, whose records follow it.
            else:
                head = self._view.head
                # An eighth of the ring ahead of the writer, or it would catch up again at once.
                resume = max(self._oldest(head) + self._view.geometry.slots // 8, self._next + 1)
                lost += min(resume, head + 1) - self._next
                self._next = min(resume, head + 1)
        return Chunk(records=tuple(records), lost=lost)

    def _oldest(self, head: int) -> int:
        return max(self._view.first, head - self._view.geometry.slots + 1)

    def close(self) -> None:
        """Unmap the ring."""
        self._view.release()
        self._map.close()


def wake_pair() -> tuple[socket.socket, socket.socket]:
    """Return the sending and the receiving end of a wake-up line.

    The sending end is shut for reading, so whatever a reader sends fails: it is no way back. A
    pipe would not do, because its reader can open it anew for writing.
    """
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sender.shutdown(socket.SHUT_RD)
    sender.setblocking(False)
    receiver.setblocking(False)
    return sender, receiver


def wake_of(descriptor: int) -> socket.socket:
    """Return an end of a wake-up line that came as a descriptor, owned from now on."""
    line = socket.socket(fileno=descriptor)
    line.setblocking(False)
    return line


def drain_wakes(receiver: socket.socket) -> None:
    """Take all pending wake-ups; returns at once."""
    with contextlib.suppress(BlockingIOError):
        while receiver.recv(64):
            pass
