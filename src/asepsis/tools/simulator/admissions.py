"""The hospital's patient administration: admits and transfers by ADT over MLLP, with a ledger.

It keeps a message until it is acknowledged, as a real system does: no answer and a closed
connection mean that it sends the same bytes again.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from asepsis.core.errors import Unavailable
from asepsis.core.model.patient import Place
from asepsis.tools.simulator import ledger
from asepsis.tools.simulator.cast import AUTHORITY, Person, place
from asepsis.tools.simulator.legacy_monitor import ACCEPTED, Control, MllpSender, stamp
from asepsis.tools.simulator.legacy_process import AdtOrder, adt_message

ADDRESS: Final = "127.0.0.10"
SENDER: Final = ("HIS", "DEMO")
"""MSH-3 and MSH-4."""
PAUSE_S: Final = 0.3
ATTEMPTS_MAX: Final = 20


class Admissions:
    """Sends ADT messages, one after the other.

    Args:
        port: Port of the gateway.
        book: Its ledger.
        wall: Wall clock, nanoseconds since 1970.

    Resource handling: keeps one connection; `close` releases it and the ledger.
    """

    def __init__(self, port: int, *, book: Path, wall: Callable[[], int]) -> None:
        self._sender = MllpSender(("127.0.0.1", port), source=ADDRESS)
        self._ledger = ledger.LedgerWriter(book)
        self._control = Control()
        self._wall = wall

    def admit(self, person: Person) -> None:
        """Send A01; errors as `_send`."""
        self._send("A01", person, place(person.bed))

    def transfer(self, person: Person, *, to: Place) -> None:
        """Send A02: the patient lies at another bed now; errors as `_send`."""
        self._send("A02", person, to, prior=place(person.bed))

    def close(self) -> None:
        """Close the connection and the ledger."""
        self._sender.close()
        self._ledger.close()

    def _send(self, event: str, person: Person, at: Place, *, prior: Place | None = None) -> None:
        """Send a message until it is accepted.

        Raises:
            Unavailable: Nobody took it.
        """
        order = AdtOrder(
            event=event,
            patient=person.number,
            authority=AUTHORITY,
            name=(person.family, person.given),
            birth_date=person.born,
            place=_parts(at),
            prior=_parts(prior) if prior else (),
        )
        now = datetime.fromtimestamp(self._wall() / 1e9, UTC)
        control = self._control.next(now)
        message = adt_message(order, SENDER, control=control, at=stamp(now))
        key = ledger.message_key(message)
        self._ledger.write(ledger.MADE, key)
        self._sender.waiting.append((control, message))
        answer = ""
        for _ in range(ATTEMPTS_MAX):
            _, answer = self._sender.exchange()
            if answer in ACCEPTED:
                self._ledger.write(ledger.ACKED, key)
                return
            if answer:
                break
            time.sleep(PAUSE_S)
        self._sender.waiting.clear()
        raise Unavailable(f"the gateway answered {answer or 'nothing'} to {event}")


def _parts(where: Place) -> tuple[str, ...]:
    parts = (where.point_of_care, where.room, where.bed, where.facility)
    return parts if where.facility else parts[:3]
