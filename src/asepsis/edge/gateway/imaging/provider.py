"""DICOM ports: who is let in, how many, and what becomes of a connection.

Source: DICOM PS3.8 section 9; PS3.15 annexes B.12 and B.13 (BCP 195 TLS profiles).
"""

import asyncio
import hashlib
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Final, cast

from asepsis.core.errors import AsepsisError, InputError, Unavailable
from asepsis.core.trust import libcrypto_x509
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.imaging.association import (
    REQUEST_S,
    Association,
    Counter,
    Place,
    Prover,
)
from asepsis.edge.gateway.imaging.bcp195 import provider_context
from asepsis.edge.gateway.imaging.deposit import Deposit
from asepsis.edge.gateway.imaging.imaging_findings import ImagingFinding
from asepsis.edge.gateway.imaging.operations import Inquiry
from asepsis.edge.gateway.imaging.pdustream import PduStream
from asepsis.edge.gateway.imaging.policy import Certificate, Door, certificate_names
from asepsis.edge.gateway.rate import Bucket

HANDSHAKE_S: Final = 10.0
BACKLOG: Final = 128


@dataclass(frozen=True, slots=True)
class Port:
    """A bound port of one listener.

    Attributes:
        door: Listener and peers.
        socket: Bound and listening.
        context: TLS, None for clear text.
    """

    door: Door
    socket: socket.socket
    context: ssl.SSLContext | None


def bind(door: Door) -> Port:
    """Bind the port of a listener and load its certificates; a confined process can do neither.

    Raises:
        ConfigError: TLS files do not load.
        Unavailable: The address is taken or not ours.
    """
    settings = door.listener
    context = provider_context(settings.tls) if settings.tls is not None else None
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, place = found[0][0], found[0][4]
        bound = socket.create_server(place[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise Unavailable(
            f"imaging listener {settings.name}: {settings.host} port {settings.port}:"
            f" {error.strerror}"
        ) from error
    return Port(door, bound, context)


class Provider:
    """One port and its associations.

    Args:
        port: From `bind`; owned from now on.
        deposit: Where instances go.
        prover: Who judges users.
        findings: Told who knocked.
        inquiry: What archives and worklists are asked with.

    Resource handling: `open` listens, `close` ends the port and every association.
    """

    def __init__(
        self,
        port: Port,
        *,
        deposit: Deposit,
        prover: Prover,
        findings: Findings,
        inquiry: Inquiry,
    ) -> None:
        self._port = port
        self._findings = findings
        self._counter = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._place = Place(
            door=port.door,
            deposit=deposit,
            prover=prover,
            findings=findings,
            counter=self._counter,
            buckets={
                peer.name: Bucket(per_s=peer.limits.rate_per_s, burst=peer.limits.burst)
                for peer in port.door.peers
            },
            inquiry=inquiry,
            monotonic=time.monotonic,
        )

    async def open(self) -> None:
        """Listen."""
        context = self._port.context
        limit = self._port.door.listener.pdu_bytes_max
        self._server = await asyncio.get_running_loop().create_server(
            lambda: PduStream(pdu_bytes_max=limit, pdu_s=REQUEST_S, begun=self._begin),
            sock=self._port.socket,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_S if context else None,
            backlog=BACKLOG,
        )

    async def close(self) -> None:
        """Stop listening and end every association; what was answered is durable already."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, stream: PduStream) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: PduStream) -> None:
        writer = stream.transport
        name = writer.get_extra_info("peername")
        address = str(name[0]) if name else ""
        door = self._port.door
        if not address or not door.anybody_at(address):
            self._findings.note(ImagingFinding.UNKNOWN_SENDER, address)
            writer.abort()
            return
        if self._counter.connections >= door.listener.associations_max:
            self._findings.note(ImagingFinding.TOO_MANY_ASSOCIATIONS, address)
            writer.abort()
            return
        self._counter.connections += 1
        certificate = _certificate(writer)
        if certificate is None:
            self._findings.note(ImagingFinding.CLEARTEXT, address)
        place = self._place
        association = Association(stream, place, address=address, certificate=certificate)
        try:
            await association.serve()
        except TimeoutError:
            self._findings.note(ImagingFinding.SLOW, address)
            await stream.abort()
        except InputError as error:
            self._findings.note(ImagingFinding.MALFORMED, address, reason=str(error))
        except AsepsisError:
            await stream.abort()  # The connection or the spool is gone; nothing was promised.
        finally:
            self._counter.connections -= 1
            await stream.close()


def _certificate(writer: asyncio.Transport) -> Certificate | None:
    layer = cast("ssl.SSLObject | None", writer.get_extra_info("ssl_object"))
    if layer is None:
        return None
    der = layer.getpeercert(binary_form=True) or b""
    names = certificate_names(layer.getpeercert() or {})
    key = hashlib.sha256(libcrypto_x509.read_certificate(der).spki_der).hexdigest() if der else ""
    return Certificate(hashlib.sha256(der).digest(), names, key)
