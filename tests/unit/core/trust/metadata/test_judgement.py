"""What a device accepts of two repositories and two approvers; every attack is refused by it."""

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asepsis.core import errors
from asepsis.core.trust.metadata import authorisation
from asepsis.core.trust.metadata.fields import Assignment, write_custom
from asepsis.core.trust.metadata.judgement import Accepted, Offer, Own, assignments, judge
from asepsis.core.trust.metadata.library import (
    CryptoSigner,
    Delegations,
    Root,
    TargetFile,
    Targets,
)
from asepsis.tools.release import editing
from asepsis.tools.release.approving import approve, propose, root_of
from asepsis.tools.testing.releases import BEGUN, Hospital, MemoryStore, Vendor, new_signer

OWN = Own(device="urn:dev:mac:0011223344556677", hardware="m5-rev-b", model="m5")
HASH = "0" * 64


@dataclass
class World:
    """A vendor, a hospital and a device between them."""

    folder: Path
    begun: Vendor
    online: CryptoSigner = field(default_factory=new_signer)

    def __post_init__(self) -> None:
        self.vendor = self.begun.copied(self.folder / "vendor")
        self.hospital = Hospital(self.folder / "hospital", self.online.public_key)
        self.vendor_root = root_of(self.vendor.first_root, "root")
        self.hospital_root = root_of(self.hospital.first_root, "root")

    def sign(self, content: bytes, who: CryptoSigner, root: Root | None = None) -> bytes:
        return approve(content, who, root=root or self.vendor_root, party="vendor")

    def authorise(self, path: str, *, floor: int = 0, days: int = 30) -> bytes:
        draft = propose(
            self.vendor.repository, path, models=(), floor=floor, days=days, now=self.vendor.now
        )
        draft = self.sign(draft, self.vendor.approver)
        return self.sign(draft, self.hospital.approver, self.hospital_root)

    def offer(self, path: str, content: bytes) -> Offer:
        released = self.vendor.session(MemoryStore({"root.json": self.vendor.first_root}))
        found = released.find(path)
        named = found or TargetFile(9, {"sha256": HASH}, path)
        assigned = TargetFile(named.length, dict(named.hashes), path)
        said = Assignment(
            device=OWN.device, hardware=OWN.hardware, vendor="vendor", authorisation=HASH
        )
        write_custom(assigned, said)
        return Offer(
            assigned=assigned,
            released=found,
            authorisation=content,
            vendor=self.vendor_root,
            hospital=self.hospital_root,
        )

    def judge(self, offer: Offer, *, floor: int = 0, days: float = 0, own: Own = OWN) -> Accepted:
        return judge(offer, own=own, floor=floor, now=BEGUN + timedelta(days=days))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return Vendor(tmp_path_factory.mktemp("begun") / "vendor")


@pytest.fixture
def world(begun: Vendor, tmp_path: Path) -> World:
    return World(tmp_path, begun)


def test_what_both_repositories_and_both_approvers_name_is_accepted(world: World) -> None:
    path = world.vendor.release(7, floor=3)
    accepted = world.judge(world.offer(path, world.authorise(path, floor=5)), floor=7)
    assert (accepted.release.counter, accepted.floor) == (7, 5)


def test_one_approver_alone_is_refused(world: World) -> None:
    """Goal: also where the draft is signed twice by the same side."""
    path = world.vendor.release(1)
    draft = propose(world.vendor.repository, path, models=(), floor=0, days=9, now=BEGUN)
    for alone, missing in (
        (world.sign(draft, world.vendor.approver), "hospital"),
        (world.sign(draft, world.hospital.approver, world.hospital_root), "vendor"),
        (draft, "vendor"),
    ):
        with pytest.raises(errors.SignatureInvalid, match=missing):
            world.judge(world.offer(path, alone))
    with pytest.raises(errors.NotPermitted):
        world.sign(draft, world.hospital.approver)


def test_a_key_that_approves_for_both_sides_counts_for_neither(world: World) -> None:
    """Goal: nobody agrees with themselves, also under a second id of the same key."""
    path = world.vendor.release(1)
    twice = json.loads(json.dumps(world.vendor_root.unrecognized_fields))
    [(keyid, key)] = twice["x-asepsis-approvers"]["keys"].items()
    for known_as in (keyid, "another-id"):
        twice["x-asepsis-approvers"]["keys"] = {known_as: key}
        world.hospital_root.unrecognized_fields = twice
        content = world.sign(
            propose(world.vendor.repository, path, models=(), floor=0, days=9, now=BEGUN),
            world.vendor.approver,
        )
        document = json.loads(content)
        document["signatures"] += [{**s, "keyid": known_as} for s in document["signatures"]]
        document["signatures"] = list({s["keyid"]: s for s in document["signatures"]}.values())
        with pytest.raises(errors.SignatureInvalid):
            world.judge(world.offer(path, json.dumps(document).encode()))


def test_an_authorisation_of_another_release_is_refused(world: World) -> None:
    first, second = world.vendor.release(1), world.vendor.release(2)
    with pytest.raises(errors.ContentMismatch, match="approvers"):
        world.judge(world.offer(second, world.authorise(first)))


