"""Asks the hub for the parser: a process with the gateway's key and no byte of a modality.

One socket is one *slot*: one question at a time, one connection to the hub, one thread.
"""

import contextlib
import encodings.idna
import json
import signal
import socket
import struct
import threading
from enum import IntEnum
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, InputError, TransientError, TrustError
from asepsis.core.wire import relay
from asepsis.edge.gateway import confinement
from asepsis.edge.gateway.hub_way import HubWay
from asepsis.edge.gateway.imaging import channel
from asepsis.edge.gateway.imaging.relay_connection import RelayConnection
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.confine import Confinement, Limits, confine
from asepsis.edge.sandbox.seccomp import SyscallClass
from asepsis.edge.uplink.folder import IdentityFolder

HEAD: Final = struct.Struct(">BI")
FRAME_BYTES_MAX: Final = relay.ASKED_BYTES_MAX
WAIT_S: Final = 2
"""How long the hub keeps one look for a page open: a cancelled question ends its slot after it."""
ANSWER_S: Final = 30.0
MEMORY_MIB: Final = 512
FILES: Final = 64
FILE_MIB: Final = 16
_PRELOADED: Final = (encodings.idna,)


class Frame(IntEnum):
    """Frames of a slot: the first three are asked, the others are answers."""

    ASK = 1
    NEXT = 2
    END = 3
    DONE = 10
    FAILED = 11
    PAGE = 12
    BYTES = 13
    NOTHING = 14


def serve(settings: Settings, slots: list[socket.socket], parser: socket.socket) -> None:
    """Ask for the parser until it is gone; call in a process of its own.

    Args:
        settings: Of the gateway.
        slots: One conversation each.
        parser: Told once when this process is ready and confined.

    Raises:
        ConfigError: An operator's mistake.
        NotFound: The gateway is not enrolled.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # It ends when the parser does.
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    folder = IdentityFolder(Path(settings.data) / "identity")
    _, hospital, _ = folder.load()
    dial = confinement.fork_broker(hospital, connections=len(slots))
    way = HubWay(settings, folder, dial, name="imaging-questions", renews=False)
    confinement.preload()
    confine(order(folder.path))
    parser.send(channel.READY)
    way.start()
    threads = [
        threading.Thread(target=_Slot(slot, way).run, name="question", daemon=True)
        for slot in slots
    ]
    with contextlib.closing(way):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def order(identity: Path) -> Confinement:
    """Return what this process takes away from itself."""
    code = bubblewrap.code()
    return Confinement(
        layers=confinement.holding(),
        kind=SyscallClass.NETWORK,
        readable=(*code.libraries, code.package),
        writable=(identity,),
        limits=Limits(memory_mib=MEMORY_MIB, files=FILES, file_mib=FILE_MIB),
    )


class _Slot:
    """One conversation with the parser; returns from `run` when that is gone."""

    def __init__(self, parser: socket.socket, way: HubWay) -> None:
        self._parser = parser
        self._connection = way.connect(RelayConnection, answer_s=ANSWER_S)

    def run(self) -> None:
        """Answer until nobody asks any more."""
        reader = self._parser.makefile("rb")
        try:
            while len(head := reader.read(HEAD.size)) == HEAD.size:
                kind, length = HEAD.unpack(head)
                if length > FRAME_BYTES_MAX:
                    return
                body = reader.read(length)
                found, data = self._answer(kind, body)
                self._parser.sendall(HEAD.pack(found, len(data)) + data)
        except OSError:
            return  # The parser is gone, and with it this family.
        finally:
            self._connection.close()
            reader.close()
            self._parser.close()

    def _answer(self, kind: int, body: bytes) -> tuple[Frame, bytes]:
        try:
            if kind == Frame.ASK:
                self._connection.ask(relay.decode_asked(body))
            elif kind == Frame.END:
                self._connection.end(body.decode("ascii"))
            else:
                return self._next(body)
        except (InputError, TrustError, TransientError) as error:
            return Frame.FAILED, _failure(error)
        except (ValueError, TypeError) as error:
            return Frame.FAILED, _failure(InputError(f"no frame of a question: {error}"))
        return Frame.DONE, b""

    def _next(self, body: bytes) -> tuple[Frame, bytes]:
        question, after = json.loads(body)
        found = self._connection.answer(str(question), after=int(after), wait_s=WAIT_S)
        if found is None:
            return Frame.NOTHING, b""
        media, data = found
        return (Frame.PAGE if media == relay.JSON else Frame.BYTES), data


def _failure(error: AsepsisError) -> bytes:
    return json.dumps([isinstance(error, TransientError), error.code, str(error)[:200]]).encode()
