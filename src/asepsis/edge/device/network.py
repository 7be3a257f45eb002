"""The network compartment: forwards signed batches to the hub, and is expected to be broken into.

It holds the TLS key of the device and no other secret. It cannot make a socket: connected ones come
from the broker. What it changes, the hub refuses; what it withholds, the hub misses.
"""

import encodings.idna
import json
import random
import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import BackPressure, FramingError
from asepsis.core.journal.limits import MIB, JournalLimits, LaneBudget
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.lanes import Lane
from asepsis.core.trust import libcrypto_binding
from asepsis.core.trust.sealing import kek_from_credential
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.trust.sealing_libcrypto import LibcryptoAead
from asepsis.core.wire import frames, origin_peek, security_event, update_report
from asepsis.core.wire.binary import PeekedHeader
from asepsis.edge.device import carrying_updates
from asepsis.edge.device.carrying import SIGNED_LINE, Carrying
from asepsis.edge.device.clock import BUILD_NS
from asepsis.edge.device.compartment import Line, serve, take
from asepsis.edge.device.errands import Attestation, Errand, Errands
from asepsis.edge.device.prover_line import LineProver
from asepsis.edge.device.signing import Signed
from asepsis.edge.device.update_line import METADATA_BYTES_MAX
from asepsis.edge.sandbox import ring
from asepsis.edge.sandbox.broker import BrokerClient
from asepsis.edge.sandbox.control import Order
from asepsis.edge.sandbox.ring import RingReader, Token, wake_of
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.caretaker import clinical_connection
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.edge.uplink.connection import ANSWER_BYTES_MAX, Dial, Endpoint, HubConnection
from asepsis.edge.uplink.files import read_state, write_durably
from asepsis.edge.uplink.folder import Hospital, IdentityFolder
from asepsis.edge.uplink.outgoing import Fate, Outgoing
from asepsis.edge.uplink.spool import Spool
from asepsis.edge.uplink.uplink import ORIGIN_BATCH, WAVEFORM, Uplink

CLINICAL, ENROLMENT = 0, 1
"""Numbers of the broker's endpoints."""
IDLE_S: Final = 0.2
ERRAND_TIMEOUT_S: Final = 20.0
POSITION: Final = "forwarded.json"
SPOOL_BUDGET: Final = LaneBudget(bytes_max=64 * MIB, age_s=0)
_FORMS: Final[Mapping[int, tuple[str, Callable[[bytes], PeekedHeader]]]] = {
    Signed.PACKET: (WAVEFORM, frames.peek_header),
    Signed.SECURITY: (security_event.MEDIA_TYPE, security_event.peek_header),
    Signed.UPDATE: (update_report.MEDIA_TYPE, update_report.peek_header),
}
"""Media type and reader of what is no batch."""
_ACCOUNTS: Final = {
    ORIGIN_BATCH: "origin",
    security_event.MEDIA_TYPE: "security",
    update_report.MEDIA_TYPE: "update",
}
_PRELOADED: Final = (encodings.idna,)
"""Nothing can be loaded later: no memory becomes executable after the start."""


