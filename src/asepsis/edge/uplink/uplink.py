"""The uplink of one device: lanes, spool and caretaker behind three calls."""

import random
import threading
from collections.abc import Callable
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire import frames, origin_peek, security_event, update_report
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.caretaker import Caretaker, clinical_connection
from asepsis.edge.uplink.clock import TrustedClock
from asepsis.edge.uplink.connection import Dial, HubConnection
from asepsis.edge.uplink.drain import Drain
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.edge.uplink.lanes import LaneRule, LiveLane, Report
from asepsis.edge.uplink.outgoing import InFlight, Outgoing
from asepsis.edge.uplink.spool import Spool, Spooled

ORIGIN_BATCH: Final = "application/vnd.asepsis.origin-batch"
WAVEFORM: Final = "application/vnd.asepsis.waveform"
LANE_TIMEOUT_S: Final = 5.0
"""An alert without acknowledgement within this is annunciated locally (REQ-ALM-009)."""
WARM_S: Final = 5.0
"""The alert lane is never silent for longer, so that an alarm waits for no handshake."""
ALERT_PATIENCE_S: Final = 2.0
"""Age up to which an alarm event is tried live: a hiccup makes no history. Older ones are late, and
what is still active stands in the list that the batch of every second carries (REQ-ALM-014)."""
RULES: Final = {
    "alerts": LaneRule(warm_s=WARM_S, patience_s=ALERT_PATIENCE_S, probes=True),
    # A batch covers a second: the newest one is kept at hand until the next is there.
    "origin": LaneRule(probes=True, patience_s=1.2),
    "waveforms": LaneRule(),
}
CAP_S: Final = {"alerts": 1.0, "origin": 2.0, "waveforms": 4.0, "late": 8.0}
"""Longest wait between two attempts of each lane, seconds."""


class Uplink:
    """Carries signed batches and waveform packets to the hub.

    Args:
        folder: The enrolled device's folder.
        spool: Durable store for what could not be acknowledged in time.
        clock: The device's trusted clock.
        monotonic: Nanoseconds since boot.
        rng: Source of jitter.
        report: Told the fate of every record, from the lanes' threads.
        dial: Connects to the hub instead of this process, which may have no network.

    Raises:
        NotFound: The folder holds no finished enrolment.
        InputError: What is enrolled there is not a device.

    Resource handling: `start` starts five threads; `close` ends them and spools what is unsent.
    """

    def __init__(
        self,
        folder: IdentityFolder,
        *,
        spool: Spool,
        clock: TrustedClock,
        monotonic: Callable[[], int],
        rng: random.Random,
        report: Report,
        dial: Dial | None = None,
    ) -> None:
        name, hospital, root_der = folder.load()
        self.device = DeviceId.parse(name)

        def connect() -> HubConnection:
            return clinical_connection(
                folder,
                hospital=hospital,
                root_der=root_der,
                clock=clock,
                timeout_s=LANE_TIMEOUT_S,
                dial=dial,
            )

        in_flight = self._in_flight = InFlight()
        self._lanes = {
            name: LiveLane(
                name,
                connect=connect,
                spool=spool,
                in_flight=in_flight,
                backoff=Backoff(rng=rng, cap_s=CAP_S[name]),
                report=report,
                rule=RULES[name],
                on_contact=self._heard,
            )
            for name in RULES
        }
        self._drain = Drain(
            spool=spool,
            connect=connect,
            in_flight=in_flight,
            reachable=lambda: self.reachable,
            read_header=outgoing_of,
            backoff=Backoff(rng=rng, cap_s=CAP_S["late"]),
            report=report,
        )
        self.caretaker = Caretaker(
            folder,
            name=name,
            hospital=hospital,
            root_der=root_der,
            clock=clock,
            monotonic=monotonic,
            backoff=Backoff(rng=rng),
            on_renewed=self._renewed,
            dial=dial,
        )

    @property
    def reachable(self) -> bool:
        """Whether the hub acknowledged something on the origin lane since its last failure."""
        return self._lanes["origin"].reachable.is_set()

    @property
    def busy(self) -> bool:
        """Whether a live lane holds a record that has no fate yet: everything else waits."""
        return self._in_flight.holds

    @property
    def refused(self) -> bool:
        """Whether the hub refuses this identity: the device keeps monitoring and says so."""
        return any(lane.refused.is_set() for lane in self._lanes.values())

    @property
    def drained(self) -> threading.Event:
        """Set while the spool is empty."""
        return self._drain.empty

    def start(self) -> None:
        """Start all threads."""
        self.caretaker.start()
        for lane in self._lanes.values():
            lane.start()
        self._drain.start()

    def send_batch(self, batch: bytes, *, has_alarm_event: bool) -> None:
        """Hand over a signed batch; one with an alarm event takes the alert lane (REQ-ALM-006)."""
        header = origin_peek.peek_header(batch)
        record = Outgoing(ORIGIN_BATCH, header.epoch, header.sequence, batch)
        self._lanes["alerts" if has_alarm_event else "origin"].offer(record)

    def send_waveforms(self, packet: bytes) -> None:
        """Hand over a waveform packet."""
        header = frames.peek_header(packet)
        self._lanes["waveforms"].offer(Outgoing(WAVEFORM, header.epoch, header.sequence, packet))

    def send_security(self, event: bytes) -> None:
        """Hand over a signed security event; rare enough to share the lane of alarms."""
        header = security_event.peek_header(event)
        media = security_event.MEDIA_TYPE
        self._lanes["alerts"].offer(Outgoing(media, header.epoch, header.sequence, event))

    def send_update_report(self, report: bytes) -> None:
        """Hand over a signed update report; as rare as a security event."""
        header = update_report.peek_header(report)
        media = update_report.MEDIA_TYPE
        self._lanes["alerts"].offer(Outgoing(media, header.epoch, header.sequence, report))

    def close(self, *, timeout_s: float = 10.0) -> None:
        """End all threads; what is unsent waits in the spool."""
        self.caretaker.close()
        self._drain.close()
        for lane in self._lanes.values():
            lane.close()
        for thread in (*self._lanes.values(), self._drain, self.caretaker):
            thread.join(timeout_s)

    def _heard(self) -> None:
        for lane in self._lanes.values():
            lane.try_again()

    def _renewed(self) -> None:
        for lane in self._lanes.values():
            lane.renewed.set()


def outgoing_of(spooled: Spooled) -> Outgoing:
    """Read the sequence of a spooled record from its own bytes.

    Raises:
        InputError: A media type that this uplink never spools.
    """
    if spooled.media_type == ORIGIN_BATCH:
        header = origin_peek.peek_header(spooled.body)
    elif spooled.media_type == WAVEFORM:
        header = frames.peek_header(spooled.body)
    elif spooled.media_type == security_event.MEDIA_TYPE:
        header = security_event.peek_header(spooled.body)
    elif spooled.media_type == update_report.MEDIA_TYPE:
        header = update_report.peek_header(spooled.body)
    else:
        raise InputError("unknown media type in the spool")
    return Outgoing(spooled.media_type, header.epoch, header.sequence, spooled.body)
