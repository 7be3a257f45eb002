"""A campaign over a whole device: its supervisor, its compartments, and a real hub and signer.

Nothing is carried by hand: the network compartment, which alone has the key of the connection,
reads releases at the hub for the fetcher, and origin signs what the device says about them.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from release_ward import HARDWARE, ReleaseWard
from test_campaign import enrolled

from asepsis.core.model.release import SelfTest
from asepsis.edge.device.activation import Activation
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.device.update import place
from asepsis.edge.device.update.on_device import Policy
from asepsis.edge.device.update.updating import UpdateSetting, Updating
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.sandbox.supervision_parts import Pace
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.campaigns import CampaignClient
from asepsis.tools.testing.network_fix import TESTS, release_network_fix
from asepsis.tools.testing.releases import MODEL

pytestmark = [pytest.mark.slow, pytest.mark.waits]
NAME = "urn:dev:mac:0000000000000065"
LIMIT_S = 90.0
CAMPAIGN = """
name = "{name}"
release = "{release}"
change = "CHG-9"
calendars = ["always"]
waves = [{{ kind = "site" }}]
"""


class WholeDevice:
    """A monitor that measures a patient, its update agent, and what both told."""

    def __init__(self, ward: ReleaseWard, folder: IdentityFolder) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        activation = Activation()
        layers = detect().holding
        self.supervisor = Supervisor(
            folder,
            holding=layers,
            setting=Setting(seed=5, pace=Pace(trial_s=3.0, spare_s=0.5), activation=activation),
            tell=self._tell,
        )
        self.updating = Updating(
            folder.path,
            setting=UpdateSetting(
                device=NAME,
                hardware=HARDWARE,
                model=MODEL,
                director="hub",
                vendors={"acme": "hub"},
                kind=Kind.MONITOR,
                layers=layers,
                every_s=0.5,
                observe_s=1.0,
                policy=Policy(),
            ),
            supervisor=self.supervisor,
            activation=activation,
            boot="boot-1",
            tell=lambda who, what, details: self.events.append((who, what, dict(details))),
        )
        self._ward = ward

    def _tell(self, who: str, what: str, details: Any) -> None:
        self.events.append((who, what, dict(details)))
        if updating := getattr(self, "updating", None):
            updating.heard(who, what, details)

    def told(self, who: str, what: str) -> list[dict[str, Any]]:
        """Return what was told of one matter, in order."""
        return [d for found, event, d in self.events if (found, event) == (who, what)]

    def outcomes(self) -> list[str]:
        """Return how far the update that was told of last is, and was before."""
        told = self.told("update", "update")
        return [d["outcome"] for d in told if d["version"] == told[-1]["version"]]

    def until(self, wanted: Callable[[], Any]) -> Any:
        """Let the device run until something holds."""
        ends = time.monotonic() + LIMIT_S
        while not (found := wanted()):
            assert time.monotonic() < ends, [e for e in self.events if e[1] != "alive"][-20:]
            self.supervisor.step()
            self.updating.step()
        return found

    def close(self) -> None:
        """End it."""
        self.updating.close()
        self.supervisor.close()


class Seldom:
    """Asks at most twice a second: a question over HTTPS between any two steps of a device."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask, self._next_s = ask, 0.0

    def __call__(self) -> Any:
        if time.monotonic() < self._next_s:
            return None
        self._next_s = time.monotonic() + 0.5
        return self._ask()


@pytest.fixture(scope="module")
def device(ward: ReleaseWard) -> Iterator[WholeDevice]:
    folder = asyncio.run(enrolled(ward, NAME))
    os.chmod(folder.path.parent, 0o755)  # noqa: PTH101, S103 - its compartments are other users
    place.begin(
        folder.path / "update",
        director_root=ward.hospital.first_root,
        vendor_roots={"acme": ward.vendor.first_root},
    )
    ward.list_devices({"device": NAME, "model": MODEL, "hardware": HARDWARE})
    found = WholeDevice(ward, folder)
    try:
        found.until(lambda: found.told("network", "alive") and found.told("vitals", "state"))
        yield found
    finally:
        found.close()


def begin(ward: ReleaseWard, path: str, name: str) -> CampaignClient:
    """Bring, approve and roll out a release; returns who asks about it."""
    ward.bring()
    ward.import_()
    shown = ward.submit(ward.authorise(path, "vendor", "hospital"))
    client = CampaignClient(ward.person)
    client.list_fleet([{"device": NAME, "class": "monitor", "ward": "ICU-2"}])
    assert client.create(CAMPAIGN.format(name=name, release=shown["sha256"])) == name
    assert client.order(name, "start") == "running"
    return client


def test_a_campaign_ends_verified_while_a_patient_is_measured(
    ward: ReleaseWard, device: WholeDevice
) -> None:
    """Goal: from the vendor's files over the hub to a swap without a lost sample, and back."""
    vitals = device.supervisor.pid("vitals")
    client = begin(ward, release_network_fix(ward.vendor, 51), "net-51")
    device.until(Seldom(lambda: client.campaign("net-51")["state"] == "finished"))
    (line,) = client.plan("net-51")
    assert (line["standing"], line["outcome"]) == ("verified", "verified")
    assert device.outcomes()[-1] == "verified"
    assert device.supervisor.clinical_state is not None
    assert device.supervisor.clinical_state.name == "IN_USE"
    assert device.supervisor.pid("vitals") == vitals
    tests = device.told("update", "update")[-1]["tests"]
    assert tests["samples-lost"] == tests["ticks-skipped"] == 0
    carried = [d["carried"] for d in device.told("network", "alive") if d.get("carried")]
    assert carried, "the network compartment read nothing for the fetcher"


def test_one_that_fails_its_self_test_halts_its_campaign(
    ward: ReleaseWard, device: WholeDevice
) -> None:
    """Goal: undone on the device by itself, told by it, and nobody else gets it."""
    before = device.supervisor.versions["network"]
    failing = (*TESTS[1:], SelfTest(name="numeric-error", low=1, high=2, unit="1"))
    path = release_network_fix(ward.vendor, 52, tests=failing)
    client = begin(ward, path, "net-52")
    device.until(Seldom(lambda: client.campaign("net-52")["state"] == "halted"))
    assert device.outcomes()[-1] == "rolled-back"
    assert device.supervisor.versions["network"] == before
