"""Debian's own `rauc` and `swupdate` write what the update agent hands to them; it judges the end.

The machine's start is a twin; the programs, their signatures and their slots are real.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rauc import SLOT_BYTES, Slots, bundle
from swupdate import Vendor

from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.handing_over import HandOver
from asepsis.tools.testing.handing_device import RELEASE, Machine

PAYLOAD = os.urandom(200_000)
RAUC = """#!/bin/sh
export folder={folder} words="$*"
exec dbus-run-session -- bash -c '
export DBUS_STARTER_BUS_TYPE=session
rauc -c $folder/system.conf --override-boot-slot=$(cat $folder/current) service &
service=$!
for try in $(seq 100); do
  rauc -c $folder/system.conf status >/dev/null 2>&1 && break
  sleep 0.2
done
rauc -c $folder/system.conf $words
ended=$?
kill $service
exit $ended'
"""
BACKEND = """#!/bin/sh
other() {{ [ "$1" = A ] && echo B || echo A; }}
case "$1" in
  get-primary) cat {folder}/primary ;;
  set-primary) echo "$2" > {folder}/primary ;;
  get-state) cat {folder}/state.$2 2>/dev/null || echo good ;;
  set-state) echo "$3" > {folder}/state.$2
             [ "$3" = bad ] && other "$2" > {folder}/primary || : ;;
  get-current) cat {folder}/current ;;
esac
"""
SWUPDATE = """#!/bin/sh
export TMPDIR={folder}/tmp
other() {{ [ "$(cat {folder}/current)" = A ] && echo B || echo A; }}
case "$1" in
  install) swupdate -k {ca} -H m5:1.0 -i "$2" && other > {folder}/primary ;;
  good) cp {folder}/current {folder}/primary; echo good > {folder}/state ;;
  bad) [ "$2" = booted ] && other > {folder}/primary || cp {folder}/current {folder}/primary ;;
esac
"""


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    needed = ("rauc", "swupdate", "mksquashfs", "dbus-run-session")
    if any(shutil.which(name) is None for name in needed):
        pytest.skip("rauc is not installed")
    return Vendor(tmp_path_factory.mktemp("vendor") / "maker")


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def with_rauc(folder: Path, vendor: Vendor, *, signed_by: Vendor) -> Machine:
    slots = Slots(folder, trusts=vendor.ca)
    script(folder / "backend.sh", BACKEND.format(folder=folder))
    program = script(folder / "program.sh", RAUC.format(folder=folder))
    place = folder / "releases" / RELEASE.version
    place.mkdir(parents=True)
    (place / "update.raucb").write_bytes(bundle(signed_by, folder / "made", PAYLOAD))
    return Machine(
        slots.folder,
        HandOver(
            component="rootfs",
            file="update.raucb",
            install=(program, "install", "{file}"),
            slot=("cat", str(folder / "current")),
            good=(program, "status", "mark-good"),
            bad=(program, "status", "mark-bad", "{slot}"),
        ),
    )


def with_swupdate(folder: Path, vendor: Vendor, *, signed_by: Vendor) -> Machine:
    folder.mkdir()
    (folder / "tmp").mkdir()
    for name in ("a.img", "b.img"):
        (folder / name).write_bytes(bytes(SLOT_BYTES))
    (folder / "primary").write_text("A\n")
    program = script(folder / "program.sh", SWUPDATE.format(folder=folder, ca=vendor.ca))
    place = folder / "releases" / RELEASE.version
    place.mkdir(parents=True)
    (place / "update.swu").write_bytes(signed_by.update(folder / "b.img", PAYLOAD))
    return Machine(
        folder,
        HandOver(
            component="rootfs",
            file="update.swu",
            install=(program, "install", "{file}"),
            slot=("cat", str(folder / "current")),
            good=(program, "good"),
            bad=(program, "bad", "{slot}"),
        ),
    )


Make = Callable[..., Machine]
PROGRAMS = [
    pytest.param(with_rauc, id="rauc", marks=pytest.mark.root),
    pytest.param(with_swupdate, id="swupdate"),
]


@pytest.mark.parametrize("make", PROGRAMS)
def test_what_was_handed_over_is_verified_by_its_self_tests(
    make: Make, vendor: Vendor, tmp_path: Path
) -> None:
    """Goal: written by the program, started, tested, made good; and only then verified."""
    machine = make(tmp_path / "good", vendor, signed_by=vendor).live()
    assert list(dict.fromkeys(machine.told)) == [
        "offered", "downloaded", "staged", "installing", "booted", "self-tested", "verified",
    ]  # fmt: skip
    assert machine.word("current") == machine.word("primary") == "B"
    assert (machine.folder / "b.img").read_bytes()[: len(PAYLOAD)] == PAYLOAD
    assert Floors(machine.folder / "update").of("rootfs") == 2


@pytest.mark.parametrize("make", PROGRAMS)
def test_one_that_fails_its_self_tests_goes_back(
    make: Make, vendor: Vendor, tmp_path: Path
) -> None:
    """Goal: the program said success, and the device did not; the slot before runs again."""
    machine = make(tmp_path / "bad", vendor, signed_by=vendor)
    machine.measured = 0.0
    machine.live()
    assert machine.told[-1] == "rolled-back"
    assert machine.word("current") == machine.word("primary") == "A"
    assert Floors(machine.folder / "update").of("rootfs") == 0


@pytest.mark.parametrize("make", PROGRAMS[1:])  # What rauc refuses stands in `test_rauc.py`.
def test_what_the_program_refuses_is_rolled_back_without_a_start(
    make: Make, vendor: Vendor, tmp_path: Path
) -> None:
    evil = Vendor(tmp_path / "evil")
    machine = make(tmp_path / "refused", vendor, signed_by=evil).live()
    assert machine.told[-1] == "rolled-back"
    assert machine.word("current") == machine.word("primary") == "A"
    assert (machine.folder / "b.img").read_bytes() == bytes(SLOT_BYTES)
    [(component, version, why)] = machine.refused
    assert (component, version) == (RELEASE.component, RELEASE.version)
    assert "failed" in why
