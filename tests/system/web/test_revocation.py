"""Nobody who may not speak speaks, whatever session or connection he kept."""

import contextlib
import ssl
import threading
import time

import pytest
from web_pki import Identity, client_context

from conftest import VERSIONS, Bench, read_answer, request, wait_closed


def resumable(
    bench: Bench, who: Identity, version: ssl.TLSVersion
) -> tuple[ssl.SSLContext, ssl.SSLSession]:
    """Make one good request and return what a client needs to resume."""
    context = client_context(bench.authority.root_der, who, version=version)
    with bench.connect(who, context=context) as sock:
        sock.sendall(request())
        assert read_answer(sock)[0] == 200
        assert sock.session is not None
        return context, sock.session


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_session_of_a_revoked_identity_is_refused(
    bench: Bench, device: Identity, version: ssl.TLSVersion
) -> None:
    """Goal: OpenSSL skips every check on resumption; the hub's own memory does not."""
    context, session = resumable(bench, device, version)
    bench.book.revoked.add(device.uri)
    with bench.connect(device, context=context, session=session) as sock:
        assert sock.session_reused
        sock.sendall(request())
        status, _, body = read_answer(sock)
        assert status == 403
        assert b"ASP-202" in body
        assert wait_closed(sock, within_s=3) < 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_session_of_an_expired_certificate_is_refused(
    bench: Bench, device: Identity, version: ssl.TLSVersion
) -> None:
    context, session = resumable(bench, device, version)
    bench.book.now_ns = 1 << 63
    with bench.connect(device, context=context, session=session) as sock:
        assert sock.session_reused
        sock.sendall(request())
        status, _, body = read_answer(sock)
        assert status == 403
        assert b"ASP-203" in body


@pytest.mark.parametrize("version", VERSIONS)
def test_a_kept_connection_is_refused_after_revocation(
    bench: Bench, device: Identity, version: ssl.TLSVersion
) -> None:
    with bench.connect(device, version=version) as sock:
        sock.sendall(request())
        assert read_answer(sock)[0] == 200
        bench.book.revoked.add(device.uri)
        sock.sendall(request())
        status, head, _ = read_answer(sock)
        assert status == 403
        assert b"connection: close" in head
        assert wait_closed(sock, within_s=3) < 2


def test_close_identity_ends_streams_within_a_second(bench: Bench, device: Identity) -> None:
    """Goal: every stream of the identity ends, and nobody else's."""
    other = bench.authority.device(8)
    mine = [bench.connect(device) for _ in range(4)]
    foreign = bench.connect(other)
    for sock in (*mine, foreign):
        sock.sendall(request("/stream"))
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    registry = bench.running.server.registry
    began = time.monotonic()
    assert bench.running.call(lambda: registry.close_identity(device.uri)) == 4
    for sock in mine:
        wait_closed(sock, within_s=1)
        sock.close()
    assert time.monotonic() - began < 1
    assert foreign.recv(4096)
    foreign.close()


def test_a_stream_ends_by_itself_when_its_identity_is_revoked(
    bench: Bench, device: Identity
) -> None:
    """Goal: the second line: even if nobody called close_identity, the tick finds it."""
    with bench.connect(device) as sock:
        sock.sendall(request("/stream"))
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        bench.book.revoked.add(device.uri)
        assert wait_closed(sock, within_s=3) < 1


def test_the_handler_of_a_closed_stream_is_told(bench: Bench, device: Identity) -> None:
    with bench.connect(device) as sock:
        sock.sendall(request("/stream"))
        sock.recv(4096)
        told = threading.Event()
        connection = bench.running.call(lambda: next(iter(bench.running.server.registry)))
        bench.running.call(lambda: connection.on_close(told.set))
        bench.running.call(lambda: bench.running.server.registry.close_where(lambda _: True))
        assert told.wait(1)
        with contextlib.suppress(OSError):
            sock.shutdown(2)
    assert bench.running.call(bench.running.server.registry.listing) == []
