"""Beds that a test or benchmark of the ward view holds in its hand: signed, over mutual TLS.

Each bed makes one batch and one waveform packet a second, from the shapes of the simulated device;
what it sends, and whether, can be changed while it runs.
"""

import secrets
import threading
import time
import uuid
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

from asepsis.core.errors import AsepsisError, TransientError
from asepsis.core.model.alarm import AlarmEvent, AlarmKind, AlarmPhase, AlarmPriority, Inactivation
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.time import Instant
from asepsis.core.trust import tls
from asepsis.core.trust.origin_chain import ChainHead, key_id, sign_batch
from asepsis.core.wire import float_type, frames, origin
from asepsis.edge.device import models
from asepsis.edge.device.catalogue import ABOVE_LIMIT, Kind
from asepsis.edge.device.source_monitor import SimulatedPatient
from asepsis.edge.device.source_pump import SimulatedPump
from asepsis.edge.device.source_ventilator import SimulatedLung
from asepsis.edge.device.sources import TICKS_PER_S
from asepsis.edge.uplink.connection import Endpoint, HubConnection
from hospital import Machine

ORIGIN = "application/vnd.asepsis.origin-batch"
WAVEFORM = "application/vnd.asepsis.waveform"
RETRY_S = 0.2
SOURCES = {
    Kind.MONITOR: SimulatedPatient,
    Kind.VENTILATOR: SimulatedLung,
    Kind.PUMP: SimulatedPump,
}


