"""A compartment is replaced while the device measures, and nothing that was sent is missing."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.errors import Conflict, NotFound, SafetyRefusal
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.sandbox.supervision import Phase
from asepsis.edge.sandbox.supervision_parts import Pace
from asepsis.edge.sandbox.supervision_state import SHIPPED

HOLDING = detect().holding
PACE = Pace(trial_s=3.0, spare_s=0.5)
PATCH = """
import time as _time
_shipped = Network._facts
Network._facts = lambda self: {**_shipped(self), "version": "%s"}
"""
VERSIONS = {
    "1.1": PATCH % "1.1",
    "1.2": PATCH % "1.2",
    "2.0-broken": "raise OSError(5, 'Input/output error')\n",
    "2.1-silent": "Network.run = lambda self: _exit(1)\nfrom os import _exit\n",
    "2.2-falls": PATCH % "2.2"
    + """
_run = Network._read_all
def _fall(self, _since=_time.monotonic()):
    _run(self)
    if _time.monotonic() > _since + 2.0:
        raise SystemExit(1)
Network._read_all = _fall
""",
}
"""What stands at the end of the network compartment's module in each version."""
pytestmark = [pytest.mark.slow, pytest.mark.alone]


def release(device: Path, version: str, *, compartment: str = "network") -> None:
    """Put a version where the supervisor looks for it: the shipped code with an end of its own."""
    shipped = bubblewrap.code().package
    package = device / "releases" / compartment / version / "asepsis"
    package.mkdir(parents=True)
    shutil.copy(shipped / "__init__.py", package)
    for part in ("core", "edge"):
        shutil.copytree(
            shipped / part, package / part, ignore=shutil.ignore_patterns("__pycache__", "gateway")
        )
    module = package / "edge" / "device" / f"{compartment}.py"
    text = module.read_text("utf-8").replace("\ndef main(", VERSIONS[version] + "\n\ndef main(")
    module.write_text(text, "utf-8")


