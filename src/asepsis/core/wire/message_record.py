"""Groups of HL7 v2 messages with what a gateway found out about each; the bytes are never changed.

A *group* is what the gateway made durable at one moment: a few messages in their order, the peers
that sent them, and the devices that the peers' own words stand for. The same bytes are the record
in the gateway's spool, the unit that travels under one sequence number, and the record in the hub's
journal. A *batch* is a request body of several groups. A message is named by its record's epoch and
sequence and its place in the group.

The hub keeps a group as it came, but leaves out messages that it refused for good and devices that
the gateway may not speak for; so what is stored can be read again without any other source.

Source: own; standard/frames.md section 10; REQ-MSG-006 to REQ-MSG-009.
"""

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from functools import lru_cache
from typing import Final, NamedTuple

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.model.identity import NAME_CHARS_MAX, DeviceId

KIND_MESSAGE: Final = "hl7-v2"
"""A journal record that is one message, without findings."""
KIND_GROUP: Final = "hl7-v2-group"
"""A journal record that is a group."""
GROUP_MAGIC: Final = b"AMG1"
BATCH_MAGIC: Final = b"AMB1"
MESSAGES_MAX: Final = 256
"""Messages of one group."""
PEERS_MAX: Final = 255
WORDS_MAX: Final = 256
"""Device words of one peer."""
WORD_BYTES_MAX: Final = 200
GROUP_BYTES_MAX: Final = 1_179_648
"""One message of 1 MiB fits, with as many device words as a message may have."""
GROUPS_MAX: Final = 64
"""Groups of one batch."""
BATCH_BYTES_MAX: Final = GROUP_BYTES_MAX + 4_096
AGE_UNKNOWN_MS: Final = 0xFFFFFFFF
"""The age of a group that an earlier start of the gateway took: nobody measured it."""
SEQUENCE_MAX: Final = (1 << 63) - 1
_OFFSET_MIN_MAX: Final = 24 * 60
_COUNT: Final = struct.Struct(">H")
_MESSAGE: Final = struct.Struct(">BBhQI")
MESSAGE_HEAD_BYTES: Final = _MESSAGE.size
_GROUP: Final = struct.Struct(">QII")
_PEER: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_ZONE: Final = re.compile(r"[A-Za-z0-9_+/-]{1,64}")


class Found(IntFlag):
    """What a gateway found out about one message."""

    ID_REUSED = 1
    """Its MSH-3, MSH-4 and MSH-10 stood on other bytes before."""
    AMBIGUOUS_TIME = 2
    """A time without offset lies in the hour that clocks repeat: two instants."""
    SKIPPED_TIME = 4
    """A time without offset lies in the hour that clocks leave out: no instant."""
    UNREADABLE_TIME = 8
    """A time that is none."""
    CLEARTEXT = 16
    """It came without TLS: anybody on that segment could have written it."""
    OTHER_PATIENT = 32
    """At arrival it named another patient than the one its device is confirmed for; the hub says
    so."""


NOTHING: Final = Found(0)
_FOUND_ALL: Final = int(~NOTHING)


