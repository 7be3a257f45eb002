"""What one message must be to be taken from its peer. Pure: bytes and policy in, verdict out.

Refusals here are permanent: the same bytes are refused again, so the sender is told so (AE or AR
with ERR). What may pass later never comes from here.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from asepsis.core.errors import ContentMismatch, InputError, UnsupportedMedia
from asepsis.core.mapping.hl7_device import device_words, eui64_device
from asepsis.core.mapping.sender_time import DOUBTFUL, Certainty, moment
from asepsis.core.wire.hl7 import Header, Message
from asepsis.core.wire.hl7_ack import (
    ACCEPTS,
    AckCode,
    AckError,
    Condition,
    acknowledge,
    reaction,
    wanted,
)
from asepsis.core.wire.hl7_parts import Delimiters
from asepsis.core.wire.message_record import NOTHING, Found, MessageFindings, MessagePeer
from asepsis.edge.gateway.policy import ANY_EVENT, Peer

_ECHOED: Final = (3, 4, 5, 6, 9, 11, 12, 18)
"""Fields of MSH that an acknowledgement repeats."""
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f]")
_TIMES: Final = (
    ("MSH", (7,)), ("EVN", (2, 6)), ("OBR", (7, 8)), ("OBX", (14,)),
)  # fmt: skip
"""Fields whose times are looked at: when it was sent, happened and was measured."""
DISTINCT_MAX: Final = 1_024
"""Different devices or times that one message may name; more is not one device's message."""


