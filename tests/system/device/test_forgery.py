"""With full control of the network compartment, against a real hub: what is believed and seen."""

import contextlib
import os
import signal
import socket
import time
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asepsis.core.errors import AsepsisError
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.model.time import UNSYNCHRONISED_MS, Instant
from asepsis.core.trust import libcrypto, tls
from asepsis.core.trust.libcrypto import PrivateKey
from asepsis.core.trust.origin import OriginVerifier
from asepsis.core.wire import frames
from asepsis.core.wire.origin import decode_batch
from asepsis.edge.device.records import Record, Value
from asepsis.edge.device.signing import Signer
from asepsis.edge.sandbox.layers import detect
from asepsis.edge.uplink.connection import Endpoint, HubConnection
from asepsis.edge.uplink.folder import IdentityFolder

HOLDING = detect().holding
VALID = MeasurementStatus.VALID
MISSING_S_MAX = 2.0
SILENT_S_MAX = 2.5
"""The lease of 2 s, counted from the last batch before the alarm; the rest is polling here."""
ELSEWHERE = "127.0.0.77"
"""An address that is not the device's."""
CAPTURED_S = 300
FORGER = """
import json, struct, zlib
import asepsis.edge.device.network as _network
from asepsis.core.trust import libcrypto, origin_chain
from asepsis.core.wire import frames as _frames, origin as _wire
_genuine = _network.Network._forward
_KEY = libcrypto.load_key(STOLEN.encode()) if STOLEN else None
_kept = []
def _sample(body):
    # Another value in the middle of the first frame, with the CRC that belongs to it.
    at = 5 + body[4] + 18
    (size,) = struct.unpack_from(">I", body, at)
    frame = body[at + 4 : at + 4 + size]
    frame[40 + size // 4 * 2 - 40] ^= 1
    frame[-4:] = struct.pack(">I", zlib.crc32(bytes(frame[:-4])))
    body[at + 4 : at + 4 + size] = frame
    _frames.decode_packet(bytes(body))
def _forward(self, number, payload):
    body = bytearray(payload[1:])
    if payload[0] == 3:
        if _frames.peek_header(bytes(body)).sequence == 4:
            _sample(body)
            self._line.report("forged", what="sample", sequence=4)
        return _genuine(self, number, payload[:1] + bytes(body))
    header = _wire.decode_batch(bytes(body)).header
    if header.sequence <= 3:
        _kept.append(payload)
    at = 5 + body[4]
    if header.sequence == 5:
        body[at + 118 + 13] ^= 1  # Last digit of the first numeric.
        self._line.report("forged", what="value", sequence=5)
    if header.sequence == 6:
        body[at + 88] = 4  # Clinical state: idle.
        self._line.report("forged", what="idle", sequence=6)
    if _KEY and header.sequence in (5, 6):
        body = bytearray(origin_chain.sign_batch(_KEY, bytes(body[:-64])))
    _genuine(self, number, payload[:1] + bytes(body))
    if header.sequence == 8:
        for old in _kept:
            _genuine(self, number, old)
        self._line.report("forged", what="replay", sequence=8)
_network.Network._forward = _forward
"""
REPLAYER = """
from pathlib import Path
import asepsis.edge.device.network as _network
_genuine = _network.Network._forward
_data = []
def _forward(self, number, payload):
    if not _data:
        text = Path("/state/captured.txt").read_text()
        _data.append([bytes.fromhex(line) for line in text.splitlines()])
    _genuine(self, number, payload)
    if payload[0] == 1:
        for _ in range(min(30, len(_data[0]))):
            _genuine(self, number, b"\\1" + _data[0].pop(0))
        if not _data[0]:
            self._line.report("replayed")
            _network.Network._forward = _genuine
_network.Network._forward = _forward
"""
DROPPER = """
import asepsis.edge.device.network as _network
from asepsis.core.wire import origin as _wire
_genuine = _network.Network._forward
def _forward(self, number, payload):
    told = payload[0] == 2
    if HIDES_LISTS and payload[0] == 1:
        told = bool(_wire.decode_batch(payload[1:]).alarms())
    if told:
        self._line.report("dropped")
        return
    _genuine(self, number, payload)
_network.Network._forward = _forward
"""
pytestmark = [pytest.mark.slow, pytest.mark.waits]


def until_hub(under_test: Any, hub: Any, wanted: Any, *, timeout_s: float = 30) -> None:
    def look() -> bool:
        hub.pull()
        return bool(wanted())

    under_test.until(look, timeout_s=timeout_s)


def forged(
    intrusion: ModuleType, outage: ModuleType, hub: Any, name: str, *, with_key: bool
) -> Any:
    """Run a device whose network compartment forges; return it and what a live view was told."""
    folder = hub.enrolled(name)
    stolen = folder.origin_key_path.read_text("ascii") if with_key else ""
    prelude = f"STOLEN = {stolen!r}\n{FORGER}"
    under_test = intrusion.Ward(folder, HOLDING, preludes={"network": prelude})
    hub.pull()
    with outage.watching(hub, hub.consumer_folder, name) as view, under_test.running():
        under_test.until(lambda: len(under_test.told("network", "forged")) == 4, timeout_s=40)
        under_test.during(4)
        hub.pull()
    return under_test, view