@dataclass(frozen=True, slots=True)
class MessagePeer:
    """A sender as its gateway knows it.

    Attributes:
        name: Name of its policy.
        zone: IANA zone of its times without offset.
        devices: Pairs of an OBX-18 or PRT-10 value as it stands in messages, and the device that
            it names; only devices that the gateway takes from this peer.
    """

    name: str
    zone: str
    devices: tuple[tuple[bytes, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MessageFindings:
    """What the gateway found out about one message.

    Attributes:
        peer: Who sent it.
        offset_min: Offset of the peer's zone from UTC when it arrived, minutes east.
        arrived_at_ns: Wall time of the gateway at arrival, nanoseconds since 1970.
        found: What people and readers should know.
    """

    peer: MessagePeer
    offset_min: int
    arrived_at_ns: int
    found: Found = NOTHING


@dataclass(frozen=True, slots=True)
class MessageEntry:
    """One message of a record.

    Attributes:
        sequence: Sequence of the record.
        index: Place in the group, from 0.
        body: The message as its sender wrote it.
        findings: None for a message that came without a gateway's findings.
    """

    sequence: int
    index: int
    body: bytes
    findings: MessageFindings | None


class BatchGroup(NamedTuple):
    """One group of a batch.

    Attributes:
        sequence: Its number in the gateway's epoch, from 1.
        age_ms: Milliseconds between its arrival at the gateway and the sending of the batch, by a
            monotonic clock; `AGE_UNKNOWN_MS` if it arrived before the gateway's last start.
        body: The group's bytes.
    """

    sequence: int
    age_ms: int
    body: bytes


def decode(kind: str, body: bytes, *, sequence: int = 0) -> Sequence[MessageEntry]:
    """Return the messages of a record of the message lane, in order.

    Args:
        kind: Kind of the record.
        body: Its body.
        sequence: Its sequence.

    Raises:
        InputError: Another kind, or a body that is none of that kind.
    """
    if kind == KIND_MESSAGE:
        return (MessageEntry(sequence, 0, body, None),)
    if kind != KIND_GROUP:
        raise InputError(f"the message lane has no records of kind {kind!r}")
    return decode_group(body, sequence=sequence)


def encode_group(messages: Sequence[tuple[MessageFindings, bytes]]) -> bytes:
    """Return the bytes of a group; `decode_group` gives the same messages again.

    Args:
        messages: In their order; none only where the hub kept none.

    Raises:
        LimitExceeded: More messages, peers or bytes than a group takes.
    """
    if len(messages) > MESSAGES_MAX:
        raise LimitExceeded(f"a group has at most {MESSAGES_MAX} messages")
    numbers: dict[MessagePeer, int] = {}
    heads: list[bytes] = []
    for findings, body in messages:
        number = numbers.setdefault(findings.peer, len(numbers))
        heads += (
            _MESSAGE.pack(
                number, findings.found, findings.offset_min, findings.arrived_at_ns, len(body)
            ),
            body,
        )
        if number >= PEERS_MAX:
            raise LimitExceeded(f"a group has at most {PEERS_MAX} peers")
    group = b"".join(
        (
            GROUP_MAGIC,
            bytes((len(numbers),)),
            *map(_peer_bytes, numbers),
            _COUNT.pack(len(messages)),
            *heads,
        )
    )
    if len(group) > GROUP_BYTES_MAX:
        raise LimitExceeded(f"a group has at most {GROUP_BYTES_MAX} bytes")
    return group


def decode_group(body: bytes, *, sequence: int = 0) -> tuple[MessageEntry, ...]:
    """Return the messages of a group.

    Args:
        body: The group.
        sequence: Its number.

    Raises:
        FramingError: Cut short, bytes left over, or a field outside its range.
        LimitExceeded: Larger than a group may be.
    """
    if len(body) > GROUP_BYTES_MAX:
        raise LimitExceeded(f"a group has at most {GROUP_BYTES_MAX} bytes")
    if not body.startswith(GROUP_MAGIC):
        raise FramingError("not a group of messages")
    try:
        at, peers = _peers(body)
        (count,) = _COUNT.unpack_from(body, at)
        if count > MESSAGES_MAX:
            raise LimitExceeded(f"a group has at most {MESSAGES_MAX} messages")
        return _messages(body, at + _COUNT.size, count, peers, sequence)
    except (struct.error, IndexError) as error:
        raise FramingError("the group is cut short") from error


def encode_batch(groups: Iterable[BatchGroup]) -> bytes:
    """Return the body of one request."""
    parts = [BATCH_MAGIC]
    for group in groups:
        parts += (_GROUP.pack(group.sequence, group.age_ms, len(group.body)), group.body)
    return b"".join(parts)


def decode_batch(data: bytes) -> Sequence[BatchGroup]:
    """Return the groups of a request body; they themselves are not looked into.

    Raises:
        FramingError: Empty, cut short, or sequences that do not ascend.
        LimitExceeded: More than `GROUPS_MAX` groups.
    """
    if not data.startswith(BATCH_MAGIC) or len(data) == len(BATCH_MAGIC):
        raise FramingError("not a batch of messages")
    groups: list[BatchGroup] = []
    at, before = len(BATCH_MAGIC), 0
    while at < len(data):
        if len(groups) == GROUPS_MAX:
            raise LimitExceeded(f"a batch has at most {GROUPS_MAX} groups")
        if len(data) - at < _GROUP.size:
            raise FramingError("the batch is cut short")
        sequence, age_ms, length = _GROUP.unpack_from(data, at)
        at += _GROUP.size
        if length > len(data) - at:
            raise FramingError("the batch is cut short")
        if not before < sequence <= SEQUENCE_MAX:
            raise FramingError("the sequences of a batch ascend from 1")
        groups.append(BatchGroup(sequence, age_ms, data[at : at + length]))
        at, before = at + length, sequence
    return groups


def peer_bytes(peer: MessagePeer) -> int:
    """Return how many bytes a peer adds to a group that does not list it yet."""
    return len(_peer_bytes(peer))


@lru_cache(maxsize=4_096)
def _peer_bytes(peer: MessagePeer) -> bytes:
    if len(peer.devices) > WORDS_MAX:
        raise LimitExceeded(f"a peer names at most {WORDS_MAX} devices in one group")
    parts = [_short(peer.name.encode()), _short(peer.zone.encode()), _COUNT.pack(len(peer.devices))]
    for word, device in peer.devices:
        parts += (_COUNT.pack(len(word)), word, _short(device.encode()))
    return b"".join(parts)


def _short(text: bytes) -> bytes:
    return bytes((len(text),)) + text


def _peers(body: bytes) -> tuple[int, list[MessagePeer]]:
    """Read the table of peers; return where it ends."""
    at = len(GROUP_MAGIC) + 1
    peers: list[MessagePeer] = []
    for _ in range(body[len(GROUP_MAGIC)]):
        begin = at
        at = _peer_end(body, at)
        peers.append(_peer(body[begin:at]))
    return at, peers


def _peer_end(body: bytes, at: int) -> int:
    at += 1 + body[at]
    at += 1 + body[at]
    (count,) = _COUNT.unpack_from(body, at)
    if count > WORDS_MAX:
        raise LimitExceeded(f"a peer names at most {WORDS_MAX} devices in one group")
    at += _COUNT.size
    for _ in range(count):
        (length,) = _COUNT.unpack_from(body, at)
        at += _COUNT.size + length
        at += 1 + body[at]
    if at > len(body):
        raise FramingError("the group is cut short")
    return at


@lru_cache(maxsize=4_096)  # A peer's entry is the same in nearly all its groups.
def _peer(raw: bytes) -> MessagePeer:
    name, at = _text(raw, 0)
    zone, at = _text(raw, at)
    if not _PEER.fullmatch(name) or not _ZONE.fullmatch(zone):
        raise FramingError("a peer's name or zone is none")
    (count,) = _COUNT.unpack_from(raw, at)
    at += _COUNT.size
    devices: list[tuple[bytes, str]] = []
    for _ in range(count):
        (length,) = _COUNT.unpack_from(raw, at)
        at += _COUNT.size
        word = raw[at : at + length]
        device, at = _text(raw, at + length)
        if not 0 < length <= WORD_BYTES_MAX or len(device) > NAME_CHARS_MAX:
            raise FramingError("a device word is empty or too long")
        devices.append((word, _device(device)))
    if len({word for word, _ in devices}) != len(devices):
        raise FramingError("a device word stands twice")
    return MessagePeer(name, zone, tuple(devices))


def _device(text: str) -> str:
    try:
        return DeviceId.parse(text).uri
    except InputError as error:
        raise FramingError("a peer's device is no device name") from error


def _text(raw: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + raw[at]
    try:
        return raw[at + 1 : end].decode("ascii"), end
    except UnicodeDecodeError as error:
        raise FramingError("a name in the group is not ASCII") from error


def _messages(
    body: bytes, at: int, count: int, peers: Sequence[MessagePeer], sequence: int
) -> tuple[MessageEntry, ...]:
    entries: list[MessageEntry] = []
    for index in range(count):
        head: tuple[int, int, int, int, int] = _MESSAGE.unpack_from(body, at)
        number, found, offset_min, arrived_at_ns, length = head
        at += _MESSAGE.size
        end = at + length
        if end > len(body) or not length:
            raise FramingError("the group is cut short, or a message is empty")
        if found & ~_FOUND_ALL or abs(offset_min) > _OFFSET_MIN_MAX:
            raise FramingError("a finding is outside its range")
        if arrived_at_ns > SEQUENCE_MAX:
            raise FramingError("a time of arrival is outside its range")
        findings = MessageFindings(peers[number], offset_min, arrived_at_ns, Found(found))
        entries.append(MessageEntry(sequence, index, body[at:end], findings))
        at = end
    if at != len(body):
        raise FramingError("bytes are left over after the last message")
    return tuple(entries)
