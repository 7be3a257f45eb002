"""Philips IntelliVue data export: remote operations, polls and their results. Bytes in, values out.

Lists carry a count and a length; the length alone is followed, within the datagram, so that a lying
count costs nothing. Every reader refuses what is cut short; what it does not know it leaves out.

Source: Philips IntelliVue Patient Monitor, Data Export Interface Programming Guide
4535 642 59271, "Protocol Commands", "Poll Data Results", "Attribute Data Types".
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from asepsis.core.errors import FramingError

SESSION_DATA: Final = 0xE100
CONTEXT: Final = 2
CONNECT_INDICATION: Final = b"\x00\x00\x01\x00"
"""The nomenclature version that begins a connect indication, in place of a session header."""
OBSERVATIONS_MAX: Final = 256
ATTRIBUTES_MAX: Final = 64
ELEMENTS_MAX: Final = 64

MDS: Final = 0x0021
NUMERIC: Final = 0x0006
WAVEFORM: Final = 0x0009
ALERT_MONITOR: Final = 0x0036

ALL: Final = 0x0000
OBSERVED: Final = 0x0803
ALERTS: Final = 0x0801
SYSTEM: Final = 0x080A

POLL: Final = 0x0C16
POLL_EXT: Final = 0xF13B
MDS_CREATED: Final = 0x0D06
POLL_TIME: Final = 0xF13E
WAVE_PRIORITIES: Final = 0xF23A


class Operation(IntEnum):
    """Kind of a remote operation."""

    INVOKE = 1
    RESULT = 2
    ERROR = 3
    LINKED_RESULT = 5


class Command(IntEnum):
    """What is invoked."""

    EVENT_REPORT = 0
    CONFIRMED_EVENT_REPORT = 1
    GET = 3
    SET = 4
    CONFIRMED_SET = 5
    CONFIRMED_ACTION = 7


_PDU: Final = struct.Struct(">HHHH")
_INVOKE: Final = struct.Struct(">HHH")
_OBJECT: Final = struct.Struct(">HHH")
_EVENT: Final = struct.Struct(">HHHIHH")
_ACTION: Final = struct.Struct(">HHHIHH")
_RESULT: Final = struct.Struct(">HHHHH")
_POLLED: Final = struct.Struct(">HHHH")
_REPLY: Final = struct.Struct(">HI8sHHH")
_REPLY_EXT: Final = struct.Struct(">HHI8sHHH")
_LIST: Final = struct.Struct(">HH")
_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_LINKED: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Apdu:
    """One remote operation.

    Attributes:
        operation: Its kind.
        invoke_id: Number that the invoker gave.
        command: What is invoked; of an error its reason.
        linked: State of a linked result: 1 first, 2 between, 3 last; 0 of all others.
        part: Number of a linked result, from 1, dense; 0 of all others.
        body: What belongs to the command.
    """

    operation: Operation
    invoke_id: int
    command: int
    linked: int
    part: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Observation:
    """One object of a poll result.

    Attributes:
        context: Which of the monitor's measurement contexts.
        handle: Object handle in it.
        attributes: Attribute id -> its bytes.
    """

    context: int
    handle: int
    attributes: Mapping[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class PollReply:
    """The result of a poll, or one part of it.

    Attributes:
        poll_number: As in the request.
        sequence: Of extended polls, counting up; -1 of single ones.
        relative_ticks: The monitor's relative time, eighths of a millisecond.
        object_class: What was polled.
        observations: At most `OBSERVATIONS_MAX`.
    """

    poll_number: int
    sequence: int
    relative_ticks: int
    object_class: int
    observations: tuple[Observation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event report.

    Attributes:
        object_class: Class, context and handle of the object that reports.
        context: See `object_class`.
        handle: See `object_class`.
        event_type: What happened.
        body: What belongs to it.
    """

    object_class: int
    context: int
    handle: int
    event_type: int
    body: bytes


