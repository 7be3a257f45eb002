"""The whole way on a device: director, vendor, approvers, floor; attacks are refused by it."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from asepsis.core import errors
from asepsis.edge.device.update import place
from asepsis.edge.device.update.floors import Floors
from asepsis.tools.release import editing
from asepsis.tools.testing.releases import Vendor
from asepsis.tools.testing.update_world import Quiet, World


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


def test_windows_of_the_director_reach_the_device_signed(world: World) -> None:
    path = world.vendor.release(1)
    begin_s = int(world.now.timestamp())
    spans = ((begin_s + 3_600, begin_s + 7_200), (begin_s + 90_000, begin_s + 93_600))
    world.assign(path, world.authorise(path), windows=spans)
    assert world.take()["done"]
    [one] = place.accepted(world.device)
    assert one["windows"] == [list(span) for span in spans]


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