def test_what_is_forged_is_refused_and_missed(
    intrusion: ModuleType, outage: ModuleType, hub: Any
) -> None:
    """Goal: a changed value, sample or state is not taken for the device's; a replay adds none."""
    name = "urn:dev:mac:0012210000000021"
    under_test, view = forged(intrusion, outage, hub, name, with_key=False)
    found = hub.of(name, "vitals", "alert", "late")
    numbers = [(epoch, sequence) for epoch, sequence, _ in found]
    assert max(n for _, n in numbers) >= 9
    assert len(numbers) == len(set(numbers)), "a replay was recorded twice"
    assert {5, 6}.isdisjoint(n for _, n in numbers), "a forged batch was recorded"
    verifier = OriginVerifier(under_test.folder.key("origin").spki_der)
    for _, _, body in found:
        batch = decode_batch(body)
        verifier.verify(batch)
        assert batch.clinical_state is not ClinicalState.IDLE or batch.sequence == 1
    assert {"gap", "forgery"} <= {event["cause"] for event in hub.technical(name)}
    packets = [frames.decode_packet(b) for *_, b in hub.of(name, "waveform", account="waveform")]
    changed = {f.digest for p in packets if p.sequence == 4 for f in p.frames[:1]}
    promised = {d.sha256 for *_, b in found for d in decode_batch(b).waveform_digests()}
    assert changed
    assert changed.isdisjoint(promised), "the changed frame is no other than the genuine one"
    shown = {(d["handle"], d["frame_sequence"]) for _, n, d in view.seen if n == "waveform"}
    first = packets[0].frames[0].metric.handle
    assert {(first, 7), (first, 8)} <= shown, "genuine frames are shown"
    assert (first, 4) not in shown, "a changed sample was shown as the device's own"


def test_negative_control_with_the_origin_key_the_same_frames_are_accepted(
    intrusion: ModuleType, outage: ModuleType, hub: Any
) -> None:
    """Goal: it is the signature that refuses, not the form of the forgery."""
    name = "urn:dev:mac:0012210000000025"
    forged(intrusion, outage, hub, name, with_key=True)
    found = {n: decode_batch(b) for _, n, b in hub.of(name, "vitals", "alert", "late")}
    assert 5 in found, "the re-signed batch was refused"
    assert found[5].clinical_state is not ClinicalState.IDLE


