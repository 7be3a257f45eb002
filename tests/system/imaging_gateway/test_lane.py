"""A lane between hub and PACS: several instances on their way, and each gets its own word.

The PACS is pynetdicom's, the wire and both halves of the lane are real; a server that gives broken
files and asks to come again stands where the hub would.
"""

import asyncio
import hashlib
import json
import random
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from dicom_ward import CT, EXPLICIT, DicomWard, free_port, instance, make_ward
from pynetdicom import AE, evt

from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.imaging import part10
from asepsis.edge.gateway.imaging.delivery import FRAME_BYTES_MAX, DimseSender
from asepsis.edge.gateway.imaging.fetcher import Destination, Lane
from asepsis.edge.gateway.imaging.requestor import Remote
from asepsis.edge.gateway.imaging.wado import RetrieveConnection
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import Endpoint

COUNT = 20
LONG, CHANGED, BUSY, FULL, REFUSED = 2, 5, 7, 11, 13
"""Instances that go another way than the others."""


class Giver(ThreadingHTTPServer):
    """Gives instances and takes outcomes, as the hub does."""

    daemon_threads: bool = True
    block_on_close: bool = False

    def __init__(self, ward: DicomWard) -> None:
        self.files = [made(number) for number in range(COUNT)]
        self.odd = {CHANGED, BUSY}
        self.outcomes: list[dict[str, Any]] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = ward.hospital.data / "hub/tls"
        self.context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(cadata=ward.hospital.root_der)
        super().__init__(("127.0.0.1", ward.hub_port), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            with self.context.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)
        except OSError:
            return

    def items(self, after: int) -> bytes:
        found = [
            {
                "seq": number + 1,
                "kind": "instance",
                "path": f"/dicom-web/instances/{number}",
                "sha256": hashlib.sha256(file).hexdigest(),
                "length": len(file),
            }
            for number, file in enumerate(self.files)
            if number + 1 > after
        ]
        return json.dumps({"items": found}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version: ClassVar[str] = "HTTP/1.1"
    disable_nagle_algorithm: ClassVar[bool] = True
    wbufsize: ClassVar[int] = 65_536
    server: Giver

    def do_GET(self) -> None:
        if self.path.startswith("/outbound"):
            after = int(self.path.partition("after=")[2].partition("&")[0])
            if after >= COUNT:
                time.sleep(0.2)
            self.answer(200, self.server.items(after))
            return
        number = int(self.path.rpartition("/")[2])
        file = self.server.files[number]
        if number in self.server.odd:
            self.server.odd.discard(number)
            status, body = (503, b"{}") if number == BUSY else (200, file[:-1] + b"?")
            self.answer(status, body)
            return
        self.answer(200, file)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.outcomes += json.loads(body)["outcomes"]
        self.answer(204, b"")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


def made(number: int) -> bytes:
    uid, data = instance(number, 3_000_000 if number == LONG else 200_000)
    meta = part10.Meta(sop_class=CT, sop_instance=uid, transfer_syntax=EXPLICIT)
    return part10.encode_head(meta) + data


class Pacs:
    """Stores in memory; one instance finds it full twice, one is refused for good."""

    def __init__(self) -> None:
        self.stored: dict[int, bytes] = {}
        self.offered = Counter[int]()
        entity = AE("PACS")
        entity.add_supported_context(CT, EXPLICIT)
        self.port = free_port()
        server = entity.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        assert server is not None
        self.server = server

    def _store(self, event: Any) -> int:
        number = int(str(event.request.AffectedSOPInstanceUID).rpartition(".")[2])
        self.offered[number] += 1
        if number == FULL and self.offered[number] <= 2:
            return 0xA700
        if number == REFUSED:
            return 0xC000
        self.stored[number] = event.request.DataSet.getvalue()
        return 0


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    made = Pacs()
    yield made
    made.server.shutdown()


def bring(ward: DicomWard, giver: Giver, pacs: Pacs) -> None:
    """Run one lane until every instance is decided."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ward.hospital.root_der)
    identity = ward.data / "identity"
    context.load_cert_chain(identity / "tls.pem", identity / "tls.key")
    place = Endpoint("localhost", ward.hub_port)
    destination = Destination(
        "pacs",
        connect=lambda: RetrieveConnection(place, context, now_ns=None),
        backoff=lambda: Backoff(rng=random.Random(1), cap_s=0.05),
        tries=3,
        findings=Findings(time.monotonic_ns),
    )
    own, far = socket.socketpair()
    lane = Lane(destination, own)
    remote = Remote(host="127.0.0.1", port=pacs.port, called="PACS", calling="ASEPSIS")

    async def speak() -> None:
        reader, writer = await asyncio.open_unix_connection(sock=far, limit=FRAME_BYTES_MAX)
        await DimseSender(reader, writer, remote).run()
        writer.close()

    work = [lambda: asyncio.run(speak()), lane.run, destination.fetch_forever]
    threads = [threading.Thread(target=one, daemon=True) for one in work]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while len({one["seq"] for one in giver.outcomes if one["outcome"] != "retry"}) < COUNT:
        assert time.monotonic() < deadline, giver.outcomes
        time.sleep(0.02)
    destination.ended.set()
    for thread in threads:
        thread.join(20)
    assert not destination.lost.is_set()


def test_each_instance_of_several_on_their_way_gets_its_own_word(
    tmp_path: Path, pacs: Pacs
) -> None:
    """Goal: a changed file, a busy hub and a full PACS hold up nobody and lose nothing."""
    ward = make_ward(tmp_path)
    giver = Giver(ward)
    try:
        bring(ward, giver, pacs)
    finally:
        giver.shutdown()
        giver.server_close()
    last = {one["seq"] - 1: one["outcome"] for one in giver.outcomes}
    assert {number for number, outcome in last.items() if outcome == "refused"} == {REFUSED}
    assert set(pacs.stored) == set(range(COUNT)) - {REFUSED}
    assert all(giver.files[number].endswith(data) for number, data in pacs.stored.items())
    retried = Counter(one["seq"] - 1 for one in giver.outcomes if one["outcome"] == "retry")
    assert retried == {CHANGED: 1, BUSY: 1, FULL: 2}
    assert pacs.offered[CHANGED] == 1, "a changed file was complete at the PACS"
