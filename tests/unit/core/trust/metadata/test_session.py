"""What a device takes of a repository, and the attacks that TUF is there for."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from asepsis.core import errors
from asepsis.core.trust.metadata.fields import Release, read_custom
from asepsis.core.trust.metadata.session import Limits, Session, file_name, prefixed
from asepsis.tools.release import editing
from asepsis.tools.testing.releases import FolderSource, MemoryStore, Vendor, new_signer

YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return Vendor(tmp_path_factory.mktemp("begun") / "vendor")


@pytest.fixture
def vendor(begun: Vendor, tmp_path: Path) -> Vendor:
    return begun.copied(tmp_path / "vendor")


@pytest.fixture
def device(vendor: Vendor) -> MemoryStore:
    return MemoryStore({"root.json": vendor.first_root})


def test_a_device_finds_what_the_models_role_signed(vendor: Vendor, device: MemoryStore) -> None:
    path = vendor.release(7, floor=3)
    session = vendor.session(device)
    session.refresh()
    target = session.find(path)
    assert target is not None
    release = read_custom(target, Release)
    assert (release.model, release.counter, release.floor) == ("m5", 7, 3)
    shown = vendor.artefacts / prefixed(target, consistent=session.consistent)
    assert shown.read_bytes() == b"release 7"
    assert session.find("m5/nothing.img") is None


def test_what_has_not_changed_is_not_fetched_again(vendor: Vendor, device: MemoryStore) -> None:
    path = vendor.release(1)
    vendor.session(device).find(path)
    source = FolderSource(vendor.repository.public)
    assert vendor.session(device, source=source).find(path) is not None
    assert source.asked == ["2.root.json", "timestamp.json"]


def test_a_withdrawn_release_is_gone(vendor: Vendor, device: MemoryStore) -> None:
    path = vendor.release(1)
    assert vendor.session(device).find(path) is not None
    editing.withdraw(vendor.repository, path, now=vendor.now)
    vendor.sign(vendor.model)
    vendor.publish()
    assert vendor.session(device).find(path) is None


def test_rollback_is_refused(vendor: Vendor, device: MemoryStore, tmp_path: Path) -> None:
    """Goal: a mirror that shows an older, validly signed state convinces nobody who saw newer."""
    vendor.release(1)
    old = tmp_path / "old"
    shutil.copytree(vendor.repository.public, old)
    vendor.release(2)
    vendor.session(device).refresh()
    with pytest.raises(errors.TrustError, match="rolled back"):
        vendor.session(device, source=FolderSource(old)).refresh()


def test_freeze_is_noticed(vendor: Vendor, device: MemoryStore) -> None:
    """Goal: a mirror that withholds news can do so for the timestamp's lifetime at most."""
    vendor.release(1)
    vendor.session(device).refresh()
    with pytest.raises(errors.TrustError, match="expired"):
        vendor.session(device, now=vendor.now + timedelta(days=15)).refresh()


def test_mix_and_match_is_refused(vendor: Vendor, device: MemoryStore, tmp_path: Path) -> None:
    """Goal: an old role under a new snapshot is noticed."""
    vendor.release(1)
    old = (vendor.repository.public / "2.m5.json").read_bytes()
    path = vendor.release(2)
    mixed = tmp_path / "mixed"
    shutil.copytree(vendor.repository.public, mixed)
    (mixed / "3.m5.json").write_bytes(old)
    with pytest.raises(errors.ContentMismatch):
        vendor.session(device, source=FolderSource(mixed)).find(path)


def test_a_stolen_server_key_signs_no_release(
    vendor: Vendor, device: MemoryStore, tmp_path: Path
) -> None:
    """Goal: with the online key alone nothing new is named."""
    stolen = vendor.online
    attacker = Vendor(tmp_path / "attacker", online=stolen)
    path = attacker.release(9)
    mirror = tmp_path / "mirror"
    shutil.copytree(attacker.repository.public, mirror)
    for root in mirror.glob("*.root.json"):
        root.unlink()
    with pytest.raises(errors.SignatureInvalid):
        vendor.session(device, source=FolderSource(mirror)).find(path)


