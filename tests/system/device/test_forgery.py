"""With full control of the network compartment, against a real hub: what is believed and seen."""

import os
import signal
import time
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.errors import AsepsisError
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import UNSYNCHRONISED_MS, Instant
from asepsis.core.trust import libcrypto, tls
from asepsis.core.trust.origin import OriginVerifier
from asepsis.core.wire.origin import decode_batch
from asepsis.edge.device.records import Record
from asepsis.edge.device.signing import Signer
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.uplink.connection import HubConnection

HOLDING = detect().holding
MISSING_S_MAX = 2.6
"""The follower of an alarm comes in 0.1 s, the hub allows 2 s for reordering and looks every
0.25 s; the rest is this test's own polling, seconds."""
FORGER = """
import asepsis.edge.device.network as _network
from asepsis.core.wire import origin as _wire
_genuine = _network.Network._forward
_kept = []
def _forward(self, number, payload):
    if payload[0] == 3:
        return _genuine(self, number, payload)
    body = bytearray(payload[1:])
    header = _wire.decode_batch(bytes(body)).header
    if header.sequence <= 3:
        _kept.append(payload)
    at = 5 + body[4]
    if header.sequence == 5:
        body[at + 139 + 13] ^= 1  # Last digit of the first numeric.
        self._line.report("forged", what="value", sequence=5)
    if header.sequence == 6:
        body[at + 96] = 4  # Clinical state: idle.
        self._line.report("forged", what="idle", sequence=6)
    _genuine(self, number, payload[:1] + bytes(body))
    if header.sequence == 8:
        for old in _kept:
            _genuine(self, number, old)
        self._line.report("forged", what="replay", sequence=8)
_network.Network._forward = _forward
"""
DROPPER = """
import asepsis.edge.device.network as _network
_genuine = _network.Network._forward
def _forward(self, number, payload):
    if payload[0] == 2:
        self._line.report("dropped")
        return
    _genuine(self, number, payload)
_network.Network._forward = _forward
"""
pytestmark = pytest.mark.slow


def until_hub(under_test: Any, hub: Any, wanted: Any, *, timeout_s: float = 30) -> None:
    def look() -> bool:
        hub.pull()
        return bool(wanted())

    under_test.until(look, timeout_s=timeout_s)


def test_what_is_forged_is_refused_and_missed(intrusion: ModuleType, hub: Any) -> None:
    """Goal: a changed value and a forged `idle` never enter the record; a replay adds nothing."""
    name = "urn:dev:mac:0012210000000021"
    under_test = intrusion.Ward(hub.enrolled(name), HOLDING, preludes={"network": FORGER})
    with under_test.running():
        under_test.until(lambda: len(under_test.told("network", "forged")) == 3, timeout_s=40)
        until_hub(
            under_test,
            hub,
            lambda: any(n >= 10 for _, n, _ in hub.of(name, "vitals", "alert", "late")),
        )
        under_test.during(2)
        hub.pull()
    found = hub.of(name, "vitals", "alert", "late")
    numbers = [(epoch, sequence) for epoch, sequence, _ in found]
    assert len(numbers) == len(set(numbers)), "a replay was recorded twice"
    assert {5, 6}.isdisjoint(n for _, n in numbers), "a forged batch was recorded"
    verifier = OriginVerifier(under_test.folder.key("origin").spki_der)
    for _, _, body in found:
        batch = decode_batch(body)
        verifier.verify(batch)
        assert batch.clinical_state is not ClinicalState.IDLE
    assert {"gap", "forgery"} <= {event["cause"] for event in hub.technical(name)}


def test_a_dropped_alarm_is_visible_within_two_seconds(intrusion: ModuleType, hub: Any) -> None:
    name = "urn:dev:mac:0012210000000022"
    under_test = intrusion.Ward(hub.enrolled(name), HOLDING, preludes={"network": DROPPER})
    with under_test.running() as supervisor:
        until_hub(under_test, hub, lambda: len(hub.of(name, "vitals")) > 4)
        assert hub.technical(name) == []
        supervisor.bedside("tachycardia")
        under_test.until(lambda: under_test.told("network", "dropped"))
        dropped_s = time.monotonic()
        until_hub(under_test, hub, lambda: hub.technical(name))
        took_s = time.monotonic() - dropped_s
        assert took_s < MISSING_S_MAX, f"{took_s:.2f} s"
        assert under_test.told("vitals", "alarm")[0]["phase"] == "ONSET"
        under_test.until(lambda: under_test.told("origin", "alert-not-acknowledged"))


