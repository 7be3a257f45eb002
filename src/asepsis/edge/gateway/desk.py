"""Takes one message: parse, judge, know, make durable, forward, answer. The gateway's one use case.

Each message ends in one of two ways: an answer for its sender, or nothing at all, whereupon the
connection is closed and the sender keeps the message.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import AsepsisError, InputError
from asepsis.core.wire.hl7 import Header, MessageReader
from asepsis.core.wire.message_record import MessageFindings
from asepsis.edge.gateway import replies, rules
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.forwarder import Forwarder
from asepsis.edge.gateway.memory import Known, Mark, Memory
from asepsis.edge.gateway.policy import Peer
from asepsis.edge.gateway.spool import MessageSpool, Parcel

_NS_PER_S: Final = 10**9


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back for one message.

    Attributes:
        body: The acknowledgement, or None where the sender wants none.
    """

    body: bytes | None


_NO_ANSWER: Final = Answer(None)


@dataclass(frozen=True, slots=True)
class Withheld:
    """Nothing goes back, and the connection closes: the sender keeps its message.

    Attributes:
        reason: Error code.
    """

    reason: str


Done = Callable[[Answer | Withheld], None]


@dataclass(slots=True)
class _Open:
    """A message that is not answered yet, and everybody who sent these bytes meanwhile."""

    mark: Mark
    peer: Peer
    waiting: list[tuple[rules.Judged, Done]] = field(
        default_factory=list[tuple[rules.Judged, Done]]
    )


class Desk:
    """Where the connections bring their messages.

    Args:
        spool: Makes messages durable.
        memory: Knows what was taken already.
        forwarder: Brings them to the hub.
        findings: Told what people should know.
        wall: Wall time, nanoseconds.
        loop_s: The event loop's time, seconds.
        wait_s: Longest wait for the hub before the spool's durability is acknowledged.
    """

    def __init__(
        self,
        *,
        spool: MessageSpool,
        memory: Memory,
        forwarder: Forwarder,
        findings: Findings,
        wall: Callable[[], int],
        loop_s: Callable[[], float],
        wait_s: float,
    ) -> None:
        self._spool = spool
        self._memory = memory
        self._forwarder = forwarder
        self._findings = findings
        self._wall = wall
        self._loop_s = loop_s
        self._wait_s = wait_s
        self._open: dict[tuple[str, bytes], _Open] = {}
        self._overdue: deque[tuple[float, _Open]] = deque()
        self._answers = 0

    def take(self, peer: Peer, reader: MessageReader, payload: bytes, done: Done) -> None:
        """Take one message of a peer; `done` is called once, now or later.

        Args:
            peer: The sender's policy.
            reader: The connection's reader.
            payload: The message as it came out of its frame.
            done: Told the answer.
        """
        try:
            message = reader.parse(payload)
            judged = rules.judge(message, peer)
        except InputError as error:
            self._refuse(peer, payload, error, done)
            return
        for certainty, count in judged.doubtful.items():
            self._findings.note(
                Finding.DOUBTFUL_TIME, peer.name, certainty=certainty.value, values=count
            )
        wall_ns = self._wall()
        mark = self._memory.mark(peer.name, judged.identity, payload)
        same = self._open.get((peer.name, mark.body))
        if same is not None:  # Sent again before it was answered: one message, two answers.
            self._findings.note(Finding.DUPLICATE, peer.name)
            same.waiting.append((judged, done))
            return
        known = self._memory.known(mark, now_s=wall_ns // _NS_PER_S)
        if known is Known.DUPLICATE:
            self._findings.note(Finding.DUPLICATE, peer.name)
            done(self._accept(judged))
            return
        if known is Known.ID_REUSED:
            self._findings.note(Finding.ID_REUSED, peer.name)
        findings = rules.findings(judged, peer, reused=known is Known.ID_REUSED, wall_ns=wall_ns)
        self._store(_Open(mark, peer, [(judged, done)]), findings, payload)

    def tick(self) -> None:
        """Acknowledge what is durable here and waited for the hub long enough."""
        now_s = self._loop_s()
        while self._overdue and self._overdue[0][0] <= now_s:
            self._close(self._overdue.popleft()[1], None)

    def oversized(self, peer: Peer, head: bytes, error: InputError) -> Answer | Withheld:
        """Return the answer to a message of which only the beginning was read."""
        self._findings.note(Finding.OVERSIZED, peer.name)
        return self._negative(head, error)

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

    def _store(self, entry: _Open, findings: MessageFindings, payload: bytes) -> None:
        key = (entry.peer.name, entry.mark.body)
        self._open[key] = entry

        def failed(error: AsepsisError) -> None:
            del self._open[key]
            self._findings.note(Finding.WITHHELD, entry.peer.name, code=error.code)
            for _, done in entry.waiting:
                done(Withheld(error.code))

        self._spool.append(
            findings,
            payload,
            stored=lambda parcel, index: self._stored(entry, parcel, index),
            failed=failed,
        )

    def _stored(self, entry: _Open, parcel: Parcel, index: int) -> None:
        self._memory.add(entry.mark, now_s=self._wall() // _NS_PER_S)
        if entry.peer.ack == "hub" and self._forwarder.current:
            parcel.heard[index] = lambda error: self._heard(entry, error)
            self._overdue.append((self._loop_s() + self._wait_s, entry))
        else:
            self._close(entry, None)

    def _heard(self, entry: _Open, error: AsepsisError | None) -> None:
        """The hub has the message, refuses it, or cannot be waited for."""
        if error is not None and self._unanswered(entry):
            self._memory.forget(entry.mark)  # Refused to its sender: sent again, it is new.
        self._close(entry, error)

    def _unanswered(self, entry: _Open) -> bool:
        return self._open.get((entry.peer.name, entry.mark.body)) is entry

    def _close(self, entry: _Open, error: AsepsisError | None) -> None:
        """Answer everybody who sent these bytes; once."""
        if not self._unanswered(entry):
            return
        del self._open[entry.peer.name, entry.mark.body]
        for judged, done in entry.waiting:
            if isinstance(error, InputError):
                done(Answer(self._refusal(judged.header, error)))
            else:
                done(self._accept(judged))

    def _accept(self, judged: rules.Judged) -> Answer:
        accept = judged.accept
        if accept is None:
            return _NO_ANSWER
        own = self._control_id()
        return Answer(replies.positive(accept, judged.control, control_id=own, clock=self._wall))

    def _control_id(self) -> str:
        self._answers += 1
        return f"{self._spool.epoch}-{self._answers}"
