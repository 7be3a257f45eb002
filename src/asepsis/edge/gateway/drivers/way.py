"""The drivers' way to the hub: lanes, spool, drain and time, for all devices of a gateway together.

Lanes, spool and drain are those of every uplink: what the hub does not acknowledge while it is
young waits sealed on the disk and goes to the late lane in order. Bundles and alarm documents of
all devices have one account, whose numbers have no hole: under one that the hub refuses goes an
empty bundle.
"""

import contextlib
import random
import secrets
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from asepsis.core.errors import AsepsisError, InputError
from asepsis.core.journal.limits import JournalLimits, LaneBudget
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.lanes import Lane
from asepsis.core.trust import tls
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.trust.sealing_libcrypto import LibcryptoAead
from asepsis.core.wire import fhir_alarm, frames
from asepsis.edge.gateway.drivers.reporting import FHIR_JSON, Made, empty_bundle
from asepsis.edge.gateway.evidence import EvidenceReporter
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.kek import open_kek
from asepsis.edge.gateway.memory import make_folder
from asepsis.edge.gateway.settings import Settings
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.caretaker import Caretaker, clinical_connection
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.edge.uplink.connection import Dial, HubConnection
from asepsis.edge.uplink.drain import Drain
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.edge.uplink.lanes import LaneRule, LiveLane
from asepsis.edge.uplink.outgoing import NUMBER, Fate, InFlight, Outgoing
from asepsis.edge.uplink.spool import Spool, Spooled

CONNECTIONS: Final = 4
"""Three live lanes and the late one."""
LANE_TIMEOUT_S: Final = 5.0
LIFE_S: Final = 0.8
"""The standard lets a gateway be silent for a second (REQ-ALM-020)."""
RULES: Final[Mapping[str, LaneRule]] = {
    "alerts": LaneRule(warm_s=5.0, patience_s=2.0, probes=True),
    "fhir": LaneRule(warm_s=LIFE_S, patience_s=1.2, probes=True),
    "waveforms": LaneRule(),
}
CAP_S: Final[Mapping[str, float]] = {"alerts": 1.0, "fhir": 2.0, "waveforms": 4.0, "late": 8.0}
BUILD_NS: Final = 1_767_225_600 * 10**9
FILLED_MAX: Final = 10_000
UNKNOWN: Final = "spooled"
"""Whom a spooled record is about is in its body only."""
_MEDIA_NUMBERED: Final = frozenset((FHIR_JSON, fhir_alarm.MEDIA_TYPE))