def decode_apdu(datagram: bytes) -> Apdu:
    """Read a data export message.

    Raises:
        FramingError: Not one, or its lengths do not fit the datagram.

    Source: 4535 642 59271, "Session/Presentation Header", "Remote Operation Header".
    """
    if len(datagram) < _PDU.size:
        raise FramingError("datagram is shorter than its header")
    session, _, kind, length = _PDU.unpack_from(datagram)
    if session != SESSION_DATA or _PDU.size + length > len(datagram):
        raise FramingError("no data export message, or cut short")
    body = datagram[_PDU.size : _PDU.size + length]
    if kind == Operation.LINKED_RESULT:
        if len(body) < _LINKED:
            raise FramingError("linked result is cut short")
        return _invoked(Operation.LINKED_RESULT, body[_LINKED:], linked=(body[0], body[1]))
    if kind in {Operation.INVOKE, Operation.RESULT, Operation.ERROR}:
        return _invoked(Operation(kind), body, linked=(0, 0))
    raise FramingError("unknown remote operation")


def _invoked(operation: Operation, body: bytes, *, linked: tuple[int, int]) -> Apdu:
    if len(body) < _INVOKE.size:
        raise FramingError("remote operation is cut short")
    invoke_id, command, length = _INVOKE.unpack_from(body)
    if _INVOKE.size + length > len(body):
        raise FramingError("remote operation is longer than its datagram")
    content = body[_INVOKE.size : _INVOKE.size + length]
    return Apdu(
        operation=operation,
        invoke_id=invoke_id,
        command=command,
        linked=linked[0],
        part=linked[1],
        body=content,
    )


def decode_event(apdu: Apdu) -> Event:
    """Read the argument of an event report.

    Raises:
        FramingError: Cut short.

    Source: 4535 642 59271, "EventReportArgument".
    """
    if len(apdu.body) < _EVENT.size:
        raise FramingError("event report is cut short")
    object_class, context, handle, _, event_type, length = _EVENT.unpack_from(apdu.body)
    return Event(
        object_class=object_class,
        context=context,
        handle=handle,
        event_type=event_type,
        body=apdu.body[_EVENT.size : _EVENT.size + length],
    )


def decode_created(event: Event) -> Mapping[int, bytes]:
    """Return the attributes of an MDS create event.

    Raises:
        FramingError: Cut short.

    Source: 4535 642 59271, "MDS Create Event Report".
    """
    return attributes_of(event.body, _OBJECT.size)[0]


def decode_poll(apdu: Apdu) -> PollReply:
    """Read the result of a single or extended poll, or one of its linked parts.

    Raises:
        FramingError: Not the result of a poll, or cut short.

    Source: 4535 642 59271, "PollMdibDataReply", "PollMdibDataReplyExt", "PollInfoList".
    """
    body = apdu.body
    if len(body) < _RESULT.size:
        raise FramingError("action result is cut short")
    action = _RESULT.unpack_from(body)[3]
    at = _RESULT.size
    sequence = -1
    if action == POLL_EXT and at + _REPLY_EXT.size <= len(body):
        number, sequence, ticks, _, _, polled, _ = _REPLY_EXT.unpack_from(body, at)
        at += _REPLY_EXT.size
    elif action == POLL and at + _REPLY.size <= len(body):
        number, ticks, _, _, polled, _ = _REPLY.unpack_from(body, at)
        at += _REPLY.size
    else:
        raise FramingError("no result of a poll, or cut short")
    return PollReply(
        poll_number=number,
        sequence=sequence,
        relative_ticks=ticks,
        object_class=polled,
        observations=tuple(_observations(body, at)),
    )


def _observations(body: bytes, at: int) -> Iterator[Observation]:
    _, end = _list(body, at)
    at += _LIST.size
    found = 0
    while at < end:
        if at + 2 > end:
            raise FramingError("poll result ends inside a context")
        context = _U16.unpack_from(body, at)[0]
        _, inner = _list(body, at + 2)
        at += 2 + _LIST.size
        while at < min(inner, end):
            found += 1
            if found > OBSERVATIONS_MAX or at + 2 > inner:
                raise FramingError("too many objects in a poll result, or cut short")
            handle = _U16.unpack_from(body, at)[0]
            attributes, at = attributes_of(body, at + 2)
            yield Observation(context, handle, attributes)