def test_an_edit_voids_the_approvals(world: World) -> None:
    path = world.vendor.release(3)
    document = json.loads(world.authorise(path))
    document["signed"]["targets"][path]["custom"]["asepsis"]["models"] = ["m5", "m9"]
    with pytest.raises(errors.SignatureInvalid):
        world.judge(world.offer(path, json.dumps(document).encode()))


def test_an_authorisation_holds_in_its_time_only(world: World) -> None:
    path = world.vendor.release(1)
    offer = world.offer(path, world.authorise(path, days=30))
    world.judge(offer, days=29)
    for days in (31, -1):
        with pytest.raises(errors.TrustError, match="authorisation"):
            world.judge(offer, days=days)


def test_below_the_floor_nothing_is_accepted(world: World) -> None:
    """Goal: an approved older release with known holes stays out once a newer one was verified."""
    old = world.vendor.release(1)
    offer = world.offer(old, world.authorise(old))
    world.judge(offer, floor=1)
    newer = world.vendor.release(5, floor=2)
    floor = world.judge(world.offer(newer, world.authorise(newer))).floor
    with pytest.raises(errors.TrustError, match="floor"):
        world.judge(offer, floor=floor)


def test_a_withdrawn_release_is_refused(world: World) -> None:
    path = world.vendor.release(1)
    approved = world.authorise(path)
    editing.withdraw(world.vendor.repository, path, now=BEGUN)
    world.vendor.sign(world.vendor.model)
    world.vendor.publish()
    with pytest.raises(errors.TrustError, match="withdrawn"):
        world.judge(world.offer(path, approved))


def test_the_directors_other_bytes_are_refused(world: World) -> None:
    path = world.vendor.release(1)
    offer = world.offer(path, world.authorise(path))
    released = offer.released
    assert released is not None
    for length, sha256 in ((released.length + 1, released.hashes["sha256"]), (9, HASH)):
        assigned = TargetFile(length, {"sha256": sha256}, path)
        with pytest.raises(errors.ContentMismatch, match="vendor"):
            world.judge(replace(offer, assigned=assigned))


def test_another_models_release_is_refused(world: World) -> None:
    path = world.vendor.release(1)
    offer = world.offer(path, world.authorise(path))
    with pytest.raises(errors.NotPermitted, match="model"):
        world.judge(offer, own=replace(OWN, model="m9"))


def test_metadata_of_another_device_or_hardware_is_refused(world: World) -> None:
    """Goal: A's metadata is worth nothing to B."""
    path = world.vendor.release(1)
    assigned = world.offer(path, b"").assigned
    director = Targets(expires=BEGUN, targets={path: assigned})
    assert [target.path for target, _ in assignments(director, OWN)] == [path]
    for other in (replace(OWN, device="urn:dev:mac:1"), replace(OWN, hardware="m5-rev-a")):
        with pytest.raises(errors.NotPermitted, match="another device"):
            assignments(director, other)
    director.delegations = Delegations({}, {})
    with pytest.raises(errors.TrustError, match="delegates"):
        assignments(director, OWN)


@pytest.mark.parametrize("word", ["emergency", "force", "floor"])
def test_a_flag_of_the_director_opens_nothing(world: World, word: str) -> None:
    path = world.vendor.release(1)
    assigned = world.offer(path, b"").assigned
    assigned.unrecognized_fields["custom"]["asepsis"][word] = True
    with pytest.raises(errors.InputError, match="assignment"):
        assignments(Targets(expires=BEGUN, targets={path: assigned}), OWN)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff" * 9, b" " * 70_000])
def test_what_is_no_authorisation_is_refused(content: bytes) -> None:
    with pytest.raises(errors.InputError):
        authorisation.read(content)


@pytest.mark.parametrize("field", [None, [], {"keys": {}, "threshold": 1}, {"keys": 1}])
def test_a_root_without_approvers_approves_nothing(world: World, field: object) -> None:
    path = world.vendor.release(1)
    approved = world.authorise(path)
    world.hospital_root.unrecognized_fields = {"x-asepsis-approvers": field}
    with pytest.raises(errors.TrustError, match="hospital names no approvers"):
        world.judge(world.offer(path, approved))


@pytest.fixture(scope="module")
def approved(begun: Vendor, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, bytes]:
    world = World(tmp_path_factory.mktemp("approved"), begun)
    path = world.vendor.release(1)
    return world, world.authorise(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(found: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of every value inside a JSON document."""
    if not isinstance(found, dict | list):
        return []
    pairs = found.items() if isinstance(found, dict) else enumerate(found)
    return [p for k, v in pairs for p in ((*before, k), *places(v, (*before, k)))]


@given(at=st.integers(min_value=0), value=JSON)
@settings(max_examples=150, deadline=None)
def test_a_spoilt_authorisation_is_refused_or_says_the_same(
    approved: tuple[World, bytes], at: int, value: Any
) -> None:
    """Goal: no other error leaks; what is accepted names the same artefact on the same terms."""
    world, content = approved
    document = json.loads(content)
    found = places(document)
    *way, last = found[at % len(found)]
    reduce(getitem, way, document)[last] = value
    roots = {"vendor": world.vendor_root, "hospital": world.hospital_root}
    with suppress(errors.AsepsisError):
        spoilt = authorisation.check(json.dumps(document).encode(), **roots, now=BEGUN)
        assert spoilt == authorisation.check(content, **roots, now=BEGUN)