class Way:
    """To the hub: lanes, drain, caretaker and time.

    Args:
        settings: Of the gateway.
        devices: For whom it speaks.
        dial: Connects for this process.
        findings: Told what people should know.

    Attributes:
        evidence: Tells the hub where devices answer from.

    Resource handling: `start` starts seven threads; `close` ends them and spools what is unsent.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        devices: Sequence[DeviceId],
        dial: Dial,
        findings: Findings,
    ) -> None:
        data = Path(settings.data)
        self._devices = devices
        self._filled: dict[tuple[int, int], int] = {}
        self._holes: deque[tuple[int, int]] = deque(maxlen=FILLED_MAX)
        self._folder = IdentityFolder(data / "identity")
        self._name, self._hospital, self._root_der = self._folder.load()
        self._system = settings.hub.clock == "system"
        self._findings = findings
        self._dial = dial
        make_folder(data / "drivers")
        self._clock = TrustedClock(
            data / "drivers" / "time.json",
            boot_id=secrets.token_bytes(16),
            monotonic=time.monotonic_ns,
            build_ns=BUILD_NS,
        )
        self._journal = _open_journal(data / "drivers", settings)
        self.epoch = self._folder.next_epoch(wall_s=time.time_ns() // 10**9)
        self._leaf = self._folder.leaf("tls")
        self._build()

    def _build(self) -> None:
        rng = random.Random()  # noqa: S311 - jitter
        spool, in_flight = Spool(self._journal, now_ns=time.time_ns), InFlight()
        self.lanes = {
            name: LiveLane(
                name,
                connect=self._connect,
                spool=spool,
                in_flight=in_flight,
                backoff=Backoff(rng=rng, cap_s=CAP_S[name]),
                report=self._fate,
                rule=rule,
                on_contact=self._heard,
            )
            for name, rule in RULES.items()
        }
        self._drain = Drain(
            spool=spool,
            connect=self._connect,
            in_flight=in_flight,
            reachable=self.lanes["fhir"].reachable.is_set,
            read_header=outgoing_of,
            backoff=Backoff(rng=rng, cap_s=CAP_S["late"]),
            report=self._late_fate,
            instead=self._instead,
        )
        self._caretaker = Caretaker(
            self._folder,
            name=self._name,
            hospital=self._hospital,
            root_der=self._root_der,
            clock=self._clock,
            monotonic=time.monotonic_ns,
            backoff=Backoff(rng=rng),
            on_renewed=self._renewed,
            dial=self._dial,
        )
        self.evidence = EvidenceReporter(
            self._connect, backoff=Backoff(rng=rng, cap_s=CAP_S["late"]), findings=self._findings
        )

    def start(self) -> None:
        """Start every thread."""
        self._caretaker.start()
        for lane in self.lanes.values():
            lane.start()
        self._drain.start()
        self.evidence.start()

    def close(self) -> None:
        """End every thread; what is unsent waits in the spool."""
        self._caretaker.close()
        self.evidence.close()
        self._drain.close()
        threads: list[threading.Thread] = [*self.lanes.values(), self._drain]
        for lane in self.lanes.values():
            lane.close()
        for thread in threads:
            thread.join(2 * LANE_TIMEOUT_S)
        self._journal.close()

    def wall_ns(self) -> int | None:
        """Return trusted wall time; None while nobody has said it."""
        if self._system:
            return time.time_ns()
        return self._clock.now_ns() if self._clock.synchronised else None

    def offer(self, made: Made, device: str) -> None:
        """Hand over one body; never waits for the network."""
        numbered = made.media_type in _MEDIA_NUMBERED
        record = Outgoing(
            made.media_type,
            self.epoch,
            made.sequence,
            made.body,
            numbered=numbered,
            source=device,
        )
        self.lanes[made.lane].offer(record)

    def look_after(self) -> None:
        """Let go of what the hub has, and take a certificate that another family renewed."""
        with contextlib.suppress(AsepsisError):  # The disk refuses: everything stays.
            self._journal.expire(time.time_ns() + 1)
        with contextlib.suppress(AsepsisError):
            leaf = self._folder.leaf("tls")
            if leaf != self._leaf:
                self._leaf = leaf
                self._renewed()

    def _connect(self) -> HubConnection:
        if self._system:
            context: ssl.SSLContext = tls.client_context(
                root_der=self._root_der, identity=self._folder.identity
            )
            hub = self._hospital.clinical
            return HubConnection(
                hub, context, now_ns=None, timeout_s=LANE_TIMEOUT_S, dial=self._dial
            )
        return clinical_connection(
            self._folder,
            hospital=self._hospital,
            root_der=self._root_der,
            clock=self._clock,
            timeout_s=LANE_TIMEOUT_S,
            dial=self._dial,
        )

    def _fate(self, record: Outgoing, fate: Fate) -> None:
        if fate is Fate.REFUSED:
            self._findings.note(Finding.REFUSED_BY_HUB, record.source)
            if record.numbered:
                self._fill(record)
        elif fate is Fate.LOST_SPOOL_FULL:
            self._findings.note(Finding.SPOOL, record.source)
            if record.numbered:
                self._holes.append((record.epoch, record.sequence))

    def _late_fate(self, record: Outgoing, fate: Fate) -> None:
        if fate is Fate.REFUSED:
            self._findings.note(Finding.REFUSED_BY_HUB, record.source)

    def _instead(self, record: Outgoing) -> Sequence[Sequence[Outgoing]]:
        """Return what fills the numbers that a full spool left out before a record, and its own."""
        if not record.numbered:
            return ()
        number = (record.epoch, record.sequence)
        known = sorted(self._holes)
        self._holes.clear()
        self._holes.extend(hole for hole in known if hole > number)
        holes = [self._empties(*hole) for hole in known if hole < number]
        return [*holes, [record, *self._empties(*number)]]

    def _empties(self, epoch: int, sequence: int) -> Sequence[Outgoing]:
        """Return an empty bundle for each device; the hub takes that of a declared one."""
        return [_empty(epoch, sequence, device) for device in self._devices]

    def _fill(self, record: Outgoing) -> None:
        """Put something empty under a refused number: a hole would keep all late data out.

        It names one device after the other, until the hub takes it for one.
        """
        number = (record.epoch, record.sequence)
        turn = self._filled.pop(number, 0)
        if turn >= len(self._devices):
            return
        if len(self._filled) < FILLED_MAX:
            self._filled[number] = turn + 1
        self.lanes["fhir"].offer(_empty(*number, self._devices[turn]))

    def _heard(self) -> None:
        for lane in self.lanes.values():
            lane.try_again()

    def _renewed(self) -> None:
        for lane in self.lanes.values():
            lane.renewed.set()


def _empty(epoch: int, sequence: int, device: DeviceId) -> Outgoing:
    body = empty_bundle(device)
    return Outgoing(FHIR_JSON, epoch, sequence, body, numbered=True, source=device.uri)


def _open_journal(folder: Path, settings: Settings) -> SqliteJournal:
    kek = open_kek(settings.sealing, folder=folder)
    budget = LaneBudget(bytes_max=settings.spool.bytes_max, age_s=0)
    return SqliteJournal(
        folder / "journal",
        cipher=DayKeys(folder / "keys", kek=kek, aead=LibcryptoAead()),
        lanes={Lane.LATE: budget},
        clock=time.time_ns,
        limits=JournalLimits(reserve_bytes=0),
    )


def outgoing_of(spooled: Spooled) -> Outgoing:
    """Read the number of a spooled record.

    Raises:
        InputError: A media type that is never spooled here.
    """
    if spooled.media_type in _MEDIA_NUMBERED:
        epoch, sequence = NUMBER.unpack_from(spooled.body)
        body = spooled.body[NUMBER.size :]
        return Outgoing(spooled.media_type, epoch, sequence, body, numbered=True, source=UNKNOWN)
    if spooled.media_type != frames.MEDIA_TYPE:
        raise InputError("unknown media type in the spool")
    header = frames.peek_header(spooled.body)
    return Outgoing(
        spooled.media_type,
        header.epoch,
        header.sequence,
        spooled.body,
        source=header.device.uri,
    )
