"""An electronic health record of the old kind: listens for MLLP in clear text and says yes.

It stands in for a hospital's EHR in the demonstration and keeps what it got, in its order.
"""

import contextlib
import socket
import threading
import time
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.wire import mllp
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_ack import AckCode, acknowledge

TICK_S: Final = 0.2
CHUNK: Final = 65_536
KEPT_MAX: Final = 100_000


class Ehr:
    """A receiver of HL7 v2.

    Attributes:
        port: Where it listens, on loopback.
        control_ids: MSH-10 of each message that it acknowledged, in order.
        types: MSH-9 of each.

    Resource handling: a thread for each connection; `close` ends all.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(TICK_S)
        self.port = int(self._socket.getsockname()[1])
        self.control_ids: list[str] = []
        self.types: list[str] = []
        self._over = threading.Event()
        self._accepting = threading.Thread(target=self._accept, name="ehr", daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Stop."""
        self._over.set()
        self._accepting.join()
        self._socket.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = mllp.FrameReader()
        connection.settimeout(TICK_S)
        with connection, contextlib.suppress(OSError, InputError):
            while not self._over.is_set():
                try:
                    chunk = connection.recv(CHUNK)
                except TimeoutError:
                    continue
                if not chunk:
                    return
                reader.feed(chunk)
                while (frame := reader.next_frame()) is not None:
                    connection.sendall(mllp.frame(self._take(bytes(frame))))

    def _take(self, body: bytes) -> bytes:
        message = Message.parse(body)
        header = message.header
        if len(self.control_ids) < KEPT_MAX:
            self.control_ids.append(header.control_id)
            self.types.append(f"{header.message_code}^{header.trigger_event}")
        code = AckCode.COMMIT_ACCEPT if header.enhanced else AckCode.APPLICATION_ACCEPT
        control_id = f"E{len(self.control_ids)}"
        return acknowledge(header, code, control_id=control_id, clock=time.time_ns)
