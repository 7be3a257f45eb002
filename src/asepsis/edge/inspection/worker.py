"""The processes that look at image objects: `python -m asepsis.edge.inspection.worker <socket>`.

Each holds one socket to the hub and nothing else: no file can be opened, no socket made, no program
started, no key is in its memory. It asks for the bytes it needs and answers with a few attributes.

Source: docs/explanation/imaging.md.
"""

import contextlib
import encodings
import importlib
import os
import pkgutil
import resource
import signal
import socket
import sys
import warnings
from collections import OrderedDict
from typing import Final, NoReturn

from pydicom.dataset import Dataset

from asepsis.core.errors import FramingError
from asepsis.core.wire import inspection as link
from asepsis.core.wire.dicom_facts import Facts, ObjectRefusedError, Reason
from asepsis.core.wire.dicom_file import judge, uid
from asepsis.edge.inspection import attributes
from asepsis.edge.inspection.confinement import confine_worker
from asepsis.edge.inspection.sample import SAMPLE

BLOCK_BYTES: Final = 65_536
BLOCKS_MAX: Final = 16
CPU_S_MAX: Final = 86_400


class Asked:
    """An object whose bytes are asked for, with the last blocks kept.

    Args:
        control: Socket to the hub.
        order: What the hub said of it.
    """

    def __init__(self, control: socket.socket, order: link.Inspect) -> None:
        self.length = order.length
        self._control = control
        self._head = order.head
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes; fewer only at the end."""
        end = min(offset + count, self.length)
        if end <= len(self._head):
            return self._head[offset:end]
        found: list[bytes] = []
        while offset < end:
            number, skip = divmod(offset, BLOCK_BYTES)
            piece = self._block(number)[skip : skip + end - offset]
            if not piece:
                raise FramingError("the hub gave fewer bytes than the object has")
            found.append(piece)
            offset += len(piece)
        return b"".join(found)

    def _block(self, number: int) -> bytes:
        found = self._blocks.get(number)
        if found is None:
            self._control.sendall(
                link.encode(link.Need(offset=number * BLOCK_BYTES, count=BLOCK_BYTES))
            )
            answer: link.FromHub = receive(self._control)
            if not isinstance(answer, link.Bytes):
                raise FramingError("the hub did not answer with bytes")
            found = self._blocks[number] = answer.data
            if len(self._blocks) > BLOCKS_MAX:
                self._blocks.popitem(last=False)
        return found


def receive(control: socket.socket) -> link.FromHub:
    """Read one message of the hub.

    Raises:
        FramingError: Not a message.
        EOFError: The hub has gone.
    """
    length = link.length_of(_exactly(control, link.LENGTH_BYTES))
    message: link.FromHub = link.decode(_exactly(control, length), link.FromHub)
    return message


def _exactly(control: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        data = control.recv(count - len(found))
        if not data:
            raise EOFError
        found += data
    return bytes(found)


def inspect(source: Asked, order: link.Inspect) -> link.FromInspector:
    """Judge one object."""
    facts = Facts()
    try:
        facts = judge(source)
        return _read(source, order, facts)
    except ObjectRefusedError as error:
        return link.Refused(
            reason=error.reason.value,
            text=str(error),
            instance=facts.sop_instance,
            sop_class=facts.sop_class,
        )


def _read(source: Asked, order: link.Inspect, facts: Facts) -> link.Passed:
    if facts.private and order.private_tags == "refuse":
        raise ObjectRefusedError(Reason.PRIVATE_ELEMENT)
    read = attributes.metadata if order.purpose == "metadata" else attributes.index_attributes
    data, body = read(source, facts)
    study, series = _uid(data, "StudyInstanceUID"), _uid(data, "SeriesInstanceUID")
    if not study or not series:
        raise ObjectRefusedError(Reason.UID_MISSING)
    return link.Passed(
        study=study,
        series=series,
        instance=facts.sop_instance,
        sop_class=facts.sop_class,
        transfer_syntax=facts.transfer_syntax,
        attributes=body,
    )


def _uid(data: Dataset, keyword: str) -> str:
    return uid(str(data.get(keyword, "")).encode("ascii", "replace"))


def warm_up() -> None:
    """Load what pydicom loads at its first object: nothing can be loaded later."""
    for module in pkgutil.iter_modules(encodings.__path__):
        with contextlib.suppress(ImportError):  # Codecs of other operating systems.
            importlib.import_module(f"encodings.{module.name}")
    for purpose in ("index", "metadata"):
        order = link.Inspect(length=len(SAMPLE), head=SAMPLE, purpose=purpose)
        with socket.socket() as unused:
            inspect(Asked(unused, order), order)


def serve(control: socket.socket) -> None:
    """Look at objects until the hub has gone."""
    while True:
        try:
            order = receive(control)
        except EOFError:
            return
        if not isinstance(order, link.Inspect):
            raise FramingError("the hub did not begin with an object")
        control.sendall(link.encode(inspect(Asked(control, order), order)))


def prepare() -> None:
    """Load everything that is needed later."""
    warnings.simplefilter("ignore")
    attributes.configure()
    warm_up()


def work(control: socket.socket) -> None:
    """Give up everything, then serve one socket."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    confine_worker()
    serve(control)


def main(arguments: list[str]) -> int:
    """Start a worker for each socket that the hub hands over; returns the exit code.

    The workers are forks: they load nothing, so it goes on where the hub's user may not read the
    interpreter. This process itself reads single bytes of the hub only.

    Args:
        arguments: Number of the control socket; user and group to become.
    """
    prepare()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A terminal tells the hub, which tells us.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody waits for workers: the kernel does.
    if len(arguments) > 1:
        uid, gid = int(arguments[1]), int(arguments[2])
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    with socket.socket(fileno=int(arguments[0])) as control:
        while True:
            _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not descriptors:
                return 0
            sock = socket.socket(fileno=descriptors[0])
            if not os.fork():
                control.close()
                _be_worker(sock)
            sock.close()


def _be_worker(sock: socket.socket) -> NoReturn:
    code = 1
    try:
        work(sock)
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
