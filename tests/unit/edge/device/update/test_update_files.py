"""What the agent reads: the plan, its settings, power supplies; and what people say at the desk."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import AsepsisError, ConfigError, FramingError, InputError, SafetyRefusal
from asepsis.core.model.clinical import ClinicalState
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.manifest import shipped
from asepsis.edge.device.update.compartments import FETCHER, SELFTEST, updating
from asepsis.edge.device.update.contact import Running
from asepsis.edge.device.update.desk import UpdateDesk
from asepsis.edge.device.update.floors import FLOORS, Floors
from asepsis.edge.device.update.moment import Window
from asepsis.edge.device.update.on_device import read_power
from asepsis.edge.device.update.plan import read_plan
from asepsis.edge.device.update.settings import read_settings
from asepsis.edge.device.update.supply import DirectedSupply, Folders
from asepsis.tools.testing.faulty_disk import FaultyDisk
from asepsis.tools.testing.updating_device import Device, target

PLAN: dict[str, Any] = {
    "format": 1,
    "states": ["in-use", "idle"],
    "run_s": 60,
    "rollback_s": 30,
    "consent": False,
    "acceptance": True,
    "changes": ["alarm-limits"],
    "tests": [{"name": "heart-rate", "low": 59, "high": 61, "unit": "/min"}],
}
SETTINGS = """
hardware = "m5-rev-b"
model = "m5"
director = "https://updates.example/director"
bytes_per_s = 200000
reserve = true
live-patches = true
[vendors]
acme = "https://updates.example/acme"
[[windows]]
opens = 2026-11-24T02:00:00+01:00
closes = 2026-11-24T04:00:00+01:00
[image]
name = "monitor"
partition = "/boot"
roots = ["/dev/vdb", "/dev/vdc"]
[[handed-over]]
component = "rootfs"
file = "update.raucb"
install = ["/usr/bin/rauc", "install", "{file}"]
slot = ["/usr/lib/m5/running-slot"]
good = ["/usr/bin/rauc", "status", "mark-good"]
bad = ["/usr/bin/rauc", "status", "mark-bad", "{slot}"]
"""


def test_a_plan_is_read_whole() -> None:
    plan = read_plan(json.dumps(PLAN).encode())
    assert plan.states == {ClinicalState.IN_USE, ClinicalState.IDLE}
    assert (plan.run_s, plan.rollback_s, plan.acceptance, plan.consent) == (60, 30, True, False)
    assert plan.changes == {"alarm-limits"}
    [test] = plan.tests
    assert test.result(60).passed
    assert not test.result(61.5).passed
    assert not test.result(None).passed


@pytest.mark.parametrize(
    "change",
    [
        {"hurry": True}, {"format": 2}, {"states": []}, {"states": ["flying"]}, {"tests": []},
        {"run_s": 0}, {"run_s": 60.0}, {"consent": "no"}, {"tests": PLAN["tests"] * 2},
        {"tests": [{**PLAN["tests"][0], "low": 62}]}, {"changes": [f"x{n}" for n in range(65)]},
        {"tests": [{**PLAN["tests"][0], "high": float("inf")}]}, {"states": "idle"},
        {"tests": [{**PLAN["tests"][0], "name": "two\nlines"}]}, {"tests": None},
    ],
)  # fmt: skip
def test_what_a_device_does_not_understand_whole_it_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(FramingError):
        read_plan(json.dumps({**PLAN, **change}).encode())


@given(st.binary(max_size=200))
def test_other_bytes_are_no_plan(data: bytes) -> None:
    with pytest.raises(FramingError):
        read_plan(data)


def settings(folder: Path, text: str) -> Any:
    path = folder / "updates.toml"
    path.write_text(text, "utf-8")
    return read_settings(path, device="urn:x", kind=Kind.PUMP, layers=frozenset())


def test_the_settings_say_from_where_and_when(tmp_path: Path) -> None:
    found = settings(tmp_path, SETTINGS)
    assert found.vendors == {"acme": "https://updates.example/acme"}
    assert found.bytes_per_s == 200_000
    assert found.policy.reserve
    assert found.live_patches
    assert found.policy.windows == (Window(1_795_482_000, 1_795_489_200),)
    assert found.image.name == "monitor"
    assert found.image.roots == (Path("/dev/vdb"), Path("/dev/vdc"))
    [handed_over] = found.handed_over
    assert (handed_over.component, handed_over.install[1:]) == ("rootfs", ("install", "{file}"))
    assert settings(tmp_path, SETTINGS.partition("[image]")[0]).image is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('hardware = "m5-rev-b"', ""),
        ('model = "m5"', "model = 5"),
        ("bytes_per_s = 200000", "bytes_per_s = -1"),
        ("reserve = true", "faster = true"),
        ('acme = "https://updates.example/acme"', ""),
        ("opens = 2026-11-24T02:00:00+01:00", "opens = 2026-11-24T02:00:00"),
        ("opens = 2026-11-24T02:00:00+01:00", "opens = 2026-11-24T05:00:00+01:00"),
        ("[vendors]", "[vendors"),
        ('"/dev/vdc"]', '"/dev/vdb"]'),
        ('"/dev/vdc"]', '"vdc"]'),
        ('"/dev/vdb", "/dev/vdc"', '"/dev/vdb"'),
        ('name = "monitor"', 'name = "../x"'),
        ('partition = "/boot"', ""),
        ('"/usr/bin/rauc", "install"', '"rauc", "install"'),
        ('file = "update.raucb"', 'file = "../update.raucb"'),
        ('good = ["/usr/bin/rauc", "status", "mark-good"]', ""),
        ('slot = ["/usr/lib/m5/running-slot"]', "slot = []"),
    ],
)
def test_a_setting_that_is_wrong_is_named(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(ConfigError, match=r"updates\.toml"):
        settings(tmp_path, SETTINGS.replace(old, new))


def test_versions_that_nobody_needs_or_that_are_too_old_go(tmp_path: Path) -> None:
    """Goal: what runs and what it came from stay; below the floor nobody goes back to anything."""
    folders = Folders(update=tmp_path / "update", releases=tmp_path / "releases")
    for name in ("1.1+1", "1.2+2", "1.3+3", "1.4+4", "by-hand"):
        (folders.releases / "network" / name / "asepsis").mkdir(parents=True)
    folders.update.mkdir()
    Floors(folders.update).create()
    found = DirectedSupply(
        folders,
        order=dict,
        start_fetcher=not_started,
        every_s=60,
        now_s=lambda: 0.0,
        tell=lambda _: None,
    )

    def left() -> set[str]:
        return {path.name for path in (folders.releases / "network").iterdir()}

    found.tidy("network", runs="1.4+4", before="1.3+3")
    assert left() == {"1.3+3", "1.4+4", "by-hand"}
    Floors(folders.update).verified("network", 4)
    found.tidy("network", runs="1.4+4", before="1.3+3")
    assert left() == {"1.4+4", "by-hand"}
    found.tidy("vitals", runs="shipped", before="")


def not_started(_handed: Mapping[str, int]) -> Running:
    raise AssertionError("no contact was due")


def test_the_agents_compartments_hold_every_safety_claim_and_have_no_key() -> None:
    manifest = updating()
    users = [one.user for one in manifest.compartments.values()]
    assert len(set(users)) == len(users)
    assert manifest.compartments.keys() - shipped().compartments.keys() == {FETCHER, SELFTEST}
    for name in (FETCHER, SELFTEST):
        assert not manifest.compartments[name].keeps
        assert not manifest.compartments[name].handed


def supply(folder: Path, name: str, **words: str) -> None:
    (folder / name).mkdir()
    for word, value in words.items():
        (folder / name / word).write_text(value + "\n", "ascii")


def test_power_is_what_the_kernel_says(tmp_path: Path) -> None:
    assert read_power(tmp_path / "none") == (True, None)
    assert read_power(tmp_path) == (True, None)
    supply(tmp_path, "BAT0", type="Battery", capacity="73")
    assert read_power(tmp_path) == (None, 73)
    supply(tmp_path, "BAT1", type="Battery", capacity="12")
    supply(tmp_path, "AC", type="Mains", online="0")
    assert read_power(tmp_path) == (False, 12)
    (tmp_path / "AC" / "online").write_text("1\n", "ascii")
    assert read_power(tmp_path) == (True, 12)


def test_people_at_the_desk_see_and_say(tmp_path: Path) -> None:
    device = Device(disk=FaultyDisk({FLOORS: b"{}"}), offered=[target()], consent=True).run()
    desk = UpdateDesk(tmp_path, agent=device.agent)
    try:
        shown = desk.answer("status", {})
        assert (shown["update"]["waits_for"], shown["asks"]) == ("consent", True)
        assert not desk.answer("later", {})["asks"]
        with pytest.raises(SafetyRefusal):
            desk.answer("now", {})
        device.now_s += 3_600
        device.run(2)
        desk.answer("now", {})
        device.run()
        shown = desk.answer("status", {})
        assert shown["update"]["outcome"] == "verified"
        assert shown["update"]["tests"][0]["passed"]
        assert desk.answer("out-of-service", {"who": "S. Weber"})["out_of_service"] == "S. Weber"
        assert desk.answer("in-service", {})["out_of_service"] == ""
        for do in ("install", "out-of-service", ""):
            with pytest.raises(InputError):
                desk.answer(do, {})
    finally:
        desk.close()
    with pytest.raises(AsepsisError):
        device.agent.confirm()
