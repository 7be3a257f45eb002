"""Lanes of a device: a live sender per lane. What it spools, `drain` sends as late data.

A live lane never makes a new value wait behind an old one. What is not acknowledged while it is
young goes to the spool and from there, in ascending order, to the hub's late lane (REQ-OBS-009).
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import (
    AsepsisError,
    BackPressure,
    ChainBroken,
    Conflict,
    InputError,
    NotPermitted,
    SignatureInvalid,
    TransientError,
    TrustError,
)
from asepsis.edge.uplink.backoff import Backoff
from asepsis.edge.uplink.connection import HubConnection
from asepsis.edge.uplink.outgoing import Fate, InFlight, Outgoing
from asepsis.edge.uplink.spool import Spool

QUEUE_RECORDS_MAX: Final = 256
REFUSED_WAIT_S: Final = 5.0
"""Wait after the hub refused this identity, seconds; it may be released again."""
YOUNG_S: Final = 1.0
"""An older record with a newer one behind it is not the first over a new connection, seconds."""


Report = Callable[[Outgoing, Fate], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRule:
    """What is particular to one live lane.

    Attributes:
        warm_s: Longest silence, in seconds, after which the lane asks for something cheap, so that
            its connection stands when it is needed; None for lanes that are never silent.
        patience_s: Age up to which a record is still worth sending live, seconds: it is tried
            again instead of spooled. An alarm event must not become history at the first fault.
        probes: Whether the lane looks for a hub that takes no connection as often as it may;
            the others wait until one is heard.
    """

    warm_s: float | None = None
    patience_s: float = 0.0
    probes: bool = False


class LiveLane(threading.Thread):
    """Sends records of one lane in order over its own connection.

    Args:
        name: Lane name, also its path at the hub.
        connect: Opens a connection object; called again after renewal.
        spool: Where records go that are no longer young.
        in_flight: Shared with the drain.
        backoff: Waiting times of this lane.
        report: Told the fate of every record, from this thread.
        rule: What is particular to this lane.
        on_contact: Told that the hub acknowledged a record after it had been away.
    """

    def __init__(
        self,
        name: str,
        *,
        rule: LaneRule = LaneRule(),
        on_contact: Callable[[], None] = lambda: None,
        connect: Callable[[], HubConnection],
        spool: Spool,
        in_flight: InFlight,
        backoff: Backoff,
        report: Report,
    ) -> None:
        super().__init__(name=f"lane-{name}", daemon=True)
        self._rule = rule
        self._on_contact = on_contact
        self._again = threading.Event()
        self._path = f"/{name}"
        self._connect = connect
        self._spool = spool
        self._in_flight = in_flight
        self._backoff = backoff
        self._report = report
        self._records: queue.Queue[tuple[Outgoing, float] | None] = queue.Queue(QUEUE_RECORDS_MAX)
        self._closing = threading.Event()
        self.reachable = threading.Event()
        self.refused = threading.Event()
        self.renewed = threading.Event()

    def offer(self, record: Outgoing) -> None:
        """Hand over a record; never blocks on the network.

        If the lane is full the record goes to the spool, and if that is full too its fate is
        `LOST_SPOOL_FULL`, which the device annunciates.
        """
        self._in_flight.add(record)
        try:
            self._records.put_nowait((record, time.monotonic()))
        except queue.Full:
            self._to_spool(record)

    def close(self) -> None:
        """Spool what is still queued and end the thread."""
        self._closing.set()
        self._again.set()
        try:
            self._records.put_nowait(None)
        except queue.Full:
            return  # The thread is busy with records and sees `_closing` after the next one.

    def try_again(self) -> None:
        """Wait no longer: the hub was heard on another lane."""
        self._again.set()

    def run(self) -> None:
        """Send until closed; then spool what is left."""
        connection = self._connect()
        try:
            self._warm(connection)
            while not self._closing.is_set():
                try:
                    item = self._records.get(timeout=self._rule.warm_s)
                except queue.Empty:
                    self._warm(connection)
                    continue
                if item is None:
                    break
                if self.renewed.is_set():
                    self.renewed.clear()
                    connection.close()
                    connection = self._connect()
                record, offered_s = item
                while not self._send(connection, record, offered_s):
                    connection.close()
                    connection = self._connect()
        finally:
            connection.close()
            self._spool_rest()

    def _warm(self, connection: HubConnection) -> None:
        if self._rule.warm_s is None:
            return
        with contextlib.suppress(AsepsisError):
            # Whatever went wrong, the next record finds out and says so.
            connection.request("GET", "/metadata")

    def _send(self, connection: HubConnection, record: Outgoing, offered_s: float) -> bool:
        """Send one record; False when it is to be tried again over a new connection."""
        try:
            if connection.open() and self._is_overtaken(offered_s):
                # While nobody answered, newer ones came: what the ward sees first is the present.
                self._to_spool(record)
                self._spool_old()
                return True
            connection.request(
                "POST",
                self._path,
                body=record.body,
                headers=record.headers,
            )
        except Conflict:
            self._to_spool(record)  # Too old for a live lane: it is late data now.
            return True
        except (InputError, ChainBroken, SignatureInvalid, NotPermitted) as error:
            if isinstance(error, NotPermitted) and not record.source:
                return self._refused_us(connection, record, offered_s, error)
            # Final for this content; the hub has raised an alarm where that is due.
            self._finish(record, Fate.REFUSED)
            return True
        except (TransientError, TrustError) as error:
            return self._refused_us(connection, record, offered_s, error)
        self._backoff.succeeded()
        self.refused.clear()
        if not self.reachable.is_set():
            self.reachable.set()
            self._on_contact()
        self._finish(record, Fate.ACKNOWLEDGED)
        return True

    def _refused_us(
        self, connection: HubConnection, record: Outgoing, offered_s: float, error: AsepsisError
    ) -> bool:
        connection.close()
        self._again.clear()
        return self._lost_contact(record, offered_s, error, reached=connection.reached)

    def _lost_contact(
        self, record: Outgoing, offered_s: float, error: AsepsisError, *, reached: bool
    ) -> bool:
        """Wait; return False if the record is young enough to be tried again, True if spooled."""
        self.reachable.clear()
        left_s = self._rule.patience_s - (time.monotonic() - offered_s)
        if isinstance(error, TrustError):
            self.refused.set()
            wait_s, left_s = REFUSED_WAIT_S, 0.0
        elif self._rule.probes and not reached:
            wait_s = self._backoff.unreached()
        else:
            retry_after_s = error.retry_after_s if isinstance(error, TransientError) else 0
            wait_s = self._backoff.failed(retry_after_s=retry_after_s)
        if left_s > 0 and not self._closing.is_set():
            self._again.wait(min(wait_s, left_s))
            return False
        self._to_spool(record)
        self._again.wait(wait_s)
        self._spool_old()
        return True

    def _is_overtaken(self, offered_s: float) -> bool:
        age_s = time.monotonic() - offered_s
        return age_s > max(self._rule.patience_s, YOUNG_S) and not self._records.empty()

    def _spool_old(self) -> None:
        """Spool what grew old in the queue; the newest record may always go live."""
        while self._records.qsize() > 1:
            with self._records.mutex:
                oldest = self._records.queue[0]
            if oldest is not None and time.monotonic() - oldest[1] < self._rule.patience_s:
                return
            item = self._records.get()
            if item is None:
                self._closing.set()
                return
            self._to_spool(item[0])

    def _to_spool(self, record: Outgoing) -> None:
        try:
            self._spool.put(record.media_type, record.kept)
        except (BackPressure, TransientError):
            self._finish(record, Fate.LOST_SPOOL_FULL)
            return
        self._finish(record, Fate.SPOOLED)

    def _finish(self, record: Outgoing, fate: Fate) -> None:
        self._in_flight.remove(record)
        self._report(record, fate)

    def _spool_rest(self) -> None:
        while True:
            try:
                item = self._records.get_nowait()
            except queue.Empty:
                return
            if item is not None:
                self._to_spool(item[0])
