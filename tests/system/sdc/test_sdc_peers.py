"""Who gets no byte of the gateway, and whose bytes the gateway does not read; over real TLS."""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from driver_ward import wait_for
from session_bench import IDENTITY, Wire, plan_for

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.core.trust.identity import EKU_SDC_PROVIDER
from asepsis.edge.gateway.sdc.credentials import proof
from asepsis.tools.testing.sdc_credentials import (
    LIFE,
    TLS_USAGES,
    Files,
    SegmentAuthority,
)

NOW = dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class Segment:
    """The device segment's CA, the gateway's certificate of it, and somebody else's CA."""

    authority: SegmentAuthority
    other: SegmentAuthority
    past: SegmentAuthority
    own: Files


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Segment:
    folder = tmp_path_factory.mktemp("segment")
    authority = SegmentAuthority(folder / "s", now=NOW)
    return Segment(
        authority,
        SegmentAuthority(folder / "o", now=NOW, name="Another segment's CA"),
        SegmentAuthority(folder / "p", now=NOW - 2 * LIFE),
        authority.issue("gateway", uri="urn:oid:1.3.6.1.4.1.99999.7"),
    )


class Provider:
    """The TLS of a provider: takes connections and keeps what it was sent."""

    def __init__(self, files: Files | None, ca: Path | None = None) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.read = threading.Event()
        self.got = b""
        self._context: ssl.SSLContext | None = None
        if files is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(files.chain, files.key)
            if ca is not None:
                self._context.load_verify_locations(ca)
                self._context.verify_mode = ssl.CERT_REQUIRED
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        peer, _ = self.listening.accept()
        peer.settimeout(5)
        try:
            if self._context is not None:
                peer = self._context.wrap_socket(peer, server_side=True)
                self.got = peer.recv(100)
                peer.sendall(self.got)
        except OSError:
            pass
        finally:
            peer.close()
            self.listening.close()
            self.read.set()


@pytest.fixture
def wires() -> Iterator[list[Wire]]:
    made: list[Wire] = []
    yield made
    for wire in made:
        wire.close()


def dialled(segment: Segment, provider: Provider, wires: list[Wire], **changes: Any) -> Wire:
    wires.append(Wire(plan_for(segment.authority, segment.own, provider.port, **changes)))
    return wires[-1]


def good(segment: Segment, uri: str = IDENTITY) -> Files:
    return segment.authority.issue("ventilator", uri=uri, address="127.0.0.1")


@pytest.mark.parametrize("changes", [{"identity": IDENTITY}, {"host": "127.0.0.1"}, {"host": ""}])
def test_the_declared_device_is_spoken_to_by_identity_or_by_host(
    segment: Segment, wires: list[Wire], changes: dict[str, str]
) -> None:
    provider = Provider(good(segment), segment.authority.file)
    with dialled(segment, provider, wires, **changes).client.dial() as end:
        end.sendall(b"hello")
        assert end.recv(100) == b"hello"


USAGES: Sequence[Sequence[x509.ObjectIdentifier]] = (
    TLS_USAGES,
    (ExtendedKeyUsageOID.SERVER_AUTH,),
    (ExtendedKeyUsageOID.CLIENT_AUTH, EKU_SDC_PROVIDER),
    (*TLS_USAGES, x509.ObjectIdentifier("1.2.840.10004.20701.1.2")),
    (*TLS_USAGES, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE),
)


@pytest.mark.parametrize("usages", USAGES)
def test_a_wrong_purpose_gets_no_byte(
    segment: Segment, wires: list[Wire], usages: Sequence[x509.ObjectIdentifier]
) -> None:
    files = segment.authority.issue("v", uri=IDENTITY, address="127.0.0.1", usages=usages)
    provider = Provider(files)
    with pytest.raises(Unavailable, match="wrong-certificate"):
        dialled(segment, provider, wires).client.dial()
    assert provider.read.wait(5)
    assert provider.got == b""


def another(segment: Segment) -> Files:
    return good(segment, f"{IDENTITY}1")


def nameless(segment: Segment) -> Files:
    return segment.authority.issue("v")


def foreign(segment: Segment) -> Files:
    return segment.other.issue("v", uri=IDENTITY, address="127.0.0.1")


