"""A FHIR server as destination: transactions over TLS, refusals, and redirects that go nowhere."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fhirkit
import pytest
from delivery_ward import DeliveryWard, oru, wait_until

Start = Callable[..., DeliveryWard]


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


@pytest.fixture
def served(delivering: Start) -> Iterator[tuple[DeliveryWard, FhirServer]]:
    ward = delivering()
    tls = ward.ward.hospital.data / "hub" / "tls"
    server = FhirServer(tls / "chain.pem", tls / "key.pem")
    yield ward, server
    server.close()


@pytest.mark.slow
def test_transactions_refusals_and_redirects(served: tuple[DeliveryWard, FhirServer]) -> None:
    ward, server = served
    ward.add(kind="fhir", address=server.url, bearer="a-token")
    ward.send([oru(n, value=60 + n) for n in range(1, 4)])
    wait_until(lambda: len(server.bundles) == 3)
    values = [b["entry"][0]["resource"]["valueQuantity"]["value"] for b in server.bundles]
    assert values == [61, 62, 63]
    assert server.tokens == {"Bearer a-token"}
    assert "a-token" not in json.dumps(ward.destination())

    server.status = 422
    ward.send([oru(4)])
    engineer = ward.people("clinical-engineer")
    wait_until(lambda: engineer.get("/api/dead-letters")["dead_letters"])
    (letter,) = engineer.get("/api/dead-letters")["dead_letters"]
    assert (letter["code"], letter["kind"]) == ("HTTP 422", "fhir")

    # A message that says nothing a FHIR server could store is a dead letter, too, and not lost.
    server.status = 200
    ward.send([oru(5).replace(b"|NM|", b"|ST|")])
    wait_until(lambda: len(engineer.get("/api/dead-letters")["dead_letters"]) == 2)

    server.status, server.location = 302, "http://169.254.169.254/latest/meta-data"
    ward.send([oru(6, value=99)])
    wait_until(lambda: "redirect" in ward.destination()["trouble"])
    assert len(server.bundles) == 3
    server.status, server.location = 200, ""
    wait_until(lambda: len(server.bundles) == 4)
