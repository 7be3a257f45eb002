"""The cable process of one SDC device: TLS, the key for it, and no message.

The line process reads what the device sends, so it holds no key. This one proves the gateway to the
device and the device to the gateway, and hands the line process the bytes of each connection that
was proved, one end of a pair of sockets each. It reads nothing of what it carries.

Source: ISO/IEEE 11073-20701 (R0063, R0064, participant key purposes); RFC 9325.
"""

import contextlib
import hashlib
import hmac
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from asepsis.core.errors import IdentityInvalid, Unavailable
from asepsis.core.trust.identity import load_certificate, spki_der
from asepsis.edge.gateway.sdc.pump import pump

DIALS_MAX: Final = 16
"""Connections for requests; a consumer keeps one for each service of the device."""
ARRIVALS_MAX: Final = 8
"""Connections for reports; a provider keeps one for each of its event sources."""
HANDSHAKE_S: Final = 4.0
ANSWER_S: Final = 12.0
"""Longer than a connect and a handshake together: an answer must not meet the next request."""
PAUSE_S: Final = 0.1
_ASK: Final = b"d"
_ANSWER: Final = struct.Struct(">B32s")
_NO_KEY: Final = b"\0" * 32
_ARRIVED: Final = struct.Struct(">I")
"""How many were refused so far; with a descriptor, a connection of the device."""


class Outcome(IntEnum):
    """What became of a connection to the device."""

    PROVED = 0
    NO_ANSWER = 1
    TLS = 2
    WRONG_CERTIFICATE = 3
    BUSY = 4

    @property
    def word(self) -> str:
        """Return it as a word for people."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How both sides prove themselves.

    Attributes:
        client: TLS for requests.
        server: TLS for the device's reports.
        host: What its certificate has to name, as far as OpenSSL compares it.
        address: Where its reports have to come from.
        check: Judges the certificate (DER); raises `IdentityInvalid` if it is not the device's.
    """

    client: ssl.SSLContext
    server: ssl.SSLContext
    host: str
    address: str
    check: Callable[[bytes], None]


class Cable:
    """Carries the connections of one device.

    Args:
        proof: Who may speak.
        connect: Returns a connected socket to the declared address; raises `Unavailable`.
        listening: Where the device's reports arrive.
        arrivals: Takes a descriptor for each of them.

    Resource handling: `run` starts threads that end with the process.
    """

    def __init__(
        self,
        proof: Proof,
        *,
        connect: Callable[[], socket.socket],
        listening: socket.socket,
        arrivals: socket.socket,
    ) -> None:
        self._proof = proof
        self._connect = connect
        self._listening = listening
        self._arrivals = arrivals
        self._lock = threading.Lock()
        self._leaf = b""
        self._refused = 0
        self._dialled = self._arrived = 0

    def run(self, ask: socket.socket) -> None:
        """Serve until the line process hangs up.

        Args:
            ask: Its requests for a connection.
        """
        threading.Thread(target=self._accept, name="accept", daemon=True).start()
        with self._listening, contextlib.suppress(OSError):
            while ask.recv(len(_ASK)):
                outcome, end = self._dial()
                if end is None:
                    ask.send(_ANSWER.pack(outcome, _NO_KEY))
                    continue
                key = hashlib.sha256(spki_der(load_certificate(self._leaf))).digest()
                with end:
                    socket.send_fds(ask, [_ANSWER.pack(outcome, key)], [end.fileno()])

    def _dial(self) -> tuple[Outcome, socket.socket | None]:
        with self._lock:
            if self._dialled >= DIALS_MAX:
                return Outcome.BUSY, None
        try:
            plain = self._connect()
            secured = _secure(plain, self._proof.client, host=self._proof.host)
        except ssl.SSLCertVerificationError:
            return Outcome.WRONG_CERTIFICATE, None
        except ssl.SSLError:
            return Outcome.TLS, None
        except (OSError, Unavailable):
            return Outcome.NO_ANSWER, None
        leaf = secured.getpeercert(binary_form=True) or b""
        try:
            self._proof.check(leaf)
        except IdentityInvalid:
            secured.close()
            return Outcome.WRONG_CERTIFICATE, None
        self._leaf = leaf
        near, far = socket.socketpair()
        with self._lock:
            self._dialled += 1
        threading.Thread(target=self._carry, args=(secured, near), daemon=True).start()
        return Outcome.PROVED, far

    def _carry(self, secured: ssl.SSLSocket, near: socket.socket) -> None:
        try:
            pump(secured, near)
        finally:
            with self._lock:
                self._dialled -= 1

    def _accept(self) -> None:
        while self._listening.fileno() >= 0:
            try:
                plain, peer = self._listening.accept()
            except OSError:
                select.select([], [], [], PAUSE_S)  # The peer was gone, or descriptors are few.
                continue
            with self._lock:
                is_taken = peer[0] == self._proof.address and self._arrived < ARRIVALS_MAX
                self._arrived += is_taken
            if is_taken:
                threading.Thread(target=self._take, args=(plain,), daemon=True).start()
            else:
                plain.close()
                self._refuse()

    def _take(self, plain: socket.socket) -> None:
        """Shake hands in a thread of its own: one silent peer holds up nobody."""
        try:
            secured = _secure(plain, self._proof.server)
            leaf = secured.getpeercert(binary_form=True) or b""
            if not self._leaf or not hmac.compare_digest(leaf, self._leaf):
                secured.close()
                self._refuse()
                return
            near, far = socket.socketpair()
            with far:
                socket.send_fds(self._arrivals, [_ARRIVED.pack(self._refused)], [far.fileno()])
            pump(secured, near)
        except OSError:
            self._refuse()
        finally:
            with self._lock:
                self._arrived -= 1

    def _refuse(self) -> None:
        with self._lock:
            self._refused += 1
        with contextlib.suppress(OSError):
            self._arrivals.send(_ARRIVED.pack(self._refused))


