"""The hospital's patient administration: admits and transfers by ADT over MLLP, with a ledger.

It keeps a message until it is acknowledged, as a real system does: no answer and a closed
connection mean that it sends the same bytes again.

Source: HL7 v2.5.1 chapter 3 (A01, A02, A03); MLLP Release 1.
"""

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from asepsis.core.errors import Unavailable
from asepsis.core.model.patient import Place
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.mllp import FrameReader, frame
from asepsis.tools.simulator import ledger
from asepsis.tools.simulator.cast import AUTHORITY, Person, place

ADDRESS: Final = "127.0.0.10"
APPLICATION: Final = "HIS"
FACILITY: Final = "DEMO"
ANSWER_S: Final = 10.0
PAUSE_S: Final = 0.3
ATTEMPTS_MAX: Final = 20
POSITIVE: Final = frozenset({"AA", "CA"})


class Admissions:
    """Sends ADT messages, one after the other.

    Args:
        port: Port of the gateway.
        book: Its ledger.
        wall: Wall clock, nanoseconds since 1970.

    Resource handling: keeps one connection; `close` releases it and the ledger.
    """

    def __init__(self, port: int, *, book: Path, wall: Callable[[], int]) -> None:
        self._port = port
        self._ledger = ledger.LedgerWriter(book)
        self._wall = wall
        self._number = 0
        self._socket: socket.socket | None = None
        self._frames = FrameReader()

    def admit(self, person: Person) -> None:
        """Send A01; errors as `_send`."""
        self._send("A01", person, place(person.bed))

    def transfer(self, person: Person, *, to: Place) -> None:
        """Send A02: the patient lies at another bed now; errors as `_send`."""
        self._send("A02", person, to, before=place(person.bed))

    def close(self) -> None:
        """Close the connection and the ledger."""
        self._hang_up()
        self._ledger.close()

    def _send(self, event: str, person: Person, at: Place, *, before: Place | None = None) -> None:
        """Send a message until it is accepted.

        Raises:
            Unavailable: Nobody took it.
        """
        self._number += 1
        when = datetime.fromtimestamp(self._wall() / 1e9, UTC).strftime("%Y%m%d%H%M%S+0000")
        body = message(
            event, person, at, before=before, when=when, control=f"{when[:14]}-{self._number}"
        )
        key = ledger.message_key(body)
        self._ledger.write(ledger.MADE, key)
        answer = ""
        for _ in range(ATTEMPTS_MAX):
            answer = self._exchange(body)
            if answer:
                break
            time.sleep(PAUSE_S)
        if answer not in POSITIVE:
            raise Unavailable(f"the gateway answered {answer or 'nothing'} to {event}")
        self._ledger.write(ledger.ACKED, key)

    def _exchange(self, body: bytes) -> str:
        """Send once; return MSA-1, or "" if there was no answer."""
        try:
            line = self._socket = self._socket or socket.create_connection(
                ("127.0.0.1", self._port), ANSWER_S, source_address=(ADDRESS, 0)
            )
            line.sendall(frame(body))
            while (payload := self._frames.next_frame()) is None:
                block = line.recv(65_536)
                if not block:
                    self._hang_up()
                    return ""
                self._frames.feed(block)
        except OSError:
            self._hang_up()
            return ""
        return Message.parse(payload).get("MSA-1")

    def _hang_up(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None
        self._frames = FrameReader()


def message(
    event: str, person: Person, at: Place, *, before: Place | None, when: str, control: str
) -> bytes:
    """Write an ADT message.

    Args:
        event: Trigger event, such as `A01`.
        person: The patient.
        at: PV1-3, where the patient lies now.
        before: PV1-6, where the patient lay; None at admission.
        when: MSH-7 and EVN-2, with offset.
        control: MSH-10.
    """
    way = f"{APPLICATION}|{FACILITY}|ASEPSIS|{FACILITY}"
    name = f"{person.family}^{person.given}"
    segments = (
        f"MSH|^~\\&|{way}|{when}||ADT^{event}^ADT_{event}|{control}|P|2.5.1",
        f"EVN|{event}|{when}",
        f"PID|1||{person.number}^^^{AUTHORITY}^MR||{name}||{person.born}|{person.sex}",
        f"PV1|1|I|{_pl(at)}|||{_pl(before) if before else ''}",
    )
    return ("\r".join(segments) + "\r").encode("ascii")


def _pl(where: Place) -> str:
    return f"{where.point_of_care}^{where.room}^{where.bed}^{where.facility}".rstrip("^")
