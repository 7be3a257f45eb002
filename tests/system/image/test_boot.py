"""The image runs: compartments in the guest, vital signs at a real hub; what was changed does not.

Without KVM, on a processor that QEMU imitates.
"""

import importlib.util
import json
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from asepsis.edge.device.manifest import ATTESTER, with_display
from asepsis.edge.sandbox.generate.selinux_types import domain
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital
from asepsis.tools.imagebuild.boot import Seen, Trial, boot
from asepsis.tools.imagebuild.build import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.waits, pytest.mark.root, pytest.mark.timeout(420)]
DEVICE = "urn:dev:mac:020000fffe0000a7"
LIMIT_S = 300.0
ALL_LAYERS = {
    "SELinux",
    "Landlock",
    "bubblewrap",
    "no new privileges",
    "resource limits",
    "sealed ring",
    "seccomp",
    "separate users",
}


@pytest.fixture(scope="module")
def hub() -> Iterator[Any]:
    """Run a real hub, which devices know by a name."""
    path = Path(__file__).parents[1] / "device/hub.py"
    spec = importlib.util.spec_from_file_location("asepsis_image_tests_hub", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    with tempfile.TemporaryDirectory(prefix="asepsis-image-hub-") as folder:
        Path(folder).chmod(0o755)
        with module.running(Path(folder)) as found:
            ports = found.addresses.clinical.port, found.addresses.enrolment.port
            found.addresses = Hospital(*(Endpoint("localhost", port) for port in ports))
            yield found


def run(trial: Trial, until: Any = lambda _: False) -> Seen:
    return boot(trial, until=until, tell=lambda _: None)


def settled(seen: Seen) -> bool:
    """Return whether the ports were looked at after vital signs had reached the hub."""
    return acknowledged(seen) and seen.events[-1]["event"] == "ports"


def acknowledged(seen: Seen) -> bool:
    return any(
        event.get("what") == "fate" and event["details"].get("fate") == "acknowledged"
        for event in seen.events
    )


class Hands:
    """Somebody who stands at the machine: plugs things in and presses keys, through QMP."""

    def __init__(self, control: Path, stick: Path) -> None:
        self.control, self._stick = control, stick
        self.at: int | None = None

    def use(self) -> None:
        """Plug in a spoilt disk, a network card, a serial line and a keyboard, and press keys."""
        node = {"driver": "file", "filename": str(self._stick)}
        devices = ("virtio-blk-pci", "virtio-net-pci", "virtio-serial-pci", "virtio-keyboard-pci")
        # To the kernel: restart now; to whoever listens: a word and Enter.
        strokes = (["ctrl", "alt", "delete"], ["alt", "sysrq", "b"], ["i", "d"], ["ret"])
        with socket.socket(socket.AF_UNIX) as line, line.makefile("rwb") as talk:
            line.settimeout(30)
            line.connect(str(self.control))
            talk.readline()
            self._say(talk, "qmp_capabilities")
            self._press(talk, strokes)  # On the keyboard that was there from the start.
            self._say(talk, "blockdev-add", **{"node-name": "stick", "driver": "raw", "file": node})
            for device in devices:
                more = {"drive": "stick"} if device == "virtio-blk-pci" else {}
                self._say(talk, "device_add", driver=device, id=device, **more)
            self._press(talk, strokes)

    def _press(self, talk: Any, strokes: Sequence[list[str]]) -> None:
        for stroke in strokes:
            keys = [{"type": "qcode", "data": key} for key in stroke]
            self._say(talk, "send-key", keys=keys)

    def _say(self, talk: Any, command: str, **arguments: Any) -> None:
        talk.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        talk.flush()
        while "return" not in (answer := json.loads(talk.readline())):
            assert "error" not in answer, answer

    def until(self, seen: Seen) -> bool:
        """Act once vital signs have reached the hub; go on until it was looked at afterwards."""
        if self.at is None and settled(seen):
            self.at = len(seen.events)
            self.use()
        after = [] if self.at is None else seen.events[self.at :]
        named = [event["event"] for event in after]
        return "plugged" in named and "ports" in named[named.index("plugged") :]


def ports(seen: Seen) -> list[dict[str, Any]]:
    return [event for event in seen.events if event["event"] == "ports"]


def test_vital_signs_of_a_booted_image_reach_the_hub(
    image: Path, report: dict[str, Any], hub: Any, tmp_path: Path, record_property: Any
) -> None:
    """Goal: verified root, compartments as other users, no open port, and a hub that gets it.

    And whoever stands at the machine plugs in what they like, and it changes nothing.
    """
    folder = hub.enrolled(DEVICE)
    stick = tmp_path / "stick.img"
    stick.write_bytes(b"\x53\xef".join([bytes(1080), bytes(1 << 20)]))  # An ext4 gone wrong.
    hands = Hands(tmp_path / "qmp", stick)
    trial = Trial(image=image, device=folder.path, limit_s=LIMIT_S, control=hands.control)
    seen = run(trial, hands.until)
    assert acknowledged(seen), seen.console[-20:]
    assert hands.at is not None
    nothing_moved(seen, hands.at)
    hub.pull()
    assert hub.of(DEVICE, "vitals", "alert")
    started = seen.first("started")
    assert started
    assert started["root"].startswith("/dev/dm-0 / squashfs ro,")
    assert started["modules_must_be_signed"]
    assert started["state"]
    assert {"landlock", "selinux"} <= set(started["security_modules"].split(","))
    assert started["selinux"] == {"enforcing": True, "domain": "supervisor_t"}
    layers = seen.first("layers")
    assert layers
    assert set(layers["holding"]) >= ALL_LAYERS
    assert layers["missing"] == []
    looked = ports(seen)[-1]
    assert looked["listening"] == report["ports"] == []
    # Without a TPM there is nobody who attests.
    declared = [c for c in with_display().compartments.values() if c.name != ATTESTER]
    users = {c.user for c in declared}
    compartments = [p for p in looked["processes"] if p["uid"] in users]
    names = {c.name for c in declared}
    assert {p["uid"] for p in compartments} == users
    assert all(p["seccomp"] for p in compartments)
    assert {p["domain"] for p in compartments} == {domain(name) for name in names}
    # What a compartment does for its work, the policy allows.
    assert not [e for e in seen.events if e["event"] == "denied"]
    programs = {p["program"] for p in looked["processes"]}
    assert programs == {"/usr/bin/python3.11", "/usr/bin/bwrap"}
    record_property("first_vitals_uptime_s", float(seen.first_vitals_s or 0))
    record_property("wall_to_started_s", seen.wall_s["started"])


def nothing_moved(seen: Seen, at: int) -> None:
    """Check that what was plugged in was told, and neither used nor felt."""
    after = seen.events[at:]
    told = {name for event in after if event["event"] == "plugged" for name in event["what"]}
    assert len([name for name in told if name.startswith("pci/")]) == 4, told
    # No driver took one: no disk, no network card, no serial line and no input came of it.
    assert not [name for name in told if name.startswith("class/")]
    assert not seen.ended
    ends = {"ended", "hung", "killed", "failed"}
    vitals = [e for e in seen.events if e.get("compartment") == "vitals"]
    assert not [e for e in vitals if e["what"] in ends]
    lives = [e for e in after if (e.get("compartment"), e.get("what")) == ("vitals", "alive")]
    assert lives
    assert ports(seen)[-1]["listening"] == []
    before = {p["program"] for p in ports(seen)[0]["processes"]}
    assert {p["program"] for p in ports(seen)[-1]["processes"]} == before


def test_a_changed_root_does_not_boot(image: Path, tmp_path: Path) -> None:
    """Goal: one bit in the first block, and nothing of the device runs."""
    changed = tmp_path / ROOT
    shutil.copyfile(image / ROOT, changed)
    with changed.open("r+b") as file:
        file.seek(8)  # The time in the superblock: the file system would mount without verity.
        file.write(b"\0\0\0\0")
    seen = run(Trial(image=image, root=changed, limit_s=LIMIT_S), lambda found: found.refused)
    assert seen.refused, seen.console[-20:]
    assert not seen.events
