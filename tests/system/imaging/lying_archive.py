"""An archive over TLS that answers every store request as it is told."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = tuple[int, bytes, dict[str, str]]


class LyingArchive:
    """Takes instances and forgets them; answers as it is told."""

    def __init__(self, chain: Path, key: Path) -> None:
        self.answer: Answer = (200, b"{}", {})
        self.gives = b""
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                left = int(self.headers["Content-Length"])
                while left:
                    left -= len(self.rfile.read(min(left, 65_536)))
                outer.requests += 1
                self._say(*outer.answer)

            def do_GET(self) -> None:
                if not outer.gives:
                    self._say(404, b"", {})
                    return
                head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
                media = 'multipart/related; type="application/dicom"; boundary=b'
                self._say(200, head + outer.gives + b"\r\n--b--", {"Content-Type": media})

            def _say(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server.server_address[1]}/dicom-web"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
