"""Batches of HL7 v2 (FHS, BHS, BTS, FTS): messages out of one payload, their answers into another.

A batch is only a wrapping: each message in it is judged and answered as if it had come alone, and
its bytes stay as they are. What the wrapping says of itself must hold, because a count that is
wrong means that a message was lost or slipped in: then nothing of it is taken. Pure functions.

Source: HL7 v2.8.2 sections 2.10.3 (batch protocol) and 2.14.2, 2.14.3, 2.14.6, 2.14.7 (segments).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire.hl7_ack import AckCode, acknowledge, reaction
from asepsis.core.wire.hl7_header import Header

MESSAGES_MAX: Final = 256
"""Messages of one payload, as many as a group of the gateway has."""
BATCHES_MAX: Final = 64
_COUNT_DIGITS_MAX: Final = 10
_MARK: Final = re.compile(rb"(?:(?<=[\r\n])|\A)(FHS|BHS|MSH|BTS|FTS)(?![A-Z0-9])")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b-\x1f]")
_LINE_END: Final = re.compile(rb"[\r\n]+")
_FOLLOWS: Final = {
    b"": (b"FHS", b"BHS"),
    b"FHS": (b"BHS", b"MSH", b"FTS"),
    b"BHS": (b"MSH", b"BTS", b"FTS"),
    b"MSH": (b"MSH", b"BTS", b"FTS"),
    b"BTS": (b"BHS", b"FTS"),
    b"FTS": (),
}
"""Which mark may follow which; `b""` is the beginning."""


@dataclass(slots=True)
class Batch:
    """One batch of a payload.

    Attributes:
        header: BHS as a header; None if the messages of a file stand without it.
        messages: As they stand.
    """

    header: Header | None
    messages: list[bytes] = field(default_factory=list[bytes])


@dataclass(slots=True)
class Batches:
    """Everything in one payload.

    Attributes:
        file: FHS as a header; None if there is none.
        batches: In order.
    """

    file: Header | None = None
    batches: list[Batch] = field(default_factory=list[Batch])

    @property
    def messages(self) -> list[bytes]:
        """Every message, in order."""
        return [message for batch in self.batches for message in batch.messages]


def is_batch(payload: bytes) -> bool:
    """Tell whether a payload begins as a batch does.

    Source: HL7 v2.8.2 section 2.10.3.1.
    """
    return payload[:3] in (b"FHS", b"BHS")


def read_batch(payload: bytes) -> Batches:
    """Take a payload apart.

    Raises:
        InputError: A segment outside a message, marks in a wrong order, a header that cannot be
            read, or a count in BTS-1 or FTS-1 that is another.
        LimitExceeded: Too many messages or batches.

    Source: HL7 v2.8.2 section 2.10.3.1 (syntax), 2.14.3.1 (BTS-1), 2.14.7.1 (FTS-1).
    """
    found = Batches()
    before = b""
    marks = list(_MARK.finditer(payload))
    if not marks:
        raise InputError("the batch does not begin with a header")
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        name = mark[1]
        if name not in _FOLLOWS[before]:
            raise InputError(f"{name.decode()} stands where it may not in a batch")
        whole = payload[mark.start() : after.start() if after else len(payload)]
        _READ[name](found, whole if name == b"MSH" else _alone(whole))
        before = name
    return found


def _alone(whole: bytes) -> bytes:
    """Return the one segment before the next mark."""
    segments = [line for line in _LINE_END.split(whole) if line]
    if len(segments) != 1:
        raise InputError("a segment of the batch stands outside every message")
    return segments[0]


def _header(segment: bytes) -> Header:
    if _CONTROL.search(segment):
        raise InputError("a header of the batch holds a control byte")
    # FHS and BHS have delimiters, addresses and time where MSH has them.
    return Header.salvage(b"MSH" + segment[3:])


def _begin_file(found: Batches, segment: bytes) -> None:
    found.file = _header(segment)


def _begin_batch(found: Batches, segment: bytes) -> None:
    if len(found.batches) == BATCHES_MAX:
        raise LimitExceeded(f"a file has at most {BATCHES_MAX} batches")
    found.batches.append(Batch(_header(segment)))


def _message(found: Batches, whole: bytes) -> None:
    if not found.batches:
        found.batches.append(Batch(None))
    found.batches[-1].messages.append(whole)
    if len(found.messages) > MESSAGES_MAX:
        raise LimitExceeded(f"a batch has at most {MESSAGES_MAX} messages")


def _end_batch(found: Batches, segment: bytes) -> None:
    batch = found.batches[-1]
    _check_count(found, segment, len(batch.messages), "BTS-1")


def _end_file(found: Batches, segment: bytes) -> None:
    _check_count(found, segment, len(found.batches), "FTS-1")


def _check_count(found: Batches, segment: bytes, count: int, place: str) -> None:
    header = found.file or found.batches[-1].header
    separator = header.delimiters.field if header else b"|"
    told = [*segment.split(separator), b""][1].strip()
    if told and not (told.isdigit() and len(told) <= _COUNT_DIGITS_MAX and int(told) == count):
        raise InputError(f"{place} counts otherwise than the batch has")


_READ: Final[dict[bytes, Callable[[Batches, bytes], None]]] = {
    b"FHS": _begin_file,
    b"BHS": _begin_batch,
    b"MSH": _message,
    b"BTS": _end_batch,
    b"FTS": _end_file,
}


def answer_batch(
    batches: Batches,
    answers: Sequence[bytes | None],
    *,
    control_id: str,
    clock: Callable[[], int],
) -> bytes:
    """Return the batch of acknowledgements: one for each message whose sender wants one.

    Args:
        batches: What was read.
        answers: For each message its acknowledgement, or None.
        control_id: Of the answer, unique among ours.
        clock: Wall time, nanoseconds since 1970.

    Source: HL7 v2.8.2 section 2.10.3.3 (acknowledging batches); BHS-12 and FHS-12 name what is
    answered.
    """
    parts: list[bytes] = []
    if batches.file is not None:
        parts.append(_opening(b"FHS", batches.file, control_id, clock))
    waiting = list(answers)
    for batch in batches.batches:
        count = len(batch.messages)
        own, waiting = [answer for answer in waiting[:count] if answer], waiting[count:]
        header = batch.header or batches.file
        if batch.header is not None:
            parts.append(_opening(b"BHS", batch.header, control_id, clock))
        parts += own
        separator = header.delimiters.field if header else b"|"
        if batch.header is not None:
            parts.append(separator.join((b"BTS", b"%d" % len(own))) + b"\r")
    if batches.file is not None:
        separator = batches.file.delimiters.field
        parts.append(separator.join((b"FTS", b"%d" % len(batches.batches))) + b"\r")
    return b"".join(parts)


def _opening(name: bytes, header: Header, control_id: str, clock: Callable[[], int]) -> bytes:
    """Return FHS or BHS of an answer: addresses swapped, and the reference to what is answered."""
    own = acknowledge(header, AckCode.APPLICATION_ACCEPT, control_id=control_id, clock=clock)
    separator = header.delimiters.field
    fields = own.split(b"\r", 1)[0].split(separator)
    # From MSH: separator and MSH-2 to MSH-7; then BHS-8 to BHS-10 empty, own id, reference.
    whole = (name, *fields[1:7], b"", b"", b"", control_id.encode("ascii"), header.raw(11))
    return separator.join(whole) + b"\r"


def refuse_batch(
    payload: bytes, error: InputError, *, control_id: str, clock: Callable[[], int]
) -> bytes:
    """Return the answer to a payload of which nothing was taken: MSA-2 names the batch itself.

    Raises:
        InputError: Its first segment cannot be read either, so nobody could match an answer.

    Source: HL7 v2.8.2 sections 2.9.2 and 2.10.3.3.
    """
    header = _header(_LINE_END.split(payload, maxsplit=1)[0])
    answered = reaction(error, commit=False)
    assert answered is not None, "an input error is always answered"  # noqa: S101 - our own table
    code, reason = answered
    fields = [header.raw(number) for number in range(1, 12)]
    named = Header.salvage(
        header.delimiters.field.join(
            (b"MSH", header.delimiters.encoding, *fields[2:7], b"", b"", fields[10], b"P", b"2.6")
        )
    )
    return acknowledge(named, code, control_id=control_id, clock=clock, error=reason)
