"""A signed hot fix of the network compartment reaches a device that measures a patient.

Everything is real: TUF repositories served over HTTP, the fetcher as a compartment, the verifier
confined, the supervisor with all layers of this machine, the self-tests in a compartment.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.model.release import Installing, SelfTest
from asepsis.core.wire.update_report import decode
from asepsis.edge.device.activation import Activation
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.occupied import Occupied
from asepsis.edge.device.setting import Setting
from asepsis.edge.device.signing import Signed
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.device.update.floors import Floors
from asepsis.edge.device.update.updating import UpdateSetting, Updating
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.sandbox.ring import RingReader
from asepsis.edge.sandbox.supervision_parts import Pace
from asepsis.edge.sandbox.supervision_state import SHIPPED
from asepsis.tools.testing.network_fix import ANYWHERE, TESTS, release_network_fix
from asepsis.tools.testing.releases import Vendor
from asepsis.tools.testing.update_world import Quiet, World

pytestmark = [pytest.mark.slow]
HOLDING = detect().holding
PACE = Pace(trial_s=3.0, spare_s=0.5)


@dataclass
class Bed:
    """A device, its supervisor, its update agent, and what was told."""

    world: World
    folder: Path
    supervisor: Supervisor
    updating: Updating
    events: list[tuple[str, str, dict[str, Any]]] = field(
        default_factory=list[tuple[str, str, dict[str, Any]]]
    )

    def told(self, who: str, what: str) -> list[dict[str, Any]]:
        return [d for found, event, d in self.events if (found, event) == (who, what)]

    def outcomes(self, version: str) -> list[str]:
        return [
            d["outcome"]
            for d in self.told("update", "update")
            if d["version"] == version and d["outcome"] != "waiting"
        ]

    def until(self, wanted: Callable[[], object], *, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not wanted():
            assert time.monotonic() < deadline, [e for e in self.events if e[1] != "alive"][-20:]
            self.supervisor.step()
            self.updating.step()

    def publish(
        self,
        counter: int,
        *,
        tests: tuple[SelfTest, ...] = TESTS,
        installing: Installing = ANYWHERE,
        more: dict[str, bytes] | None = None,
    ) -> str:
        """Release, approve and assign a hot fix; returns its version on the device."""
        path = release_network_fix(
            self.world.vendor, counter, tests=tests, installing=installing, more=more or {}
        )
        self.world.assign(path, self.world.authorise(path))
        return f"1.{counter}+{counter}"


@pytest.fixture(scope="module")
def bed(ward: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    begun = Vendor(tmp_path_factory.mktemp("begun") / "vendor")
    with tempfile.TemporaryDirectory(prefix="asepsis-update-") as made:
        Path(made).chmod(0o755)
        served = Path(made) / "served"
        served.mkdir()
        folder = ward.enrolled(Path(made) / "device")
        handler = partial(Quiet, directory=served)
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            own = {"device": ward.NAME, "hardware": "m5-rev-b", "model": "m5"}
            port = server.server_address[1]
            world = World(served, port, begun, own=own, device=folder.path / "update")
            try:
                yield from running(world, folder)
            finally:
                server.shutdown()
                thread.join()


def running(world: World, folder: Any) -> Iterator[Bed]:
    url = f"http://127.0.0.1:{world.port}"
    events: list[tuple[str, str, dict[str, Any]]] = []
    listening: list[Updating] = []

    def tell(who: str, what: str, details: Any) -> None:
        events.append((who, what, dict(details)))
        for updating in listening:
            updating.heard(who, what, details)

    activation = Activation()
    setting = Setting(seed=5, pace=PACE, activation=activation)
    supervisor = Supervisor(folder, holding=HOLDING, setting=setting, tell=tell)
    updating = Updating(
        folder.path,
        setting=UpdateSetting(
            device=world.own["device"],
            hardware=world.own["hardware"],
            model=world.own["model"],
            director=f"{url}/hospital/public/metadata",
            vendors={"acme": f"{url}/acme/public"},
            kind=Kind.MONITOR,
            layers=HOLDING,
            every_s=0.5,
            observe_s=1.0,
            now_s=world.now.timestamp,
        ),
        supervisor=supervisor,
        activation=activation,
        boot="boot-1",
        tell=lambda who, what, details: events.append((who, what, dict(details))),
    )
    listening.append(updating)
    found = Bed(world, folder.path, supervisor, updating, events)
    try:
        found.until(lambda: found.told("network", "alive") and found.told("vitals", "state"))
        yield found
    finally:
        updating.close()
        supervisor.close()


def test_a_hot_fix_is_verified_while_a_patient_is_measured(bed: Bed) -> None:
    """Goal: fetched, judged, swapped, self-tested and kept; therapy and vitals untouched."""
    vitals = bed.supervisor.pid("vitals")
    version = bed.publish(5)
    bed.until(lambda: "verified" in bed.outcomes(version))
    assert bed.outcomes(version) == [
        "offered", "downloaded", "staged", "installing", "booted", "self-tested", "verified",
    ]  # fmt: skip
    assert bed.supervisor.clinical_state is not None
    assert bed.supervisor.clinical_state.name == "IN_USE"
    assert bed.supervisor.pid("vitals") == vitals
    assert bed.supervisor.versions["network"] == version
    assert version in (bed.folder / "supervisor.json").read_text("ascii")
    assert Floors(bed.folder / "update").of("network") == 4
    tests = bed.told("update", "update")[-1]["tests"]
    assert tests.keys() == {test.name for test in TESTS}
    assert tests["samples-lost"] == tests["ticks-skipped"] == 0
    bed.until(lambda: any(d.get("version") == "1.5" for d in bed.told("network", "alive")))
    assert all(d["skipped"] == 0 for d in bed.told("vitals", "alive"))


def test_what_occupies_the_device_its_critical_compartment_says(bed: Bed) -> None:
    """Goal: on its way it is not idle, whatever its clinical state."""

    def occupied() -> frozenset[Occupied]:
        return bed.updating.surroundings.situation().occupied

    bed.until(lambda: not occupied())
    bed.supervisor.bedside("transport")
    bed.until(lambda: occupied() == {Occupied.TRANSPORT})
    bed.supervisor.bedside("arrived")
    bed.until(lambda: not occupied())


def test_its_reports_are_signed_and_on_their_way_to_the_hub(bed: Bed) -> None:
    feed = bed.supervisor.feed("origin")
    assert feed
    reader = RingReader(os.dup(feed.readable))
    said: list[str] = []

    def listen() -> bool:
        for _, payload in reader.read().records:
            if payload[0] == Signed.UPDATE:
                report, _, _, _ = decode(payload[1:])
                assert report.device.uri == bed.world.own["device"]
                said.append(report.outcome.value)
        return said[-1:] == ["verified"]

    bed.until(listen)
    assert said[0] == "offered"
    bed.until(lambda: any(d["account"] == "update" for d in bed.told("network", "fate")))


def test_one_that_fails_its_self_test_is_undone(bed: Bed) -> None:
    """Goal: beyond its signed tolerance: the version before serves again, and it stays undone."""
    before, vitals = bed.supervisor.versions["network"], bed.supervisor.pid("vitals")
    failing = (SelfTest(name="numeric-error", low=1, high=2, unit="1"),)
    version = bed.publish(6, tests=failing)
    bed.until(lambda: "rolled-back" in bed.outcomes(version))
    assert bed.told("update", "update")[-1]["reason"] == "self-test failed: numeric-error"
    assert bed.supervisor.versions["network"] == before
    assert bed.supervisor.pid("vitals") == vitals
    assert Floors(bed.folder / "update").of("network") == 4
    contacts = len(bed.told("update", "contact"))
    bed.until(lambda: len(bed.told("update", "contact")) > contacts)
    assert bed.outcomes(version)[-1] == "rolled-back"


def test_an_artefact_that_brings_its_own_plan_is_refused(bed: Bed) -> None:
    """Goal: what the manufacturer signed about the moment cannot be overruled by the software."""
    serves = bed.supervisor.versions["network"]
    version = bed.publish(7, more={"install.json": b"{}"})
    bed.until(lambda: "brings its own" in bed.told("update", "contact")[-1].get("why", ""))
    assert bed.outcomes(version)[-1:] in ([], ["offered"], ["withdrawn"])
    assert bed.supervisor.versions["network"] == serves != SHIPPED
