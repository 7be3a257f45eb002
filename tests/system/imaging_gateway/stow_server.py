"""A STOW-RS server over mutual TLS that keeps what it gets and refuses what it is told to."""

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from hospital import Hospital


class StowServer(ThreadingHTTPServer):
    """Stands where a hub would, so that a test can say what the hub answers.

    Attributes:
        stored: Bytes of every file, in order of arrival; only lengths if `keep` is False.
        status: HTTP status of every answer.
        refuse: Numbers of the requests (from 1) that are refused with 409 and 0xA900.
        delay_s: Time that an answer takes, seconds.
    """

    daemon_threads: bool = True
    block_on_close: bool = False

    def __init__(self, hospital: Hospital, port: int, *, keep: bool = True) -> None:
        self.stored: list[bytes] = []
        self.lengths: list[int] = []
        self.users: list[str] = []
        self.requests = 0
        self.status = 200
        self.refuse: set[int] = set()
        self.delay_s = 0.0
        self.keep = keep
        self.lock = threading.Lock()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(
            hospital.data / "hub/tls/chain.pem", hospital.data / "hub/tls/key.pem"
        )
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(cadata=hospital.root_der)
        super().__init__(("127.0.0.1", port), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            with self.context.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)
        except OSError:
            return

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Killed clients are part of the tests."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version: ClassVar[str] = "HTTP/1.1"
    disable_nagle_algorithm: ClassVar[bool] = True
    wbufsize: ClassVar[int] = 65_536
    server: StowServer

    def do_POST(self) -> None:
        server = self.server
        length = int(self.headers["Content-Length"])
        if self.path == "/gateway/evidence":  # What the gateway sees of modalities is no image.
            self.rfile.read(length)
            self.answer(200, {})
            return
        if server.keep:
            body = self.rfile.read(length)
        else:
            body, left = b"", length
            while left and (chunk := self.rfile.read(min(left, 1 << 18))):
                left -= len(chunk)
        time.sleep(server.delay_s)
        with server.lock:
            server.requests += 1
            refused = server.requests in server.refuse
            server.lengths.append(length)
            server.users.append(self.headers.get("Asepsis-User", ""))
            if server.keep and server.status == 200 and not refused:
                boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
                head = b"--%b\r\nContent-Type: application/dicom\r\n\r\n" % boundary
                tail = b"\r\n--%b--\r\n" % boundary
                assert body.startswith(head)
                assert body.endswith(tail)
                server.stored += body[len(head) : -len(tail)].split(b"\r\n" + head)
        if refused:
            item = {"00081197": {"vr": "US", "Value": [0xA900]}}
            self.answer(409, {"00081198": {"vr": "SQ", "Value": [item]}})
        else:
            self.answer(server.status, {})

    def answer(self, status: int, document: dict[str, object]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass
