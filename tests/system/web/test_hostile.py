"""Bytes that no honest peer sends, on every listener, over real TLS."""

import contextlib
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from web_pki import Identity

from conftest import Bench, read_answer, request, wait_closed

LISTENERS = ("clinical", "enrolment", "people")
HEAD = b"POST /echo HTTP/1.1\r\nHost: hub\r\n"
MALFORMED = {
    "transfer-encoding-and-content-length": (
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        400,
    ),
    "content-length-and-transfer-encoding": (
        HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two-content-lengths": (HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400),
    "same-content-length-twice": (
        HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        400,
    ),
    "content-length-list": (HEAD + b"Content-Length: 4, 4\r\n\r\nabcd", 400),
    "content-length-plus": (HEAD + b"Content-Length: +4\r\n\r\nabcd", 400),
    "content-length-hex": (HEAD + b"Content-Length: 0x4\r\n\r\nabcd", 400),
    "content-length-negative": (HEAD + b"Content-Length: -4\r\n\r\nabcd", 400),
    "content-length-huge": (HEAD + b"Content-Length: 99999999999999999\r\n\r\n", 413),
    "content-length-overflow": (HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", 400),
    "bare-lf-in-header": (b"GET /whoami HTTP/1.1\nHost: hub\n\n", 400),
    "bare-lf-ends-head": (b"GET /whoami HTTP/1.1\r\nHost: hub\r\nX: y\n\r\n", 400),
    "bare-cr-in-value": (b"GET /whoami HTTP/1.1\r\nHost: hub\r\nX: a\rb\r\n\r\n", 400),
    "nul-in-value": (b"GET /whoami HTTP/1.1\r\nHost: hub\r\nX: a\x00b\r\n\r\n", 400),
    "nul-in-name": (b"GET /whoami HTTP/1.1\r\nHost: hub\r\nX\x00: b\r\n\r\n", 400),
    "space-before-colon": (b"GET /whoami HTTP/1.1\r\nHost: hub\r\nX : b\r\n\r\n", 400),
    "folded-header": (b"GET /whoami HTTP/1.1\r\nHost: hub\r\nX: a\r\n b\r\n\r\n", 400),
    "no-host": (b"GET /whoami HTTP/1.1\r\n\r\n", 400),
    "two-hosts": (b"GET /whoami HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "two-authorizations": (
        b"GET /whoami HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
        400,
    ),
    "gzip-transfer-coding": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked-not-last": (HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    "chunked-twice": (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "disguised-transfer-encoding": (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
    "chunk-size-garbage": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    "chunk-size-overflow": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n",
        400,
    ),
    "chunk-without-end": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabX", 400),
    "chunk-extension-with-bare-lf": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;a\nab\r\n0\r\n\r\n",
        400,
    ),
    "chunked-trailer": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nAuthorization: x\r\n\r\n",
        400,
    ),
    "chunked-inside-chunked": (
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "http-1.0": (b"GET /whoami HTTP/1.0\r\nHost: hub\r\n\r\n", 505),
    "http-0.9": (b"GET /whoami\r\n\r\n", 505),
    "http-2-preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "absolute-target": (b"GET http://evil/whoami HTTP/1.1\r\nHost: hub\r\n\r\n", 400),
    "fragment-in-target": (b"GET /whoami#x HTTP/1.1\r\nHost: hub\r\n\r\n", 400),
    "encoded-nul": (b"GET /who%00ami HTTP/1.1\r\nHost: hub\r\n\r\n", 400),
    "encoded-percent": (b"GET /who%2500 HTTP/1.1\r\nHost: hub\r\n\r\n", 400),
    "encoded-broken-utf-8": (b"GET /%ff%fe HTTP/1.1\r\nHost: hub\r\n\r\n", 400),
    "raw-utf-16": ("GET /whoami HTTP/1.1\r\nHost: hub\r\n\r\n".encode("utf-16"), 400),
    "unknown-method": (b"BREW /whoami HTTP/1.1\r\nHost: hub\r\n\r\n", 400),
    "method-not-allowed": (b"DELETE /whoami HTTP/1.1\r\nHost: hub\r\n\r\n", 405),
    "connect": (b"CONNECT hub:443 HTTP/1.1\r\nHost: hub\r\n\r\n", 400),
    "unknown-path": (b"GET /../etc/passwd HTTP/1.1\r\nHost: hub\r\n\r\n", 404),
    "unknown-expectation": (HEAD + b"Expect: tea\r\nContent-Length: 0\r\n\r\n", 417),
    "websocket": (
        b"GET /whoami HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        501,
    ),
    "h2c": (
        b"GET /whoami HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        501,
    ),
    "long-target": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: hub\r\n\r\n", 414),
    "many-headers": (b"GET / HTTP/1.1\r\nHost: hub\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
    "long-header": (b"GET / HTTP/1.1\r\nHost: hub\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
}


def who(device: Identity, listener: str) -> Identity | None:
    return None if listener == "people" else device


def refusal(
    bench: Bench, listener: str, identity: Identity | None, data: bytes
) -> tuple[int, bool]:
    """Send bytes; return the status and whether the connection ended after one answer."""
    with bench.connect(identity, listener=listener) as sock:
        sock.sendall(data + request())  # What follows is what a smuggler wants to get through.
        status, head, body = read_answer(sock)
        assert b"application/problem+json" in head
        assert b'"status":%d' % status in body
        if status in (404, 405):
            return status, read_answer(sock)[0] == 200
        sock.settimeout(5)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            return status, sock.recv(65_536) == b""
        return status, True


@pytest.mark.parametrize("listener", LISTENERS)
def test_every_malformed_request_gets_one_problem_and_the_end(
    bench: Bench, device: Identity, listener: str
) -> None:
    """Goal: refused with a reason, exactly one answer, and the connection is closed after it."""

    def attempt(data: bytes) -> tuple[int, bool]:
        # One identity holds 8 connections at most: the oldest would be closed under the test.
        return refusal(bench, listener, who(device, listener), data)

    with ThreadPoolExecutor(max_workers=6) as pool:
        found = dict(
            zip(MALFORMED, pool.map(attempt, [data for data, _ in MALFORMED.values()]), strict=True)
        )
    assert found == {name: (status, True) for name, (_, status) in MALFORMED.items()}


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_header_without_end_is_cut_at_its_limit(
    bench: Bench, device: Identity, listener: str
) -> None:
    """Goal: of 200 MB, sent piece by piece, the server reads its limit and ends the connection."""
    sent = 0
    with bench.connect(who(device, listener), listener=listener) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: hub\r\nX: ")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while sent < 200_000_000:
                sock.sendall(b"a" * 10_000)
                sent += 10_000
    assert sent < 20_000_000


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_half_request_ends_at_its_deadline(bench: Bench, device: Identity, listener: str) -> None:
    """Goal: nothing, half a line, half a head and half a body all end with the same deadline."""

    def attempt(part: bytes) -> float:
        with bench.connect(who(device, listener), listener=listener) as sock:
            began = time.monotonic()
            if part:
                sock.sendall(part)
                assert read_answer(sock)[0] == 408
            wait_closed(sock, within_s=5)
            return time.monotonic() - began

    parts = (b"", b"GET / HT", HEAD, HEAD + b"Content-Length: 9\r\n\r\nab")
    with ThreadPoolExecutor() as pool:
        for seconds in pool.map(attempt, parts):
            assert 0.5 < seconds < 4


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_drip_does_not_stretch_the_deadline(
    bench: Bench, device: Identity, listener: str
) -> None:
    """Goal: slow-loris: each byte in time, the whole too late."""
    began, data = time.monotonic(), b""
    with bench.connect(who(device, listener), listener=listener) as sock:
        sock.settimeout(0.1)
        sock.sendall(HEAD)
        for _ in range(60):
            try:
                sock.sendall(b"X: y\r\n")
                data = sock.recv(4_096)
                break
            except TimeoutError:
                continue
    assert data.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 3


def test_a_flood_of_pipelined_requests_is_cut(bench: Bench, device: Identity) -> None:
    with bench.connect(device) as sock:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            sock.sendall(request() * 5_000)
        wait_closed(sock, within_s=3)
    assert bench.running.status()["requests"] < 50


def test_a_few_pipelined_requests_are_answered_in_order(bench: Bench, device: Identity) -> None:
    data = b""
    with bench.connect(device) as sock:
        sock.sendall(b"".join(request("/echo", method="POST", body=b"<%d>" % n) for n in range(8)))
        while data.count(b"HTTP/1.1 200") < 8 or not data.endswith(b"<7>"):
            data += sock.recv(65_536)
    assert [data.index(b"<%d>" % n) for n in range(8)] == sorted(
        data.index(b"<%d>" % n) for n in range(8)
    )


def test_garbage_after_a_good_request_does_not_steal_its_answer(
    bench: Bench, device: Identity
) -> None:
    """Goal: the 400 comes second; plain uvicorn answers the good request with it."""
    with bench.connect(device) as sock:
        sock.sendall(request("/echo", method="POST", body=b"good") + b"\x00garbage\r\n\r\n")
        data = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while chunk := sock.recv(65_536):
                data += chunk
    assert data.index(b"HTTP/1.1 200") < data.index(b"good") < data.index(b"HTTP/1.1 400")


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_reader_that_never_reads_is_cut(bench: Bench, device: Identity, listener: str) -> None:
    """Goal: an endless stream to a peer that stopped reading ends; its memory is bounded."""
    with bench.connect(who(device, listener), listener=listener) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.sendall(request("/flood", method="POST"))
        deadline = time.monotonic() + 6
        while bench.running.status(listener)["open"] and time.monotonic() < deadline:
            time.sleep(0.05)
        status = bench.running.status(listener)
        assert status["open"] == 0
        assert status["cut_stalled"] == 1


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + b"\x00" * 4_000,
        bytes(range(256)) * 20,
        b"\x80\x2e\x01\x00\x02",
        b"",
    ],
    ids=["plain-http", "huge-record", "garbage", "ssl-2", "silence"],
)
def test_what_is_not_tls_is_dropped(bench: Bench, listener: str, data: bytes) -> None:
    """Goal: no answer in clear text, and the place is free again within the deadline."""
    with socket.create_connection(bench.running.server.addresses[listener], timeout=5) as sock:
        sock.sendall(data) if data else None
        sock.settimeout(4)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while chunk := sock.recv(4_096):
                answer += chunk
        assert b"HTTP" not in answer
    assert bench.running.status(listener)["open"] == 0
    assert bench.running.status(listener)["handshakes_failed"] == 1
