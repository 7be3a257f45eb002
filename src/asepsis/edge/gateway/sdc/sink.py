"""Where a device's reports come in: what the cable has proved, bounded in everything.

The library's server makes the TLS handshake in its accept loop, so that one silent peer stops all,
takes any certificate of the CA, reads any length and leaves Nagle's algorithm on. Here the cable
takes the connections, only with the certificate that the session itself was opened with.
"""

import contextlib
import http.server
import socket
import threading
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import urlsplit

from sdc11073.dispatch import PathElementRegistry
from sdc11073.exceptions import InvalidPathError

from asepsis.core.errors import AsepsisError, Unavailable
from asepsis.edge.gateway.sdc.bounded import read_bounded
from asepsis.edge.gateway.sdc.cable import arrived

IDLE_S: Final = 60.0
_NOWHERE: Final = ("device", 0)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
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
            self._answer(HTTPStatus.BAD_REQUEST)

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/soap+xml; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
        """Say nothing: a request line is a stranger's text."""


class Sink:
    """Takes the reports of one device.

    Args:
        arrivals: Channel of the cable.
        base_url: Where the device finds the gateway; the cable listens there.

    Attributes:
        dispatcher: The library's, of the present session.
        refused: Connections that the cable refused so far.

    Resource handling: `start` starts threads, which end with `stop` or with the cable.
    """

    def __init__(self, arrivals: socket.socket, *, base_url: str) -> None:
        self.base_url = base_url
        self.dispatcher = PathElementRegistry()
        self.refused = 0
        self.has_ended = False
        self._arrivals = arrivals
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Begin a session; what an older one left open ends."""
        self.dispatcher = PathElementRegistry()
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def start(self) -> None:
        """Take reports until `stop`."""
        threading.Thread(target=self._receive, name="sink", daemon=True).start()

    def stop(self) -> None:
        """Take no more."""
        with contextlib.suppress(OSError):
            self._arrivals.shutdown(socket.SHUT_RDWR)
        self.begin()

    def _receive(self) -> None:
        with contextlib.suppress(Unavailable):
            while True:
                self.refused, found = arrived(self._arrivals)
                if found is not None:
                    threading.Thread(target=self._serve, args=(found,), daemon=True).start()
        self.has_ended = True

    def _serve(self, found: socket.socket) -> None:
        with self._lock:
            self._open.add(found)
        try:
            server = cast("http.server.HTTPServer", self)  # The handler asks it for nothing else.
            with found, contextlib.suppress(OSError):
                _Handler(found, _NOWHERE, server)
        finally:
            with self._lock:
                self._open.discard(found)
