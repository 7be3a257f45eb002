"""What one message must be to be taken from its peer. Pure: bytes and policy in, verdict out.

Refusals here are permanent: the same bytes are refused again, so the sender is told so (AE or AR
with ERR). What may pass later never comes from here.
"""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from asepsis.core.errors import ContentMismatch, InputError, UnsupportedMedia
from asepsis.core.mapping.hl7_device import device_words, eui64_device
from asepsis.core.mapping.sender_time import DOUBTFUL, Certainty, moment
from asepsis.core.wire.hl7 import Header, Message
from asepsis.core.wire.hl7_ack import Condition
from asepsis.core.wire.hl7_parts import Delimiters
from asepsis.core.wire.message_record import NOTHING, Found, MessageFindings, MessagePeer
from asepsis.edge.gateway.policy import ANY_EVENT, Peer
from asepsis.edge.gateway.replies import Accept, Refused, accept_of

_KEPT: Final = (3, 4, 5, 6, 9, 11, 12, 15, 16, 18)
"""Fields of MSH that a sender repeats; what follows from them is worked out once."""
_KEPT_BYTES_MAX: Final = 1_024
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f]")
_TIMES: Final = (
    ("MSH", (7,)), ("EVN", (2, 6)), ("OBR", (7, 8)), ("OBX", (14,)),
)  # fmt: skip
"""Fields whose times are looked at: when it was sent, happened and was measured."""
DISTINCT_MAX: Final = 1_024
"""Different devices or times that one message may name; more is not one device's message."""


class Known(NamedTuple):
    """What follows from the header of a message but for its time and id.

    Attributes:
        code: MSH-9.1.
        accept: The positive acknowledgement, None if the sender wants none.
    """

    code: str
    accept: Accept | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A message that is taken.

    Attributes:
        header: Its header.
        control: MSH-10.
        identity: MSH-3, MSH-4 and MSH-10 as one value: by it a sender names a message.
        accept: Its positive acknowledgement, None if the sender wants none.
        devices: Pairs of an OBX-18 or PRT-10 value as it stands, and the device that it names.
        doubtful: How many different times mean two instants or none, by certainty.
    """

    header: Header
    control: bytes
    identity: bytes
    accept: Accept | None
    devices: tuple[tuple[bytes, str], ...]
    doubtful: dict[Certainty, int]


def judge(message: Message, peer: Peer) -> Judged:
    """Check a well-formed message against the policy of its peer.

    Raises:
        Refused: Another sender in MSH-3 and MSH-4, a type that is not taken, or a device that is
            not declared.
    """
    header = message.header
    (control,) = message.first("MSH", 10)
    if _CONTROL.search(control):
        error = InputError("MSH-10 holds a control byte")
        raise Refused(error, Condition.DATA_TYPE, segment="MSH", field=0, reject=False)
    kept = message.first("MSH", *_KEPT)
    whole = b"".join(kept)
    if len(whole) <= _KEPT_BYTES_MAX and whole.isascii():
        known = _known(peer, message.delimiters, kept)
    else:
        known = _know(peer, header)
    devices = _devices(message, peer)
    if known.code == "ORU" and peer.device_required and not devices:
        error = ContentMismatch("no OBX-18 or PRT-10 names a device")
        raise Refused(
            error, Condition.REQUIRED_FIELD_MISSING, segment="OBX", field=18, reject=False
        )
    identity = b"\r".join((kept[0], kept[1], control))
    return Judged(header, control, identity, known.accept, devices, _doubtful(message, peer))


def identity_of(header: Header) -> bytes:
    """Return MSH-3, MSH-4 and MSH-10 as one value: by it a sender names a message."""
    return b"\r".join((header.raw(3), header.raw(4), header.raw(10)))


@lru_cache(maxsize=2_048)
def _known(peer: Peer, delimiters: Delimiters, kept: tuple[bytes, ...]) -> Known:
    fields = [b"MSH", delimiters.encoding, *[b""] * 16]
    for field, raw in zip(_KEPT, kept, strict=True):
        fields[field - 1] = raw
    return _know(peer, Header(fields, delimiters, marked=False))


def _know(peer: Peer, header: Header) -> Known:
    """Judge a header; `Refused` as `judge`."""
    try:
        # Before anything is made durable: a header that no acknowledgement could repeat.
        accept = accept_of(header)
        code, event = header.message_code, header.trigger_event
    except InputError as error:
        raise Refused(error, Condition.DATA_TYPE, segment="MSH", field=0, reject=False) from error
    _check_sender(header, peer)
    try:
        _ = header.character_set  # Nobody could read its text: told now, not found out later.
    except UnsupportedMedia as error:
        condition = Condition.TABLE_VALUE_NOT_FOUND
        raise Refused(error, condition, segment="MSH", field=18, reject=True) from error
    if (code, event) not in peer.types and (code, ANY_EVENT) not in peer.types:
        error = UnsupportedMedia("this type of message is not taken from this peer")
        condition = Condition.UNSUPPORTED_MESSAGE_TYPE
        raise Refused(error, condition, segment="MSH", field=9, reject=True)
    return Known(code, accept)


def _check_sender(header: Header, peer: Peer) -> None:
    whole = (header.raw(3), header.raw(4))
    component = header.delimiters.component
    first = (whole[0].split(component, 1)[0], whole[1].split(component, 1)[0])
    if whole in peer.senders or first in peer.senders:
        return
    error = ContentMismatch("MSH-3 and MSH-4 do not name this peer")
    raise Refused(error, Condition.UNKNOWN_KEY_IDENTIFIER, segment="MSH", field=3, reject=True)


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
    component = message.delimiters.component
    for segment, fields in _TIMES:
        for column in message.columns(segment, *fields):
            for raw in _distinct(column):
                written = raw.split(component, 1)[0] if component in raw else raw
                certainty = moment(written, peer.zone).certainty
                if certainty in DOUBTFUL:
                    found[certainty] = found.get(certainty, 0) + 1
    return found


_NOTHING: Final[frozenset[bytes]] = frozenset()


def _distinct(values: Sequence[bytes]) -> AbstractSet[bytes]:
    if not values:
        return _NOTHING
    found = set(values)
    found.discard(b"")
    if len(found) > DISTINCT_MAX:
        error = ContentMismatch(f"one field has more than {DISTINCT_MAX} different values")
        raise Refused(error, Condition.DATA_TYPE, segment="OBX", field=0, reject=False)
    return found
