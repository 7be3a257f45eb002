"""No release without the document that both approvers read, and never by its author's own key."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from asepsis.core import errors
from asepsis.core.trust.metadata import authorisation
from asepsis.core.trust.metadata.fields import Assignment, Release, Terms, write_custom
from asepsis.core.trust.metadata.judgement import Offer, Own, judge
from asepsis.core.trust.metadata.library import CryptoSigner, TargetFile, Targets
from asepsis.tools.release import editing
from asepsis.tools.release.approving import approve, propose, root_of
from asepsis.tools.release.documents import Documented, documented
from asepsis.tools.testing.releases import (
    ASSESSMENT,
    BEGUN,
    Hospital,
    MemoryStore,
    Vendor,
    document_for,
    new_signer,
)

OWN = Own(device="urn:dev:mac:0011223344556677", hardware="m5-rev-b", model="m5")
RELEASE = Release(model="m5", component="vitals", version="1.7", counter=7)
BYTES = b"vitals seven"


@dataclass
class World:
    """A vendor and a hospital; everything between them is given to the device's judgement."""

    vendor: Vendor
    hospital: Hospital

    def release(self, document: Documented | None) -> str:
        """Publish a release with a document, or without one."""
        file = self.vendor.folder / "vitals-7.img"
        file.write_bytes(BYTES)
        path, _ = editing.add(
            self.vendor.repository,
            file,
            release=RELEASE,
            name=file.name,
            now=BEGUN,
            document=document,
        )
        self.vendor.sign(self.vendor.model)
        self.vendor.publish()
        return path

    def found(self, path: str) -> TargetFile:
        """Return what a device finds."""
        store = MemoryStore({"root.json": self.vendor.first_root})
        target = self.vendor.session(store).find(path)
        assert target is not None
        return target

    def signed(self, content: bytes) -> bytes:
        """Sign with both approvers' keys, whatever a tool would say to it."""
        metadata, _ = authorisation.read(content)
        for who in (self.vendor.approver, self.hospital.approver):
            metadata.sign(who, append=True)
        return metadata.to_bytes()

    def judge(self, path: str, content: bytes) -> Any:
        """Let a device judge."""
        released = self.found(path)
        assigned = TargetFile(released.length, dict(released.hashes), path)
        said = Assignment(
            device=OWN.device, hardware=OWN.hardware, vendor="vendor", authorisation="0" * 64
        )
        write_custom(assigned, said)
        offer = Offer(
            assigned=assigned,
            released=released,
            authorisation=content,
            vendor=root_of(self.vendor.first_root, "vendor"),
            hospital=root_of(self.hospital.first_root, "hospital"),
        )
        return judge(offer, own=OWN, floor=0, now=BEGUN)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return Vendor(tmp_path_factory.mktemp("begun") / "vendor")


@pytest.fixture
def world(begun: Vendor, tmp_path: Path) -> World:
    online: CryptoSigner = new_signer()
    hospital = Hospital(tmp_path / "hospital", online.public_key)
    return World(begun.copied(tmp_path / "vendor"), hospital)


def draft(target: TargetFile, document: str) -> bytes:
    """Return an authorisation as somebody writes it who uses no tool of ours."""
    named = TargetFile(target.length, dict(target.hashes), target.path)
    write_custom(named, Terms(models=("m5",), counter=7, document=document))
    expires = BEGUN + timedelta(days=9)
    return authorisation.Metadata(Targets(expires=expires, targets={named.path: named})).to_bytes()


def test_what_carries_no_assessment_nobody_can_approve(world: World) -> None:
    """Goal: neither with our tool nor past it."""
    path = world.release(None)
    with pytest.raises(errors.InputError, match="assessment"):
        propose(world.vendor.repository, path, models=(), floor=0, days=9, now=BEGUN)
    by_hand = world.signed(draft(world.found(path), ""))
    with pytest.raises(errors.TrustError, match="document"):
        world.judge(path, by_hand)


def test_another_document_than_the_approvers_read_is_refused(world: World) -> None:
    path = world.release(document_for(RELEASE, BYTES))
    good = propose(world.vendor.repository, path, models=(), floor=0, days=9, now=BEGUN)
    assert world.judge(path, world.signed(good)).release.counter == 7
    other = world.signed(draft(world.found(path), "e" * 64))
    with pytest.raises(errors.TrustError, match="document"):
        world.judge(path, other)


def test_who_made_the_assessment_approves_nothing(world: World) -> None:
    author = authorisation.fingerprint(world.vendor.approver.public_key)
    assessment = msgspec.structs.replace(ASSESSMENT, author_key=author)
    path = world.release(document_for(RELEASE, BYTES, assessment=assessment))
    content = propose(world.vendor.repository, path, models=(), floor=0, days=9, now=BEGUN)
    root = root_of(world.vendor.first_root, "vendor")
    with pytest.raises(errors.NotPermitted, match="assessment"):
        approve(content, world.vendor.approver, root=root, party="vendor", author=author)
    with pytest.raises(errors.SignatureInvalid, match="vendor"):
        world.judge(path, world.signed(content))


def test_a_document_of_something_else_is_not_bound(world: World) -> None:
    """Goal: other bytes, another counter, another vendor, or a file that was not given."""
    for document in (
        document_for(RELEASE, b"other bytes"),
        document_for(msgspec.structs.replace(RELEASE, counter=8), BYTES),
        document_for(RELEASE, BYTES, vendor="somebody"),
    ):
        with pytest.raises(errors.InputError):
            world.release(document)
    whole = document_for(RELEASE, BYTES)
    with pytest.raises(errors.ContentMismatch):
        documented(whole.content, [])