class Refused(InputError):  # noqa: N818 - names the finding
    """A message that its peer may not send; carries its place for ERR."""

    def __init__(
        self, error: InputError, condition: Condition, *, segment: str, field: int, reject: bool
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.condition = condition
        self.segment = segment
        self.field = field
        self.reject = reject


@dataclass(frozen=True, slots=True)
class Judged:
    """A message that is taken.

    Attributes:
        header: Its header.
        devices: Pairs of an OBX-18 or PRT-10 value as it stands, and the device that it names.
        doubtful: How many different times mean two instants or none, by certainty.
    """

    header: Header
    devices: tuple[tuple[bytes, str], ...]
    doubtful: dict[Certainty, int]


def judge(message: Message, peer: Peer) -> Judged:
    """Check a well-formed message against the policy of its peer.

    Raises:
        Refused: Another sender in MSH-3 and MSH-4, a type that is not taken, or a device that is
            not declared.
    """
    header = message.header
    _check_echo(header)
    _check_sender(header, peer)
    code = _check_type(header, peer)
    devices = _devices(message, peer)
    if code == "ORU" and peer.device_required and not devices:
        error = ContentMismatch("no OBX-18 or PRT-10 names a device")
        raise Refused(
            error, Condition.REQUIRED_FIELD_MISSING, segment="OBX", field=18, reject=False
        )
    return Judged(header, devices, _doubtful(message, peer))


def identity_of(header: Header) -> bytes:
    """Return MSH-3, MSH-4 and MSH-10 as one value: by it a sender names a message."""
    return b"\r".join((header.raw(3), header.raw(4), header.raw(10)))


def _check_echo(header: Header) -> None:
    """Refuse a header that no acknowledgement could repeat, before anything is made durable."""
    error: InputError | None = None
    if _CONTROL.search(header.raw(10)):
        error = InputError("MSH-10 holds a control byte")
    try:
        _accept(header.delimiters, tuple(map(header.raw, _ECHOED)), enhanced=header.enhanced)
    except InputError as found:
        error = found
    if error is not None:
        raise Refused(error, Condition.DATA_TYPE, segment="MSH", field=0, reject=False)


def _check_sender(header: Header, peer: Peer) -> None:
    whole = (header.raw(3), header.raw(4))
    component = header.delimiters.component
    first = (whole[0].split(component, 1)[0], whole[1].split(component, 1)[0])
    if whole in peer.senders or first in peer.senders:
        return
    error = ContentMismatch("MSH-3 and MSH-4 do not name this peer")
    raise Refused(error, Condition.UNKNOWN_KEY_IDENTIFIER, segment="MSH", field=3, reject=True)


def _check_type(header: Header, peer: Peer) -> str:
    code, event = header.message_code, header.trigger_event
    if (code, event) not in peer.types and (code, ANY_EVENT) not in peer.types:
        error = UnsupportedMedia("this type of message is not taken from this peer")
        condition = Condition.UNSUPPORTED_MESSAGE_TYPE
        raise Refused(error, condition, segment="MSH", field=9, reject=True)
    return code


def _devices(message: Message, peer: Peer) -> tuple[tuple[bytes, str], ...]:
    """Return the declared devices that a message names.

    Raises:
        Refused: Somebody else is named.
    """
    try:
        words = device_words(message)
    except InputError as error:
        raise Refused(error, Condition.DATA_TYPE, segment="OBX", field=18, reject=False) from error
    found: list[tuple[bytes, str]] = []
    for word, (segment, field) in words.items():
        # A typed identifier alone decides: a first component beside it could name another.
        name = eui64_device(word, message.delimiters)
        if name is None:
            first = word.split(message.delimiters.component, 1)[0]
            device = peer.devices.get(word) or peer.devices.get(first)
        else:
            device = peer.devices.get(name.encode())
        if device is None:
            error = ContentMismatch("the message names a device that is not declared for this peer")
            condition = Condition.UNKNOWN_KEY_IDENTIFIER
            raise Refused(error, condition, segment=segment, field=field, reject=False)
        found.append((word, device))
    return tuple(sorted(found))


def findings(judged: Judged, peer: Peer, *, reused: bool, wall_ns: int) -> MessageFindings:
    """Return what goes to the hub beside a message.

    Args:
        judged: The message.
        peer: Its sender.
        reused: Whether its id stood on other bytes before.
        wall_ns: Wall time of arrival, nanoseconds since 1970.
    """
    found = Found.ID_REUSED if reused else NOTHING
    for certainty in judged.doubtful:
        found |= _FOUND[certainty]
    if peer.cleartext:
        found |= Found.CLEARTEXT
    return MessageFindings(
        _peer_of(peer.name, peer.zone.key, judged.devices),
        _offset_min(peer.zone, wall_ns // _OFFSET_KEPT_NS),
        wall_ns,
        found,
    )


_OFFSET_KEPT_NS: Final = 900 * 10**9
"""Clocks are changed at quarters of an hour."""
_FOUND: Final = {
    Certainty.AMBIGUOUS: Found.AMBIGUOUS_TIME,
    Certainty.SKIPPED: Found.SKIPPED_TIME,
    Certainty.UNREADABLE: Found.UNREADABLE_TIME,
}


@lru_cache(maxsize=4_096)  # The same object each time: groups list it once, and quickly.
def _peer_of(name: str, zone: str, devices: tuple[tuple[bytes, str], ...]) -> MessagePeer:
    return MessagePeer(name, zone, devices)


@lru_cache(maxsize=256)
def _offset_min(zone: ZoneInfo, quarter: int) -> int:
    at = datetime.fromtimestamp(quarter * _OFFSET_KEPT_NS // 10**9, zone)
    return round((at.utcoffset() or timedelta()).total_seconds() / 60)


def _doubtful(message: Message, peer: Peer) -> dict[Certainty, int]:
    found: dict[Certainty, int] = {}
    names = set(message.names)
    component = message.delimiters.component
    for segment, fields in _TIMES:
        if segment.encode() not in names:
            continue
        for column in message.columns(segment, *fields):
            for raw in _distinct(column):
                certainty = moment(raw.split(component, 1)[0], peer.zone).certainty
                if certainty in DOUBTFUL:
                    found[certainty] = found.get(certainty, 0) + 1
    return found


def _distinct(values: Iterable[bytes]) -> set[bytes]:
    found = set(values)
    found.discard(b"")
    if len(found) > DISTINCT_MAX:
        error = ContentMismatch(f"one field has more than {DISTINCT_MAX} different values")
        raise Refused(error, Condition.DATA_TYPE, segment="OBX", field=0, reject=False)
    return found


def positive(header: Header, *, control_id: str, clock: Callable[[], int]) -> bytes | None:
    """Return the acknowledgement of a durable message, or None if the sender wants none.

    A sender's acknowledgements differ in three fields only, so the rest is kept.

    Source: HL7 v2.8.2 section 2.9.2 (original mode), 2.9.3 (enhanced mode), table 0155.
    """
    if header.enhanced and not wanted(header.accept_acknowledgement, failed=False):
        return None
    kept = _accept(header.delimiters, tuple(map(header.raw, _ECHOED)), enhanced=header.enhanced)
    own = control_id.encode("ascii")
    # Without an id to repeat, the last separator is left out, as the codec leaves it out.
    asked = header.raw(10)
    end = kept[2] + asked if asked else kept[2][:-1]
    return b"".join((kept[0], _stamp(clock()), kept[1], own, end, b"\r"))


@lru_cache(maxsize=1_024)
def _accept(
    delimiters: Delimiters, echoed: tuple[bytes, ...], *, enhanced: bool
) -> tuple[bytes, bytes, bytes]:
    """Return an acknowledgement cut where MSH-7, MSH-10 and MSA-2 stand."""
    fields = [b"MSH", delimiters.encoding, *[b""] * 16]
    for field, raw in zip(_ECHOED, echoed, strict=True):
        fields[field - 1] = raw
    code = AckCode.COMMIT_ACCEPT if enhanced else AckCode.APPLICATION_ACCEPT
    header = Header(fields, delimiters, marked=False)
    whole = acknowledge(header, code, control_id="1", clock=lambda: 0)
    separator = delimiters.field
    msh, msa, _ = whole.split(b"\r")
    parts = msh.split(separator)
    return (
        separator.join((*parts[:6], b"")),
        separator.join((b"", *parts[7:9], b"")),
        separator.join((b"", *parts[10:]))
        + b"\r"
        + separator.join((*msa.split(separator)[:2], b"")),
    )


def _stamp(wall_ns: int) -> bytes:
    """Write a DTM in UTC with milliseconds. Source: HL7 v2.8.2 chapter 2A, data type DTM."""
    second, rest = divmod(wall_ns, 10**9)
    return b"%b.%03d+0000" % (_second(second), rest // 10**6)


@lru_cache(maxsize=4)
def _second(wall_s: int) -> bytes:
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y%m%d%H%M%S}".encode()


def negative(
    header: Header, error: InputError, *, control_id: str, clock: Callable[[], int]
) -> bytes | None:
    """Return the answer to a message that is refused for good, or None if none is wanted."""
    code, reason = _verdict(error, commit=header.enhanced)
    return _answer(header, code, reason, control_id, clock)


def _verdict(error: InputError, *, commit: bool) -> tuple[AckCode, AckError]:
    if isinstance(error, Refused):
        rejected = {
            (True, True): AckCode.COMMIT_REJECT,
            (True, False): AckCode.APPLICATION_REJECT,
            (False, True): AckCode.COMMIT_ERROR,
            (False, False): AckCode.APPLICATION_ERROR,
        }
        reason = AckError(
            condition=error.condition,
            text=f"{error.error.code}: {error}",
            segment=error.segment,
            field=error.field,
        )
        return rejected[error.reject, commit], reason
    answer = reaction(error, commit=commit)
    assert answer is not None, "an input error is always answered"  # noqa: S101 - our own table
    return answer


def _answer(
    header: Header,
    code: AckCode,
    reason: AckError | None,
    control_id: str,
    clock: Callable[[], int],
) -> bytes | None:
    asked = header.accept_acknowledgement if header.enhanced else ""
    if not wanted(asked, failed=code not in ACCEPTS):
        return None
    return acknowledge(header, code, control_id=control_id, clock=clock, error=reason)