def expired(segment: Segment) -> Files:
    return segment.past.issue("v", uri=IDENTITY, address="127.0.0.1")


@pytest.mark.parametrize("make", [another, nameless, foreign, expired])
def test_another_device_another_ca_and_an_expired_certificate_get_no_byte(
    segment: Segment, wires: list[Wire], make: Any
) -> None:
    provider = Provider(make(segment))
    ca = segment.past if make is expired else segment.authority
    wires.append(Wire(plan_for(ca, segment.own, provider.port)))
    with pytest.raises(Unavailable, match="wrong-certificate"):
        wires[-1].client.dial()
    assert provider.read.wait(5)
    assert provider.got == b""


def test_a_wrong_host_name_gets_no_byte(segment: Segment, wires: list[Wire]) -> None:
    provider = Provider(good(segment))
    with pytest.raises(Unavailable, match="wrong-certificate"):
        dialled(segment, provider, wires, host="ventilator.example").client.dial()
    assert provider.read.wait(5)
    assert provider.got == b""


def test_a_plain_provider_and_nobody_are_no_answer_or_no_tls(
    segment: Segment, wires: list[Wire]
) -> None:
    provider = Provider(None)
    wire = dialled(segment, provider, wires)
    with pytest.raises(Unavailable, match=r"tls|no-answer"):
        wire.client.dial()
    assert provider.read.wait(5)
    with pytest.raises(Unavailable, match="no-answer"):
        wire.client.dial()


class Reporter:
    """A client that reports to the gateway, as the device of a certificate."""

    def __init__(self, wire: Wire, files: Files | None, ca: Path) -> None:
        self.plain = socket.create_connection(("127.0.0.1", wire.port), 5)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(ca)
        if files is not None:
            context.load_cert_chain(files.chain, files.key)
        try:
            self.tls = context.wrap_socket(self.plain)
        except OSError:
            self.plain.close()
            raise

    def post(self, *headers: str, body: bytes = b"") -> bytes:
        with self.tls:
            lines = ["POST /a HTTP/1.1", "Host: g", *headers, "", ""]
            self.tls.sendall("\r\n".join(lines).encode() + body)
            return self.tls.recv(100)


@pytest.mark.parametrize("make", [another, nameless, None])
def test_a_report_of_another_certificate_is_not_read(
    segment: Segment, wires: list[Wire], make: Any
) -> None:
    wire = dialled(segment, Provider(good(segment)), wires)
    wire.client.dial().close()
    try:
        files = make(segment) if make else None
        answer = Reporter(wire, files, segment.authority.file).post("Content-Length: 0")
    except OSError:
        answer = b""
    assert answer == b""
    wait_for(lambda: wire.sink.refused >= 1)


def test_before_the_device_was_spoken_to_nobody_reports(
    segment: Segment, wires: list[Wire]
) -> None:
    files = good(segment)
    wire = dialled(segment, Provider(files), wires)
    try:
        answer = Reporter(wire, files, segment.authority.file).post("Content-Length: 0")
    except OSError:
        answer = b""
    assert answer == b""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (("Content-Length: 99999999",), b"400"),
        (("Content-Length: x",), b"400"),
        (("Content-Encoding: gzip", "Content-Length: 0"), b"415"),
        (("Content-Length: 0",), b"400"),
        (("Transfer-Encoding: chunked",), b"400"),
    ],
)
def test_the_device_itself_is_bounded(
    segment: Segment, wires: list[Wire], headers: tuple[str, ...], status: bytes
) -> None:
    files = good(segment)
    wire = dialled(segment, Provider(files), wires)
    wire.client.dial().close()
    answer = Reporter(wire, files, segment.authority.file).post(*headers, body=b"fffffff\r\n")
    assert answer.split()[1] == status


def test_files_without_certificates_are_an_operator_s_mistake(
    segment: Segment, tmp_path: Path
) -> None:
    plan = plan_for(segment.authority, segment.own, 1, identity=IDENTITY, ca_file="/none.pem")
    with pytest.raises(ConfigError, match="ventilator-1"):
        proof(plan)
    own = Files(tmp_path / "own.pem", tmp_path / "own.key")
    for file in (own.chain, own.key):
        file.write_text("nothing")
    with pytest.raises(ConfigError):
        proof(plan_for(segment.authority, own, 1))
