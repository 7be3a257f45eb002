"""The TLS key of a device, copied and used from another network namespace, against a real hub."""

import base64
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import UNSYNCHRONISED_MS, Instant
from asepsis.core.trust import libcrypto
from asepsis.core.trust.libcrypto import PrivateKey
from asepsis.core.wire.frames import WaveformMetric, encode_frame, encode_packet
from asepsis.edge.device.records import Record
from asepsis.edge.device.signing import Signer
from asepsis.edge.sandbox.layers import detect

pytestmark = [pytest.mark.slow, pytest.mark.root]
PROGRAM = Path(__file__).with_name("elsewhere.py")
ORIGIN = "application/vnd.asepsis.origin-batch"
WAVEFORM = "application/vnd.asepsis.waveform"
ALARM = "application/vnd.asepsis.alarm+json"
FHIR = "application/fhir+json"
NUMBERED = {"Asepsis-Epoch": "1", "Asepsis-Sequence": "1"}
PIECE = 65_536
Post = tuple[str, str, bytes, dict[str, str]]
METRIC = WaveformMetric(
    handle=100, mdc_code=131_330, unit_code=266_418, period_ns=4_000_000, scale=1, offset=0
)


def test_a_copied_key_from_another_namespace_makes_nothing_that_is_believed(
    intrusion: ModuleType, outage: ModuleType, hub: Any
) -> None:
    """Goal: every signed or unsigned lane refuses; what is stored all the same is never shown."""
    name = "urn:dev:mac:0012210000000029"
    under_test = intrusion.Ward(hub.enrolled(name), detect().holding)
    with under_test.running():
        under_test.until(lambda: hub.pull() or hub.of(name, "vitals"))
    stolen = under_test.folder.path / "compartments" / "network"
    forged = idle(name, libcrypto.generate_key())
    attacks: list[tuple[Post, str]] = [
        *(((path, ORIGIN, forged, {}), "ASP-204") for path in ("/origin", "/alerts", "/late")),
        (("/alerts", ALARM, alarm(name), NUMBERED), "ASP-206"),
        (("/late", ALARM, alarm(name), NUMBERED), "ASP-206"),
        (("/fhir", FHIR, bundle(), NUMBERED), "ASP-104"),
        (("/late", FHIR, bundle(), NUMBERED), "ASP-206"),
        # The packet is stored, as what somebody with this key sent: no signed batch promises it.
        (("/waveforms", WAVEFORM, packet(name), {}), "accepted"),
    ]
    with outage.watching(hub, hub.consumer_folder, name) as view, way_to(hub) as way:
        before = until_quiet(view.seen)
        outcomes = elsewhere(hub, stolen, way, [post for post, _ in attacks])
        assert outcomes == [wanted for _, wanted in attacks]
        time.sleep(1)
        since = view.seen[before:]
        told = [d for _, kind, d in since if kind in {"numerics", "waveform"}]
        assert told == [], "something of it was shown live"
        assert not any(d["found_by"] == "device" for _, kind, d in since if kind == "alarm")
        hub.pull()
        assert not any(body == forged for *_, body in hub.of(name, "vitals", "alert", "late"))
        # Control: neither place nor key refuse; signed with the origin key the same is taken.
        genuine = idle(name, under_test.folder.key("origin"))
        assert elsewhere(hub, stolen, way, [("/origin", ORIGIN, genuine, {})]) == ["accepted"]
    hub.pull()
    assert any(body == genuine for *_, body in hub.of(name, "vitals"))


def until_quiet(seen: list[Any]) -> int:
    """Wait until what the device itself sent before it ended has been told; return how much."""
    until_s = time.monotonic() + 20
    while True:
        count = len(seen)
        time.sleep(0.7)
        if len(seen) == count:
            return count
        assert time.monotonic() < until_s, "the device has ended and is told on and on"


def elsewhere(hub: Any, stolen: Path, way: Path, posts: list[Post]) -> list[str]:
    """Send from a new network namespace; return what came of each."""
    asked = [
        (path, media, base64.b64encode(body).decode(), more) for path, media, body, more in posts
    ]
    where = hub.addresses.clinical
    done = subprocess.run(
        [
            "unshare",
            "--net",
            sys.executable,
            str(PROGRAM),
            str(stolen),
            str(way),
            where.host,
            str(where.port),
        ],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    found = json.loads(done.stdout)
    assert set(found["cards"]) <= {"lo"}, "the namespace has no way of its own"
    return found["outcomes"]


@contextlib.contextmanager
def way_to(hub: Any) -> Iterator[Path]:
    """Pass bytes from a socket in the file system on to the hub, as another host's route would."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "way"
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    near, _ = server.accept()
                    far = socket.create_connection(("127.0.0.1", hub.addresses.clinical.port))
                    for one, other in ((near, far), (far, near)):
                        threading.Thread(target=pass_on, args=(one, other), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield path
        finally:
            server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join(5)


def pass_on(one: socket.socket, other: socket.socket) -> None:
    """Copy bytes until one side ends; then both do."""
    with contextlib.suppress(OSError), one, other:
        while data := one.recv(PIECE):
            other.sendall(data)
        other.shutdown(socket.SHUT_RDWR)


def idle(name: str, key: PrivateKey) -> bytes:
    """Return the first batch of a later boot that says the device is idle."""
    forger = Signer(
        DeviceId.parse(name),
        key=key,
        epoch=int(time.time()) + 1_000,
        waves=(),
        instant=lambda ns: Instant(bytes(16), ns, time.time_ns(), UNSYNCHRONISED_MS),
    )
    forger.take(1, Record(state=ClinicalState.IDLE, monotonic_ns=time.monotonic_ns()))
    return forger.flush()[-1][1:]


def alarm(name: str) -> bytes:
    entry = {
        "conditionId": "00000000-0000-4000-8000-000000000029",
        "phase": "onset",
        "kind": "physiological",
        "priority": "high",
        "latching": False,
        "inactivation": "none",
        "mdcCode": 196_652,
        "at": to_instant(time.time_ns()),
    }
    return json.dumps({"device": name, "events": [entry]}).encode()


def bundle() -> bytes:
    made = {"resourceType": "Bundle", "type": "transaction", "entry": []}
    return json.dumps(made | {"timestamp": to_instant(time.time_ns())}).encode()


def packet(name: str) -> bytes:
    frame = encode_frame(
        METRIC, frame_sequence=9_999, wall_ns=time.time_ns() - 10**9, samples=array("h", range(250))
    )
    epoch = int(time.time()) + 1_000
    return encode_packet(DeviceId.parse(name), epoch=epoch, sequence=1, frames=[frame])