def test_an_honest_device_is_recorded_densely(intrusion: ModuleType, hub: Any) -> None:
    """Goal: over a kill of its network compartment the hub misses no batch and no waveform."""
    name = "urn:dev:mac:0012210000000023"
    under_test = intrusion.Ward(hub.enrolled(name), HOLDING)
    with under_test.running() as supervisor:
        until_hub(under_test, hub, lambda: len(hub.of(name, "vitals")) > 3)
        supervisor.bedside("tachycardia")
        under_test.until(lambda: under_test.told("network", "alert-acknowledged"))
        until_hub(under_test, hub, lambda: hub.of(name, "alert"))
        os.kill(supervisor.pid("network"), signal.SIGKILL)
        seen = len(hub.of(name, "vitals", "late"))
        until_hub(under_test, hub, lambda: len(hub.of(name, "vitals", "late")) > seen + 8)
        under_test.during(3)
    until_hub_s = time.monotonic() + 5
    while time.monotonic() < until_hub_s:
        hub.pull()
        time.sleep(0.5)
    numbers = sorted(sequence for _, sequence, _ in hub.of(name, "vitals", "alert", "late"))
    assert numbers[0] == 1
    assert all(after == before + 1 for before, after in pairwise(numbers))
    headers = sorted(
        (decode_batch(body).header for *_, body in hub.of(name, "vitals", "alert", "late")),
        key=lambda header: header.sequence,
    )
    assert all(b.ring_first == a.ring_last + 1 for a, b in pairwise(headers))
    newest = headers[-1].instant
    assert newest.uncertainty_ms < 1_000, "the signed time of the hub did not reach the signature"
    assert abs(newest.wall_ns - time.time_ns()) < 30 * 10**9


def test_a_copied_tls_key_makes_no_accepted_frame(intrusion: ModuleType, hub: Any) -> None:
    """Goal: another host with the network compartment's folder, which holds no origin key."""
    name = "urn:dev:mac:0012210000000024"
    under_test = intrusion.Ward(hub.enrolled(name), HOLDING)
    with under_test.running():
        until_hub(under_test, hub, lambda: hub.of(name, "vitals"))
    stolen = under_test.folder.path / "compartments" / "network"
    secret = under_test.folder.origin_key_path.read_bytes()
    assert all(secret not in path.read_bytes() for path in stolen.rglob("*") if path.is_file())
    identity = tls.KeyAndChain(chain_path=stolen / "tls.pem", key_path=stolen / "tls.key")
    context = tls.client_context(root_der=(stolen / "root.der").read_bytes(), identity=identity)
    connection = HubConnection(hub.addresses.clinical, context, now_ns=time.time_ns)
    forger = Signer(
        DeviceId.parse(name),
        key=libcrypto.generate_key(),
        epoch=int(time.time()) + 1_000,
        waves=(),
        instant=lambda ns: Instant(bytes(16), ns, time.time_ns(), UNSYNCHRONISED_MS),
    )
    forger.take(1, Record(state=ClinicalState.IDLE, monotonic_ns=time.monotonic_ns()))
    forged = forger.flush()[-1][1:]
    for path in ("/origin", "/alerts", "/late"):
        with pytest.raises(AsepsisError):
            connection.request(
                "POST",
                path,
                body=forged,
                headers={"Content-Type": "application/vnd.asepsis.origin-batch"},
            )
    connection.close()
    hub.pull()
    assert all(n < 1_000_000 for _, n, _ in hub.of(name, "vitals", "alert", "late"))
    assert not any(
        decode_batch(body).clinical_state is ClinicalState.IDLE
        for *_, body in hub.of(name, "vitals", "alert", "late")
    )
