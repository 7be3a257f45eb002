"""Brings instances to a PACS: the half that holds the gateway's key and asks the hub.

Nothing is stored here: the hub keeps an instance until the PACS's word has reached it, and a
gateway that dies asks for everything undecided again.
"""

import hashlib
import json
import queue
import socket
import threading
from collections.abc import Callable
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

    def next(self) -> Item | None:
        """Return the next instance; None at the end."""
        while not self.ended.is_set():
            try:
                return self.items.get(timeout=0.2)
            except queue.Empty:
                continue
        return None

    def _put(self, item: Item) -> None:
        while not self.ended.is_set():
            try:
                self.items.put(item, timeout=0.2)
            except queue.Full:
                continue
            else:
                return


class Lane:
    """One connection to the hub, one association with the PACS, one instance at a time.

    Args:
        destination: What it shares with the others.
        sender: Conversation with the half that speaks DICOM.
    """

    def __init__(self, destination: Destination, sender: socket.socket) -> None:
        self._destination = destination
        self._sender = sender
        self._answers = sender.makefile("rb")
        self._connection = destination.connect()
        self._backoff = destination.backoff()

    def run(self) -> None:
        """Bring instances until the end."""
        try:
            while (item := self._destination.next()) is not None:
                self._bring(item)
        except OSError:
            self._destination.lost.set()
        finally:
            self._connection.close()
            self._answers.close()
            self._sender.close()

    def _bring(self, item: Item) -> None:
        """Bring one instance until it is decided.

        Raises:
            OSError: The other half is gone.
        """
        tries = 0
        while not self._destination.ended.is_set():
            outcome = self._offer(item)
            tries += 1
            failing = outcome.outcome == "retry" and not outcome.code.startswith("ASP")
            if failing and tries >= self._destination.tries:
                outcome = Outcome("refused", outcome.code, outcome.text)
            if not self._report(item, outcome):
                return
            if outcome.outcome != "retry":
                return
            kind = ImagingFinding.PACS_AWAY
            self._destination.findings.note(kind, self._destination.name, code=outcome.code)
            self._destination.ended.wait(self._backoff.failed())

    def _offer(self, item: Item) -> Outcome:
        """Offer an instance once.

        Raises:
            OSError: The other half is gone.
        """
        digest = hashlib.sha256()
        begun = False
        try:
            for piece in self._connection.retrieve(item.path):
                digest.update(piece)
                begun = True
                self._frame(FrameType.PIECE, piece)
            if not begun:
                raise FramingError("an instance without a byte")
        except (TransientError, TrustError) as error:
            return self._broken(begun, Outcome("retry", error.code, str(error)))
        except InputError as error:
            return self._broken(begun, Outcome("refused", error.code, str(error)))
        if digest.hexdigest() != item.sha256:
            return self._broken(begun, Outcome("retry", "ASP-204", "not what the hub had stored"))
        self._frame(FrameType.WHOLE, b"")
        outcome = self._heard()
        if outcome.outcome == "accepted":
            self._backoff.succeeded()
        return outcome

    def _broken(self, begun: bool, outcome: Outcome) -> Outcome:  # noqa: FBT001 - of one caller
        if begun:
            self._frame(FrameType.BROKEN, b"")
            self._heard()
        return outcome

    def _frame(self, kind: FrameType, data: bytes) -> None:
        self._sender.sendall(HEAD.pack(kind, len(data)) + data)

    def _heard(self) -> Outcome:
        head = self._answers.read(HEAD.size)
        if len(head) < HEAD.size:
            raise ConnectionError("the half that speaks DICOM is gone")
        kind, length = HEAD.unpack(head)
        if kind != FrameType.OUTCOME or length > FRAME_BYTES_MAX:
            raise ConnectionError("the half that speaks DICOM says what it may not")
        try:
            outcome, code, text = json.loads(self._answers.read(length))
        except (ValueError, TypeError) as error:
            raise ConnectionError("the half that speaks DICOM says what it may not") from error
        return Outcome(str(outcome), str(code)[:20], str(text)[:500])

    def _report(self, item: Item, outcome: Outcome) -> bool:
        """Tell the hub; return whether the instance is still ours to bring.

        What cannot be told is not decided at the hub, and comes again after its next start.
        """
        document: dict[str, object] = {
            "seq": item.seq,
            "outcome": outcome.outcome,
            "code": outcome.code,
            "text": outcome.text,
        }
        while not self._destination.ended.is_set():
            try:
                self._connection.report(self._destination.name, document)
            except TransientError:
                self._renew()
                if outcome.outcome == "retry":
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
