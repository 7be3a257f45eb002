"""HL7 v2 messages: the original bytes, durable, then the acknowledgement.

Only the header is looked at: what a message says is the business of who consumes it.

Source: HL7 v2.5.1 chapter 2.9 (acknowledgement); REQ-MSG.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.journal.ports import Append
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_header import Header
from asepsis.hub.access.principal import Principal
from asepsis.hub.exchange.intake import Intake

KIND: Final = "hl7-v2"
_ACCEPT: Final = b"AA"
_ERROR: Final = b"AE"
_CR: Final = b"\r"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the sender.

    Attributes:
        status: HTTP status: 200 for a positive acknowledgement, 400 for a negative one.
        body: The ACK message.
    """

    status: int
    body: bytes


def acknowledge(header: Header, code: bytes, *, control_id: bytes, now: bytes) -> bytes:
    """Write an ACK in the delimiters of the message it answers.

    Args:
        header: MSH of the message.
        code: MSA-1: AA or AE.
        control_id: MSH-10 of the ACK itself.
        now: MSH-7, `YYYYMMDDHHMMSS`.

    Source: HL7 v2.5.1 sections 2.9.2 and 2.14.8.
    """
    bar = header.delimiters.field
    msh = bar.join(
        (
            b"MSH",
            header.raw(2),
            header.raw(5),
            header.raw(6),
            header.raw(3),
            header.raw(4),
            now,
            b"",
            b"ACK",
            control_id,
            header.raw(11),
            header.raw(12),
        )
    )
    return msh + _CR + bar.join((b"MSA", code, header.raw(10))) + _CR


@dataclass(slots=True)
class MessageLane:
    """Takes HL7 v2 on `/hl7v2`.

    Attributes:
        intake: What the lanes share.
    """

    intake: Intake

    async def receive(
        self, principal: Principal, body: bytes, *, epoch: int, sequence: int
    ) -> Answer:
        """Take one message.

        Raises:
            InputError: Not even a header can be read, so nobody could match an acknowledgement.
            TransientError: The journal is full or busy; nothing was stored and nothing is
                acknowledged, so the sender tries again.
        """
        received_at_ns = self.intake.clocks.wall()
        stamp = _timestamp(received_at_ns)
        own_id = b"%d-%d" % (epoch, sequence)
        try:
            header = Message.parse(body).header
        except InputError:
            broken = Header.salvage(body)
            return Answer(400, acknowledge(broken, _ERROR, control_id=own_id, now=stamp))
        await self.intake.journal.append(
            Append(
                lane=Lane.MESSAGE,
                account=Account.MESSAGE,
                producer=principal.name,
                epoch=epoch,
                sequence=sequence,
                kind=KIND,
                body=body,
                received_at_ns=received_at_ns,
            )
        )
        return Answer(200, acknowledge(header, _ACCEPT, control_id=own_id, now=stamp))


def _timestamp(wall_ns: int) -> bytes:
    """Return UTC as HL7 writes it, `YYYYMMDDHHMMSS+0000`."""
    moment = datetime.fromtimestamp(wall_ns // 1_000_000_000, tz=UTC)
    return moment.strftime("%Y%m%d%H%M%S+0000").encode()
