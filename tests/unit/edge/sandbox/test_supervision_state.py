"""The confirmed versions: a form, and a power cut at every operation of the disk."""

import errno
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import AsepsisError, FramingError, InputError, TransientError
from asepsis.edge.sandbox.supervision_disk import Disk, FolderDisk
from asepsis.edge.sandbox.supervision_state import (
    ASIDE,
    NAME,
    SHIPPED,
    Confirmed,
    StateStore,
    decode,
    encode,
)
from asepsis.tools.testing.faulty_disk import FaultyDisk, PowerCut

OLD = Confirmed().confirm("network", "1.4.0").confirm("timekeeper", "2.0")
NEW = OLD.confirm("network", "1.5.0")
BEFORE = {
    "clean": {NAME: encode(OLD)},
    "left aside, whole": {NAME: encode(OLD), ASIDE: encode(NEW)},
    "left aside, torn": {NAME: encode(OLD), ASIDE: encode(NEW)[:40]},
}
OPERATIONS = 4


@pytest.mark.parametrize("before", list(BEFORE))
def test_after_a_power_cut_at_any_operation_the_old_or_the_new_version_starts(before: str) -> None:
    """Goal: never neither; and the next confirmation works on whatever was found."""
    states = 0
    for cut in range(1, OPERATIONS + 1):
        disk = FaultyDisk(dict(BEFORE[before]), cut_at=cut)
        with pytest.raises(PowerCut):
            StateStore(disk).save(NEW)
        for found in disk.after_cut():
            states += 1
            loaded = StateStore(found).load()
            assert loaded in (OLD, NEW)
            after = loaded.confirm("network", "1.6.0")
            StateStore(found).save(after)
            assert StateStore(found).load() == after
            assert all(StateStore(again).load() == after for again in found.after_cut())
    assert states >= 12


def test_the_first_state_ever_is_the_shipped_one_or_the_new_one() -> None:
    first = Confirmed().confirm("network", "1.0")
    found: set[str] = set()
    for cut in range(1, OPERATIONS + 1):
        disk = FaultyDisk(cut_at=cut)
        with pytest.raises(PowerCut):
            StateStore(disk).save(first)
        found |= {StateStore(after).load().version("network") for after in disk.after_cut()}
    assert found == {SHIPPED, "1.0"}


def test_what_was_saved_is_there_after_every_cut_that_follows() -> None:
    disk = FaultyDisk(dict(BEFORE["clean"]))
    StateStore(disk).save(NEW)
    assert disk.operations == OPERATIONS
    assert [StateStore(found).load() for found in disk.after_cut()] == [NEW]


def test_a_disk_that_forgets_flushes_is_found_out() -> None:
    """Goal: the test above can fail: without flushes there is a folder with neither."""
    disk = FaultyDisk(dict(BEFORE["clean"]), forget_flushes=True)
    StateStore(disk).save(NEW)
    neither = 0
    for found in disk.after_cut():
        try:
            neither += StateStore(found).load() not in (OLD, NEW)
        except FramingError:
            neither += 1
    assert neither


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("operation", range(1, OPERATIONS + 1))
def test_a_disk_that_refuses_changes_nothing(operation: int, error: int) -> None:
    """Goal: a full disk; the old state holds, but for the last flush, where either may."""
    disk = FaultyDisk(dict(BEFORE["clean"]), fail_at=operation, error=error)
    with pytest.raises(TransientError):
        StateStore(disk).save(NEW)
    allowed = (OLD, NEW) if operation == OPERATIONS else (OLD,)
    assert StateStore(disk).load() in allowed
    assert all(StateStore(found).load() in (OLD, NEW) for found in disk.after_cut())
    StateStore(disk).save(NEW)
    assert StateStore(disk).load() == NEW


def test_a_block_that_cannot_be_read_is_said() -> None:
    with pytest.raises(TransientError):
        StateStore(FaultyDisk(dict(BEFORE["clean"]), fail_at=1, error=errno.EIO)).load()


@pytest.mark.parametrize("make", [FaultyDisk, FolderDisk], ids=["faulty", "folder"])
def test_both_disks_do_the_same(make: type[FaultyDisk | FolderDisk], tmp_path: Path) -> None:
    disk: Disk = FolderDisk(tmp_path) if make is FolderDisk else FaultyDisk()
    assert disk.read("a", 9) is None
    disk.write("a", b"one")
    disk.write("a", b"two!")
    disk.flush("a")
    disk.rename("a", "b")
    disk.flush_names()
    assert (disk.read("a", 9), disk.read("b", 9), disk.read("b", 2)) == (None, b"two!", b"tw")


names = st.from_regex(r"[a-z0-9][a-z0-9.+-]{0,20}", fullmatch=True)


some = st.dictionaries(names, names, max_size=32)


@given(st.integers(0, 2**60), some, some)
def test_round_trip(number: int, versions: dict[str, str], previous: dict[str, str]) -> None:
    state = Confirmed(number=number, versions=versions, previous=previous)
    assert decode(encode(state)) == state


def test_what_was_confirmed_before_is_remembered() -> None:
    assert OLD.previous == {"network": SHIPPED, "timekeeper": SHIPPED}
    assert NEW.previous["network"] == "1.4.0"
    assert NEW.confirm("network", "1.5.0").previous["network"] == "1.4.0", "the same is no step"


def test_a_device_made_before_one_could_go_back_keeps_its_versions() -> None:
    text = b'{"format":1,"number":3,"versions":{"network":"1.4.0"}}'
    data = text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"
    assert decode(data) == Confirmed(number=3, versions={"network": "1.4.0"})


@given(st.data())
def test_any_other_bytes_are_refused_and_nothing_else_is_raised(data: st.DataObject) -> None:
    whole = encode(NEW)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes((whole[at] ^ data.draw(st.integers(1, 255)),)) + whole[at + 1 :]
    for spoilt in (changed, whole[:at], whole + b"x", data.draw(st.binary(max_size=99))):
        with pytest.raises(FramingError):
            decode(spoilt)


@pytest.mark.parametrize("version", ["", "..", "../x", "a/b", "A", "a" * 65, ".hidden", "a\n"])
def test_a_name_that_could_be_a_path_names_no_version(version: str) -> None:
    with pytest.raises(InputError):
        Confirmed().confirm("network", version)


def test_no_more_compartments_than_a_device_has() -> None:
    state = Confirmed(versions={f"c{n}": "1" for n in range(32)})
    with pytest.raises(AsepsisError):
        state.confirm("one-more", "1")
