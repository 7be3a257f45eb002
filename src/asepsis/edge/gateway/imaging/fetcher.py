"""Brings instances to a PACS: the half that holds the gateway's key and asks the hub.

Nothing is stored here: the hub keeps an instance until the PACS's word has reached it, and a
gateway that dies asks for everything undecided again.
"""

import hashlib
import json
import queue
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import (
    AsepsisError,
    FramingError,
    InputError,
    TransientError,
    TrustError,
    Unavailable,
)
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.imaging.delivery import FRAME_BYTES_MAX, HEAD, FrameType, Outcome
from asepsis.edge.gateway.imaging.imaging_findings import ImagingFinding
from asepsis.edge.gateway.imaging.wado import Item, RetrieveConnection
from asepsis.edge.uplink.backoff import Backoff

WAIT_S: Final = 10
"""How long the hub may keep a question open, seconds; below the connection's own limit."""
AHEAD_MAX: Final = 64
"""Instances that are known here and not yet asked for."""
WINDOW: Final = 4
"""Instances of a lane on their way at once: one at the PACS, the others fetched behind it."""
WINDOW_BYTES: Final = 2 << 20
"""Their bytes: what the other half takes unread, so that no transfer waits for the PACS."""
REPORTED_MAX: Final = 8
"""Outcomes of one report; fewer go as soon as nothing else is to be done."""
_RECEIVED_BYTES: Final = 65_536


class Destination:
    """What all lanes of one destination share.

    Args:
        name: Its name at the hub.
        connect: Returns a connection to the hub that was not opened yet.
        backoff: Returns waiting times of one thread.
        tries: How often an instance is offered at which the PACS fails.
        findings: Told what people should know.

    Attributes:
        items: What is to be brought, in the hub's order.
        ended: Set when everything ends.
        lost: Set when the half that speaks DICOM is gone.
    """

    def __init__(
        self,
        name: str,
        *,
        connect: Callable[[], RetrieveConnection],
        backoff: Callable[[], Backoff],
        tries: int,
        findings: Findings,
    ) -> None:
        self.name = name
        self.connect = connect
        self.backoff = backoff
        self.tries = tries
        self.findings = findings
        self.items: queue.Queue[Item] = queue.Queue(AHEAD_MAX)
        self.ended = threading.Event()
        self.lost = threading.Event()

    def fetch_forever(self) -> None:
        """Ask the hub what is to be brought, until the end."""
        connection, backoff, after = self.connect(), self.backoff(), 0
        while not self.ended.is_set():
            try:
                found = connection.items(self.name, after=after, wait_s=WAIT_S)
                backoff.succeeded()
            except AsepsisError as error:
                self.findings.note(ImagingFinding.HUB_AWAY, self.name, code=error.code)
                connection.close()
                connection = self.connect()
                self.ended.wait(backoff.failed())
                continue
            for item in found:
                after = max(after, item.seq)
                self._put(item)
        connection.close()

    def next(self, *, wait: bool) -> Item | None:
        """Return the next instance; None at the end, or if there is none and nobody waits."""
        while not self.ended.is_set():
            try:
                return self.items.get(wait, timeout=0.2)
            except queue.Empty:
                if not wait:
                    break
        return None

    def _put(self, item: Item) -> None:
        while not self.ended.is_set():
            try:
                self.items.put(item, timeout=0.2)
            except queue.Full:
                continue
            else:
                return


@dataclass(slots=True)
class _Offer:
    """One instance that is to be brought.

    Attributes:
        item: The instance.
        tries: How often it was offered.
        broken: What went wrong on its way; then the other half's word only ends it.
    """

    item: Item
    tries: int = 0
    broken: Outcome | None = None


