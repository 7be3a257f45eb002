"""What people and devices do about attestation, at a real hub."""

import hashlib
import ssl
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hub_ward import Ward

from asepsis.cli.devices import people
from asepsis.core.trust import libcrypto, tls
from asepsis.core.trust.attestation_log import Change, Line
from asepsis.core.trust.tpm import extend
from asepsis.edge.device.attesting import Attester, Found
from asepsis.edge.device.measuring import Measuring
from asepsis.edge.device.proving import TpmProver
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.uplink.connection import Endpoint, HubConnection
from asepsis.tools.people import PeopleClient
from asepsis.tools.testing.software_tpm import SoftwareTpm, TpmMaker

MODEL = "Acme M3"
IMAGE = hashlib.sha256(b"kernel 1").digest()
SECURE = hashlib.sha256(b"secure boot on").digest()
PART = hashlib.sha256(b"network 2").hexdigest()
START = Line(change=Change.START, subject="monitor", version="1", sha256="0" * 64)
SWAP = Line(change=Change.SWAP, subject="network", version="2", sha256=PART)
HONEST = {7: SECURE, 11: IMAGE}


@dataclass
class AttestedWard:
    """A ward, its administrator, and a maker of TPMs."""

    ward: Ward
    maker: TpmMaker

    def __post_init__(self) -> None:
        self.person: PeopleClient = people(self.ward.hospital.data)
        self.person.post(
            "/api/attestation/makers",
            {"certificate": ssl.DER_cert_to_PEM_cert(self.maker.anchor_der)},
        )
        self.release("1", 1, IMAGE, parts=[PART])

    def release(self, name: str, number: int, image: bytes, *, parts: Sequence[str] = ()) -> None:
        """Enter a release."""
        body = {
            "model": MODEL,
            "name": name,
            "number": number,
            "registers": {"11": extend(bytes(32), image).hex()},
            "parts": list(parts),
        }
        self.person.post("/api/attestation/releases", body)

    def open(self, name: str, *, ek_sha256: str | None = None) -> None:
        """Open the commissioning of a device."""
        self.person.post(self.path(name), {"ek_sha256": ek_sha256})

    def shown(self, name: str) -> dict[str, Any]:
        """Return how a device stands, as people see it."""
        return self.person.get(self.path(name))

    @staticmethod
    def path(name: str) -> str:
        """Return the route of a device."""
        return f"/api/devices/{quote(name, safe='')}/attestation"

    @contextmanager
    def attester(self, name: str, software: SoftwareTpm, *lines: Line) -> Generator[Attester]:
        """Yield the device's side, over a TLS connection with its own key."""
        files = self.ward.machines[name].files
        assert self.ward.hub is not None
        endpoint = Endpoint("localhost", self.ward.hub.ready["listeners"]["clinical"]["port"])
        context = tls.client_context(root_der=self.ward.hospital.root_der, identity=files)
        connection = HubConnection(endpoint, context, now_ns=None)
        key = libcrypto.read_key(Path(files.key_path))
        try:
            with Tpm(software.path) as tpm:
                yield Attester(TpmProver(tpm, lambda: lines), connection, key.spki_der)
        finally:
            connection.close()

    def bind(self, name: str, software: SoftwareTpm) -> None:
        """Bring a TPM to the hub."""
        with self.attester(name, software) as attester:
            attester.bind()

    def attest(self, name: str, software: SoftwareTpm, *lines: Line) -> Found:
        """Be asked and answer, as the device does."""
        with self.attester(name, software, *lines) as attester:
            return attester.attest()

    def measure(self, software: SoftwareTpm, *lines: Line) -> None:
        """Measure changes as whoever makes them does."""
        with Tpm(software.path) as tpm:
            for line in lines:
                Measuring(tpm, software.folder / "measured.jsonl").measure(line)
