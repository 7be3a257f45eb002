"""The booted image proves itself: a quote of its machine's TPM, judged by a real hub.

Without KVM, on a processor that QEMU imitates; the TPM is a software TPM.
"""

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from asepsis.cli.devices import people
from asepsis.edge.device.proving import fingerprint
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import keys, make_floor, raise_floor
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital
from asepsis.tools.imagebuild.boot import Seen, Trial, boot
from asepsis.tools.testing.installed_image import installed
from asepsis.tools.testing.software_tpm import SoftwareTpm

pytestmark = [pytest.mark.slow, pytest.mark.waits, pytest.mark.root, pytest.mark.timeout(700)]
DEVICE = "urn:dev:mac:020000fffe00a77f"
MODEL = "under test"
LIMIT_S = 400.0


@pytest.fixture(scope="module")
def hub() -> Iterator[Any]:
    """Run a real hub, which devices know by a name."""
    path = Path(__file__).parents[1] / "device/hub.py"
    spec = importlib.util.spec_from_file_location("asepsis_attested_tests_hub", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    with tempfile.TemporaryDirectory(prefix="asepsis-attested-hub-") as folder:
        Path(folder).chmod(0o755)
        with module.running(Path(folder)) as found:
            ports = found.addresses.clinical.port, found.addresses.enrolment.port
            found.addresses = Hospital(*(Endpoint("localhost", port) for port in ports))
            yield found


def commissioned(hub: Any, state: Path, *, pcr11: str) -> None:
    """Say at the hub what a person says of this device and its image."""
    with SoftwareTpm() as software:
        with Tpm(software.path) as tpm:
            ek = fingerprint(keys(tpm)[0])
        shutil.copytree(software.state, state)
    with closing(people(hub.made.data)) as person:
        person.post(attestation(), {"ek_sha256": ek})
        release = {"model": MODEL, "name": "one", "number": 1, "registers": {"11": pcr11}}
        person.post("/api/attestation/releases", release)
        person.post("/api/attestation/floors", {"model": MODEL, "number": 1})


def attestation() -> str:
    return f"/api/devices/{quote(DEVICE, safe='')}/attestation"


def with_floor(state: Path, number: int) -> None:
    """Make a TPM whose device starts no image below a number."""
    with SoftwareTpm() as software:
        with Tpm(software.path) as tpm:
            raise_floor(tpm, make_floor(tpm) + number)
        shutil.copytree(software.state, state)


def told(seen: Seen, what: str) -> list[dict[str, Any]]:
    return [e["details"] for e in seen.events if (e["event"], e.get("what")) == ("device", what)]


def test_a_booted_image_is_verified_by_its_tpm_and_an_old_one_does_not_start(
    image: Path, report: dict[str, Any], hub: Any, tmp_path: Path, record_property: Any
) -> None:
    """Goal: Secure Boot, predicted register, measured start, attester without a way out: verified.

    What starts is what the update agent's code put beside the running image; it is tried and kept.
    And the same image, properly signed, is not started where the floor of the TPM is above it.
    """
    folder = hub.enrolled(DEVICE)
    commissioned(hub, tmp_path / "tpm", pcr11=report["uki"]["pcr11"])
    with_floor(tmp_path / "floor", 2)
    common = {"image": image, "firmware": True, "tpm": True, "limit_s": LIMIT_S}
    slots = installed(image, image, tmp_path / "installed", tries=2)
    present = Trial(**common, device=folder.path, tpm_state=tmp_path / "tpm", slots=slots)
    old = Trial(**common, tpm_state=tmp_path / "floor")
    with ThreadPoolExecutor(2) as pool:
        ends = {
            present: lambda seen: bool(told(seen, "attestation") and seen.first("confirmed")),
            old: lambda seen: bool(seen.first("below-floor") or seen.first("not-enrolled")),
        }
        runs = {t: pool.submit(boot, t, until=end, tell=lambda _: None) for t, end in ends.items()}
        seen, refused = runs[present].result(), runs[old].result()
    assert told(seen, "attestation") == [{"verified": "running", "release": "one"}], [
        seen.console[-20:]
    ]
    with closing(people(hub.made.data)) as person:
        assert person.get(attestation())["text"].startswith("running verified: one")
    assert not [e for e in seen.events if e["event"] == "denied"]
    assert not told(seen, "not-measured")
    # What the update agent's code put beside the running image was tried, and passed.
    started = seen.first("started")
    assert started
    assert started["slot"] == {"entry": "monitor_2+2.efi", "counted": "monitor_2+1-1.efi"}
    assert [slot.file for slot in seen.slots] == ["monitor_2.efi", "monitor_1.efi"]
    floor = refused.first("below-floor")
    assert floor, refused.console[-20:]
    assert "below the floor 2" in floor["text"]
    assert not told(refused, "alive")
    record_property("wall_to_verified_s", seen.wall_s.get("device", 0.0))
