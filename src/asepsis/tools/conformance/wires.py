"""What the suite puts between a device under test and its hub: a cable, and an impostor."""

import contextlib
import selectors
import socket
import ssl
import struct
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Final

from asepsis.core.errors import FramingError
from asepsis.core.trust.identity import Profile
from asepsis.tools.conformance.forged import stranger

HELLOS_MAX: Final = 1_000
HELLO_BYTES_MAX: Final = 16_384
CHUNK: Final = 65_536
IMPOSTOR_NAME: Final = "urn:uuid:00000000-0000-4000-8000-0000000000ee"
TICK_S: Final = 0.2
EARLY_DATA: Final = 42
SUPPORTED_VERSIONS: Final = 43
_RECORD: Final = struct.Struct(">BHH")


class Cable:
    """Forwards one local port to one port of the hub; can be cut and mended.

    Args:
        host: Address of both ends.
        port: The hub's.

    Attributes:
        port: Where the device connects.
        hellos: First bytes of each connection: its ClientHello.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._socket = socket.create_server((host, 0))
        self._socket.settimeout(TICK_S)
        self.port = int(self._socket.getsockname()[1])
        self.hellos: list[bytes] = []
        self._whole = threading.Event()
        self._whole.set()
        self._over = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, name="cable", daemon=True).start()

    def cut(self) -> None:
        """End every connection and let none through."""
        self._whole.clear()
        with self._lock:
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def lead_to(self, port: int) -> None:
        """End every connection; later ones go to another port."""
        self.cut()
        self._target = (self._target[0], port)
        self.mend()

    def mend(self) -> None:
        """Let connections through again."""
        self._whole.set()

    def close(self) -> None:
        """End everything."""
        self._over.set()
        self.cut()
        self._socket.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                near, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if not self._whole.is_set():
                near.close()
                continue
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            near.close()
            return
        with self._lock:
            self._open |= {near, far}
        try:
            self._both_ways(near, far)
        except OSError:
            pass  # One end is gone, or the cable was cut.
        finally:
            with self._lock:
                self._open -= {near, far}
            near.close()
            far.close()

    def _both_ways(self, near: socket.socket, far: socket.socket) -> None:
        first = True
        with selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while not self._over.is_set():
                for key, _ in selector.select(TICK_S):
                    source = near if key.data is far else far
                    data = source.recv(CHUNK)
                    if not data:
                        return
                    if first and source is near:
                        first = False
                        if len(self.hellos) < HELLOS_MAX:
                            self.hellos.append(data[:HELLO_BYTES_MAX])
                    key.data.sendall(data)


class Impostor:
    """A TLS server with certificates of another hospital; keeps what clients tell it.

    Args:
        context: With the stranger's chain.
        host: Address to listen on.
        port: Its port; 0 lets the kernel choose.

    Attributes:
        port: Where it listens.
        told: Bytes of application data that anybody sent.
        visits: Connections.
    """

    def __init__(self, context: ssl.SSLContext, host: str, port: int = 0) -> None:
        self._context = context
        self._socket = socket.create_server((host, port))
        self._socket.settimeout(TICK_S)
        self.port = int(self._socket.getsockname()[1])
        self.told = b""
        self.visits = 0
        self._over = threading.Event()
        threading.Thread(target=self._accept, name="impostor", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._over.set()
        self._socket.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                plain, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.visits += 1
            threading.Thread(target=self._listen, args=(plain,), daemon=True).start()

    def _listen(self, plain: socket.socket) -> None:
        plain.settimeout(5)
        with (
            contextlib.suppress(OSError),
            self._context.wrap_socket(plain, server_side=True) as connection,
        ):
            self.told += connection.recv(CHUNK)


@contextlib.contextmanager
def impostor(host: str) -> Generator[Impostor]:
    """Run an impostor of the hub until the block ends."""
    with stranger(IMPOSTOR_NAME, profile=Profile.SERVER, hosts=(host, "localhost")) as files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(files.chain_path), Path(files.key_path))
        server = Impostor(context, host)
        try:
            yield server
        finally:
            server.close()


def hello_facts(hello: bytes) -> tuple[set[int], set[int], bytes]:
    """Return the versions that a ClientHello offers, its extensions and its compressions.

    Raises:
        FramingError: It is none.

    Source: RFC 8446 sections 4.1.2, 4.2.1; RFC 5246 section 7.4.1.2.
    """
    try:
        kind, _, _ = _RECORD.unpack_from(hello)
        body = hello[_RECORD.size :]
        if kind != 22 or body[0] != 1:
            raise FramingError("a connection does not begin with a ClientHello")
        legacy = int.from_bytes(body[4:6], "big")
        at = 38 + 1 + body[38]
        at += 2 + int.from_bytes(body[at : at + 2], "big")
        compressions = body[at + 1 : at + 1 + body[at]]
        at += 1 + body[at]
        found = _extensions(body[at + 2 : at + 2 + int.from_bytes(body[at : at + 2], "big")])
    except (struct.error, IndexError) as error:
        raise FramingError("a ClientHello is cut short") from error
    offered = found.get(SUPPORTED_VERSIONS, b"")
    versions = {int.from_bytes(offered[i : i + 2], "big") for i in range(1, len(offered) - 1, 2)}
    return versions or {legacy}, set(found), compressions


def _extensions(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        found[int.from_bytes(data[at : at + 2], "big")] = data[at + 4 : at + 4 + size]
        at += 4 + size
    return found
