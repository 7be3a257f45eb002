"""Answers questions of modalities behind other gateways: the half with the gateway's key.

It takes a question from the hub, hands it to the half that speaks DICOM, and brings the pages of
the answer to the hub as they come. It reads nothing but what these two say.
"""

import socket
import struct
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from asepsis.core.errors import AsepsisError, BackPressure, InputError, TransientError
from asepsis.core.wire import relay
from asepsis.core.wire.relay import Page
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.imaging.imaging_findings import ImagingFinding
from asepsis.edge.gateway.imaging.relay_connection import RelayConnection
from asepsis.edge.uplink.backoff import Backoff

HEAD: Final = struct.Struct(">BI")
FRAME_BYTES_MAX: Final = relay.ASKED_BYTES_MAX
WAIT_S: Final = 10
TRIES: Final = 30
"""How often a page is sent that the hub cannot take now; each try waits there for room."""


class Frame(IntEnum):
    """Frames between the two halves."""

    QUESTION = 1
    STOP = 2
    PAGE = 3
    BYTES = 4
    LAST = 5


class Lane:
    """One connection to the hub, one question at a time.

    Args:
        archive: What it answers as, in the hub's words.
        half: Conversation with the half that speaks DICOM.
        connect: Returns a connection to the hub that was not opened yet.
        backoff: Waiting times.
        findings: Told what people should know.

    Attributes:
        ended: Set when everything ends.
        lost: Set when the other half is gone.
    """

    def __init__(
        self,
        archive: str,
        half: socket.socket,
        *,
        connect: Callable[[], RelayConnection],
        backoff: Backoff,
        findings: Findings,
    ) -> None:
        self._archive = archive
        self._half = half
        self._reader = half.makefile("rb")
        self._connect = connect
        self._connection = connect()
        self._backoff = backoff
        self._findings = findings
        self.ended = threading.Event()
        self.lost = threading.Event()

    def run(self) -> None:
        """Answer until the end."""
        try:
            while not self.ended.is_set():
                self._one()
        except OSError:
            self.lost.set()
        finally:
            self._connection.close()
            self._reader.close()
            self._half.close()

    def _one(self) -> None:
        """Take one question and bring its answer.

        Raises:
            OSError: The other half is gone.
        """
        try:
            asked = self._connection.take(self._archive, wait_s=WAIT_S)
            self._backoff.succeeded()
        except AsepsisError as error:
            self._findings.note(ImagingFinding.HUB_AWAY, self._archive, code=error.code)
            self._connection.close()
            self._connection = self._connect()
            self.ended.wait(self._backoff.failed())
            return
        if asked is None:
            return
        body = relay.encode(asked)
        self._half.sendall(HEAD.pack(Frame.QUESTION, len(body)) + body)
        self._bring(asked.id)

    def _bring(self, question: str) -> None:
        number, wanted, last = 0, True, False
        while not last:
            kind, data = self._frame()
            last = kind == Frame.LAST
            if not wanted:
                continue  # What was on its way when nobody waited any more.
            number += 1
            wanted = self._add(question, number, data if kind == Frame.BYTES else _page(data))
            if not (wanted or last):
                self._half.sendall(HEAD.pack(Frame.STOP, 0))

    def _add(self, question: str, number: int, page: Page | bytes) -> bool:
        """Bring one page; return whether somebody still waits."""
        for _ in range(TRIES):
            try:
                self._connection.add(self._archive, question, number=number, page=page)
            except BackPressure:
                continue  # It waited at the hub already.
            except TransientError:
                self._connection.close()
                if self.ended.wait(self._backoff.failed()):
                    return False
            except AsepsisError as error:
                if not isinstance(error, InputError):
                    self._findings.note(ImagingFinding.REFUSED_BY_HUB, self._archive)
                return False
            else:
                self._backoff.succeeded()
                return True
        return False

    def _frame(self) -> tuple[int, bytes]:
        head = self._reader.read(HEAD.size)
        if len(head) < HEAD.size:
            raise ConnectionError("the half that speaks DICOM is gone")
        kind, length = HEAD.unpack(head)
        if length > FRAME_BYTES_MAX:
            raise ConnectionError("the half that speaks DICOM says what it may not")
        return kind, self._reader.read(length)


def _page(data: bytes) -> Page:
    try:
        return relay.decode_page(data)
    except InputError as error:
        raise ConnectionError("the half that speaks DICOM says what it may not") from error
