"""The whole way on a device: director, vendor, approvers, floor; attacks are refused by it."""

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core import errors
from asepsis.core.trust.answers import DirectorSigned, SignedSet
from asepsis.core.trust.director import Assigned, DirectorSet, payloads
from asepsis.core.trust.metadata.directing import director_key, files
from asepsis.edge.device.update import place
from asepsis.edge.device.update.fetching import Fetcher, Place, Repository
from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.starting import verify
from asepsis.edge.device.update.talk import DIRECTOR, Kind
from asepsis.tools.release import editing
from asepsis.tools.release.approving import approve, propose, root_of
from asepsis.tools.testing.releases import Hospital, Vendor

OWN = {"device": "urn:dev:mac:0011223344556677", "hardware": "m5-rev-b", "model": "m5"}
HOW = ec.ECDSA(hashes.SHA256())


@dataclass
class World:
    """A hospital whose online director key is the test's: a broken-into hub."""

    folder: Path
    port: int
    begun: Vendor
    version: int = 0
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def __post_init__(self) -> None:
        self.now = self.begun.now
        self.der = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.vendor = self.begun.copied(self.folder / "acme")
        self.hospital = Hospital(self.folder / "hospital", director_key(self.der), now=self.now)
        self.served = self.hospital.repository.public
        (self.served / "authorisations").mkdir()
        self.device, self.incoming = self.folder / "device", self.folder / "incoming"
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

    def assign(self, path: str, authorisation: str, **other: str) -> None:
        """Let the director assign a release, as the signer signs it."""
        name = path.partition("/")[2]
        content = (self.folder / "acme" / name).read_bytes()
        one = Assigned(
            path=path,
            length=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            vendor=other.pop("vendor", "acme"),
            authorisation=authorisation,
        )
        said = {"device": OWN["device"], "hardware": OWN["hardware"], **other}
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
            "own": OWN,
            "vendors": ["acme"],
            "now_s": int(self.now.timestamp()),
        }
        return verify(order, fetcher, kind=Kind.ASSIGNMENTS)


class Quiet(SimpleHTTPRequestHandler):
    """Static files, without a word."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return Vendor(tmp_path_factory.mktemp("begun") / "vendor")


@pytest.fixture
def world(begun: Vendor, tmp_path: Path) -> Iterator[World]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield World(tmp_path, server.server_address[1], begun)
        server.shutdown()
        thread.join()


def refused(result: dict[str, Any], why: str) -> None:
    assert result["done"] is False, result
    assert why in result["why"], result


def test_an_approved_release_is_taken_and_its_floor_is_kept(world: World) -> None:
    """Goal: assigned, approved, fetched, checked; once verified, nothing older comes again."""
    old = world.vendor.release(1)
    old_word = world.authorise(old)
    new = world.vendor.release(5, floor=3)
    world.assign(new, world.authorise(new))
    assert world.take() == {"done": True, "files": [new]}
    [one] = place.accepted(world.device)
    assert (world.device / "artefacts" / one["file"]).read_bytes() == b"release 5"
    assert one["release"]["counter"] == 5
    assert Floors(world.device).of("vitals") == 0
    place.verified(world.device, new)
    assert Floors(world.device).of("vitals") == 3
    with pytest.raises(errors.NotFound):
        place.verified(world.device, old)

    world.assign(old, old_word)  # Approved once, still named by the vendor, and too old now.
    refused(world.take(), "below the security floor")
    with pytest.raises(errors.TrustError, match="nothing is accepted"):
        place.accepted(world.device)


def test_a_hub_with_the_director_key_alone_installs_nothing(world: World) -> None:
    """Goal: root shell and online key: what both approvers did not sign is refused."""
    path = world.vendor.release(1)
    world.assign(path, "0" * 64)
    refused(world.take(), "no such file")
    world.assign(path, world.authorise(path, hospital=False))
    refused(world.take(), "no approver of the hospital")
    assert list((world.device / "artefacts").iterdir()) == []


def test_what_the_vendor_does_not_name_or_who_is_unknown_is_refused(world: World) -> None:
    path = world.vendor.release(1)
    word = world.authorise(path)
    world.assign(path, word, vendor="evil")
    refused(world.take(), "no root of a vendor evil")
    editing.withdraw(world.vendor.repository, path, now=world.now)
    world.vendor.sign(world.vendor.model)
    world.vendor.publish()
    world.assign(path, word)
    refused(world.take(), "withdrawn")


def test_another_devices_metadata_and_an_older_one_are_refused(world: World) -> None:
    path = world.vendor.release(1)
    word = world.authorise(path)
    world.assign(path, word, device="urn:dev:mac:00112233445566ff")
    refused(world.take(), "for another device")
    world.version = 0
    world.assign(path, word)
    world.version = 2
    world.assign(path, word)
    assert world.take()["done"]
    world.version = 0
    world.assign(path, word)
    refused(world.take(), "rolled back")


def test_a_device_without_its_floors_installs_nothing(world: World) -> None:
    path = world.vendor.release(1)
    world.assign(path, world.authorise(path))
    (world.device / "floors.json").unlink()
    refused(world.take(), "floors")


def test_the_roots_are_given_once(world: World) -> None:
    with pytest.raises(errors.ConfigError, match="has its roots"):
        place.begin(world.device, director_root=b"x", vendor_roots={})
    with pytest.raises(errors.ConfigError, match="vendor's name"):
        place.vendor_folder(world.device, "../x")
