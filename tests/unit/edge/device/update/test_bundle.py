"""Bundles that people carry: the same verifier, and everything that must be refused."""

import hashlib
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asepsis.core import errors
from asepsis.core.model.release import Delta, digest
from asepsis.core.trust import bundle, delta
from asepsis.core.trust.metadata.library import CryptoSigner, Metadata, Timestamp
from asepsis.edge.device.update import bundle_memory, place
from asepsis.edge.device.update.bundle import BundleFetcher, read_index
from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.starting import verify
from asepsis.edge.device.update.talk import Kind
from asepsis.tools.bundle.making import Device, Sources, Wanted, make
from asepsis.tools.release.approving import approve, propose, root_of
from asepsis.tools.testing.releases import Hospital, Vendor, new_signer

OWN = {"device": "urn:dev:mac:0011223344556677", "hardware": "m5-rev-b", "model": "m5"}
OTHER = "urn:dev:mac:8899aabbccddeeff"


@dataclass
class World:
    """A vendor, a hospital with an offline role, and one device."""

    folder: Path
    vendor: Vendor
    key: CryptoSigner = field(default_factory=new_signer)
    counter: int = 0

    def __post_init__(self) -> None:
        self.now = self.vendor.now
        self.hospital = Hospital(self.folder / "offline", self.key.public_key, now=self.now)
        self.director = Hospital(self.folder / "director", new_signer().public_key, now=self.now)
        self.device = self.folder / "device"
        place.begin(
            self.device,
            director_root=self.director.first_root,
            vendor_roots={"acme": self.vendor.first_root},
        )
        bundle_memory.begin(self.device, offline_root=self.hospital.first_root)
        self.path = self.vendor.release(5, floor=3)

    def authorise(self, path: str) -> bytes:
        content = propose(self.vendor.repository, path, models=(), floor=0, days=30, now=self.now)
        for party, signer, root in (
            ("vendor", self.vendor.approver, self.vendor.first_root),
            ("hospital", self.hospital.approver, self.hospital.first_root),
        ):
            content = approve(content, signer, root=root_of(root, party), party=party)
        return content

    def make(self, name: str, **changed: Any) -> Path:
        self.counter += 1
        into = self.folder / f"{name}.bundle"
        given: dict[str, Any] = {
            "devices": [Device(name=OWN["device"], hardware=OWN["hardware"])],
            "counter": self.counter,
            "days": 10,
            "now": self.now,
            "path": self.path,
            "key": self.key,
        } | changed
        path = given.pop("path")
        sources = Sources(
            offline=self.hospital.repository.public,
            vendors={"acme": self.vendor.folder / "public"},
            signers=[given.pop("key")],
        )
        wanted = [Wanted(vendor="acme", path=path, authorisation=self.authorise(path))]
        make(into, wanted=wanted, sources=sources, **given)
        return into

    def apply(self, path: Path, *, now: datetime | None = None) -> dict[str, Any]:
        incoming = self.folder / "incoming"
        incoming.mkdir(exist_ok=True)
        fetcher = BundleFetcher(
            repositories={},
            incoming=incoming,
            now_s=time.monotonic,
            path=path,
            index=read_index(path),
            device=OWN["device"],
        )
        order = {
            "folder": str(self.device),
            "incoming": str(incoming),
            "own": OWN,
            "vendors": ["acme"],
            "now_s": int((now or self.now).timestamp()),
            "offline": True,
        }
        return verify(order, fetcher, kind=Kind.ASSIGNMENTS)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return Vendor(tmp_path_factory.mktemp("begun") / "vendor")


@pytest.fixture
def world(begun: Vendor, tmp_path: Path) -> World:
    return World(tmp_path, begun.copied(tmp_path / "acme"))


def refused(result: dict[str, Any], why: str) -> None:
    assert result["done"] is False, result
    assert why in result["why"], result


def test_a_bundle_is_taken_once_by_the_verifier_that_judges_online(world: World) -> None:
    made = world.make("good")
    assert world.apply(made) == {"done": True, "files": [world.path]}
    [one] = place.accepted(world.device)
    assert (world.device / "artefacts" / one["file"]).read_bytes() == b"release 5"
    refused(world.apply(made), "used on this device before")
    with pytest.raises(errors.TrustError):
        place.accepted(world.device)
    assert world.apply(world.make("next"))["done"] is True
    place.verified(world.device, world.path)
    assert Floors(world.device).of("vitals") == 3


def test_differences_travel_in_the_bundle(world: World) -> None:
    """Goal: a device that has the release before needs nothing of the whole one."""
    old = random.Random(1).randbytes(20_000)
    new = old[:9_000] + b"mended" + old[9_000:]
    world.path = world.vendor.release(6, content=old)
    assert world.apply(world.make("before"))["done"] is True
    patch = delta.make(delta.Method.ZSTD, old=old, new=new)
    said = Delta(
        old=digest(old), method="zstd", sha256=digest(patch), length=len(patch), memory_mib=8
    )
    world.path = world.vendor.release_after(7, new, deltas=[(said, patch)])
    made = world.make("after")
    content = made.read_bytes()
    assert new in content
    made.write_bytes(content.replace(new, bytes(len(new))))
    assert world.apply(made)["done"] is True
    [one] = place.accepted(world.device)
    assert (world.device / "artefacts" / one["file"]).read_bytes() == new