def test_five_minutes_of_captured_batches_are_replayed_in_vain(
    intrusion: ModuleType, outage: ModuleType, hub: Any
) -> None:
    """Goal: genuine signatures of an earlier boot show nothing, renew nothing, add nothing."""
    name = "urn:dev:mac:0012210000000026"
    folder = hub.enrolled(name)
    captured = _measured_earlier(folder, name)
    with contextlib.closing(_connection(hub, folder.path)) as connection:
        for batch in captured:
            _post(connection, "/late", batch)
    under_test = intrusion.Ward(folder, HOLDING, preludes={"network": REPLAYER})
    for _ in range(1 + CAPTURED_S // 200):  # At most 200 records come at once.
        hub.pull()
    before = len(hub.of(name, "late"))
    assert before == len(captured) == CAPTURED_S
    old_epoch = decode_batch(captured[0]).epoch
    with (
        outage.watching(hub, hub.consumer_folder, name) as view,
        under_test.running() as supervisor,
    ):
        state = folder.path / "compartments" / "network"
        (state / "captured.txt").write_text("\n".join(b.hex() for b in captured), "ascii")
        (state / "captured.txt").chmod(0o644)
        under_test.until(lambda: under_test.told("network", "replayed"), timeout_s=60)
        under_test.during(4)
        assert supervisor.starts["network"] == 1
        hub.pull()
    assert len([1 for epoch, *_ in hub.of(name, "late", "vitals") if epoch == old_epoch]) == before
    epochs = {d["epoch"] for _, kind, d in view.seen if kind == "numerics"}
    assert epochs
    assert old_epoch not in epochs, "a replayed value was shown live"


def test_negative_control_before_a_newer_boot_captured_batches_are_live(
    outage: ModuleType, hub: Any
) -> None:
    """Goal: it is the newer boot that refuses the replay, not the form of what was captured."""
    name = "urn:dev:mac:001221000000002a"
    folder = hub.enrolled(name)
    captured = _measured_earlier(folder, name)[:20]
    hub.pull()
    with (
        outage.watching(hub, hub.consumer_folder, name) as view,
        contextlib.closing(_connection(hub, folder.path)) as connection,
    ):
        for batch in captured:
            _post(connection, "/origin", batch)
        time.sleep(1)
    epochs = {d["epoch"] for _, kind, d in view.seen if kind == "numerics"}
    assert epochs == {decode_batch(captured[0]).epoch}


@pytest.mark.parametrize("hidden", ["event", "event-and-lists"])
def test_a_dropped_alarm_is_visible_within_two_seconds(
    intrusion: ModuleType, outage: ModuleType, hub: Any, hidden: str
) -> None:
    """Goal: the next list names it; who hides that too has to hide everything, and is missed."""
    hides_lists = hidden == "event-and-lists"
    name = f"urn:dev:mac:001221000000002{8 if hides_lists else 2}"
    prelude = f"HIDES_LISTS = {hides_lists}\n{DROPPER}"
    under_test = intrusion.Ward(hub.enrolled(name), HOLDING, preludes={"network": prelude})
    hub.pull()
    with (
        outage.watching(hub, hub.consumer_folder, name) as view,
        under_test.running() as supervisor,
    ):
        until_hub(under_test, hub, lambda: len(hub.of(name, "vitals")) > 4)
        assert hub.technical(name) == []
        supervisor.bedside("tachycardia")
        under_test.until(lambda: under_test.told("network", "dropped"))
        dropped_s = time.monotonic()
        wanted = {"cause": "silence"} if hides_lists else {"found_by": "device"}
        under_test.until(lambda: view.first("alarm", after_s=0, **wanted) is not None)
        took_s = time.monotonic() - dropped_s
        assert took_s < (SILENT_S_MAX if hides_lists else MISSING_S_MAX), f"{took_s:.2f} s"
        assert under_test.told("vitals", "alarm")[0]["phase"] == "ONSET"
        under_test.until(lambda: under_test.told("origin", "alert-not-acknowledged"))
        if not hides_lists:
            until_hub(under_test, hub, lambda: "gap" in {e["cause"] for e in hub.technical(name)})


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
    """Goal: from another address, with all that the network compartment has: nothing is taken."""
    name = "urn:dev:mac:0012210000000024"
    under_test = intrusion.Ward(hub.enrolled(name), HOLDING)
    with under_test.running():
        until_hub(under_test, hub, lambda: hub.of(name, "vitals"))
    stolen = under_test.folder.path / "compartments" / "network"
    secret = under_test.folder.origin_key_path.read_bytes()
    assert all(secret not in path.read_bytes() for path in stolen.rglob("*") if path.is_file())
    forged = _idle(name, libcrypto.generate_key())
    genuine = _idle(name, under_test.folder.key("origin"))
    with contextlib.closing(_connection(hub, stolen, source=ELSEWHERE)) as connection:
        for path in ("/origin", "/alerts", "/late"):
            with pytest.raises(AsepsisError):
                _post(connection, path, forged)
        hub.pull()
        assert not any(body == forged for *_, body in hub.of(name, "vitals", "alert", "late"))
        # Control: the address and the key are not what refuses; with the origin key it is taken.
        _post(connection, "/origin", genuine)
    hub.pull()
    assert any(body == genuine for *_, body in hub.of(name, "vitals"))


def _connection(hub: Any, folder: Path, *, source: str = "127.0.0.1") -> HubConnection:
    identity = tls.KeyAndChain(chain_path=folder / "tls.pem", key_path=folder / "tls.key")
    context = tls.client_context(root_der=(folder / "root.der").read_bytes(), identity=identity)

    def dial(where: Endpoint, timeout_s: float) -> socket.socket:
        return socket.create_connection((where.host, where.port), timeout_s, (source, 0))

    return HubConnection(hub.addresses.clinical, context, now_ns=time.time_ns, dial=dial)


def _post(connection: HubConnection, path: str, batch: bytes) -> None:
    media = {"Content-Type": "application/vnd.asepsis.origin-batch"}
    connection.request("POST", path, body=batch, headers=media)


def _signer(name: str, key: PrivateKey, *, epoch: int) -> Signer:
    return Signer(
        DeviceId.parse(name),
        key=key,
        epoch=epoch,
        waves=(),
        instant=lambda ns: Instant(bytes(16), ns, time.time_ns(), UNSYNCHRONISED_MS),
    )


def _idle(name: str, key: PrivateKey) -> bytes:
    """Return the first batch of a later boot that says the device is idle."""
    forger = _signer(name, key, epoch=int(time.time()) + 1_000)
    forger.take(1, Record(state=ClinicalState.IDLE, monotonic_ns=time.monotonic_ns()))
    return forger.flush()[-1][1:]


def _measured_earlier(folder: IdentityFolder, name: str) -> list[bytes]:
    """Return what the device signed in five minutes of an earlier boot, a batch a second."""
    signer = _signer(name, folder.key("origin"), epoch=int(time.time()) - 3_600)
    value = Value(handle=1, mdc_code=147842, unit_code=264864, value=180, status=VALID)
    signed: list[bytes] = []
    for second in range(CAPTURED_S):
        record = Record(
            state=ClinicalState.IN_USE, monotonic_ns=1 + second * 10**9, values=(value,)
        )
        signed += signer.take(second + 1, record)
    return [part[1:] for part in (*signed, *signer.flush())]