def _list(data: bytes, at: int) -> tuple[int, int]:
    """Return count and end of a list.

    Raises:
        FramingError: It is longer than what holds it.
    """
    if at + _LIST.size > len(data):
        raise FramingError("list is cut short")
    count, length = _LIST.unpack_from(data, at)
    end = at + _LIST.size + length
    if end > len(data):
        raise FramingError("list is longer than its message")
    return count, end


def attributes_of(data: bytes, at: int) -> tuple[Mapping[int, bytes], int]:
    """Read an attribute list; return it and where it ends.

    Raises:
        FramingError: Cut short, or more than `ATTRIBUTES_MAX`.

    Source: 4535 642 59271, "AttributeList".
    """
    _, end = _list(data, at)
    at += _LIST.size
    found: dict[int, bytes] = {}
    while at < end:
        if at + _LIST.size > end or len(found) >= ATTRIBUTES_MAX:
            raise FramingError("attribute list is cut short or too long")
        attribute, length = _LIST.unpack_from(data, at)
        at += _LIST.size
        if at + length > end:
            raise FramingError("attribute is longer than its list")
        found[attribute] = data[at : at + length]
        at += length
    return found, end


def elements(data: bytes) -> bytes:
    """Return the content of a list attribute without its count and length.

    Raises:
        FramingError: Cut short.
    """
    _, end = _list(data, 0)
    return data[_LIST.size : end]


def _invoke(invoke_id: int, command: Command, body: bytes) -> bytes:
    inner = _INVOKE.pack(invoke_id, command, len(body)) + body
    return _PDU.pack(SESSION_DATA, CONTEXT, Operation.INVOKE, len(inner)) + inner


def encode_poll(invoke_id: int, poll_number: int, object_class: int, group: int) -> bytes:
    """Write a single poll.

    Source: 4535 642 59271, "Single Poll Data Request".
    """
    request = _POLLED.pack(poll_number, 1, object_class, group)
    return _invoke(invoke_id, Command.CONFIRMED_ACTION, _action(POLL, request))


def encode_extended_poll(
    invoke_id: int, poll_number: int, object_class: int, group: int, *, period_s: float
) -> bytes:
    """Write an extended poll: results come by themselves for `period_s` seconds.

    Source: 4535 642 59271, "Extended Poll Data Request", NOM_ATTR_TIME_PD_POLL.
    """
    attribute = _LIST.pack(POLL_TIME, 4) + _U32.pack(int(period_s * 8_000))
    request = _POLLED.pack(poll_number, 1, object_class, group) + _LIST.pack(1, len(attribute))
    return _invoke(invoke_id, Command.CONFIRMED_ACTION, _action(POLL_EXT, request + attribute))


def _action(action: int, request: bytes) -> bytes:
    return _ACTION.pack(MDS, 0, 0, 0, action, len(request)) + request


def encode_wave_priorities(invoke_id: int, labels: Sequence[int]) -> bytes:
    """Write which waveforms are wanted, most wanted first; by their 32-bit text ids.

    Source: 4535 642 59271, "Set Priority List", NOM_ATTR_POLL_RTSA_PRIO_LIST.
    """
    texts = b"".join(map(_U32.pack, labels))
    value = _LIST.pack(len(labels), len(texts)) + texts
    entry = struct.pack(">HHH", 0, WAVE_PRIORITIES, len(value)) + value
    body = struct.pack(">HHHIHH", MDS, 0, 0, 0, 1, len(entry)) + entry
    return _invoke(invoke_id, Command.CONFIRMED_SET, body)


def encode_event_result(apdu: Apdu, event: Event, *, relative_ticks: int) -> bytes:
    """Confirm an event report.

    Source: 4535 642 59271, "MDS Create Event Result".
    """
    body = _EVENT.pack(
        event.object_class,
        event.context,
        event.handle,
        relative_ticks & 0xFFFF_FFFF,
        event.event_type,
        0,
    )
    inner = _INVOKE.pack(apdu.invoke_id, apdu.command, len(body)) + body
    return _PDU.pack(SESSION_DATA, CONTEXT, Operation.RESULT, len(inner)) + inner
