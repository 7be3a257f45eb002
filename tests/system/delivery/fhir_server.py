"""A server over TLS that takes what is posted and answers as it is told."""

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fhirkit


class FhirServer:
    """Takes transactions over TLS; answers as it is told."""

    def __init__(self, chain: Path, key: Path) -> None:
        self.status = 200
        self.location = ""
        self.bundles: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bundle = json.loads(body)
                outer.tokens.add(str(self.headers["Authorization"]))
                if outer.status == 200:
                    bad = [str(i) for i in fhirkit.validate(bundle) if "error" in str(i).lower()]
                    assert not bad
                    outer.bundles.append(bundle)
                self.send_response(outer.status)
                if outer.location:
                    self.send_header("Location", outer.location)
                text = b'{"resourceType":"OperationOutcome","issue":[]}'
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server.server_address[1]}/fhir"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