class Forwarded:
    """Up to which record of the signed ring everything is the hub's or the spool's. Thread-safe.

    Args:
        path: File that keeps it over a crash of this compartment; repeating is harmless, because
            the hub knows what it has.
        boot_id: Ring numbers start over with the device.
    """

    def __init__(self, path: Path, *, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self._lock = threading.Lock()
        stored = read_state(path)
        ours = stored.get("boot_id") == boot_id and isinstance(stored.get("sequence"), int)
        self._saved = self._newest = int(stored["sequence"]) if ours else 0
        self._waiting: dict[tuple[str, int, int], int] = {}

    @property
    def sequence(self) -> int:
        """The last record that needs no forwarding."""
        with self._lock:
            return min(self._waiting.values(), default=self._newest + 1) - 1

    def begin(self, number: int, account: tuple[str, int, int]) -> None:
        """Record `number` is on its way."""
        with self._lock:
            self._waiting[account] = number
            self._newest = max(self._newest, number)

    def end(self, account: tuple[str, int, int]) -> None:
        """It has a fate."""
        with self._lock:
            self._waiting.pop(account, None)

    def save(self) -> None:
        """Write the position if it moved."""
        sequence = self.sequence
        if sequence != self._saved:
            document = {"boot_id": self._boot_id, "sequence": sequence}
            write_durably(self._path, json.dumps(document).encode())
            self._saved = sequence


class Network:
    """Forwards until its supervisor is gone.

    Args:
        reader: Signed ring.
        wake: Wake-ups of the signed ring.
        uplink: The connection to the hub.
        forwarded: Position.
        line: Control line.
        updates: Carries what the fetcher of updates wants read.
        errands: What else is done at the hub.
    """

    def __init__(
        self,
        reader: RingReader,
        *,
        wake: int,
        uplink: Uplink,
        forwarded: Forwarded,
        line: Line,
        updates: carrying_updates.Carrying,
        errands: Sequence[Errands] = (),
    ) -> None:
        self._reader = reader
        self._wake = wake_of(wake)
        self._uplink = uplink
        self._forwarded = forwarded
        self._line = line
        self._updates = updates
        self._errands = errands
        self._lost = 0

    def run(self) -> None:
        """Forward."""
        self._uplink.start()
        for errand in self._errands:
            errand.start()
        while True:
            readable, _, _ = select.select([self._wake, self._line.socket], [], [], IDLE_S)
            ring.drain_wakes(self._wake)
            self._read_all()
            if self._line.socket in readable and not self._obey():
                self._updates.close()
                for errand in self._errands:
                    errand.close()
                self._uplink.close()
                self._forwarded.save()
                return
            self._line.heartbeat(self._facts)

    def _read_all(self) -> None:
        while True:
            chunk = self._reader.read(records_max=16)
            self._lost += chunk.lost
            for number, payload in chunk.records:
                self._forward(number, payload)
            if not chunk.records:
                return

    def _forward(self, number: int, payload: bytes) -> None:
        kind, body = payload[0], payload[1:]
        media, peek = _FORMS.get(kind, (ORIGIN_BATCH, origin_peek.peek_header))
        try:
            header = peek(body)
        except FramingError:
            self._lost += 1
            return
        account = (media, header.epoch, header.sequence)
        self._forwarded.begin(number, account)
        try:
            if kind == Signed.PACKET:
                self._uplink.send_waveforms(body)
            elif kind == Signed.SECURITY:
                self._uplink.send_security(body)
            elif kind == Signed.UPDATE:
                self._uplink.send_update_report(body)
            else:
                self._uplink.send_batch(body, has_alarm_event=kind == Signed.ALERT)
        except BackPressure:
            self._lost += 1
            self._forwarded.end(account)

    def _obey(self) -> bool:
        order = self._line.order()
        if order is None or order.what == "stop":
            return False
        if order.what == "ring":
            self._read_all()
            self._reader.close()
            self._wake.close()
            self._reader = _reader(order, done=self._reader.token.sequence)
            self._wake = wake_of(take(order, "wake"))
        elif order.what == "updates":
            self._carry(order)
        return True

    def _carry(self, order: Order) -> None:
        lines = carrying_updates.lines_of(order.descriptors)
        if lines is not None:
            budget = int(order.body.get("bytes_per_s", 0))
            self._updates.begin(*lines, bytes_per_s=budget)

    def _facts(self) -> dict[str, Any]:
        self._forwarded.save()
        return {
            "reachable": self._uplink.reachable,
            "refused": self._uplink.refused,
            "forwarded": self._forwarded.sequence,
            "lost": self._lost,
            "carried": self._updates.carried,
        }


def _reader(order: Order, *, done: int) -> RingReader:
    token = Token(epoch=order.body["ring_epoch"], sequence=done)
    return RingReader(take(order, "ring"), token=token if done else None)


def _dial(client: BrokerClient, hospital: Hospital) -> Dial:
    def dial(endpoint: Endpoint, timeout_s: float) -> Any:
        number = CLINICAL if endpoint == hospital.clinical else ENROLMENT
        return client.dial(number, timeout_s=timeout_s)

    return dial


def _open_spool(state: Path, clock: TrustedClock) -> SqliteJournal:
    folder = state / "spool"
    folder.mkdir(mode=0o700, exist_ok=True)
    return SqliteJournal(
        folder / "journal",
        cipher=DayKeys(folder / "keys", kek=kek_from_credential(state), aead=LibcryptoAead()),
        lanes={Lane.LATE: SPOOL_BUDGET},
        clock=clock.now_ns,
        limits=JournalLimits(reserve_bytes=0),
    )


def build(order: Order, line: Line) -> Callable[[], Network]:
    """Load every library; folder and threads come once the rights are gone."""
    libcrypto_binding.library()
    channels = sorted(name for name in order.descriptors if name.startswith("channel"))
    client = BrokerClient([take(order, name) for name in channels])
    state = Path(order.body["state"])
    boot_id = str(order.body["boot_id"])

    def make() -> Network:
        folder = IdentityFolder(state)
        clock = TrustedClock(
            state / "time.json",
            boot_id=bytes.fromhex(boot_id),
            monotonic=time.monotonic_ns,
            build_ns=BUILD_NS,
        )
        forwarded = Forwarded(state / POSITION, boot_id=boot_id)

        def fate(record: Outgoing, found: Fate) -> None:
            forwarded.end((record.media_type, record.epoch, record.sequence))
            line.report(
                "fate",
                account=_ACCOUNTS.get(record.media_type, "waveform"),
                epoch=record.epoch,
                sequence=record.sequence,
                fate=found.value,
            )

        uplink = Uplink(
            folder,
            spool=Spool(_open_spool(state, clock), now_ns=clock.now_ns),
            clock=clock,
            monotonic=time.monotonic_ns,
            rng=random.Random(),  # noqa: S311 - jitter
            report=fate,
            dial=_dial(client, folder.load()[1]),
        )
        reader = _reader(order, done=forwarded.sequence)
        return Network(
            reader,
            wake=take(order, "wake"),
            uplink=uplink,
            forwarded=forwarded,
            line=line,
            updates=_updates(uplink, folder=folder, clock=clock, client=client),
            errands=_errands(order, line, folder=folder, clock=clock, client=client),
        )

    return make


def _updates(
    uplink: Uplink, *, folder: IdentityFolder, clock: TrustedClock, client: BrokerClient
) -> carrying_updates.Carrying:
    """Return what carries for the fetcher of updates, over a connection of its own."""
    connect = _connecting(folder, clock=clock, client=client, answer_bytes_max=METADATA_BYTES_MAX)
    return carrying_updates.Carrying(connect=connect, busy=lambda: uplink.busy)


def _connecting(
    folder: IdentityFolder,
    *,
    clock: TrustedClock,
    client: BrokerClient,
    answer_bytes_max: int = ANSWER_BYTES_MAX,
) -> Callable[[], HubConnection]:
    """Return what opens a connection beside that of live data."""
    _, hospital, root_der = folder.load()

    def connect() -> HubConnection:
        return clinical_connection(
            folder,
            hospital=hospital,
            root_der=root_der,
            clock=clock,
            timeout_s=ERRAND_TIMEOUT_S,
            dial=_dial(client, hospital),
            answer_bytes_max=answer_bytes_max,
        )

    return connect


def _errands(
    order: Order, line: Line, *, folder: IdentityFolder, clock: TrustedClock, client: BrokerClient
) -> list[Errands]:
    """Return what else this compartment was handed lines for."""
    connect = _connecting(folder, clock=clock, client=client)

    def errand(name: str, what: Errand, *, kept: bool = False) -> Errands:
        backoff = Backoff(rng=random.Random())  # noqa: S311 - jitter
        return Errands(name, what, connect=connect, backoff=backoff, kept=kept)

    found: list[Errands] = []
    if "question" in order.descriptors:
        prover = LineProver(wake_of(take(order, "question")), wake_of(take(order, "evidence")))
        attestation = Attestation(prover, lambda: folder.key("tls").spki_der, line.report)
        found.append(errand("attestation", attestation))
    if SIGNED_LINE in order.descriptors:
        asking = wake_of(take(order, SIGNED_LINE))
        found.append(errand("requests", Carrying(asking), kept=True))
    return found


def main(control_descriptor: int) -> None:
    """Run the compartment."""
    serve(control_descriptor, build)
