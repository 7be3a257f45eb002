"""The rows of a PCD-01 message: device, metric, unit, number and time of each OBX, losses counted.

Source: IHE PCD Technical Framework volume 2, appendix B (OBR, OBX, PRT segments of PCD-01).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from asepsis.core.mapping.loss import Mapped
from asepsis.core.mapping.pcd01_clock import SenderClock, TimeOf
from asepsis.core.mapping.pcd01_meaning import Loss, meant
from asepsis.core.mapping.sender_time import Certainty
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageFindings

_KEPT_BYTES_MAX: Final = 256
SURE: Final = frozenset((Certainty.OFFSET, Certainty.ZONE, Certainty.AMBIGUOUS))


class Value(NamedTuple):
    """One number with all that must be known of it.

    Attributes:
        device: Name of its device.
        path: OBX-4.
        mdc_code: Metric.
        unit_code: Unit.
        value: FLOAT-Type.
        status: Quality.
        at_ns: When it was measured, nanoseconds since 1970.
        later_by_ns: How much later it may have been, where the hour is repeated.
        certainty: How surely `at_ns` is known.
    """

    device: str
    path: bytes
    mdc_code: int
    unit_code: int
    value: int
    status: MeasurementStatus
    at_ns: int
    later_by_ns: int
    certainty: Certainty


class _Row(NamedTuple):
    kind: bytes
    code: bytes
    path: bytes
    value: bytes
    unit: bytes
    flags: bytes
    status: bytes
    at: bytes
    word: bytes


@dataclass(slots=True)
class _Order:
    """One OBR with its rows; each row with the device words of the PRT behind it."""

    at: bytes
    words: list[bytes] = field(default_factory=list[bytes])
    rows: list[tuple[_Row, list[bytes]]] = field(default_factory=list[tuple[_Row, list[bytes]]])


def read(
    message: Message, findings: MessageFindings, *, unfit: bool = False
) -> Mapped[Sequence[Value]]:
    """Return every number of an ORU^R01 that is said without doubt.

    Args:
        message: The message.
        findings: What its gateway found out; names the devices and the zone.
        unfit: Whether a value in a unit that its metric never has is returned, too.
    """
    values: list[Value] = []
    losses: list[str] = []
    devices = dict(findings.peer.devices)
    clock = SenderClock(message, findings)
    for order in _orders(message):
        owners = _Owners(order, devices, message)
        for row, words in order.rows:
            if not row.kind and not row.value:
                continue  # A device, subsystem or channel: the containment itself, no value.
            try:
                device = owners.of(row, words)
                at = clock.time(row.at or order.at)
                values.append(_value(row, device, message, at, losses, unfit=unfit))
            except Loss as loss:
                losses.append(str(loss))
    return Mapped(tuple(values), tuple(losses))


def times(message: Message, findings: MessageFindings) -> Mapping[str, frozenset[TimeOf]]:
    """Return the times of the values of each device, without looking at the values where it can.

    Args:
        message: An ORU^R01.
        findings: What its gateway found out.
    """
    devices = dict(findings.peer.devices)
    if not devices:
        return {}
    kinds, ats, words = message.columns("OBX", 2, 14, 18)
    named = {devices.get(word, "") for word in set(words) if word}
    if len(named) == 1 and "" not in named and b"PRT" not in message.names:
        requests = message.columns("OBR", 7)[0]
        written = {at for kind, at in set(zip(kinds, ats, strict=True)) if kind}
        if b"" not in written or len(requests) <= 1:
            clock = SenderClock(message, findings)
            stands_in = requests[0] if requests else b""
            return {named.pop(): frozenset(clock.time(at or stands_in) for at in written)}
    found: dict[str, set[TimeOf]] = {}
    for value in read(message, findings).value:
        time = TimeOf(value.at_ns, value.later_by_ns, value.certainty)
        found.setdefault(value.device, set()).add(time)
    return {device: frozenset(each) for device, each in found.items()}


def _orders(message: Message) -> Iterator[_Order]:
    columns = message.columns("OBX", 2, 3, 4, 5, 6, 8, 11, 14, 18)
    rows = iter(list(map(_Row, *columns)))
    requests = iter(message.columns("OBR", 7)[0])
    parts = iter(message.columns("PRT", 10)[0])
    order = _Order(b"")
    for name in message.names:
        if name == b"OBR":
            yield order
            order = _Order(next(requests))
        elif name == b"OBX":
            order.rows.append((next(rows), []))
        elif name == b"PRT":
            (order.rows[-1][1] if order.rows else order.words).append(next(parts))
    yield order


def _words(raw: Sequence[bytes], message: Message) -> Sequence[bytes]:
    """Return the device words of fields, one for each repetition that says something."""
    said = [whole for whole in raw if whole]
    if not said:
        return ()
    delimiters = message.delimiters
    return [
        word
        for whole in said
        for word in (
            whole.split(delimiters.repetition) if delimiters.repetition in whole else (whole,)
        )
        if word.strip(delimiters.component)
    ]


class _Owners:
    """Whose the rows of one order are; a word is looked up once.

    Args:
        order: The order.
        devices: Device word -> name, of those that the gateway may speak for.
        message: The order's message.
    """

    def __init__(self, order: _Order, devices: Mapping[bytes, str], message: Message) -> None:
        self._order = order
        self._devices = devices
        self._message = message
        self._systems: dict[bytes, str] | None = None
        self._known: dict[bytes, str] = {}

    def of(self, row: _Row, words: Sequence[bytes]) -> str:
        """Return whose value a row is.

        Args:
            row: The row.
            words: Of the PRT behind it.

        Raises:
            Loss: Nobody's, somebody's whom the gateway may not speak for, or two devices'.
        """
        if words or not row.word:
            return self._find(row, words)
        known = self._known.get(row.word)
        if known is None:
            known = self._find(row, words)
            if _words((row.word,), self._message):  # The word alone decided.
                self._known[row.word] = known
        return known

    def _find(self, row: _Row, words: Sequence[bytes]) -> str:
        message = self._message
        named = _words((row.word, *words), message) or _words(self._order.words, message)
        found = {self._devices.get(word, "") for word in named}
        if not found:
            found = {self._system(row.path.split(b".", 1)[0])}
        if len(found) != 1 or "" in found:
            raise Loss("device: unverified")
        return found.pop()

    def _system(self, path: bytes) -> str:
        """Return the device of a medical device system, "" for none or where two are named."""
        if self._systems is None:
            self._systems = {}
            for row, words in self._order.rows:
                for word in _words((row.word, *words), self._message):
                    system = row.path.split(b".", 1)[0]
                    device = self._devices.get(word, "")
                    if self._systems.setdefault(system, device) != device:
                        self._systems[system] = ""
        return self._systems.get(path, "")


def _value(
    row: _Row,
    device: str,
    message: Message,
    at: "TimeOf",
    losses: list[str],
    *,
    unfit: bool,
) -> Value:
    said = (
        row.kind, row.code, row.unit, row.value, row.flags, row.status,
        message.delimiters.component + message.delimiters.repetition, unfit,
    )  # fmt: skip
    kept = sum(map(len, said[:-1])) <= _KEPT_BYTES_MAX
    found = (meant if kept else meant.__wrapped__)(*said)
    if found.losses:
        losses += found.losses
    if at.certainty not in SURE:
        losses.append(f"time: {at.certainty.value}, time of arrival taken")
    return Value(
        device, row.path, found.code, found.unit, found.number, found.status,
        at.at_ns, at.later_by_ns, at.certainty,
    )  # fmt: skip
