"""A hub that asks for time, refuses a message for good, or refuses the gateway itself."""

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from gateway_ward import Sender, Ward, oru

from asepsis.core.trust.tls import KeyAndChain, Listener, server_context
from asepsis.core.wire.message_record import decode_batch, decode_group
from asepsis.core.wire.mllp import frame

ALIVE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
NOTED = b"HTTP/1.1 204 No Content\r\n\r\n"
"""What a report of evidence is answered with; no message is in it."""
TOO_LARGE = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 20\r\n\r\n" + b'{"code": "ASP-202"}\n'
GARBAGE = b"SSH-2.0-hello\r\n\r\n"


def taken(body: bytes) -> bytes:
    """Return the answer of a hub that has stored a whole batch."""
    answer = b'{"stored": %d, "refused": []}' % len(messages(body))
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer)


def messages(body: bytes) -> list[bytes]:
    return [entry.body for group in decode_batch(body) for entry in decode_group(group.body)]


class ScriptedHub:
    """A TLS server at the hub's address that answers as `judge` says, and notes what it took."""

    def __init__(self, ward: Ward) -> None:
        files = ward.hospital.data / "hub/tls"
        issuing = (ward.hospital.data / "ca/issuing.crt").read_text()
        self._context = server_context(
            Listener.CLINICAL,
            identity=KeyAndChain(chain_path=files / "chain.pem", key_path=files / "key.pem"),
            issuing_der=[ssl.PEM_cert_to_DER_cert(issuing)],
        )
        self._server = socket.create_server(("127.0.0.1", ward.hub_port))
        self.answer: Callable[[bytes], bytes] = taken
        self.taken: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        data = b""
        try:
            with self._context.wrap_socket(plain, server_side=True) as link:
                while chunk := link.recv(65_536):
                    data += chunk
                    head, end, body = data.partition(b"\r\n\r\n")
                    if end and head.startswith(b"GET /metadata "):
                        link.sendall(ALIVE)
                        data = b""
                        continue
                    length = re.search(rb"(?i)\r\nContent-Length: (\d+)", head)
                    if end and length and len(body) == int(length[1]):
                        if not head.startswith(b"POST /hl7v2 "):
                            link.sendall(NOTED)
                            data = b""
                            continue
                        answer = self.answer(body)
                        if answer == taken(body):
                            self.taken += messages(body)
                        link.sendall(answer)
                        data = b""
        except OSError:
            return


@contextmanager
def scripted(ward: Ward) -> Iterator[ScriptedHub]:
    hub = ScriptedHub(ward)
    try:
        ward.start_gateway()
        deadline = time.monotonic() + 10
        while "hub-back" not in ward.findings() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield hub
    finally:
        hub.close()


def test_a_message_that_the_hub_refuses_for_good_is_answered_and_holds_nothing_up(
    prepared: Callable[..., Ward],
) -> None:
    ward = prepared()
    with scripted(ward) as hub:
        hub.answer = lambda body: TOO_LARGE if b"|REFUSED|" in body else taken(body)
        bad = oru(2, control=b"REFUSED", ack=b"")
        with Sender(ward.port()) as sender:
            assert sender.send(oru(1)) == "CA"
            assert sender.send(bad) == "AR"
            assert sender.send(oru(3)) == "CA"
            hub.answer = taken
            assert sender.send(bad) == "AA"  # Refused is not remembered as taken.
        assert ward.stop_gateway() == 0
        assert hub.taken == [oru(1), oru(3), bad]
    assert ward.findings()["refused-by-hub"] == 1


def test_a_gateway_that_is_not_permitted_keeps_everything(prepared: Callable[..., Ward]) -> None:
    ward = prepared()
    with scripted(ward) as hub:
        hub.answer = lambda _: FORBIDDEN
        sent = [oru(n) for n in range(1, 6)]
        with Sender(ward.port()) as sender:
            assert [sender.send(message) for message in sent] == ["CA"] * 5
        assert hub.taken == []
        assert ward.findings()["identity-refused"] == 1
        hub.answer = taken
        deadline = time.monotonic() + 15
        while len(hub.taken) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert hub.taken == sent


def test_a_hub_that_talks_nonsense_loses_nothing(prepared: Callable[..., Ward]) -> None:
    ward = prepared()
    with scripted(ward) as hub:
        hub.answer = lambda _: GARBAGE
        with Sender(ward.port()) as sender:
            assert sender.send(oru(1)) == "CA"  # From the spool, after waiting.
        hub.answer = taken
        deadline = time.monotonic() + 20
        while not hub.taken and time.monotonic() < deadline:
            time.sleep(0.05)
        assert hub.taken == [oru(1)]


@pytest.mark.slow
def test_a_hub_that_limits_the_rate_gets_everything_in_order(
    prepared: Callable[..., Ward],
) -> None:
    """Goal: 200 at once and 50 a second are the hub's own limits; the rest waits in the spool."""
    ward = prepared(hub="")
    ward.start_hub()
    ward.start_gateway()
    sent = [oru(n) for n in range(1, 281)]
    with Sender(ward.port()) as sender:
        sender.raw(b"".join(map(frame, sent)))
        assert all(sender.answer(30) for _ in sent)
    ward.wait_journalled()
    ward.stop_gateway()
    assert ward.journalled() == sent
