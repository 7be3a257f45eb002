"""What another program installs: its words, its refusals, and that its success is none.

The program is a small script; `tests/interop/ddi/test_handing_over.py` has Debian's.
"""

from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import Unavailable
from asepsis.edge.device.update import handing_over
from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.handing_over import HandOver
from asepsis.tools.testing.handing_device import RELEASE, Machine

WHOLE = ["offered", "downloaded", "staged", "installing", "booted", "self-tested", "verified"]
PROGRAM = """#!/bin/sh
cd {folder}
other() {{ [ "$(cat current)" = A ] && echo B || echo A; }}
echo "$*" >> words
case "$1" in
  install) [ ! -e refuses ] || {{ echo "signature is wrong"; exit 1; }}
           cp "$2" b.img && other > primary ;;
  good) cp current primary ;;
  bad) [ "$2" = booted ] && other > primary || cp current primary ;;
esac
"""


def made(folder: Path, **changed: Any) -> Machine:
    program = folder / "program.sh"
    program.write_text(PROGRAM.format(folder=folder))
    program.chmod(0o755)
    place = folder / "releases" / RELEASE.version
    place.mkdir(parents=True)
    (place / "update.img").write_bytes(b"new")
    (folder / "primary").write_text("A\n")
    said: dict[str, Any] = {
        "component": "rootfs",
        "file": "update.img",
        "install": (str(program), "install", "{file}"),
        "slot": ("/bin/cat", str(folder / "current")),
        "good": (str(program), "good"),
        "bad": (str(program), "bad", "{slot}"),
    }
    return Machine(folder, HandOver(**(said | changed)))


def words(machine: Machine) -> list[str]:
    return (machine.folder / "words").read_text().splitlines()


def test_written_started_tested_and_made_good(tmp_path: Path) -> None:
    machine = made(tmp_path).live()
    assert list(dict.fromkeys(machine.told)) == WHOLE
    assert machine.word("current") == machine.word("primary") == "B"
    path = tmp_path / "releases" / RELEASE.version / "update.img"
    assert words(machine) == [f"install {path}", "good"]
    assert Floors(tmp_path / "update").of("rootfs") == 2
    assert machine.live().told[-1] == "verified"


def test_success_of_the_program_is_none_of_the_device(tmp_path: Path) -> None:
    machine = made(tmp_path)
    machine.measured = 0.0
    machine.live()
    assert machine.told[-1] == "rolled-back"
    assert machine.word("current") == machine.word("primary") == "A"
    assert words(machine)[-1] == "bad booted"
    assert Floors(tmp_path / "update").of("rootfs") == 0


def test_a_refusal_is_told_with_the_programs_own_words(tmp_path: Path) -> None:
    machine = made(tmp_path)
    (tmp_path / "refuses").touch()
    machine.live()
    assert machine.told[-1] == "rolled-back"
    [(_, _, why)] = machine.refused
    assert why.endswith("failed: signature is wrong")
    assert machine.word("current") == machine.word("primary") == "A"


def test_a_program_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing_over, "INSTALL_S_MAX", 0.2)
    machine = made(tmp_path, install=("/bin/sleep", "600")).live()
    assert machine.told[-1] == "rolled-back"
    [(_, _, why)] = machine.refused
    assert why == "/bin/sleep takes too long"


def test_a_program_that_is_not_there_installs_nothing(tmp_path: Path) -> None:
    machine = made(tmp_path, install=("/usr/bin/of-another-device",)).live()
    assert machine.told[-1] == "rolled-back"


@pytest.mark.parametrize("slot", ["/bin/true", "/bin/false", "/nothing"])
def test_one_that_does_not_say_what_runs_is_found_at_the_start(tmp_path: Path, slot: str) -> None:
    machine = made(tmp_path, slot=(slot,))
    with pytest.raises(Unavailable, match="which slot"):
        machine.live()


def test_the_loaders_own_fall_back_is_told(tmp_path: Path) -> None:
    """Goal: written and chosen, and the old slot runs after the start: rolled back."""
    machine = made(tmp_path)
    machine.start()
    assert machine.wants
    machine.word("primary", "A\n")
    machine.live()
    assert machine.told[-1] == "rolled-back"
    assert machine.word("current") == "A"
