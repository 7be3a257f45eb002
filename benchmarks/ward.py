"""ward: 16 beds live in a browser, and what a further viewer costs the hub.

Sixteen beds, each one signed batch and four waveforms a second, stand before a real hub. Headless
Chromium shows all of them, three waveforms a tile; frames are counted by requestAnimationFrame,
and tasks over 50 ms by the browser itself. Beside it a page that draws the same 48 traces anew at
every frame, without stream or text. Then 1, 5 and 10 plain viewers read the same stream; beside
them the limit program, which writes as many prepared bytes over TLS and does nothing else.
"""

import argparse
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright

from _report import report
from asepsis.core.trust import tls
from asepsis.core.trust.identity import Profile
from asepsis.edge.uplink.connection import Endpoint
from asepsis.hub.access.service import PeopleService
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.opening import open_kek, open_store
from asepsis.hub.settings import read_settings
from hospital import Hospital, HubProcess, device_name
from vitals import cpu_seconds
from ward_beds import Bed

BEDS = 16
TARGET_FPS = 25.0
VIEWERS = (1, 5, 10)
PERSON, PASSWORD = "benchmark", "four quiet green lamps"
CHROMIUM = "/usr/bin/chromium"
WARM_S = 6.0
COUNT = """(seconds) => new Promise((done) => {
  let frames = 0, long = 0, worst = 0, last = performance.now();
  const begin = last;
  const watcher = new PerformanceObserver((list) => { long += list.getEntries().length; });
  watcher.observe({ entryTypes: ["longtask"] });
  const frame = (now) => {
    frames += 1;
    worst = Math.max(worst, now - last);
    last = now;
    if (now - begin < seconds * 1000) requestAnimationFrame(frame);
    else { watcher.disconnect(); done([frames / seconds, long, worst]); }
  };
  requestAnimationFrame(frame);
})"""
PEER = """(lanes) => {
  document.body.replaceChildren();
  document.body.style.cssText = "margin:0;background:#0b1014";
  const canvas = document.createElement("canvas");
  canvas.width = innerWidth; canvas.height = innerHeight;
  document.body.append(canvas);
  const context = canvas.getContext("2d");
  const columns = 4, rows = lanes / columns, width = canvas.width / columns - 12;
  const height = canvas.height / rows, samples = 1600;
  const draw = (now) => {
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.strokeStyle = "#4ade80";
    for (let lane = 0; lane < lanes; lane += 1) {
      const left = (lane % columns) * (width + 12), top = Math.floor(lane / columns) * height;
      context.beginPath();
      for (let i = 0; i < samples; i += 1) {
        const y = top + height / 2 + Math.sin(now / 90 + i / 40) * height / 3;
        if (i) context.lineTo(left + i * width / samples, y); else context.moveTo(left, y);
      }
      context.stroke();
    }
    requestAnimationFrame(draw);
  };
  requestAnimationFrame(draw);
}"""


class Viewer:
    """Reads one stream in a thread and counts its bytes."""

    def __init__(self, port: int, context: ssl.SSLContext, token: str) -> None:
        self.count = 0
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket = context.wrap_socket(raw, server_hostname="localhost")
        head = f"GET /views/ward?waveforms=1 HTTP/1.1\r\nHost: localhost:{port}\r\n"
        self._socket.sendall(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the stream."""
        self._socket.close()
        self._thread.join(5)

    def _read(self) -> None:
        try:
            while found := self._socket.recv(65_536):
                self.count += len(found)
        except OSError:
            return


def people_client(hospital: Hospital, hub: HubProcess) -> httpx.Client:
    """Return a client of the people listener with the administrator's token."""
    token = (hospital.data / "hub" / "admin.token").read_text().strip()
    port = hub.ready["listeners"]["people"]["port"]
    return httpx.Client(
        base_url=f"https://localhost:{port}",
        verify=tls.client_context(root_der=hospital.root_der),
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    )


def add_viewer(hospital: Hospital, hub: HubProcess) -> tuple[str, str]:
    """Add a person who may watch; returns a session's cookie and the console's address."""
    with people_client(hospital, hub) as client:
        base = str(client.base_url)
        given: dict[str, Any] = {"name": PERSON, "roles": ["viewer"]}
        assert client.post("/api/people", json=given).is_success
        path = f"/api/people/{PERSON}/password"
        assert client.post(path, json={"password": PASSWORD}).is_success
        form = {"name": PERSON, "password": PASSWORD}
        del client.headers["Authorization"]
        answer = client.post("/sign-in", data=form, headers={"Origin": base})
        return answer.cookies["__Host-asepsis"], base


def frames(hospital: Hospital, hub: HubProcess, seconds: int) -> dict[str, list[float]]:
    """Count frames of the ward view, and of the peer in the same browser after it."""
    cookie, base = add_viewer(hospital, hub)
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*sandbox, "--ignore-certificate-errors"]
        )
        context = browser.new_context(viewport={"width": 1920, "height": 1080})
        where = {"name": "__Host-asepsis", "value": cookie, "url": base, "secure": True}
        context.add_cookies([where])  # type: ignore[list-item]
        page: Page = context.new_page()
        page.goto(f"{base}/ward")
        page.wait_for_selector("#ward[data-live=yes]")
        page.wait_for_function(f"document.querySelectorAll('.tile').length === {BEDS}")
        time.sleep(WARM_S)
        ours = page.evaluate(COUNT, seconds)
        page.goto("about:blank")
        page.evaluate(PEER, BEDS * 3)
        time.sleep(1)
        peer = page.evaluate(COUNT, seconds)
        browser.close()
    return {"ours": ours, "peer": peer}


