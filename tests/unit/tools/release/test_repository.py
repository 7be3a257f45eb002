"""A vendor's repository: nothing is published that a device would refuse."""

from datetime import timedelta
from pathlib import Path

import pytest

from asepsis.core import errors
from asepsis.tools.release import editing, keys
from asepsis.tools.release.publishing import tally
from asepsis.tools.release.report import inspect
from asepsis.tools.release.repository import Repository
from asepsis.tools.testing.releases import Vendor, holders, new_signer


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return Vendor(tmp_path_factory.mktemp("begun") / "vendor")


@pytest.fixture
def vendor(begun: Vendor, tmp_path: Path) -> Vendor:
    return begun.copied(tmp_path / "vendor")


def test_publishing_waits_for_the_threshold(vendor: Vendor) -> None:
    editing.rotate(vendor.repository, "targets", now=vendor.now)
    vendor.sign(vendor.top[0])
    assert tally(vendor.repository, "targets").missing == 1
    with pytest.raises(errors.SignatureInvalid, match="targets version 2 lacks 1"):
        vendor.publish()
    vendor.sign(vendor.top[1])
    assert vendor.publish()["targets"] == 2


def test_an_edit_voids_the_signatures(vendor: Vendor) -> None:
    vendor.add(1)
    vendor.sign(vendor.model)
    vendor.add(2)
    assert tally(vendor.repository, "m5").missing == 1


def test_a_key_signs_its_own_roles_only(vendor: Vendor) -> None:
    vendor.add(1)
    with pytest.raises(errors.NotPermitted):
        vendor.sign(vendor.root[0])
    with pytest.raises(errors.NotPermitted):
        vendor.sign(new_signer())


def test_a_new_root_needs_keys_of_the_old_one_and_of_the_new_one(vendor: Vendor) -> None:
    fresh = [new_signer() for _ in range(3)]
    editing.rotate(
        vendor.repository,
        "root",
        gain=[one.public_key for one in fresh],
        lose=[one.public_key.keyid for one in vendor.root],
        now=vendor.now,
    )
    vendor.sign(*fresh[:2])
    with pytest.raises(errors.SignatureInvalid):
        vendor.publish()
    vendor.sign(*vendor.root[:2])
    assert vendor.publish()["root"] == 2


def test_counters_only_rise_and_a_release_never_changes(vendor: Vendor) -> None:
    vendor.add(5)
    for counter in (4, 5):
        with pytest.raises(errors.Conflict, match="counter 5"):
            vendor.add(counter)


def test_an_expired_role_is_not_published(vendor: Vendor) -> None:
    vendor.now += timedelta(days=400)
    with pytest.raises(errors.ConfigError, match="expired"):
        vendor.publish()


def test_a_revoked_key_leaves_every_role_or_none(vendor: Vendor) -> None:
    with pytest.raises(errors.InputError, match="m5 would have 0 keys"):
        editing.revoke(vendor.repository, vendor.model.public_key.keyid, now=vendor.now)
    assert not vendor.repository.drafts()
    lost = vendor.root[0].public_key.keyid
    assert editing.revoke(vendor.repository, lost, now=vendor.now) == ("root",)
    assert lost not in editing.role_of(vendor.repository, "root").keyids
    with pytest.raises(errors.NotFound):
        editing.revoke(vendor.repository, "nobody", now=vendor.now)


@pytest.mark.parametrize("name", ["root", "timestamp", "M5", "../x", "", "a" * 65])
def test_a_role_has_a_name_of_its_own(vendor: Vendor, name: str) -> None:
    with pytest.raises(errors.InputError):
        editing.delegate(
            vendor.repository, name, holders=holders([new_signer()]), paths=["x/*"], now=vendor.now
        )


@pytest.mark.parametrize("paths", [[], ["*"], ["*/x"]])
def test_a_role_signs_below_a_named_folder(vendor: Vendor, paths: list[str]) -> None:
    with pytest.raises(errors.InputError):
        editing.delegate(
            vendor.repository, "m6", holders=holders([new_signer()]), paths=paths, now=vendor.now
        )


@pytest.mark.parametrize("threshold", [0, 2])
def test_a_threshold_can_be_reached(vendor: Vendor, threshold: int) -> None:
    with pytest.raises(errors.InputError, match="threshold"):
        editing.rotate(vendor.repository, "m5", threshold=threshold, now=vendor.now)


def test_an_artefact_that_is_gone_is_not_published(vendor: Vendor) -> None:
    vendor.add(1)
    vendor.sign(vendor.model)
    for kept in (vendor.folder / "artefacts").iterdir():
        kept.unlink()
    with pytest.raises(errors.ConfigError, match="not kept"):
        vendor.publish()
    assert vendor.repository.draft("m5") is not None


def test_the_report_says_what_is_missing(vendor: Vendor) -> None:
    vendor.release(1)
    vendor.add(2, floor=1)
    found = inspect(Repository.open(vendor.folder), now=vendor.now)
    role = next(r for r in found["roles"] if r["role"] == "m5")
    assert (role["state"], role["missing"]) == ("draft", 1)
    assert role["unsigned"] == [vendor.model.public_key.keyid]
    assert [(r["counter"], r["published"]) for r in found["releases"]] == [(1, True), (2, False)]
    assert found["approvers"]["keys"] == [vendor.approver.public_key.keyid]


def test_a_repository_is_begun_once_and_opened_where_it_is(vendor: Vendor, tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="already"):
        Vendor(vendor.folder)
    with pytest.raises(errors.ConfigError, match="no repository"):
        Repository.open(tmp_path)


def test_an_encrypted_key_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "root.pem"
    made = keys.make_file(path, passphrase=b"correct horse battery")
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.public_key(f"{path}.pub").keyid == made.keyid
    assert keys.signer(str(path), passphrase=b"correct horse battery").public_key == made
    for wrong in (None, b"another passphrase"):
        with pytest.raises(errors.ConfigError):
            keys.signer(str(path), passphrase=wrong)
    with pytest.raises(errors.ConfigError):
        keys.make_file(path, passphrase=None)
    with pytest.raises(errors.ConfigError):
        keys.make_file(tmp_path / "short.pem", passphrase=b"short")


@pytest.mark.parametrize(
    "uri", ["pkcs11:", "pkcs11:token=T", "pkcs11:token=T;object=O?module-path=/x.so"]
)
def test_a_tokens_uri_is_whole(uri: str) -> None:
    with pytest.raises(errors.ConfigError, match="lacks"):
        keys.token_uri(uri)


def test_a_tokens_uri_is_read() -> None:
    uri = "pkcs11:token=My%20token;object=root-1?module-path=/lib/x.so&pin-source=file:/run/pin"
    found = keys.token_uri(uri)
    assert (found.config.token, found.label) == ("My token", "root-1")
    assert (found.config.module, found.config.pin_file) == ("/lib/x.so", "/run/pin")
