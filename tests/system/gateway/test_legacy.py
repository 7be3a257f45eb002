"""A legacy monitor as a process of its own: through the gateway into the hub's live view."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
from gateway_ward import DEVICE, Ward

from asepsis.core.trust import tls
from asepsis.core.trust.identity import Profile
from hospital import system_name

CONSUMER = system_name(8)


def follow(ward: Ward, files: tls.KeyAndChain, seen: list[Any]) -> None:
    """Note the numerics of the device's live view until the hub ends."""
    assert ward.hub is not None
    context = tls.client_context(root_der=ward.hospital.root_der, identity=files)
    url = f"https://localhost:{ward.hub.port}/views/live?device={DEVICE}"
    name = ""
    with (
        contextlib.suppress(httpx.HTTPError),
        httpx.Client(verify=context, timeout=20) as client,
        client.stream("GET", url) as answer,
    ):
        for line in answer.iter_lines():
            key, _, value = line.partition(": ")
            name = value if key == "event" else name
            if key == "data" and name == "numerics":
                seen.append(json.loads(value))


def test_a_legacy_monitor_is_live_as_what_its_source_claims(prepared: Callable[..., Ward]) -> None:
    ward = prepared()
    consumer = ward.hospital.enlist([(CONSUMER, Profile.CONSUMER)])[0]
    ward.start_hub()
    ward.start_gateway()
    seen: list[Any] = []
    watcher = threading.Thread(target=follow, args=(ward, consumer.files, seen), daemon=True)
    watcher.start()
    port = str(ward.port())
    command = [sys.executable, "-m", "asepsis.tools.simulator.legacy_process", "monitor"]
    command += ["--port", port, "--device", DEVICE, "--every-s", "0.5"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as monitor:
        wait_for(lambda: len(seen) >= 3)
        assert {one["assurance"] for one in seen} == {"source-claimed"}
        assert len(seen[0]["numerics"]) == 7
        assert monitor.stdin is not None
        monitor.stdin.write("stop\n")
        monitor.stdin.flush()
        told = [json.loads(line)["event"] for line in monitor.stdout or ()]
    assert told[0] == "connected"
    assert told[-1] == "ended"
    assert told.count("acknowledged") >= 3
    assert ward.stop_gateway() == 0
    assert len(ward.entries()) == told.count("acknowledged")


def wait_for(true: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert true()