def _secure(plain: socket.socket, context: ssl.SSLContext, *, host: str = "") -> ssl.SSLSocket:
    """Shake hands; the plain socket is taken over or closed."""
    try:
        plain.settimeout(HANDSHAKE_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if host:
            return context.wrap_socket(plain, server_hostname=host)
        return context.wrap_socket(plain, server_side=True)
    except BaseException:
        plain.close()
        raise


class CableClient:
    """Asks the cable for connections; the line process's side. Thread-safe.

    Args:
        ask: Its channel.

    Attributes:
        key: SHA-256 of the device's public key as it was last proved, hexadecimal; empty before.
    """

    def __init__(self, ask: socket.socket) -> None:
        self.key = ""
        self._ask = ask
        self._lock = threading.Lock()
        ask.settimeout(ANSWER_S)

    def dial(self) -> socket.socket:
        """Return a socket whose other end is a connection to the device, proved.

        Raises:
            Unavailable: There is none; the message is one word.
        """
        try:
            with self._lock:
                self._ask.send(_ASK)
                answer, descriptors, _, _ = socket.recv_fds(self._ask, _ANSWER.size, 1)
            number, key = _ANSWER.unpack(answer)
            outcome = Outcome(number)
        except (OSError, ValueError, struct.error) as error:
            raise Unavailable("no-cable") from error
        if outcome is not Outcome.PROVED or not descriptors:
            raise Unavailable(outcome.word)
        self.key = key.hex()
        return socket.socket(fileno=descriptors[0])


def arrived(arrivals: socket.socket) -> tuple[int, socket.socket | None]:
    """Wait for a connection of the device; return how many were refused, and it if there is one.

    Raises:
        Unavailable: The cable has ended.
    """
    try:
        told, descriptors, _, _ = socket.recv_fds(arrivals, _ARRIVED.size, 1)
        (refused,) = _ARRIVED.unpack(told)
    except (OSError, struct.error) as error:
        raise Unavailable("no-cable") from error
    return refused, socket.socket(fileno=descriptors[0]) if descriptors else None
