"""What an honest peer gets, who is let in, and how a server ends."""

import contextlib
import http.client
import ssl
import threading
import time
from dataclasses import replace

import pytest
from web_pki import DEVICE, Authority, Identity, client_context

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.core.trust import tls
from conftest import LOOPS, VERSIONS, Bench, Running, read_answer, request, wait_closed


def attempt(bench: Bench, context: ssl.SSLContext) -> None:
    with bench.connect(None, context=context) as sock:
        sock.sendall(request())
        read_answer(sock)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_honest_client_is_served(
    bench: Bench, device: Identity, version: ssl.TLSVersion
) -> None:
    """Goal: the standard library's client, kept connection, big and small bodies."""
    host, port = bench.running.server.addresses["clinical"]
    context = client_context(bench.authority.root_der, device, version=version)
    client = http.client.HTTPSConnection("localhost", port, context=context, timeout=10)
    for size in (0, 1, 1_000, 65_537, 900_000):
        client.request("POST", "/echo", body=b"v" * size)
        answer = client.getresponse()
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["date"]
        assert len(answer.read()) == size
    client.request("POST", "/echo", body=iter([b"a", b"b" * 70_000]), encode_chunked=True)
    assert len(client.getresponse().read()) == 70_001
    client.close()
    assert host == "127.0.0.1"


def test_a_body_over_the_limit_is_refused_readably(bench: Bench, device: Identity) -> None:
    """Goal: the client reads the 413 although it was still sending."""
    with bench.connect(device) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: hub\r\nContent-Length: 2000000\r\n\r\n")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            sock.sendall(b"v" * 2_000_000)
        assert read_answer(sock)[0] == 413


def test_a_bug_in_a_handler_is_a_500_without_details(bench: Bench, device: Identity) -> None:
    with bench.connect(device) as sock:
        sock.sendall(request("/broken"))
        status, _, body = read_answer(sock)
        assert status == 500
        assert b"secret" not in body
        sock.sendall(request())
        assert read_answer(sock)[0] == 200


def test_the_enrolment_listener_reads_an_idevid(bench: Bench, maker: Authority) -> None:
    """Goal: a maker's certificate is an IDevID there, never a peer, and no clinical key."""
    born = maker.leaf("born", usages=None, serial_number="SN-1")
    context = client_context(bench.authority.root_der, born)
    with bench.connect(None, listener="enrolment", context=context) as sock:
        sock.sendall(request())
        assert read_answer(sock)[2] == b"anonymous True"
    with pytest.raises(OSError):  # noqa: PT011 - alert or reset
        attempt(bench, context)


def test_a_certificate_without_client_usage_is_told_so(bench: Bench) -> None:
    odd = bench.authority.leaf("odd", uri="urn:dev:mac:00000000000000ff", usages=DEVICE[2:])
    with contextlib.suppress(OSError), bench.connect(odd) as sock:
        sock.sendall(request())
        assert read_answer(sock)[0] == 403


def test_no_certificate_opens_no_clinical_connection(bench: Bench) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - alert or reset
        attempt(bench, client_context(bench.authority.root_der, None))


def test_the_oldest_connection_of_an_identity_gives_way(bench: Bench, device: Identity) -> None:
    """Goal: a device that lost its network unseen always gets a new connection."""
    socks = [bench.connect(device) for _ in range(8)]
    for sock in socks:
        sock.sendall(request())
        assert read_answer(sock)[0] == 200
    with bench.connect(device) as ninth:
        ninth.sendall(request())
        assert read_answer(ninth)[0] == 200
        assert wait_closed(socks[0], within_s=2) < 1
        socks[1].sendall(request())
        assert read_answer(socks[1])[0] == 200
    for sock in socks:
        sock.close()


def test_one_address_holds_so_many_places(bench: Bench) -> None:
    """Goal: refused before TLS, and free again when the others leave."""
    socks = [bench.connect(None, listener="enrolment") for _ in range(64)]
    with pytest.raises(OSError):  # noqa: PT011 - reset or end of file
        bench.connect(None, listener="enrolment")
    for sock in socks:
        sock.close()
    deadline = time.monotonic() + 3
    while bench.running.status("enrolment")["open"] and time.monotonic() < deadline:
        time.sleep(0.05)
    bench.connect(None, listener="enrolment").close()


def test_a_new_context_serves_new_connections(bench: Bench, device: Identity) -> None:
    """Goal: renewal without a gap: open connections go on, new ones see the new certificate."""
    renewed = bench.authority.server()
    context = tls.server_context(
        tls.Listener.CLINICAL, identity=renewed, issuing_der=[bench.authority.issuing_der]
    )
    with bench.connect(device) as old:
        bench.running.call(lambda: bench.running.server.reload_context("clinical", context))
        old.sendall(request())
        assert read_answer(old)[0] == 200
        with bench.connect(device) as new:
            assert new.getpeercert(binary_form=True) != old.getpeercert(binary_form=True)
    with pytest.raises(ConfigError):
        bench.running.call(lambda: bench.running.server.reload_context("none", context))


def test_a_drain_ends_streams_and_idle_connections(bench: Bench, device: Identity) -> None:
    idle, streaming = bench.connect(device), bench.connect(device)
    streaming.sendall(request("/stream"))
    assert streaming.recv(4_096)
    closing = threading.Thread(target=lambda: bench.running.call(bench.running.server.close))
    began = time.monotonic()
    closing.start()
    wait_closed(idle, within_s=3)
    wait_closed(streaming, within_s=8)
    closing.join(10)
    assert time.monotonic() - began < 8
    for sock in (idle, streaming):
        sock.close()


@pytest.mark.parametrize("kind", LOOPS)
def test_an_address_that_is_taken_is_said(bench: Bench, kind: str) -> None:
    port = bench.running.server.addresses["people"][1]
    site = bench.running.server._sites["people"].listener  # noqa: SLF001 - a listener to copy
    with pytest.raises(Unavailable):
        Running([lambda: replace(site, port=port)], kind)