def viewer_token(hospital: Hospital) -> str:
    """Return a fresh token of the person who may watch."""
    settings = read_settings(hospital.toml)
    kek = open_kek(settings.sealing, hub_folder=hospital.data / "hub")
    store = open_store(settings, kek, clock=time.time_ns)
    service = PeopleService(store, AuditLog(time.time_ns))
    token = service.issue_token(PERSON, actor="person:benchmark")
    store.close()
    return token


def load_of(pid: int, viewers: Sequence[Viewer], seconds: int) -> tuple[float, float]:
    """Return the share of a core that a server uses, and bytes a second of each viewer."""
    time.sleep(1.5)
    read = sum(each.count for each in viewers)
    before, began = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    share = (cpu_seconds(pid) - before) / passed
    rate = (sum(each.count for each in viewers) - read) / passed / max(1, len(viewers))
    for each in viewers:
        each.close()
    return share, rate


def per_viewer(shares: dict[int, float]) -> float:
    """Return the thousandths of a core that one further viewer costs, between fewest and most."""
    least, most = min(shares), max(shares)
    return (shares[most] - shares[least]) / (most - least) * 1_000


def hub_cost(hospital: Hospital, hub: HubProcess, seconds: int) -> tuple[dict[int, float], float]:
    """Return the hub's share of a core by number of viewers, and a stream's bytes a second."""
    context = tls.client_context(root_der=hospital.root_der)
    port = hub.ready["listeners"]["people"]["port"]
    token = viewer_token(hospital)
    shares: dict[int, float] = {0: load_of(hub.process.pid, [], seconds)[0]}
    rate = 0.0
    for count in VIEWERS:
        viewers = [Viewer(port, context, token) for _ in range(count)]
        shares[count], rate = load_of(hub.process.pid, viewers, seconds)
    return shares, rate


def limit_cost(hospital: Hospital, rate: float, seconds: int) -> dict[int, float]:
    """Return the limit program's share of a core by number of viewers."""
    context = tls.client_context(root_der=hospital.root_der)
    folder = hospital.data / "hub/tls"
    program = Path(__file__).with_name("limit_sse.py")
    arguments = [folder / "chain.pem", folder / "key.pem", int(rate)]
    command = [sys.executable, str(program), *map(str, arguments)]
    shares: dict[int, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        for count in (min(VIEWERS), max(VIEWERS)):
            viewers = [Viewer(port, context, "") for _ in range(count)]
            shares[count], _ = load_of(server.pid, viewers, seconds)
        server.kill()
    return shares


def main() -> None:
    """Measure frames, then the cost of viewers, and print the one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="asepsis-ward-"))
    hospital = Hospital(folder)
    machines = hospital.enlist([(device_name(n), Profile.DEVICE) for n in range(1, BEDS + 1)])
    hub = hospital.start_hub()
    beds = [
        Bed(machine, lambda: Endpoint("localhost", hub.port), hospital.root_der, seed=n)
        for n, machine in enumerate(machines)
    ]
    try:
        for bed in beds:
            bed.start()
        drawn = frames(hospital, hub, given.seconds)
        print(f"  frames, tasks over 50 ms, longest pause: {drawn}", file=sys.stderr)
        shares, rate = hub_cost(hospital, hub, given.seconds)
        print(f"  hub {shares}, {rate:.0f} bytes/s each", file=sys.stderr)
        limit = limit_cost(hospital, rate, given.seconds)
    finally:
        for bed in beds:
            bed.stop()
        hub.stop()
        shutil.rmtree(folder)
    met = report(
        "ward",
        drawn["ours"][0],
        "frames/s with 16 beds live",
        peer="a page that draws the same 48 traces anew at every frame",
        peer_value=drawn["peer"][0],
        target=TARGET_FPS,
        tasks_over_50_ms=drawn["ours"][1],
        longest_pause_ms=round(drawn["ours"][2]),
        hub_core_by_viewers={str(count): round(share, 3) for count, share in shares.items()},
        viewer_millicores=round(per_viewer({k: v for k, v in shares.items() if k}), 2),
        limit_viewer_millicores=round(per_viewer(limit), 2),
        stream_kilobytes_a_second=round(rate / 1_000),
    )
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
