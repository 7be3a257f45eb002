"""Debian's own `swupdate` gets its updates from a real hub over TLS."""

import os
import select
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ddi_ward import DdiWard, eventually
from swupdate import Device, Vendor

PAYLOAD = os.urandom(4_000_000)
WAIT_S = 60
CLOSED = ("finished", "error", "canceled")


class CuttingLine:
    """A line to the hub that breaks once, in the middle of a download."""

    def __init__(self, port: int, *, after_bytes: int) -> None:
        self._to = port
        self._left = after_bytes
        self.cuts = 0
        self.down = 0
        self._bound = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._bound.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._bound.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        sent = 0
        with near, socket.create_connection(("127.0.0.1", self._to)) as far:
            while self.cuts or sent <= self._left:
                ready, _, _ = select.select([near, far], [], [])
                one = ready[0]
                try:
                    data = one.recv(65_536)
                    (far if one is near else near).sendall(data)
                except OSError:
                    return
                if not data:
                    return
                if one is far:
                    sent += len(data)
                    self.down += len(data)
            self.cuts += 1

    def close(self) -> None:
        """Take no more connections."""
        self._bound.close()


class Bench:
    """The hub, a vendor, and devices that end with the tests."""

    def __init__(self, ward: DdiWard, folder: Path) -> None:
        self.ward = ward
        self.folder = folder
        self.vendor = Vendor(folder / "vendor")
        self.devices: list[Device] = []

    def device(self, name: str, **more: object) -> Device:
        """Return a device that is a target with a token."""
        proof = more.pop("proof", None) or self.ward.add_target(name, profile="swupdate")
        made = Device(
            self.ward,
            name,
            self.folder / name,
            trusts=self.vendor.ca,
            proof=proof,  # type: ignore[arg-type]
            **more,  # type: ignore[arg-type]
        )
        self.devices.append(made)
        return made

    def offer(self, device: Device, name: str, content: bytes, **more: object) -> int:
        """Assign an update file to a device."""
        del device
        return self.ward.assign(name, self.ward.module(content, version="2.0"), **more)

    def ends(self, action: int, outcome: str) -> None:
        """Wait until an action has come to something."""
        eventually(lambda: self.ward.action(action)["outcome"] == outcome, seconds=WAIT_S)


@pytest.fixture(scope="module")
def bench(ward: DdiWard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    if shutil.which("swupdate") is None or shutil.which("cpio") is None:
        pytest.skip("swupdate is not installed")
    made = Bench(ward, tmp_path_factory.mktemp("devices"))
    yield made
    for device in made.devices:
        device.stop()


def test_an_update_with_a_certificate_to_verified(bench: Bench) -> None:
    """Goal: mutual TLS; after its restart the device says what it runs, and only that counts."""
    bench.ward.add_target("sw-good", profile="swupdate")
    device = bench.device("sw-good", proof=bench.ward.maker.certify("sw-good"))
    content = bench.vendor.update(device.installed, PAYLOAD)
    action = bench.offer(device, "sw-good", content)
    device.start()
    eventually(lambda: "SWUPDATE successful" in device.said(), seconds=WAIT_S)
    assert device.installed.read_bytes() == PAYLOAD
    assert bench.ward.action(action)["outcome"] == "downloaded"
    device.stop()
    device.start(restarted=2, runs="2.0", test="passed")
    bench.ends(action, "verified")
    device.stop()
    device.start(runs="1.0")
    bench.ends(action, "rolled-back")
    device.stop()


def test_what_the_device_refuses(bench: Bench) -> None:
    """Goal: a corrupt payload, a wrong signer and a downgrade are refused, and the hub knows."""
    evil = Vendor(bench.folder / "evil")
    made: dict[str, tuple[Device, int]] = {}
    for name, floor in (("sw-corrupt", "1.0"), ("sw-signer", "1.0"), ("sw-old", "3.0")):
        device = bench.device(name, floor=floor)
        vendor = evil if name == "sw-signer" else bench.vendor
        content = vendor.update(device.installed, b"new", good=name != "sw-corrupt")
        made[name] = device, bench.offer(device, name, content)
        device.start()
    for device, action in made.values():
        eventually(lambda a=action: bench.ward.action(a)["stage"] in CLOSED, seconds=WAIT_S)
        assert bench.ward.action(action)["outcome"] in {"refused", "rolled-back"}, device.said()
        assert not device.installed.exists() or device.installed.read_bytes() != b"new"
        device.stop()


def test_a_cancellation(bench: Bench) -> None:
    device = bench.device("sw-cancel")
    content = bench.vendor.update(device.installed, b"new")
    action = bench.offer(device, "sw-cancel", content)
    token = bench.ward.ask("POST", "/api/ddi/targets/sw-cancel", json={"new_token": True})["token"]
    looking = bench.ward.client("sw-cancel", Authorization=f"TargetToken {token}")
    looking.get(f"/deploymentBase/{action}")
    bench.ward.ask("POST", f"/api/ddi/actions/{action}/cancel", json={})
    device = bench.device("sw-cancel", proof=token)
    device.start()
    bench.ends(action, "withdrawn")
    assert not device.installed.exists()
    device.stop()


def test_outside_its_window_it_sees_nothing_and_inside_it_installs(bench: Bench) -> None:
    """Goal: nothing is installed, and nobody is told of a success that was none."""
    device = bench.device("sw-window")
    content = bench.vendor.update(device.installed, b"new")
    now = time.time_ns()
    far = now + 3_600 * 10**9
    action = bench.offer(device, "sw-window", content, windows=[[far, far + 10**9]])
    device.start()
    eventually(lambda: device.said().count("No pending action") >= 3, seconds=WAIT_S)
    assert not device.installed.exists()
    found = bench.ward.action(action)
    assert (found["stage"], found["outcome"], found["reports"]) == ("running", "offered", [])
    action = bench.offer(device, "sw-window", content, windows=[[now, far]])
    eventually(device.installed.exists, seconds=WAIT_S)
    assert device.installed.read_bytes() == b"new"
    device.stop()


def test_a_download_that_is_cut_goes_on_where_it_was(bench: Bench) -> None:
    """Goal: what had arrived is not sent again."""
    port = bench.ward.hub.ready["listeners"]["ddi"]["port"]
    line = CuttingLine(port, after_bytes=2_000_000)
    try:
        device = bench.device("sw-cut", url=line.url)
        content = bench.vendor.update(device.installed, PAYLOAD)
        bench.offer(device, "sw-cut", content)
        device.start()
        eventually(lambda: "SWUPDATE successful" in device.said(), seconds=WAIT_S)
        assert device.installed.read_bytes() == PAYLOAD
        assert line.cuts == 1
        assert line.down < 1.4 * len(content)
        device.stop()
    finally:
        line.close()
