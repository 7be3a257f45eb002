"""Debian's own `rauc` installs, and refuses, what a device fetched from a real hub over TLS."""

import os
import shutil
import time
from pathlib import Path

import pytest
from ddi_ward import DdiWard
from rauc import SLOT_BYTES, Slots, bundle, update
from swupdate import Vendor

pytestmark = pytest.mark.root
PAYLOAD = os.urandom(1_048_576)


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    if any(shutil.which(name) is None for name in ("rauc", "mksquashfs", "dbus-run-session")):
        pytest.skip("rauc is not installed")
    return Vendor(tmp_path_factory.mktemp("vendor") / "rauc")


def test_an_update_to_verified(ward: DdiWard, vendor: Vendor, tmp_path: Path) -> None:
    """Goal: a certificate, a closed window, a cut download, and success that is not believed."""
    ward.add_target("ra-good", profile="rauc")
    client = ward.client("ra-good", files=ward.maker.certify("ra-good"))
    slots = Slots(tmp_path / "device", trusts=vendor.ca)
    module = ward.module(bundle(vendor, tmp_path / "made", PAYLOAD), file="update.raucb")
    client.describe(asepsis_version="1", asepsis_boot="one")
    far = time.time_ns() + 3_600 * 10**9
    action = ward.assign("ra-good", module, windows=[[far, far + 10**9]])
    assert update(client, slots, cut_at=300_000) == action
    assert slots.primary() == "A"
    assert ward.action(action)["outcome"] == "downloaded"
    second = ward.assign("ra-good", module)
    assert update(client, slots) is None  # It is asked to let go of the first.
    assert ward.action(action)["outcome"] == "withdrawn"
    assert update(client, slots) == second, slots.said
    assert slots.primary() == "B", slots.said
    assert (slots.folder / "b.img").read_bytes()[: len(PAYLOAD)] == PAYLOAD
    assert ward.action(second)["outcome"] == "installing"
    client.describe(asepsis_version="2", asepsis_boot="two", asepsis_self_test="passed")
    assert ward.action(second)["outcome"] == "verified"


def test_what_the_device_refuses(ward: DdiWard, vendor: Vendor, tmp_path: Path) -> None:
    """Goal: a changed bundle, a wrong signer and a bundle of another device are refused."""
    evil = Vendor(tmp_path / "evil")
    good = bundle(vendor, tmp_path / "good", PAYLOAD)
    spoilt = bytearray(good)
    spoilt[len(spoilt) // 2] ^= 1
    made = {
        "ra-corrupt": bytes(spoilt),
        "ra-signer": bundle(evil, tmp_path / "wrong", PAYLOAD),
        "ra-other": bundle(vendor, tmp_path / "other", PAYLOAD, compatible="ventilator"),
    }
    words = {
        "ra-corrupt": "signature verification failed",
        "ra-signer": "signature verification failed",
        "ra-other": "ompatible mismatch",
    }
    for name, content in made.items():
        client = ward.target(name, profile="rauc")
        slots = Slots(tmp_path / name, trusts=vendor.ca)
        action = ward.assign(name, ward.module(content, file="update.raucb"))
        assert update(client, slots) == action
        found = ward.action(action)
        assert (found["stage"], slots.primary()) == ("error", "A"), slots.said
        assert words[name] in slots.said
        for slot in ("a.img", "b.img"):
            assert (slots.folder / slot).read_bytes() == bytes(SLOT_BYTES)
