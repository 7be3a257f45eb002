"""The partition that the firmware starts from: names that count, and what a reader finds."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ConfigError
from asepsis.tools.imagebuild.slots import (
    TRIES_MAX,
    Slot,
    make_partition,
    read_partition,
    read_slot,
)

COUNTS = st.integers(min_value=0, max_value=TRIES_MAX)


@given(st.integers(min_value=1, max_value=10**9 - 1), st.none() | COUNTS, COUNTS)
def test_a_name_says_what_was_written_into_it(number: int, left: int | None, done: int) -> None:
    slot = Slot(name="monitor", number=number, left=left, done=0 if left is None else done)
    assert read_slot(slot.file) == slot
    assert slot.works == (left is None)
    assert slot.given_up == (left == 0)


@pytest.mark.parametrize(
    "name", ["monitor.efi", "monitor_0.efi", "monitor_1.EFI", "monitor_1+.efi", "../x_1.efi", ""]
)
def test_other_files_are_no_slots(name: str) -> None:
    assert read_slot(name) is None


def test_a_partition_holds_loader_and_images(tmp_path: Path) -> None:
    body = tmp_path / "image.efi"
    body.write_bytes(bytes(70_000))
    slots = [Slot(name="monitor", number=1), Slot(name="monitor", number=2, left=3)]
    target = tmp_path / "partition.img"
    make_partition(target, loader=body, images=[(slot, body) for slot in slots])
    assert read_partition(target) == slots[::-1]


@pytest.mark.parametrize("left", [0, TRIES_MAX + 1])
def test_a_trial_has_a_bounded_number_of_tries(tmp_path: Path, left: int) -> None:
    slot = Slot(name="monitor", number=1, left=left)
    with pytest.raises(ConfigError, match="tries"):
        make_partition(tmp_path / "p.img", loader=tmp_path, images=[(slot, tmp_path)])
