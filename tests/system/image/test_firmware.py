"""By firmware with Secure Boot: what is signed starts, and a live patch changes the running kernel.

One machine starts twice: first a spoilt newer image, then the older one, which is patched while it
measures. Without KVM, on a processor that QEMU imitates.
"""

import datetime as dt
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from asepsis.tools.attack.enrolled import HOST, enrolled
from asepsis.tools.imagebuild import livepatch, uki
from asepsis.tools.imagebuild.boot import Seen, Trial, boot
from asepsis.tools.imagebuild.build import KEYS, UKI
from asepsis.tools.imagebuild.livepatch import Patch
from asepsis.tools.imagebuild.secureboot import MODULE, SecureBootKeys, make_keys
from asepsis.tools.imagebuild.slots import Slot

pytestmark = [pytest.mark.slow, pytest.mark.waits, pytest.mark.root, pytest.mark.timeout(600)]
PATCH = Path(__file__).parents[3] / "images/patches/version_mark.c"
LIMIT_S = 450.0
MARK = "live patch version_mark"
REFUSED = ("unsigned", "foreign", "module")


class Courier:
    """Brings parcels to the running machine, each once the one before was answered."""

    def __init__(self, medium: Path, patch: Patch, keys: SecureBootKeys, *, foreign: Path) -> None:
        self.medium = medium
        livepatch.empty_medium(medium)
        others = SecureBootKeys(foreign)

        def parcel(module: bytes, number: int, by: SecureBootKeys = keys) -> bytes:
            return livepatch.parcel_of(module, name=patch.name, number=number, keys=by)

        # What it is, and what the machine must answer.
        self._parcels = [
            (parcel(patch.unsigned, 1), "parcel-refused"),
            (parcel(patch.signed, 2, others), "parcel-refused"),
            (parcel(patch.signed, 2), "patched"),
            (parcel(b"", 3), "unpatched"),
            (parcel(patch.signed, 2), "parcel-refused"),
        ]
        self.brought = 0
        self.at = 0

    def until(self, seen: Seen) -> bool:
        """Begin once the image has passed its trial; end when vitals went on afterwards."""
        if seen.first("confirmed") is None:
            return False
        if self.brought:
            wanted = self._parcels[self.brought - 1][1]
            if not any(event["event"] == wanted for event in seen.events[self.at :]):
                return False
        if self.brought == len(self._parcels):
            answered = [n for n, e in enumerate(seen.events) if e["event"] == "parcel-refused"][-1]
            return bool(alive(seen.events[answered:]))
        self.at = len(seen.events)
        livepatch.deliver(self._parcels[self.brought][0], self.medium)
        self.brought += 1
        return False


def alive(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what vitals said of itself."""
    said = (e for e in events if (e.get("compartment"), e.get("what")) == ("vitals", "alive"))
    return [event["details"] for event in said]


@pytest.fixture(scope="module")
def machines(
    image: Path, spoilt_next: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Seen]]:
    """Start everything that firmware is asked to start, and return what was seen."""
    place = tmp_path_factory.mktemp("firmware")
    foreign = make_keys(place / "foreign", now=dt.datetime.fromtimestamp(time.time(), dt.UTC))
    keys = SecureBootKeys(image / KEYS)
    by_module = place / "by-module.efi"
    certificate = keys.certificate(MODULE)
    uki.sign(image / UKI, key=keys.key(MODULE), certificate=certificate, target=by_module)
    patch = livepatch.build_patch(PATCH, image, keys=keys, progress=lambda _: None)
    courier = Courier(place / "medium.img", patch, keys, foreign=foreign.folder)
    device = enrolled(place / "device").path
    identity = device / "identity.json"
    identity.write_text(identity.read_text("utf-8").replace(HOST, "localhost"), "utf-8")
    old = Slot(name="monitor", number=1, left=3)
    new = Slot(name="monitor", number=2, left=1)
    trials = {
        "ours": Trial(
            image=image,
            device=device,
            firmware=True,
            tpm=True,
            limit_s=LIMIT_S,
            slots=((old, image), (new, spoilt_next)),
            medium=courier.medium,
        ),
        "unsigned": Trial(image=image, firmware=True, efi=image / UKI, limit_s=LIMIT_S),
        "foreign": Trial(image=image, firmware=True, keys=foreign.folder, limit_s=LIMIT_S),
        "module": Trial(image=image, firmware=True, efi=by_module, limit_s=LIMIT_S),
    }

    def run(name: str) -> Seen:
        until = courier.until if name == "ours" else lambda seen: seen.refused
        return boot(trials[name], until=until, tell=lambda _: None)

    with ThreadPoolExecutor(2) as pool:
        yield dict(zip(trials, pool.map(run, trials), strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_firmware_starts_only_what_its_keys_signed(machines: dict[str, Seen], name: str) -> None:
    """Goal: not unsigned, not by another's key, and not by the key for modules of the kernel."""
    seen = machines[name]
    assert seen.refused, seen.console[-20:]
    assert any("Access Denied" in line for line in seen.console)


def test_a_spoilt_newer_image_is_given_up(
    machines: dict[str, Seen], report: dict[str, Any], record_property: Any
) -> None:
    """Goal: the older one starts, has in PCR 11 what the build predicted, and passes."""
    seen = machines["ours"]
    started = seen.first("started")
    assert started, seen.console[-20:]
    assert started["pcr11"] == report["uki"]["pcr11"]
    assert "[integrity]" in started["lockdown"]
    assert started["slot"] == {"entry": "monitor_1+3.efi", "counted": "monitor_1+2-1.efi"}
    refused = [n for n, line in enumerate(seen.console) if "stage1: refused" in line]
    assert len(refused) == 1
    assert seen.first("confirmed"), seen.console[-20:]
    assert [slot.file for slot in seen.slots] == ["monitor_2+0-1.efi", "monitor_1.efi"]
    record_property("wall_by_firmware_s", seen.wall_s["started"])


def test_a_live_patch_takes_effect_while_vital_signs_run_and_is_withdrawn(
    machines: dict[str, Seen], record_property: Any
) -> None:
    """Goal: only what both keys signed, without a restart, and only newer than the last one."""
    seen = machines["ours"]
    patched, unpatched = seen.first("patched"), seen.first("unpatched")
    assert patched, seen.console[-20:]
    assert MARK in patched["version"]
    assert patched["patches"] == ["version_mark"]
    assert unpatched, seen.console[-20:]
    assert MARK not in unpatched["version"]
    assert unpatched["patches"] == []
    texts = [e["text"] for e in seen.events if e["event"] == "parcel-refused"]
    assert len(texts) == 3, texts
    assert "kernel refuses" in texts[0]
    assert "verifier refuses" in texts[1]
    assert "not newer" in texts[2]
    ends = {"ended", "hung", "killed", "failed"}
    vitals = [e for e in seen.events if e.get("compartment") == "vitals"]
    assert not [e for e in vitals if e["what"] in ends]
    first, last = alive(seen.events)[0], alive(seen.events)[-1]
    assert last["ticks"] > first["ticks"]
    record_property("patch_took_ms", int(patched["took_ms"]))
    record_property("unpatch_took_ms", int(unpatched["took_ms"]))
