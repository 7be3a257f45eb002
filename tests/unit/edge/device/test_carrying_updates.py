"""What the fetcher of updates reads at the hub by way of the network compartment, and what not."""

import datetime as dt
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core import errors
from asepsis.edge.device.carrying_updates import PIECE_BYTES, Carrying, lines_of
from asepsis.edge.device.update_line import (
    ASKED,
    ASKED_BYTES_MAX,
    BROUGHT,
    METADATA_BYTES_MAX,
    Asked,
    HubReader,
    read_asked,
)
from asepsis.edge.sandbox.ring import wake_pair
from asepsis.edge.uplink.connection import Endpoint, HubConnection

TIMESTAMP = "/updates/director/timestamp.json"
ARTEFACT = "/updates/images/acme/targets/m5/0123.network-5.tar"
CONTENT = bytes(range(256)) * (PIECE_BYTES // 256 * 2 + 10)
OTHERS = (
    "/origin", "/updates/", "/updates/director/", "/updates/director/../../metadata",
    "/updates/images/acme/targets/m5/..", "/updates/director/a/b", "/updates/director/a?b=c",
    "/updates/director/a b", "/updates/images/acme/targets/m5/a\r\nHost: x", "/enrol", "",
    "//other/updates/director/timestamp.json", "/audit/head", "/requests/fetch",
)  # fmt: skip
FILES = {TIMESTAMP: b"{}", ARTEFACT: CONTENT, "/updates/director/1.root.json": b"x" * 100_000}


class Handler(BaseHTTPRequestHandler):
    """Routes for releases as a hub answers them: whole, or one range."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = cast("list[tuple[str, str]]", vars(self.server)["asked"])
        wanted = self.headers.get("Range", "")
        asked.append((self.path, wanted))
        content, status = FILES.get(self.path, b""), 200
        if self.path not in FILES:
            status = 404
        elif wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            content, status = content[int(first) : int(last) + 1], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the base class
        """Say nothing."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


class Way:
    """A hub, a carrier with a connection to it, and a fetcher that asks."""

    def __init__(self, certificate: Path) -> None:
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(certificate)
        self._trusting = ssl.create_default_context(cafile=str(certificate))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = serving.wrap_socket(self._server.socket, server_side=True)
        self.asked: list[tuple[str, str]] = []
        vars(self._server)["asked"] = self.asked
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        self.busy: list[bool] = []
        self._readers: list[HubReader] = []
        self.carrying = Carrying(connect=self._connect, busy=lambda: bool(self._looked()))

    def _looked(self) -> bool:
        return self.busy.pop() if self.busy else False

    def _connect(self) -> HubConnection:
        endpoint = Endpoint("localhost", self._server.server_address[1])
        return HubConnection(
            endpoint, self._trusting, now_ns=None, answer_bytes_max=METADATA_BYTES_MAX
        )

    def contact(self, *, bytes_per_s: int = 0) -> HubReader:
        (asking, asked), (bringing, brought) = wake_pair(), wake_pair()
        self.carrying.begin(asked.detach(), bringing.detach(), bytes_per_s=bytes_per_s)
        self._readers.append(HubReader(asking, brought))
        return self._readers[-1]

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        self.carrying.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def way(certificate: Path) -> Iterator[Way]:
    made = Way(certificate)
    yield made
    made.close()


def read(reader: HubReader, path: str, *, begin: int = 0, most: int = 1_000_000) -> bytes:
    return b"".join(reader.parts(path, begin=begin, most=most))


def test_metadata_comes_whole_and_an_artefact_in_pieces(way: Way) -> None:
    reader = way.contact()
    assert read(reader, TIMESTAMP) == b"{}"
    assert read(reader, "/updates/director/1.root.json") == b"x" * 100_000
    assert read(reader, ARTEFACT, most=len(CONTENT)) == CONTENT
    assert way.carrying.carried == len(CONTENT) + 100_002
    last = [asked for path, asked in way.asked if path == ARTEFACT]
    assert last[0] == f"bytes=0-{PIECE_BYTES - 1}"
    assert len(last) == -(-len(CONTENT) // PIECE_BYTES)


def test_a_cut_download_goes_on_where_it_ended(way: Way) -> None:
    begin = PIECE_BYTES + 7
    found = read(way.contact(), ARTEFACT, begin=begin, most=len(CONTENT))
    assert found == CONTENT[begin:]
    assert way.asked[0][1].startswith(f"bytes={begin}-")


def test_what_is_not_there_or_too_long_is_said_and_the_next_question_answered(way: Way) -> None:
    reader = way.contact()
    with pytest.raises(errors.NotFound):
        read(reader, "/updates/director/9.root.json")
    with pytest.raises(errors.LimitExceeded):
        read(reader, "/updates/director/1.root.json", most=99_999)
    assert read(reader, TIMESTAMP) == b"{}"


@pytest.mark.parametrize("path", OTHERS)
def test_no_other_route_is_ever_asked(way: Way, path: str) -> None:
    """Goal: whoever owns the fetcher gains no way to speak as this device."""
    reader = way.contact()
    with pytest.raises(errors.NotFound):
        read(reader, path)
    assert way.asked == []


def test_live_data_goes_first(way: Way) -> None:
    way.busy[:] = [False, True, True, True]
    assert read(way.contact(), TIMESTAMP) == b"{}"
    assert way.busy == []


def test_a_contact_that_is_cut_says_so(way: Way) -> None:
    reader = way.contact()
    assert read(reader, TIMESTAMP) == b"{}"
    way.carrying.close()
    for _ in range(2):
        with pytest.raises(errors.Unavailable):
            read(reader, TIMESTAMP)


def test_a_new_contact_cuts_the_one_before(way: Way) -> None:
    first, second = way.contact(), way.contact()
    assert read(second, TIMESTAMP) == b"{}"
    with pytest.raises(errors.Unavailable):
        read(first, TIMESTAMP)


def test_lines_come_as_a_pair_or_not_at_all() -> None:
    asking, asked = wake_pair()
    assert lines_of({ASKED: asked.detach()}) is None
    with pytest.raises(OSError, match=r".*"):
        asking.send(b"x")
    asking.close()
    assert lines_of({ASKED: 7, BROUGHT: 8}) == (7, 8)


@given(st.binary(max_size=ASKED_BYTES_MAX))
def test_any_bytes_are_a_question_or_refused(message: bytes) -> None:
    with pytest.raises(errors.InputError):
        read_asked(message)


@given(st.text(max_size=60), st.integers(), st.integers())
def test_what_is_read_lies_below_updates(path: str, begin: int, most: int) -> None:
    said = {"path": "/updates/" + path, "begin": begin, "most": most}
    try:
        asked = read_asked(json.dumps(said).encode())
    except errors.InputError:
        return
    assert ".." not in asked.path
    assert 0 <= asked.begin < asked.most


def test_only_an_artefact_is_read_from_a_byte_on() -> None:
    said = {"path": ARTEFACT, "begin": 5, "most": 10}
    assert read_asked(json.dumps(said).encode()) == Asked(path=ARTEFACT, begin=5, most=10)
    for other in ({"path": TIMESTAMP}, {"most": 5}, {"most": 5 << 30}, {"more": 1}):
        with pytest.raises(errors.InputError):
            read_asked(json.dumps({**said, **other}).encode())
