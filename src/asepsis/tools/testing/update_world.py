"""A hospital with a vendor, a director and one device, on files that a caller serves over HTTP."""

import hashlib
import time
from dataclasses import dataclass, field
from datetime import datetime
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.trust.answers import DirectorSigned, SignedSet
from asepsis.core.trust.director import Assigned, DirectorSet, payloads
from asepsis.core.trust.metadata.directing import director_key, files
from asepsis.edge.device.update import place
from asepsis.edge.device.update.fetching import Fetcher, Place, Repository
from asepsis.edge.device.update.starting import verify
from asepsis.edge.device.update.talk import DIRECTOR, Kind
from asepsis.tools.release.approving import approve, propose, root_of
from asepsis.tools.testing.releases import Hospital, Vendor

OWN: Final = {"device": "urn:dev:mac:0011223344556677", "hardware": "m5-rev-b", "model": "m5"}
HOW: Final = ec.ECDSA(hashes.SHA256())


@dataclass
class World:
    """A hospital whose online director key is the caller's: a broken-into hub.

    Attributes:
        folder: Served over HTTP by the caller.
        port: Where it is served, on the loopback address.
        begun: A vendor to copy.
        own: What the device is.
        device: Its update folder; below `folder` if none is given.
        version: Of the director's metadata.
        key: The director's online key.
    """

    folder: Path
    port: int
    begun: Vendor
    own: dict[str, str] = field(default_factory=lambda: dict(OWN))
    device: Path = field(default=Path())
    version: int = 0
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    now: datetime = field(init=False)
    der: bytes = field(init=False)
    vendor: Vendor = field(init=False)
    hospital: Hospital = field(init=False)
    served: Path = field(init=False)
    incoming: Path = field(init=False)

    def __post_init__(self) -> None:
        self.now = self.begun.now
        self.der = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.vendor = self.begun.copied(self.folder / "acme")
        self.hospital = Hospital(self.folder / "hospital", director_key(self.der), now=self.now)
        self.served = self.hospital.repository.public
        (self.served / "authorisations").mkdir()
        if self.device == Path():
            self.device = self.folder / "device"
        self.incoming = self.folder / "incoming"
        self.incoming.mkdir()
        place.begin(
            self.device,
            director_root=self.hospital.first_root,
            vendor_roots={"acme": self.vendor.first_root},
        )

    def authorise(self, path: str, *, hospital: bool = True, floor: int = 0) -> str:
        """Have a release approved; returns the hash of the document."""
        content = propose(
            self.vendor.repository, path, models=(), floor=floor, days=30, now=self.now
        )
        parties = [("vendor", self.vendor.approver, self.vendor.first_root)]
        if hospital:
            parties.append(("hospital", self.hospital.approver, self.hospital.first_root))
        for party, signer, root in parties:
            content = approve(content, signer, root=root_of(root, party), party=party)
        digest = hashlib.sha256(content).hexdigest()
        (self.served / "authorisations" / f"{digest}.json").write_bytes(content)
        return digest

    def assign(
        self,
        path: str,
        authorisation: str,
        *,
        windows: tuple[tuple[int, int], ...] = (),
        **other: str,
    ) -> None:
        """Let the director assign a release, as the signer signs it."""
        name = path.partition("/")[2]
        content = (self.folder / "acme" / name).read_bytes()
        one = Assigned(
            path=path,
            length=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            vendor=other.pop("vendor", "acme"),
            authorisation=authorisation,
            windows=windows,
        )
        said = {"device": self.own["device"], "hardware": self.own["hardware"], **other}
        self.version += 1
        made = payloads(
            DirectorSet(**said, targets=(one,)),
            version=self.version,
            now_ns=int(self.now.timestamp()) * 10**9,
        )
        parts = (made.targets, made.snapshot, made.timestamp)
        signed = SignedSet(
            targets=made.targets,
            snapshot=made.snapshot,
            timestamp=made.timestamp,
            signatures=tuple(self.key.sign(part, HOW) for part in parts),  # type: ignore[arg-type]
        )
        answer = DirectorSigned(version=self.version, key_der=self.der, sets=(signed,))
        for name, content in files(answer, 0).items():
            (self.served / name).write_bytes(content)

    def take(self) -> dict[str, Any]:
        """Let the device look for what it is to have."""
        url = f"http://127.0.0.1:{self.port}"
        fetcher = Fetcher(
            repositories={
                DIRECTOR: Repository(Place.parse(f"{url}/hospital/public/metadata")),
                "acme": Repository(
                    Place.parse(f"{url}/acme/public/metadata"),
                    Place.parse(f"{url}/acme/public/targets"),
                ),
            },
            incoming=self.incoming,
            now_s=time.monotonic,
        )
        order = {
            "folder": str(self.device),
            "incoming": str(self.incoming),
            "own": self.own,
            "vendors": ["acme"],
            "now_s": int(self.now.timestamp()),
        }
        return verify(order, fetcher, kind=Kind.ASSIGNMENTS)


class Quiet(SimpleHTTPRequestHandler):
    """Static files, without a word."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the base class
        """Say nothing."""
