"""A campaign over a real hub and signer: from a person's file to a device that says verified."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from release_ward import HARDWARE, ReleaseWard

from asepsis.core.errors import AsepsisError
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import Instant
from asepsis.core.model.update import Outcome, TestResult, UpdateReport
from asepsis.core.trust.origin_chain import key_id
from asepsis.core.trust.signer_values import Expectation
from asepsis.core.wire import origin, update_report
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.edge.uplink.connection import HubConnection
from asepsis.edge.uplink.enrolment import EnrolmentOrder, enrol
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.edge.uplink.token import EnrolmentToken
from asepsis.hub.keys import AdminClient
from asepsis.tools.campaigns import CampaignClient
from asepsis.tools.simulator.bed import Bed
from asepsis.tools.testing.releases import MODEL

pytestmark = pytest.mark.slow
NAME = "urn:dev:mac:0000000000000064"
WAY = (Outcome.OFFERED, Outcome.DOWNLOADED, Outcome.STAGED, Outcome.INSTALLING, Outcome.BOOTED,
       Outcome.SELF_TESTED, Outcome.VERIFIED)  # fmt: skip
TEST = TestResult(name="numeric-error", measured=0.1, low=0, high=0.5, unit="1")


class Device:
    """A bedside device that measures, and says how far its update is."""

    def __init__(self, ward: ReleaseWard, tmp_path: Path) -> None:
        self.folder = ward.devices[NAME] = asyncio.run(enrolled(ward, NAME))
        clock = TrustedClock(
            tmp_path / "clock", boot_id=bytes(16), monotonic=time.monotonic_ns,
            build_ns=time.time_ns(),
        )  # fmt: skip
        self.key = self.folder.key("origin")
        self.bed = Bed(DeviceId(NAME), key=self.key, epoch=1, clock=clock, seed=1)
        context = ward.context(NAME)
        self.connection = HubConnection(ward.endpoint, context, now_ns=time.time_ns, timeout_s=20)
        self.sequence = 0

    def measures(self) -> None:
        """Send a second of vital signs."""
        batch, _ = self.bed.second()
        assert self.post("/origin", batch, origin.MEDIA_TYPE) == 201

    def says(self, outcome: Outcome, release: dict[str, Any]) -> None:
        """Send a signed report."""
        self.sequence += 1
        report = UpdateReport(
            device=DeviceId(NAME), epoch=1, sequence=self.sequence,
            at=Instant(bytes(16), 1, time.time_ns(), 20), release=release["sha256"],
            component=release["component"], counter=release["counter"], outcome=outcome,
            tests=(TEST,) if outcome is Outcome.VERIFIED else (),
        )  # fmt: skip
        signed = update_report.encode(report, key_id=key_id(self.key.spki_der))
        body = signed + self.key.sign(signed)
        assert self.post("/alerts", body, update_report.MEDIA_TYPE) == 201

    def post(self, path: str, body: bytes, media: str) -> int:
        headers = {"Content-Type": media}
        return int(self.connection.request("POST", path, body=body, headers=headers).status)


async def enrolled(ward: ReleaseWard, name: str) -> IdentityFolder:
    """List and enrol a device that signs what it says."""
    folder = IdentityFolder(ward.folder / name.rpartition(":")[2])
    admin = AdminClient(ward.made.admin_socket)
    listed = Expectation(id="", name=name, profile="device", model="under test")
    try:
        token = EnrolmentToken.parse((await admin.expect(listed)).token)
    finally:
        await admin.close()
    order = EnrolmentOrder(name=name, hospital=ward.addresses, token=token, origin=True)
    await asyncio.to_thread(enrol, folder, order)
    return folder


def until(done: Callable[[], Any], meanwhile: Callable[[], object]) -> Any:
    """Wait until something holds; the device goes on measuring."""
    ends = time.monotonic() + 60
    while not (found := done()):
        assert time.monotonic() < ends, "it never came"
        meanwhile()
        time.sleep(0.5)
    return found


def asepsis(ward: ReleaseWard, *words: str | Path) -> str:
    """Run a command as a person on the hub would."""
    command = [sys.executable, "-m", "asepsis.cli.main", *map(str, words)]
    whole = [*command, "--data", str(ward.made.data)]
    return subprocess.run(whole, check=True, capture_output=True, text=True).stdout


def test_a_campaign_from_a_file_to_a_verified_device(
    ward: ReleaseWard, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Goal: nothing before start, then a slot, the device's own word, and an end in the log."""
    shown = ward.ready(41)
    device = Device(ward, tmp_path)
    request.addfinalizer(device.connection.close)
    ward.list_devices({"device": NAME, "model": MODEL, "hardware": HARDWARE})
    fleet, file = tmp_path / "fleet.csv", tmp_path / "net-41.toml"
    fleet.write_text(f"device,class,ward,battery\n{NAME},monitor,ICU-2,b2\n")
    text = f"""
name = "net-41"
release = "{shown["sha256"]}"
change = "CHG-7"
calendars = ["always"]
waves = [{{ kind = "site" }}]
"""
    file.write_text(text.replace(shown["sha256"], "0" * 64))
    asepsis(ward, "campaign", "members", fleet)
    client = CampaignClient(ward.person)
    with pytest.raises(AsepsisError):
        client.create(file.read_text())
    file.write_text(text)
    assert client.create(file.read_text()) == "net-41"
    device.measures()
    (line,) = json.loads(asepsis(ward, "campaign", "plan", "net-41", "--json"))
    assert (line["device"], line["standing"], line["why"]) in {
        (NAME, "pending", "not-seen"), (NAME, "pending", "")
    }  # fmt: skip
    assert not ward.take(tmp_path / "device", NAME).get("files")
    assert client.order("net-41", "start") == "running"
    until(lambda: client.plan("net-41")[0]["standing"] == "assigned", device.measures)
    # The slot stands in the state before the director is told.
    until(lambda: ward.take(tmp_path / "device", NAME).get("files"), device.measures)
    for outcome in WAY:
        device.says(outcome, shown)

    def finished() -> bool:
        return client.campaign("net-41")["state"] == "finished"

    until(finished, device.measures)
    (line,) = client.plan("net-41")
    assert (line["standing"], line["outcome"]) == ("verified", "verified")
    assert client.fleet()[0]["attributes"] == {"battery": "b2"}
    assert client.hunt("net-41") == []
    assert client.work_orders() == []
    device.says(Outcome.ROLLED_BACK, shown)
    until(lambda: client.campaign("net-41")["state"] == "halted", device.measures)
    (order,) = client.work_orders(open_only=True)
    back = [{"id": str(order["id"]), "reference": "WO-7", "as_left": "battery replaced"}]
    assert client.take_orders(back) == (1, 1)
    assert client.work_orders(open_only=True) == []
