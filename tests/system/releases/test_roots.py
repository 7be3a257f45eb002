"""Roots change at the hub while a device sleeps: it follows the chain and nothing else."""

import time
from pathlib import Path
from typing import Any

import pytest
from release_ward import SIGNING, ReleaseWard

from asepsis.core.errors import AsepsisError
from asepsis.tools.release import editing
from asepsis.tools.release.publishing import publish, sign
from asepsis.tools.testing.releases import Hospital, Vendor, new_signer

YEAR_S = 365 * 86_400


def new_vendor_root(vendor: Vendor, place: int) -> None:
    """Replace one of the vendor's three root keys."""
    old, vendor.root[place] = vendor.root[place], new_signer()
    gain, lose = [vendor.root[place].public_key], (old.public_key.keyid,)
    editing.rotate(vendor.repository, "root", gain=gain, lose=lose, now=vendor.now)
    others = [one for one in vendor.root if one is not vendor.root[place]]
    vendor.sign(*others)
    vendor.publish()


def new_director_root(hospital: Hospital) -> bytes:
    """Replace the only root key of the director; returns the next root, signed by both."""
    old, hospital.root = hospital.root, new_signer()
    gain, lose = [hospital.root.public_key], (old.public_key.keyid,)
    editing.rotate(hospital.repository, "root", gain=gain, lose=lose, now=hospital.now)
    for one in (old, hospital.root):
        sign(hospital.repository, one)
    publish(hospital.repository, [], now=hospital.now)
    version = max(int(p.name.split(".")[0]) for p in public(hospital).glob("*.root.json"))
    return (public(hospital) / f"{version}.root.json").read_bytes()


def public(hospital: Hospital) -> Path:
    return hospital.repository.public


def test_a_device_that_slept_while_all_root_keys_changed_finds_its_way(
    ward: ReleaseWard, tmp_path: Path
) -> None:
    """Goal: vendor and hospital replace every root key; the sleeper gets the newest release."""
    first = ward.ready(61)
    ward.assign(SIGNING, first["sha256"])
    ward.clear(SIGNING)  # A year ago no approval of today was valid.
    asleep: dict[str, Any] = ward.take(tmp_path, at_s=int(time.time()) - YEAR_S)
    assert (asleep["done"], asleep["files"]) == (True, []), asleep
    for place in range(3):
        new_vendor_root(ward.vendor, place)
    roots = [new_director_root(ward.hospital) for _ in range(2)]
    with pytest.raises(AsepsisError):
        ward.put_root(roots[1])  # Not the next one: a hub skips no root.
    for root in roots:
        ward.put_root(root)
    ward.bring()
    ward.import_()
    second = ward.ready(62)
    ward.assign(SIGNING, second["sha256"])
    assert second["path"] in ward.taken(tmp_path)


def test_a_director_root_that_its_predecessor_did_not_sign_is_refused(
    ward: ReleaseWard, tmp_path: Path
) -> None:
    """Goal: whoever owns the hub and has a new root cannot make it the director's."""
    before = ward.person.get("/api/updates")["director_root"]
    stranger = Hospital(tmp_path / "stranger", ward.hospital.director, now=ward.now)
    *_, forged = (new_director_root(stranger) for _ in range(before + 1))
    with pytest.raises(AsepsisError):
        ward.put_root(forged)
    assert ward.person.get("/api/updates")["director_root"] == before