def test_an_older_bundle_is_superseded(world: World) -> None:
    old, new = world.make("old"), world.make("new")
    assert world.apply(new)["done"] is True
    refused(world.apply(old), "rolled back")


def test_after_a_newer_online_contact_a_bundle_is_refused(world: World) -> None:
    told = Metadata(Timestamp(version=7, expires=world.now + timedelta(days=7)))
    (world.device / "director" / "timestamp.json").write_bytes(told.to_bytes())
    device = Device(name=OWN["device"], hardware=OWN["hardware"], after=6)
    refused(world.apply(world.make("late", devices=[device])), "something newer than the bundle")
    knowing = Device(name=OWN["device"], hardware=OWN["hardware"], after=7)
    assert world.apply(world.make("knowing", devices=[knowing]))["done"] is True


@pytest.mark.parametrize(
    ("days", "why"), [(11, "expired"), (365, "expired"), (-1, "after the present time")]
)
def test_a_bundle_counts_for_its_days(world: World, days: int, why: str) -> None:
    refused(world.apply(world.make("timed"), now=world.now + timedelta(days=days)), why)


def test_a_foreign_bundle_has_nothing_for_this_device(world: World) -> None:
    foreign = world.make("foreign", devices=[Device(name=OTHER, hardware="m5-rev-b")])
    refused(world.apply(foreign), "holds no such metadata")
    content = foreign.read_bytes()
    # Whoever renames the folder of another device gets no further: its name is signed.
    renamed = foreign.with_name("renamed.bundle")
    mine, theirs = bundle.device_folder(OWN["device"]), bundle.device_folder(OTHER)
    renamed.write_bytes(content.replace(theirs.encode(), mine.encode()))
    refused(world.apply(renamed), "for another device")
    hardware = [Device(name=OWN["device"], hardware="m5-rev-c")]
    refused(world.apply(world.make("hardware", devices=hardware)), "for another device")


def test_another_key_than_the_offline_role_is_refused(world: World) -> None:
    refused(world.apply(world.make("forged", key=new_signer())), "not signed by enough keys")


@pytest.mark.parametrize("where", ["artefact", "metadata"])
def test_a_tampered_bundle_is_refused(world: World, where: str) -> None:
    made = world.make("tampered")
    content = made.read_bytes()
    old, new = {
        "artefact": (b"release 5", b"release 6"),
        "metadata": (b'"m5-rev-b"', b'"m5-rev-c"'),
    }[where]
    assert old in content
    made.write_bytes(content.replace(old, new))
    assert world.apply(made)["done"] is False


def test_below_the_floor_nothing_is_taken(world: World) -> None:
    old = world.vendor.release(6)
    Floors(world.device).verified("vitals", 7)
    refused(world.apply(world.make("floor", path=old)), "below the security floor")


def test_a_device_without_memory_takes_nothing(world: World) -> None:
    (world.device / "offline" / "used.json").unlink()
    refused(world.apply(world.make("forgotten")), "not readable")
    with pytest.raises(errors.ConfigError):
        bundle_memory.begin(world.device, offline_root=b"another")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"days": 15}, "days"),
        ({"days": 0}, "days"),
        ({"devices": []}, "devices"),
        ({"days": 14}, "timestamp ends"),
    ],
)
def test_what_devices_would_refuse_is_not_made(
    world: World, changed: dict[str, Any], why: str
) -> None:
    if why == "timestamp ends":
        world.now += timedelta(days=1)
    with pytest.raises(errors.InputError, match=why):
        world.make("bad", **changed)


def test_what_the_bundle_claims_is_shown_before_it_is_believed(world: World) -> None:
    made = world.make("claim")
    fetcher = BundleFetcher(
        repositories={},
        incoming=world.folder,
        now_s=time.monotonic,
        path=made,
        index=read_index(made),
        device=OWN["device"],
    )
    claim = fetcher.claim()
    assert (claim.counter, claim.prepared_s) == (1, int(world.now.timestamp()))
    assert claim.ends_s == int((world.now + timedelta(days=10)).timestamp())


def cut(content: bytes) -> bytes:
    return content[:-1]


def longer(content: bytes) -> bytes:
    return content + b"x"


def strange(_content: bytes) -> bytes:
    index = json.dumps(
        {"format": 1, "files": [{"name": "../root.json", "length": 0, "sha256": ""}]}
    ).encode()
    return bundle.MAGIC + len(index).to_bytes(4, "big") + index


def twice(_content: bytes) -> bytes:
    one = {"name": "a", "length": 0, "sha256": ""}
    index = json.dumps({"format": 1, "files": [one, one]}).encode()
    return bundle.MAGIC + len(index).to_bytes(4, "big") + index


@pytest.mark.parametrize("spoil", [cut, longer, strange, twice])
def test_a_container_that_is_none_is_refused(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    member = bundle.Member("a/b", 3, hashlib.sha256(b"abc").hexdigest())
    path = tmp_path / "x.bundle"
    path.write_bytes(bundle.index_of([member]) + b"abc")
    assert read_index(path).place("a/b")[1] == 3
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(errors.FramingError):
        read_index(path)
