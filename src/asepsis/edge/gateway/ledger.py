"""The keeper's one use case: know a message, make it durable, forward it, say what became of it.

What the front says of a message is checked against the settings again: a front that was taken over
speaks for no peer that is not listed and for no device that its peer does not have.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import AsepsisError, FramingError, InputError
from asepsis.core.wire.message_record import NOTHING, Found, MessageFindings, MessagePeer
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.forwarder import Forwarder
from asepsis.edge.gateway.handover import Message, Outcome
from asepsis.edge.gateway.memory import Known, Mark, Memory
from asepsis.edge.gateway.pair.others import Others, entry_of
from asepsis.edge.gateway.policy import Peer
from asepsis.edge.gateway.spool import MessageSpool, Parcel

_NS_PER_S: Final = 10**9
_PEERS_KEPT: Final = 4_096
_FOUND_BY_FRONT: Final = int(~NOTHING & ~Found.ID_REUSED)
_OFFSET_MIN_MAX: Final = 24 * 60


@dataclass(slots=True)
class _Open:
    """A message that nothing was said of yet, and everybody who sent these bytes meanwhile."""

    mark: Mark
    peer: Peer
    identity: bytes
    received_ns: int
    body: bytes
    place: tuple[int, int] = (0, 0)
    waiting: list[int] = field(default_factory=list[int])


class Ledger:
    """Where the front's messages become durable.

    Args:
        peers: Every peer of the settings by name.
        spool: Makes messages durable.
        memory: Knows what was taken already.
        forwarder: Brings them to the hub.
        findings: Told what people should know.
        wall: Wall time, nanoseconds.
        loop_s: The event loop's time, seconds.
        wait_s: Longest wait for the hub before the spool's durability is acknowledged.
        tell: Told what became of each message, once.
        others: The other gateway of a pair; None for a gateway alone.
    """

    def __init__(  # noqa: PLR0913 - made in one place, by the keeper
        self,
        *,
        peers: Mapping[str, Peer],
        spool: MessageSpool,
        memory: Memory,
        forwarder: Forwarder,
        findings: Findings,
        wall: Callable[[], int],
        loop_s: Callable[[], float],
        wait_s: float,
        tell: Callable[[Outcome], None],
        others: Others | None = None,
    ) -> None:
        self._others = others
        self._peers = peers
        self._spool = spool
        self._memory = memory
        self._forwarder = forwarder
        self._findings = findings
        self._wall = wall
        self._loop_s = loop_s
        self._wait_s = wait_s
        self._tell = tell
        self._open: dict[tuple[str, bytes], _Open] = {}
        self._overdue: deque[tuple[float, _Open]] = deque()
        self._known: dict[tuple[str, tuple[tuple[bytes, str], ...]], MessagePeer] = {}

    def take(self, message: Message) -> None:
        """Take one message of the front.

        Raises:
            FramingError: It speaks for whom the settings do not name.
        """
        named = self._peer_of(message)
        peer = self._peers[message.peer]
        wall_ns = self._wall()
        mark = self._memory.mark(peer.name, message.identity, message.body)
        same = self._open.get((peer.name, mark.body))
        if same is not None:  # Sent again before it was answered: one message, two answers.
            self._findings.note(Finding.DUPLICATE, peer.name)
            same.waiting.append(message.number)
            return
        known = self._memory.known(mark, now_s=wall_ns // _NS_PER_S)
        if known is Known.DUPLICATE:
            self._findings.note(Finding.DUPLICATE, peer.name)
            self._tell(Outcome(message.number))
            return
        found = Found(message.found)
        if known is Known.ID_REUSED:
            self._findings.note(Finding.ID_REUSED, peer.name)
            found |= Found.ID_REUSED
        findings = MessageFindings(named, message.offset_min, message.arrived_at_ns, found)
        entry = _Open(
            mark,
            peer,
            message.identity,
            message.arrived_at_ns,
            message.body,
            waiting=[message.number],
        )
        self._store(entry, findings, message.body)

    def tick(self) -> None:
        """Acknowledge what is durable here and waited for the hub long enough."""
        now_s = self._loop_s()
        while self._overdue and self._overdue[0][0] <= now_s:
            self._rest_on_disk(self._overdue.popleft()[1])

    def _peer_of(self, message: Message) -> MessagePeer:
        """Return the peer as it stands beside the message.

        Raises:
            FramingError: No such peer, a device that is not its own, or a value out of range.
        """
        key = (message.peer, message.devices)
        found = self._known.get(key)
        if found is None:
            peer = self._peers.get(message.peer)
            allowed = set(peer.devices.values()) if peer is not None else set[str]()
            if peer is None or not {device for _, device in message.devices} <= allowed:
                raise FramingError("the front speaks for whom it may not")
            if len(self._known) >= _PEERS_KEPT:
                self._known.clear()
            found = self._known[key] = MessagePeer(peer.name, peer.zone.key, message.devices)
        sound = 0 <= message.found <= _FOUND_BY_FRONT and not message.found & Found.ID_REUSED
        if not sound or abs(message.offset_min) > _OFFSET_MIN_MAX or not message.body:
            raise FramingError("the front says what no message has")
        return found

    def _store(self, entry: _Open, findings: MessageFindings, payload: bytes) -> None:
        key = (entry.peer.name, entry.mark.body)
        self._open[key] = entry

        def failed(error: AsepsisError) -> None:
            del self._open[key]
            self._findings.note(Finding.WITHHELD, entry.peer.name, code=error.code)
            for number in entry.waiting:
                self._tell(Outcome(number, "withheld", error.code))

        self._spool.append(
            findings,
            payload,
            stored=lambda parcel, index: self._stored(entry, parcel, index),
            failed=failed,
        )

    def _stored(self, entry: _Open, parcel: Parcel, index: int) -> None:
        self._memory.add(entry.mark, now_s=self._wall() // _NS_PER_S)
        if self._others is not None:
            self._others.stored(entry.body)
            entry.place = (parcel.epoch, parcel.sequence)
        if entry.peer.ack == "hub" and self._forwarder.current:
            parcel.heard[index] = lambda error: self._heard(entry, error)
            self._overdue.append((self._loop_s() + self._wait_s, entry))
        else:
            self._rest_on_disk(entry)

    def _rest_on_disk(self, entry: _Open) -> None:
        """Acknowledge what is durable on this one disk only, and say that it is."""
        if not self._unanswered(entry):
            return
        if self._others is None:
            self._findings.note(Finding.AT_RISK, entry.peer.name, ack=entry.peer.ack)
            self._close(entry, None)
            return

        def listed(done: bool) -> None:  # noqa: FBT001 - as `Done`
            if self._unanswered(entry):
                ack = entry.peer.ack
                self._findings.note(Finding.AT_RISK, entry.peer.name, ack=ack, listed=done)
                self._close(entry, None)

        line = entry_of(entry.identity, entry.received_ns, entry.place, entry.body)
        self._others.tell(line, listed)

    def _heard(self, entry: _Open, error: AsepsisError | None) -> None:
        """The hub has the message, refuses it, or cannot be waited for."""
        if error is not None and self._unanswered(entry):
            self._memory.forget(entry.mark)  # Refused to its sender: sent again, it is new.
        self._close(entry, error)

    def _unanswered(self, entry: _Open) -> bool:
        return self._open.get((entry.peer.name, entry.mark.body)) is entry

    def _close(self, entry: _Open, error: AsepsisError | None) -> None:
        """Tell of everybody who sent these bytes; once."""
        if not self._unanswered(entry):
            return
        del self._open[entry.peer.name, entry.mark.body]
        refused = isinstance(error, InputError)
        for number in entry.waiting:
            if refused:
                self._tell(Outcome(number, type(error).__name__, str(error)[:500]))
            else:
                self._tell(Outcome(number))