class Lane:
    """One connection to the hub, one association with the PACS.

    The PACS has one instance at a time; while it stores it, the next ones are fetched already.

    Args:
        destination: What it shares with the others.
        sender: Conversation with the half that speaks DICOM.
    """

    def __init__(self, destination: Destination, sender: socket.socket) -> None:
        self._destination = destination
        self._sender = sender
        self._received = bytearray()
        self._connection = destination.connect()
        self._backoff = destination.backoff()
        self._untold: list[dict[str, object]] = []
        self._open: deque[_Offer] = deque()
        self._again: deque[_Offer] = deque()

    def run(self) -> None:
        """Bring instances until the end."""
        try:
            while not self._destination.ended.is_set():
                self._step()
        except OSError:
            self._destination.lost.set()
        finally:
            self._connection.close()
            self._sender.close()

    def _step(self) -> None:
        """Take an outcome, or offer an instance.

        Raises:
            OSError: The other half is gone.
        """
        if len(self._open) >= WINDOW or (self._open and self._is_answered()):
            self._settle()
            return
        offer = self._next()
        if offer is None:
            if self._open:
                self._settle()
            else:
                self._tell()
        elif self._open and self._on_their_way(offer) > WINDOW_BYTES:
            self._again.appendleft(offer)
            self._settle()
        else:
            self._offer(offer)

    def _on_their_way(self, offer: _Offer) -> int:
        lengths = [each.item.length for each in (*self._open, offer)]
        return sum(WINDOW_BYTES + 1 if length is None else length for length in lengths)

    def _next(self) -> _Offer | None:
        if self._again:
            return self._again.popleft()
        item = self._destination.next(wait=not (self._open or self._untold))
        return None if item is None else _Offer(item)

    def _offer(self, offer: _Offer) -> None:
        """Hand an instance over; what fails before its first byte is decided at once.

        Raises:
            OSError: The other half is gone.
        """
        offer.tries += 1
        offer.broken = None
        digest = hashlib.sha256()
        begun = False
        try:
            for piece in self._connection.retrieve(offer.item.path):
                digest.update(piece)
                begun = True
                self._frame(FrameType.PIECE, piece)
            if not begun:
                raise FramingError("an instance without a byte")
        except (TransientError, TrustError) as error:
            offer.broken = Outcome("retry", error.code, str(error))
        except InputError as error:
            offer.broken = Outcome("refused", error.code, str(error))
        if offer.broken is None and digest.hexdigest() != offer.item.sha256:
            offer.broken = Outcome("retry", "ASP-204", "not what the hub had stored")
        if begun:
            self._frame(FrameType.WHOLE if offer.broken is None else FrameType.BROKEN, b"")
            self._open.append(offer)
        elif offer.broken is not None:
            self._decide([(offer, offer.broken)])

    def _settle(self) -> None:
        """Wait for the word about the instance that was offered first, and take what follows it.

        Raises:
            OSError: The other half is gone.
        """
        found: list[tuple[_Offer, Outcome]] = []
        while self._open and len(found) < REPORTED_MAX and (not found or self._is_answered()):
            outcome = self._heard()
            offer = self._open.popleft()
            found.append((offer, offer.broken or outcome))
        self._decide(found)

    def _decide(self, found: Sequence[tuple[_Offer, Outcome]]) -> None:
        """Note what became of instances; what is to be tried again is told first, and waits."""
        again: list[_Offer] = []
        for offer, given in found:
            outcome = given
            failing = outcome.outcome == "retry" and not outcome.code.startswith("ASP")
            if failing and offer.tries >= self._destination.tries:
                outcome = Outcome("refused", outcome.code, outcome.text)
            if outcome.outcome == "retry":
                again.append(offer)
                kind = ImagingFinding.PACS_AWAY
                self._destination.findings.note(kind, self._destination.name, code=outcome.code)
            self._untold.append(
                {
                    "seq": offer.item.seq,
                    "outcome": outcome.outcome,
                    "code": outcome.code,
                    "text": outcome.text,
                }
            )
        if again:
            if self._tell():
                self._again.extend(again)
                self._destination.ended.wait(self._backoff.failed())
        else:
            self._backoff.succeeded()
            if len(self._untold) >= REPORTED_MAX:
                self._tell()

    def _tell(self) -> bool:
        """Tell the hub what it was not told yet; return as `_report`."""
        documents, self._untold = self._untold, []
        only_retries = all(one["outcome"] == "retry" for one in documents)
        return not documents or self._report(documents, only_retries=only_retries)

    def _frame(self, kind: FrameType, data: bytes) -> None:
        head = HEAD.pack(kind, len(data))
        sent = self._sender.sendmsg([head, data])
        if sent < len(head):
            self._sender.sendall(head[sent:])
        self._sender.sendall(memoryview(data)[max(0, sent - len(head)) :])

    def _is_answered(self) -> bool:
        return bool(self._received or select.select([self._sender], [], [], 0)[0])

    def _heard(self) -> Outcome:
        kind, length = HEAD.unpack(self._take(HEAD.size))
        if kind != FrameType.OUTCOME or length > FRAME_BYTES_MAX:
            raise ConnectionError("the half that speaks DICOM says what it may not")
        try:
            outcome, code, text = json.loads(self._take(length))
        except (ValueError, TypeError) as error:
            raise ConnectionError("the half that speaks DICOM says what it may not") from error
        return Outcome(str(outcome), str(code)[:20], str(text)[:500])

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            data = self._sender.recv(_RECEIVED_BYTES)
            if not data:
                raise ConnectionError("the half that speaks DICOM is gone")
            self._received += data
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    def _report(self, documents: Sequence[dict[str, object]], *, only_retries: bool) -> bool:
        """Tell the hub; return whether the instances are still ours to bring.

        What cannot be told is not decided at the hub, and comes again after its next start.
        """
        while not self._destination.ended.is_set():
            try:
                self._connection.report(self._destination.name, documents)
            except TransientError:
                self._renew()
                if only_retries:
                    return True
                self._destination.ended.wait(self._backoff.failed())
            except (InputError, TrustError) as error:
                self._renew()
                self._destination.findings.note(
                    ImagingFinding.REFUSED_BY_HUB, self._destination.name, code=error.code
                )
                return False
            else:
                return True
        return False

    def _renew(self) -> None:
        self._connection.close()
        self._connection = self._destination.connect()


def gone() -> Unavailable:
    """Return the error of a family whose half that speaks DICOM is gone."""
    return Unavailable("the process that speaks DICOM has ended")