class Bed:
    """One device that sends.

    Attributes:
        values: What it sent last, by handle, as shown.
        withheld: Handles of numerics that it leaves out.
        waves: Whether it sends waveforms.
        paused: Whether it sends nothing at all.
        overrides: Values in place of the simulated ones, by handle.

    Args:
        machine: A registered device with an origin key.
        endpoint: The clinical listener; a callable, because a restarted hub may have another port.
        root_der: The hospital root.
        seed: Of its patient.
        kind: What the device is.
    """

    def __init__(
        self,
        machine: Machine,
        endpoint: Callable[[], Endpoint],
        root_der: bytes,
        *,
        seed: int,
        kind: Kind = Kind.MONITOR,
    ) -> None:
        assert machine.origin_key is not None
        self.name = machine.name
        self.patient = SOURCES[kind](seed)
        self._model = models.MODELS[kind]
        self.values: dict[int, str] = {}
        self.withheld: set[int] = set()
        self.overrides: dict[int, float] = {}
        self.waves = True
        self.paused = False
        self.sent = 0
        self.state = ClinicalState.IN_USE
        self._key = machine.origin_key
        self._device = DeviceId(machine.name)
        self._context = tls.client_context(root_der=root_der, identity=machine.files)
        self._endpoint = endpoint
        self._boot = secrets.token_bytes(16)
        self._epoch = int(time.time())
        self._chain = ChainHead.start(self._epoch)
        self._packet = self._frame = self._second = 0
        self._ring = 1
        self._lock = threading.Lock()
        self._hub: HubConnection | None = None
        self._told: AlarmEvent | None = None
        self._stopping = threading.Event()
        self._offset_s = (seed % 16) / 16
        self._thread = threading.Thread(target=self._run, name=f"bed-{seed}", daemon=True)

    def start(self) -> None:
        """Begin to send, once a second."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stopping.set()
        self._thread.join()
        if self._hub:
            self._hub.close()

    def alarm(
        self,
        phase: AlarmPhase,
        text: str,
        *,
        condition: bytes | None = None,
        priority: AlarmPriority = AlarmPriority.HIGH,
        kind: AlarmKind = AlarmKind.PHYSIOLOGICAL,
        source: int = 1,
    ) -> bytes:
        """Send one alarm event at once and return its condition."""
        event = AlarmEvent(
            condition_id=condition or uuid.uuid4().bytes,
            phase=phase,
            kind=kind,
            priority=priority,
            latching=False,
            inactivation=Inactivation.NONE,
            mdc_code=ABOVE_LIMIT,
            source_handle=source,
            offset_ms=0,
            text=text,
        )
        with self._lock:
            self.state = ClinicalState.IN_USE if phase is AlarmPhase.END else ClinicalState.ALARMING
            body = self._signed(lambda header: origin.encode_batch(header, alarms=[event]), items=1)
            self._post("/alerts", body, ORIGIN)
        self._told = event
        return event.condition_id

    def list_alarm(self) -> None:
        """Send the list of active conditions: the one whose event was sent last."""
        assert self._told is not None
        alarms = [replace(self._told, phase=AlarmPhase.CHANGE)]
        with self._lock:
            body = self._signed(
                lambda header: origin.encode_batch(
                    replace(header, lists_active=True), alarms=alarms
                ),
                items=1,
            )
            self._post("/origin", body, ORIGIN)

    def second(self) -> None:
        """Make and send the next second."""
        at_ns = time.time_ns()
        ticks = [self.patient.samples() for _ in range(TICKS_PER_S)]
        numerics = self._numerics()
        with self._lock:
            encoded = self._frames(ticks, at_ns - 1_000_000_000) if self.waves else []
            digests = [
                origin.WaveformDigest(wave.handle, self._frame, frames.frame_digest(frame))
                for wave, frame in zip(self._model.waves, encoded, strict=False)
            ]
            body = self._signed(
                lambda header: origin.encode_batch(header, numerics=numerics, digests=digests),
                items=len(numerics) + len(digests),
            )
            self._post("/origin", body, ORIGIN)
            if encoded:
                self._packet += 1
                packet = frames.encode_packet(
                    self._device, epoch=self._epoch, sequence=self._packet, frames=encoded
                )
                self._post("/waveforms", packet, WAVEFORM)
        self.sent += 1

    def _numerics(self) -> list[Numeric]:
        found: list[Numeric] = []
        values = {**self.patient.values(), **self.overrides}
        for sign in self._model.signs:
            value = values[sign.handle]
            if sign.handle in self.withheld or value is None:
                continue
            text = f"{value:.{sign.decimals}f}"
            self.values[sign.handle] = text
            found.append(
                Numeric(
                    handle=sign.handle,
                    mdc_code=sign.mdc_code,
                    unit_code=sign.unit_code,
                    value=float_type.from_decimal(Decimal(text)),
                    status=MeasurementStatus.VALID,
                    offset_ms=0,
                )
            )
        return found

    def _frames(self, ticks: list[tuple[object, ...]], at_ns: int) -> list[bytes]:
        self._frame += 1
        found: list[bytes] = []
        for index, wave in enumerate(self._model.waves):
            samples = array("h")
            for tick in ticks:
                samples.extend(tick[index].values)
            found.append(
                frames.encode_frame(
                    wave.metric, frame_sequence=self._frame, wall_ns=at_ns, samples=samples
                )
            )
        return found

    def _signed(self, encode: Callable[[origin.BatchHeader], bytes], *, items: int) -> bytes:
        header = origin.BatchHeader(
            device=self._device,
            key_id=key_id(self._key.spki_der),
            epoch=self._epoch,
            sequence=self._chain.sequence + 1,
            ring_first=self._ring,
            ring_last=self._ring + items - 1,
            previous=self._chain.digest,
            clinical_state=self.state,
            instant=Instant(
                boot_id=self._boot,
                monotonic_ns=time.monotonic_ns(),
                wall_ns=time.time_ns(),
                uncertainty_ms=20,
            ),
            interval_ms=1_000,
        )
        self._ring += items
        part = encode(header)
        self._chain = self._chain.after(part)
        return sign_batch(self._key, part)

    def _post(self, path: str, body: bytes, media: str) -> None:
        if self._hub is None:
            self._hub = HubConnection(
                self._endpoint(), self._context, now_ns=time.time_ns, timeout_s=2
            )
        try:
            self._hub.request("POST", path, body=body, headers={"Content-Type": media})
        except TransientError:
            self._hub.close()
            self._hub = None
            raise

    def _run(self) -> None:
        due_s = time.monotonic() + self._offset_s
        while not self._stopping.wait(max(0.0, due_s - time.monotonic())):
            if self.paused:
                due_s = time.monotonic() + RETRY_S
                continue
            try:
                self.second()
                due_s = max(due_s + 1.0, time.monotonic() - 1.0)
            except TransientError:
                due_s = time.monotonic() + RETRY_S
            except AsepsisError:
                # Revoked, or the chain was cut by an outage: a device would go on on its own.
                with suppress(TransientError):
                    self._stopping.wait(1.0)
                due_s = time.monotonic()