def test_an_unchained_root_is_refused(vendor: Vendor, device: MemoryStore, tmp_path: Path) -> None:
    attacker = Vendor(tmp_path / "attacker")
    editing.rotate(attacker.repository, "root", now=attacker.now)
    attacker.sign(*attacker.root[:2])
    attacker.publish()
    with pytest.raises(errors.SignatureInvalid):
        vendor.session(device, source=FolderSource(attacker.repository.public)).refresh()


def test_a_device_that_slept_for_years_follows_the_chain_of_roots(
    vendor: Vendor, device: MemoryStore
) -> None:
    """Goal: every key of the root is replaced, one a year, and the sleeper still gets there."""
    for place in range(3):
        old, vendor.root[place] = vendor.root[place], new_signer()
        vendor.now += YEAR
        gain, lose = [vendor.root[place].public_key], (old.public_key.keyid,)
        editing.rotate(vendor.repository, "root", gain=gain, lose=lose, now=vendor.now)
        for role in ("targets", "m5"):
            editing.rotate(vendor.repository, role, now=vendor.now)
        others = [one for one in vendor.root if one is not vendor.root[place]]
        vendor.sign(*others, *vendor.top, vendor.model)
        vendor.publish()
    path = vendor.release(1)
    session = vendor.session(device)
    assert session.find(path) is not None
    assert session.root.version == 4


def test_a_revoked_server_key_opens_nothing_any_more(vendor: Vendor, device: MemoryStore) -> None:
    stolen, vendor.online = vendor.online, new_signer()
    gain = [vendor.online.public_key]
    for role in ("snapshot", "timestamp"):
        editing.rotate(vendor.repository, role, gain=gain, now=vendor.now)
    editing.revoke(vendor.repository, stolen.public_key.keyid, now=vendor.now)
    vendor.sign(*vendor.root[:2])
    vendor.publish()
    vendor.session(device).refresh()
    vendor.online = stolen
    with pytest.raises(errors.SignatureInvalid, match="lacks 1 signature"):
        vendor.publish()


def test_endless_metadata_is_cut_off(vendor: Vendor, device: MemoryStore) -> None:
    limits = Limits(timestamp_bytes=100)
    source = FolderSource(vendor.repository.public)
    session = Session(store=device, source=source, now=vendor.now, limits=limits)
    with pytest.raises(errors.LimitExceeded):
        session.refresh()


def test_a_role_that_signs_outside_its_paths_is_not_asked(
    vendor: Vendor, device: MemoryStore
) -> None:
    """Goal: the key of one model's role names nothing of another model."""
    name = file_name("m5")
    draft = vendor.add(1)
    metadata = vendor.repository.draft("m5")
    assert metadata is not None
    metadata.signed.targets["m9/vitals-1.img"] = metadata.signed.targets.pop(draft)
    vendor.repository.write_draft("m5", metadata)
    vendor.sign(vendor.model)
    vendor.publish()
    assert vendor.session(device).find("m9/vitals-1.img") is None
    assert name not in device.files


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"signed": {}}', b"\xff\xfe", b'{"signed": 1, "signatures": 2}']
)
def test_what_is_no_metadata_is_refused(
    vendor: Vendor, device: MemoryStore, tmp_path: Path, content: bytes
) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(vendor.repository.public, mirror)
    (mirror / "timestamp.json").write_bytes(content)
    with pytest.raises(errors.AsepsisError):
        vendor.session(device, source=FolderSource(mirror)).refresh()


def test_a_device_without_a_root_trusts_nobody(vendor: Vendor) -> None:
    with pytest.raises(errors.TrustError, match="no trusted root"):
        vendor.session(MemoryStore({}))


@pytest.mark.parametrize("change", [{"extra": 1}, {"counter": 0}, {"floor": 9}, {"model": "M 5"}])
def test_a_release_that_is_not_fully_understood_is_refused(
    vendor: Vendor, device: MemoryStore, change: dict[str, object]
) -> None:
    path = vendor.add(1)
    metadata = vendor.repository.draft("m5")
    assert metadata is not None
    metadata.signed.targets[path].unrecognized_fields["custom"]["asepsis"].update(change)
    vendor.repository.write_draft("m5", metadata)
    vendor.sign(vendor.model)
    vendor.publish()
    target = vendor.session(device).find(path)
    assert target is not None
    with pytest.raises(errors.InputError, match="carries no release"):
        read_custom(target, Release)


def test_a_very_long_role_name_is_no_file_name() -> None:
    with pytest.raises(errors.TrustError):
        file_name("x" * 300)
