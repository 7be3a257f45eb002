"""Takes one message of a connection: parse, judge, hand over, answer. The front's one use case.

Each message ends in one of two ways: an answer for its sender, or nothing at all, whereupon the
connection is closed and the sender keeps the message. What the keeper says of a message decides.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.wire.hl7 import Header, MessageReader
from asepsis.core.wire.hl7_batch import Batches, answer_batch, refuse_batch
from asepsis.edge.gateway import replies, rules
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.handover import (
    NAME_BYTES_MAX,
    Batcher,
    Message,
    Messages,
    Outcome,
    error_of,
)
from asepsis.edge.gateway.policy import Peer


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back for one message.

    Attributes:
        body: The acknowledgement, or None where the sender wants none.
    """

    body: bytes | None


_NO_ANSWER: Final = Answer(None)
NO_LEASE: Final = "no-lease"
"""Reason of an acknowledgement that a gateway of a pair withholds: its lease is over."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Nothing goes back, and the connection closes: the sender keeps its message.

    Attributes:
        reason: Error code.
    """

    reason: str


Done = Callable[[Answer | Withheld], None]


class _Waiting(NamedTuple):
    """A message that the keeper has not spoken of yet."""

    judged: rules.Judged
    done: Done


class Desk:
    """Where the connections bring their messages.

    Args:
        say: Says something to the keeper.
        findings: Told what people should know.
        wall: Wall time, nanoseconds.
        loop: The event loop.
        epoch: Boot epoch of this start, for the control ids of answers.
        holds: Whether this gateway may say "accepted" now.
    """

    def __init__(
        self,
        *,
        say: Callable[[Messages], None],
        findings: Findings,
        wall: Callable[[], int],
        loop: asyncio.AbstractEventLoop,
        epoch: int,
        holds: Callable[[], bool] = lambda: True,
    ) -> None:
        self._holds = holds
        self._findings = findings
        self._wall = wall
        self._epoch = epoch
        self._waiting: dict[int, _Waiting] = {}
        self._number = 0
        self._answers = 0
        self._batcher = Batcher[Message](
            loop, lambda found: say(Messages(found)), lambda found: len(found.body)
        )

    def take(self, peer: Peer, reader: MessageReader, payload: bytes, done: Done) -> None:
        """Take one message of a peer; `done` is called once, now or later.

        Args:
            peer: The sender's policy.
            reader: The connection's reader.
            payload: The message as it came out of its frame.
            done: Told the answer.
        """
        try:
            judged = rules.judge(reader.parse(payload), peer)
            _check_identity(judged)
        except InputError as error:
            self._refuse(peer, payload, error, done)
            return
        for certainty, count in judged.doubtful.items():
            self._findings.note(
                Finding.DOUBTFUL_TIME, peer.name, certainty=certainty.value, values=count
            )
        findings = rules.findings(judged, peer, reused=False, wall_ns=self._wall())
        self._number += 1
        self._waiting[self._number] = _Waiting(judged, done)
        self._batcher.add(
            Message(
                self._number,
                peer.name,
                judged.identity,
                findings.peer.devices,
                findings.offset_min,
                findings.arrived_at_ns,
                int(findings.found),
                payload,
            )
        )

    def settle(self, outcome: Outcome) -> None:
        """Answer the sender of a message that the keeper speaks of.

        Raises:
            FramingError: Nobody waits for it, or it makes no sense.
        """
        waiting = self._waiting.pop(outcome.number, None)
        if waiting is None:
            raise FramingError("the keeper speaks of a message that nobody sent")
        if outcome.kind == "accept" and not self._holds():
            # It is durable here and goes to the hub; its sender gives it to the other gateway too.
            waiting.done(Withheld(NO_LEASE))
        elif outcome.kind == "accept":
            waiting.done(self._accept(waiting.judged))
        elif outcome.kind == "withheld":
            waiting.done(Withheld(outcome.text))
        else:
            error = error_of(outcome.kind, outcome.text)
            if not isinstance(error, InputError):
                raise FramingError("only an error of input refuses a message")
            waiting.done(Answer(self._refusal(waiting.judged.header, error)))

    def oversized(self, peer: Peer, head: bytes, error: InputError) -> Answer | Withheld:
        """Return the answer to a message of which only the beginning was read."""
        self._findings.note(Finding.OVERSIZED, peer.name)
        return self._negative(head, error)

    def refuse_batch(self, peer: Peer, payload: bytes, error: InputError) -> Answer | Withheld:
        """Return the answer to a batch of which nothing was taken."""
        self._findings.note(Finding.MALFORMED, peer.name, code=error.code, reason=str(error))
        try:
            own = self._control_id()
            return Answer(refuse_batch(payload, error, control_id=own, clock=self._wall))
        except InputError:
            return Withheld(error.code)

    def answer_batch(self, batches: Batches, answers: Sequence[bytes | None]) -> bytes:
        """Return the batch of acknowledgements of a batch."""
        own = self._control_id()
        return answer_batch(batches, answers, control_id=own, clock=self._wall)

    def _refuse(self, peer: Peer, payload: bytes, error: InputError, done: Done) -> None:
        refused = isinstance(error, replies.Refused)
        self._findings.note(
            Finding.REFUSED if refused else Finding.MALFORMED,
            peer.name,
            code=error.error.code if isinstance(error, replies.Refused) else error.code,
            reason=str(error),
        )
        done(self._negative(payload, error))

    def _negative(self, payload: bytes, error: InputError) -> Answer | Withheld:
        try:
            return Answer(self._refusal(Header.salvage(payload), error))
        except InputError:
            return Withheld(error.code)  # Nobody could match an answer without a header.

    def _refusal(self, header: Header, error: InputError) -> bytes | None:
        return replies.negative(header, error, control_id=self._control_id(), clock=self._wall)

    def _accept(self, judged: rules.Judged) -> Answer:
        accept = judged.accept
        if accept is None:
            return _NO_ANSWER
        own = self._control_id()
        return Answer(replies.positive(accept, judged.control, control_id=own, clock=self._wall))

    def _control_id(self) -> str:
        self._answers += 1
        return f"{self._epoch}-{self._answers}"


def _check_identity(judged: rules.Judged) -> None:
    """Refuse a name of a message that the keeper would not take.

    Raises:
        LimitExceeded: It is too long.
    """
    if len(judged.identity) > NAME_BYTES_MAX:
        raise LimitExceeded("MSH-3, MSH-4 and MSH-10 are too long")
