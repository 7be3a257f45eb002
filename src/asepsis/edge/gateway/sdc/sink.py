"""Where a device's reports come in: HTTPS, the device alone, bounded in everything.

The library's server makes the TLS handshake in its accept loop, so that one silent peer stops all,
takes any certificate of the CA, reads any length and leaves Nagle's algorithm on. This one takes a
report only from the certificate that the session itself was opened with.
"""

import contextlib
import hmac
import http.server
import socket
import socketserver
import ssl
import threading
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import urlsplit

from sdc11073.dispatch import PathElementRegistry
from sdc11073.exceptions import InvalidPathError

from asepsis.core.errors import AsepsisError
from asepsis.edge.gateway.sdc.bounded import read_bounded

CONNECTIONS_MAX: Final = 8
"""A provider keeps one connection for each of its event sources."""
HANDSHAKE_S: Final = 4.0
IDLE_S: Final = 60.0
BACKLOG: Final = 16


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_S

    def do_POST(self) -> None:
        sink = cast("Sink", self.server)
        try:
            if self.headers.get("content-encoding", "identity").lower() != "identity":
                self._answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
                return
            body = read_bounded(
                self.rfile.read, self.rfile.readline, self.headers.get("content-length", "")
            )
            path = urlsplit(self.path).path
            component: Any = sink.dispatcher.get_instance(path.split("/")[1])
            status, _, answer = component.do_post(
                self.headers, self.path, self.client_address, body
            )
            self._answer(int(status), answer)
        except (AsepsisError, InvalidPathError, IndexError):
            self.close_connection = True
            sink.refused += 1
            self._answer(HTTPStatus.BAD_REQUEST)

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/soap+xml; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as above
        """Say nothing: a request line is a stranger's text."""


class Sink(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Takes the reports of one device.

    Args:
        listening: Bound and listening; bound before this process confined itself.
        context: TLS; asks for a certificate of the device's CA.
        address: IP address of the device; others get no handshake.

    Resource handling: `start` starts a thread; `stop` ends it and every connection.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, context: ssl.SSLContext, *, address: str) -> None:
        place = listening.getsockname()
        super().__init__(place, _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        host = f"[{place[0]}]" if ":" in place[0] else place[0]
        self.base_url = f"https://{host}:{place[1]}/"
        self.dispatcher = PathElementRegistry()
        self.leaf = b""
        self.refused = 0
        self._context = context
        self._address = address
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def begin(self, leaf: bytes) -> None:
        """Begin a session with the device of this certificate (DER); an older one ends."""
        self.dispatcher = PathElementRegistry()
        self.leaf = leaf
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def start(self) -> None:
        """Take reports until `stop`."""
        threading.Thread(target=self.serve_forever, args=(0.2,), name="sink", daemon=True).start()

    def stop(self) -> None:
        """Take no more."""
        self.shutdown()
        self.begin(b"")

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Take connections of the device's address only, and so many."""
        del request
        with self._lock:
            taken = client_address[0] == self._address and len(self._open) < CONNECTIONS_MAX
        self.refused += not taken
        return taken

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread, and see that it is the device."""
        request.settimeout(HANDSHAKE_S)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.add(request)
        secured: ssl.SSLSocket | None = None
        try:
            secured = self._context.wrap_socket(request, server_side=True)
            with self._lock:
                self._open.discard(request)
                self._open.add(secured)
            leaf = secured.getpeercert(binary_form=True) or b""
            if not self.leaf or not hmac.compare_digest(leaf, self.leaf):
                self.refused += 1
                return
            super().finish_request(secured, client_address)
        except OSError:
            self.refused += secured is None
        finally:
            with self._lock:
                self._open.discard(request)
                if secured is not None:
                    self._open.discard(secured)
            if secured is not None:
                secured.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Count: what a stranger sent is in no log."""
        del request, client_address
        self.refused += 1


def listen(address: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: It cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((address, port))
    found.listen(BACKLOG)
    return found