@dataclass
class Bed:
    """One device with versions of its network compartment, and what its supervisor told."""

    folder: Any
    supervisor: Supervisor
    events: list[tuple[str, str, dict[str, Any]]]

    def told(self, event: str, compartment: str = "network") -> list[dict[str, Any]]:
        return [d for who, what, d in self.events if (who, what) == (compartment, event)]

    def until(self, wanted: Callable[[], object], *, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while not wanted():
            assert time.monotonic() < deadline, self.events[-20:]
            self.supervisor.step()

    def swap(self, version: str) -> None:
        """Ask for a version until a permit is granted: a state that has just changed gets none."""
        for _ in range(9):
            refused = len(self.told("version-refused"))
            asked = len(self.told("version-takes-over"))
            self.supervisor.swap("network", version)
            self.until(
                lambda n=refused, m=asked: (
                    len(self.told("version-refused")) > n
                    or len(self.told("version-takes-over")) > m
                )
            )
            if len(self.told("version-takes-over")) > asked:
                return
            why = self.told("version-refused")[-1]["why"]
            if not why.startswith("no permit"):
                return
        raise AssertionError(self.events[-20:])

    def heard_of(self, version: str) -> bool:
        return any(facts.get("version") == version for facts in self.told("alive"))


@pytest.fixture(scope="module")
def bed(ward: ModuleType) -> Iterator[Bed]:
    """Run a device without a hub: everything it sends lands in its spool, and is told."""
    with tempfile.TemporaryDirectory(prefix="asepsis-swap-") as made:
        Path(made).chmod(0o755)
        folder = ward.enrolled(Path(made) / "device")
        for version in VERSIONS:
            release(folder.path, version)
        events: list[tuple[str, str, dict[str, Any]]] = []
        supervisor = Supervisor(
            folder,
            holding=HOLDING,
            setting=Setting(seed=5, pace=PACE),
            tell=lambda who, what, details: events.append((who, what, dict(details))),
        )
        found = Bed(folder, supervisor, events)
        try:
            found.until(lambda: found.told("alive") and found.told("state", "vitals"))
            yield found
        finally:
            supervisor.close()
            where = folder.path / "releases" / "network" / "3.0"
            while where.is_mount():
                subprocess.run(["umount", "--lazy", where], check=True)


def sent(bed: Bed) -> dict[str, list[int]]:
    """Return the numbers of what found a fate, by account."""
    accounts: dict[str, set[int]] = {"origin": set(), "waveform": set()}
    for fate in bed.told("fate"):
        accounts[fate["account"]].add(fate["sequence"])
    return {name: sorted(numbers) for name, numbers in accounts.items()}


def test_a_version_takes_over_is_confirmed_and_nothing_is_lost(bed: Bed) -> None:
    """Goal: the old one serves until the new one is ready; each batch and packet has its fate."""
    vitals, before = bed.supervisor.pid("vitals"), bed.supervisor.pid("network")
    bed.supervisor.swap("network", "1.1")
    with pytest.raises(Conflict):
        bed.supervisor.swap("timekeeper", SHIPPED)
    bed.until(lambda: bed.told("version-refused") or bed.told("version-takes-over"))
    if bed.told("version-refused"):  # The clinical state had just changed.
        assert bed.told("version-refused")[-1]["why"].startswith("no permit")
        assert bed.supervisor.pid("network") == before
        bed.swap("1.1")
    bed.until(lambda: bed.heard_of("1.1"))
    assert bed.supervisor.versions["network"] == "1.1"
    bed.until(lambda: bed.told("version-confirmed"))
    assert '"network":"1.1"' in (bed.folder.path / "supervisor.json").read_text("ascii")
    bed.until(lambda: sent(bed)["origin"][-1:] > [sent(bed)["origin"][0] + 6])
    for numbers in sent(bed).values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert bed.supervisor.pid("vitals") == vitals


def test_a_version_that_does_not_start_costs_nothing(bed: Bed) -> None:
    """Goal: a damaged image (EIO when it is read): the old process goes on, and it is said."""
    before, version = bed.supervisor.pid("network"), bed.supervisor.versions["network"]
    bed.swap("2.0-broken")
    assert bed.told("version-refused")[-1]["version"] == "2.0-broken"
    assert (bed.supervisor.pid("network"), bed.supervisor.versions["network"]) == (before, version)


@pytest.mark.parametrize("version", ["2.1-silent", "2.2-falls"])
def test_a_version_that_falls_on_trial_gives_way_to_the_one_before(bed: Bed, version: str) -> None:
    good = bed.supervisor.versions["network"]
    bed.until(lambda: bed.supervisor.phases["network"] in {Phase.SERVING, Phase.READY})
    bed.swap(version)
    bed.until(lambda: any(d.get("rolled_back") == version for d in bed.told("ended")))
    assert bed.supervisor.versions["network"] == good
    alive = len(bed.told("alive"))
    bed.until(lambda: len(bed.told("alive")) > alive)
    assert version not in (bed.folder.path / "supervisor.json").read_text("ascii")


def test_killed_its_spare_takes_over(bed: Bed) -> None:
    bed.until(lambda: bed.supervisor.phases["network"] is Phase.READY)
    spare, starts = bed.supervisor.standby_pid("network"), bed.supervisor.starts["network"]
    os.kill(bed.supervisor.pid("network"), signal.SIGKILL)
    bed.until(lambda: bed.told("spare-takes-over"))
    assert bed.supervisor.pid("network") == spare
    assert bed.supervisor.starts["network"] == starts + 1
    alive = len(bed.told("alive"))
    bed.until(lambda: len(bed.told("alive")) > alive)
    for numbers in sent(bed).values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.root
def test_a_rotten_image_costs_its_compartment_and_is_alarmed(bed: Bed, tmp_path: Path) -> None:
    """Goal: reading it gives EIO; the compartment is said to be lost, vitals misses no tick."""
    whole, rotten = images(bed, tmp_path)
    where = bed.folder.path / "releases" / "network" / "3.0"
    where.mkdir()
    mount(whole, where)
    bed.swap("3.0")
    bed.until(lambda: any(d["version"] == "3.0" for d in bed.told("version-confirmed")))
    bed.until(lambda: bed.supervisor.phases["network"] is Phase.READY)
    mount(rotten, where)
    vitals, ticks = bed.supervisor.pid("vitals"), len(bed.told("alive", "vitals"))
    os.kill(bed.supervisor.pid("network"), signal.SIGKILL)
    bed.until(lambda: bed.told("spare-failed"))
    assert bed.supervisor.phases["network"] is Phase.SERVING
    os.kill(bed.supervisor.pid("network"), signal.SIGKILL)
    bed.until(lambda: bed.told("compartment-lost"))
    assert b"Input/output error" in (bed.folder.path / "device.log").read_bytes()
    alive = bed.told("alive", "vitals")[ticks:]
    assert bed.supervisor.pid("vitals") == vitals
    assert alive[-1]["skipped"] == alive[0]["skipped"]
    subprocess.run(["umount", "--lazy", where], check=True)
    bed.until(lambda: bed.supervisor.phases["network"] in {Phase.SERVING, Phase.READY})


def images(bed: Bed, folder: Path) -> tuple[Path, Path]:
    """Return an image of version 1.2 and the same with every block of data spoilt."""
    whole, rotten = folder / "whole.squashfs", folder / "rotten.squashfs"
    source = bed.folder.path / "releases" / "network" / "1.2"
    subprocess.run(["mksquashfs", source, whole], check=True, stdout=subprocess.DEVNULL)
    data = bytearray(whole.read_bytes())
    inodes = int.from_bytes(data[64:72], "little")  # squashfs superblock: inode_table_start
    data[96:inodes] = bytes(byte ^ 0x5A for byte in data[96:inodes])
    rotten.write_bytes(data)
    return whole, rotten


def mount(image: Path, where: Path) -> None:
    subprocess.run(["mount", "-t", "squashfs", "-o", "loop,ro", image, where], check=True)


def test_what_the_clinical_state_or_the_manifest_forbids_is_refused(bed: Bed) -> None:
    with pytest.raises(SafetyRefusal, match="in clinical state"):
        bed.supervisor.swap("origin", SHIPPED)
    with pytest.raises(NotFound):
        bed.supervisor.swap("network", "9.9")
    with pytest.raises(NotFound):
        bed.supervisor.swap("display-of-another", SHIPPED)


def test_started_anew_the_device_runs_what_was_confirmed(bed: Bed) -> None:
    """Goal: over the end of the supervisor itself; a version that is gone is said, not missed."""
    version = bed.supervisor.versions["network"]
    bed.supervisor.close()
    told: list[tuple[str, str]] = []

    def again() -> Supervisor:
        told.clear()
        return Supervisor(
            bed.folder,
            holding=HOLDING,
            setting=Setting(pace=PACE),
            tell=lambda who, what, _: told.append((who, what)),
        )

    supervisor = again()
    assert supervisor.versions["network"] == version != SHIPPED
    supervisor.close()
    where = bed.folder.path / "releases" / "network" / version
    if where.is_mount():
        subprocess.run(["umount", "--lazy", where], check=True)
    else:
        shutil.rmtree(where)
    supervisor = again()
    assert supervisor.versions["network"] == SHIPPED
    assert ("network", "version-missing") in told
    supervisor.close()
    (bed.folder.path / "supervisor.json").write_bytes(b"\0" * 99)
    supervisor = again()
    assert supervisor.versions["network"] == SHIPPED
    assert ("supervisor", "state-damaged") in told
    supervisor.close()
