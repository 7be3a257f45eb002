"""The hub's side of inspection: a few workers, one object at a time each, and no patience.

Methods block; they are called from threads. A worker that dies, lies about its messages or takes
too long is replaced, and the object it had is quarantined: it may be the reason.
"""

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from asepsis.core.errors import FramingError, Unavailable
from asepsis.core.wire import inspection as link
from asepsis.core.wire.dicom_facts import TEXTS, Reason
from asepsis.core.wire.dicom_file import META_BYTES_MAX

MODULE: Final = "asepsis.edge.inspection.worker"
WORKERS: Final = 2
INSPECTION_S_MAX: Final = 60.0
HEAD_BYTES: Final = META_BYTES_MAX + 256
"""What goes with the question: all that the longest file meta information takes, preamble and magic
included, so that no object is asked about twice for its beginning."""
WAIT_S: Final = 60.0
"""How long an object waits for a worker."""
ENDED_S: Final = 5.0


class Readable(Protocol):
    """An object that can be looked at: `ObjectReader`, or one that is in memory."""

    @property
    def byte_count(self) -> int:
        """Return its length."""
        ...

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer only at the end.

        Raises:
            SignatureInvalid: What is stored of it was changed.
            TransientError: The disk failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class HeldObject:
    """A small object that is in memory as a whole.

    Attributes:
        data: Its bytes.
    """

    data: bytes

    @property
    def byte_count(self) -> int:
        """Return its length."""
        return len(self.data)

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer only at the end."""
        return self.data[offset : offset + count]


class Inspection:
    """The process whose forks are the workers; start it before root is given up.

    Args:
        arguments: User and group that it becomes, if any.

    Resource handling:
        Holds a child process until `stop`.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            command = [sys.executable, "-m", MODULE, str(theirs.fileno()), *arguments]
            # No environment: nothing of the hub's is the workers' business.
            kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=kept)  # noqa: S603 - our own module

    def worker(self) -> socket.socket:
        """Return a connection to a fresh worker.

        Raises:
            Unavailable: The process has ended.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs, self._lock:
                socket.send_fds(self._control, [b"w"], [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise Unavailable("the process that inspects images has ended") from error
        ours.settimeout(INSPECTION_S_MAX)
        return ours

    def stop(self) -> None:
        """End it; workers end with their connections."""
        self._control.close()
        try:
            self._process.wait(ENDED_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Inspector:
    """Asks the workers.

    Args:
        inspection: Where they come from.
        workers: How many there are at most.
    """

    def __init__(self, inspection: Inspection, *, workers: int = WORKERS) -> None:
        self._inspection = inspection
        self._free: queue.Queue[socket.socket | None] = queue.Queue()
        for _ in range(workers):
            self._free.put(None)

    def inspect(
        self,
        reader: Readable,
        *,
        purpose: link.Purpose = "index",
        private_tags: Literal["keep", "refuse"] = "keep",
    ) -> link.Passed | link.Refused:
        """Judge one object.

        Raises:
            Unavailable: No worker is free, or none can be started: nothing was judged.
            SignatureInvalid: The object's file was changed.
            TransientError: The disk failed.
        """
        try:
            worker = self._free.get(timeout=WAIT_S)
        except queue.Empty as error:
            raise Unavailable("images are not inspected fast enough") from error
        sound: socket.socket | None = None
        try:
            worker = worker or self._inspection.worker()
            order = link.Inspect(
                length=reader.byte_count,
                head=reader.read(0, HEAD_BYTES),
                purpose=purpose,
                private_tags=private_tags,
            )
            answer = _converse(worker, reader, order)
            sound = worker
        except (OSError, EOFError, FramingError):
            # Dead, silent or out of its mind: whatever it was, this object was in its hands.
            reason = Reason.INSPECTION_FAILED
            return link.Refused(reason=reason.value, text=TEXTS[reason])
        finally:
            if sound is None and worker is not None:
                worker.close()
            self._free.put(sound)
        return answer

    def close(self) -> None:
        """End the workers that are free, and the process that they come from."""
        with suppress(queue.Empty):
            while True:
                worker = self._free.get_nowait()
                if worker is not None:
                    worker.close()
        self._inspection.stop()


def _converse(
    worker: socket.socket, reader: Readable, order: link.Inspect
) -> link.Passed | link.Refused:
    ends = time.monotonic() + INSPECTION_S_MAX
    worker.sendall(link.encode(order))
    while True:
        answer = _receive(worker, ends)
        if not isinstance(answer, link.Need):
            return answer
        worker.sendall(link.encode(link.Bytes(data=reader.read(answer.offset, answer.count))))


def _receive(worker: socket.socket, ends: float) -> link.FromInspector:
    length = link.length_of(_exactly(worker, link.LENGTH_BYTES, ends))
    answer: link.FromInspector = link.decode(_exactly(worker, length, ends), link.FromInspector)
    return answer


def _exactly(worker: socket.socket, count: int, ends: float) -> bytes:
    found = bytearray()
    while len(found) < count:
        left_s = ends - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        worker.settimeout(left_s)
        data = worker.recv(count - len(found))
        if not data:
            raise EOFError
        found += data
    return bytes(found)
