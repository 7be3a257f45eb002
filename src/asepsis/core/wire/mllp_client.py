"""The sending side of MLLP: which message goes when, and what its acknowledgement says.

Bytes in, verdicts out; no socket or clock. Messages are answered in the order in which they were
sent; an answer that names another message ends the conversation, because it is not known any more
which messages arrived.

Source: MLLP Release 1; HL7 v2.8.2 sections 2.9.2 (original mode), 2.9.3 (enhanced mode), 2.14.8.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from asepsis.core.errors import FramingError, InputError
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_ack import AckCode
from asepsis.core.wire.hl7_header import BYTE_ORDER_MARK
from asepsis.core.wire.hl7_parts import CR
from asepsis.core.wire.mllp import FrameReader, frame

ANSWER_BYTES_MAX: Final = 65_536
TEXT_CHARS_MAX: Final = 300
_CONTROL_ID: Final = 9  # Of MSH cut at its separator, where MSH-1 is none of the parts.
_ACCEPT_ACK: Final = 14
_APPLICATION_ACK: Final = 15


class Answered(Enum):
    """What a receiver said of one message."""

    ACCEPTED = "accepted"
    ERROR = "error"
    """AE or CE: something went wrong there; it may help to send it again."""
    REJECTED = "rejected"
    """AR or CR: it does not take this message."""


_MEANING: Final = {
    AckCode.APPLICATION_ACCEPT: Answered.ACCEPTED,
    AckCode.COMMIT_ACCEPT: Answered.ACCEPTED,
    AckCode.APPLICATION_ERROR: Answered.ERROR,
    AckCode.COMMIT_ERROR: Answered.ERROR,
    AckCode.APPLICATION_REJECT: Answered.REJECTED,
    AckCode.COMMIT_REJECT: Answered.REJECTED,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one message.

    Attributes:
        number: What the caller gave with it.
        answered: What it means.
        code: MSA-1.
        text: What the receiver says about a refusal: ERR-8, else ERR-7, ERR-3 or MSA-3.
    """

    number: int
    answered: Answered
    code: str
    text: str = ""


class MllpClient:
    """One conversation.

    Args:
        in_flight_max: Messages that may wait for their answer; 1 is what the standard has.
        answer_s: Longest wait for an answer, seconds.

    Source: MLLP Release 1; HL7 v2.8.2 section 2.9.
    """

    def __init__(self, *, in_flight_max: int = 1, answer_s: float = 30.0) -> None:
        self._in_flight_max = in_flight_max
        self._answer_s = answer_s
        self._reader = FrameReader(frame_bytes_max=ANSWER_BYTES_MAX)
        self._waiting: deque[tuple[int, bytes, float]] = deque()

    @property
    def room(self) -> int:
        """How many messages may be sent now. Source: HL7 v2.8.2 section 2.9.2."""
        return self._in_flight_max - len(self._waiting)

    @property
    def waiting(self) -> int:
        """How many messages have no answer yet. Source: HL7 v2.8.2 section 2.9.2."""
        return len(self._waiting)

    @property
    def deadline_s(self) -> float | None:
        """When the oldest answer is overdue, on the caller's clock; None if none is awaited.

        Source: HL7 v2.8.2 section 2.9.2.
        """
        return self._waiting[0][2] + self._answer_s if self._waiting else None

    def send(self, number: int, message: bytes, *, now_s: float) -> bytes:
        """Return the block of one message; call it only while there is `room`.

        Args:
            number: Given back with the verdict.
            message: One message; its MSH-15 and MSH-16 are made to ask for one answer.
            now_s: Seconds on a clock that never goes back.

        Raises:
            InputError: Not a message, or one that MLLP cannot carry.

        Source: HL7 v2.8.2 sections 2.9.2 and 2.9.3.
        """
        prepared, control_id = ask_for_answer(message)
        block = frame(prepared)
        self._waiting.append((number, control_id, now_s))
        return block

    def receive(self, data: bytes) -> list[Verdict]:
        """Take received bytes; return the verdicts that they complete, in order.

        Raises:
            InputError: No MLLP, no acknowledgement, or one of another message: the conversation is
                over, and what waits has no answer.

        Source: HL7 v2.8.2 section 2.9.2.
        """
        self._reader.feed(data)
        found: list[Verdict] = []
        while (answer := self._reader.next_frame()) is not None:
            found.append(self._judge(answer))
        return found

    def _judge(self, data: bytes) -> Verdict:
        answer = Message.parse(data)
        code, control_id, text = answer.first("MSA", 1, 2, 3)
        if not self._waiting:
            raise FramingError("an answer came, and no message waits for one")
        number, sent_id, _ = self._waiting[0]
        if control_id.strip() != sent_id.strip():
            raise FramingError("the answer is one to another message (MSA-2)")
        try:
            meaning = _MEANING[AckCode(code.decode("ascii"))]
        except ValueError as error:
            raise FramingError("the answer has no acknowledgement code (MSA-1)") from error
        self._waiting.popleft()
        why = "" if meaning is Answered.ACCEPTED else _why(answer, text)
        return Verdict(number, meaning, code.decode("ascii"), why)


def ask_for_answer(message: bytes) -> tuple[bytes, bytes]:
    """Return a message that asks for exactly one answer, and its control id.

    Both modes stay what they are: a message with MSH-15 and MSH-16 empty is answered in the
    original mode; another is answered once, with a commit answer, which says that the receiver
    keeps it. Who sent it first asked somebody else for the application's answer.

    Raises:
        InputError: It does not begin with MSH, or has no MSH-10.

    Source: HL7 v2.8.2 sections 2.9.2, 2.9.3 and table 0155.
    """
    start = len(BYTE_ORDER_MARK) if message.startswith(BYTE_ORDER_MARK) else 0
    if message[start : start + 3] != b"MSH" or len(message) < start + 8:
        raise InputError("message does not begin with MSH")
    # Segments that others end with LF pass as they came: the header ends there, too.
    end = _line_end(message)
    separator = message[start + 3 : start + 4]
    fields = message[start:end].split(separator)
    if len(fields) <= _CONTROL_ID or not fields[_CONTROL_ID]:
        raise InputError("message has no control id (MSH-10)", hint="no answer could name it")
    asked = [fields[n] if n < len(fields) else b"" for n in (_ACCEPT_ACK, _APPLICATION_ACK)]
    if any(asked) and asked != [b"AL", b"NE"]:
        fields += [b""] * (_APPLICATION_ACK + 1 - len(fields))
        fields[_ACCEPT_ACK], fields[_APPLICATION_ACK] = b"AL", b"NE"
        head = separator.join(fields)
        return message[:start] + head + message[end:], fields[_CONTROL_ID]
    return message, fields[_CONTROL_ID]


def _line_end(message: bytes) -> int:
    """Return where the first line ends: at the first CR or LF, else at the end."""
    end = message.find(CR)
    end = len(message) if end < 0 else end
    line_feed = message.find(b"\n", 0, end)
    return end if line_feed < 0 else line_feed


def _why(answer: Message, text: bytes) -> str:
    error = answer.first("ERR", 8, 7, 3, 1)
    raw = next((part for part in (*error, text) if part), b"")
    return raw.decode("utf-8", "replace")[:TEXT_CHARS_MAX]
