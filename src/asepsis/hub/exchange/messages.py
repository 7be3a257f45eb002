"""HL7 v2 messages: the original bytes, durable, then the acknowledgement.

Only the header is looked at: what a message says is the business of who consumes it.

Source: HL7 v2.5.1 chapter 2.9 (acknowledgement); REQ-MSG.
"""

from dataclasses import dataclass

from asepsis.core.errors import InputError, NotPermitted
from asepsis.core.journal.ports import Append, Link
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_ack import AckCode, acknowledge, reaction
from asepsis.core.wire.hl7_header import Header
from asepsis.core.wire.message_record import KIND_MESSAGE
from asepsis.hub.access.principal import Principal
from asepsis.hub.exchange.intake import Intake
from asepsis.hub.exchange.message_batches import message_type, source_type


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the sender.

    Attributes:
        status: HTTP status: 200 for a positive acknowledgement, 400 for a negative one.
        body: The ACK message.
    """

    status: int
    body: bytes


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
            NotPermitted: Only a named source brings messages of this type.
            InputError: Not even a header can be read, so nobody could match an acknowledgement.
            TransientError: The journal is full or busy; nothing was stored and nothing is
                acknowledged, so the sender tries again.
        """
        control_id = f"{epoch}-{sequence}"
        try:
            message = Message.parse(body)
            header, kind = message.header, message_type(message)
        except InputError as error:
            return self._refusal(body, error, control_id)
        try:
            self.intake.directory.check_source(principal.name, source_type(message, kind))
        except NotPermitted as error:
            await self.intake.refused(principal, kind, error)
            raise
        await self.intake.journal.append(
            Append(
                lane=Lane.MESSAGE,
                account=Account.MESSAGE,
                producer=principal.name,
                epoch=epoch,
                sequence=sequence,
                kind=KIND_MESSAGE,
                body=body,
                received_at_ns=self.intake.clocks.wall(),
                link=Link.of(body),
            )
        )
        code = AckCode.COMMIT_ACCEPT if header.enhanced else AckCode.APPLICATION_ACCEPT
        clock = self.intake.clocks.wall
        return Answer(200, acknowledge(header, code, control_id=control_id, clock=clock))

    def _refusal(self, body: bytes, error: InputError, control_id: str) -> Answer:
        header = Header.salvage(body)
        answer = reaction(error, commit=header.enhanced)
        if answer is None:
            raise error
        code, reason = answer
        clock = self.intake.clocks.wall
        ack = acknowledge(header, code, control_id=control_id, clock=clock, error=reason)
        return Answer(400, ack)
