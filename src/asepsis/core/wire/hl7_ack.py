"""Acknowledgements of HL7 v2: which answer an outcome deserves, and its bytes. Pure functions.

Source: HL7 v2.8.2 sections 2.9 (message processing rules), 2.14.8 (MSA), 2.14.5 (ERR), tables 0008,
0155, 0357 and 0516.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asepsis.core.errors import (
    AsepsisError,
    ConfigError,
    ContentMismatch,
    InputError,
    LimitExceeded,
    SafetyRefusal,
    TransientError,
    TrustError,
    UnsupportedMedia,
)
from asepsis.core.wire.hl7_build import Fields, Verbatim, Writer, join_segments
from asepsis.core.wire.hl7_header import Header
from asepsis.core.wire.hl7_parts import Delimiters
from asepsis.core.wire.hl7_time import written_dtm

_MS_DIGITS: Final = 3
_USER_TEXT_MAX: Final = 250
_ERR_BY_LOCATION_SINCE: Final = (2, 5)
"""Version from which ERR names place, code and severity in fields of their own (ERR-2 to ERR-8)."""


class AckCode(StrEnum):
    """MSA-1. Source: HL7 v2.8.2 table 0008."""

    APPLICATION_ACCEPT = "AA"
    APPLICATION_ERROR = "AE"
    APPLICATION_REJECT = "AR"
    COMMIT_ACCEPT = "CA"
    COMMIT_ERROR = "CE"
    COMMIT_REJECT = "CR"


ACCEPTS: Final = frozenset((AckCode.APPLICATION_ACCEPT, AckCode.COMMIT_ACCEPT))


class Condition(StrEnum):
    """What is wrong, as ERR-3 says it. Source: HL7 v2.8.2 table 0357."""

    SEGMENT_SEQUENCE = "100"
    REQUIRED_FIELD_MISSING = "101"
    DATA_TYPE = "102"
    TABLE_VALUE_NOT_FOUND = "103"
    VALUE_TOO_LONG = "104"
    UNSUPPORTED_MESSAGE_TYPE = "200"
    UNSUPPORTED_EVENT_CODE = "201"
    UNSUPPORTED_PROCESSING_ID = "202"
    UNSUPPORTED_VERSION_ID = "203"
    UNKNOWN_KEY_IDENTIFIER = "204"
    DUPLICATE_KEY_IDENTIFIER = "205"
    INTERNAL = "207"


CONDITION_TEXTS: Final = {
    Condition.SEGMENT_SEQUENCE: "Segment sequence error",
    Condition.REQUIRED_FIELD_MISSING: "Required field missing",
    Condition.DATA_TYPE: "Data type error",
    Condition.TABLE_VALUE_NOT_FOUND: "Table value not found",
    Condition.VALUE_TOO_LONG: "Value too long",
    Condition.UNSUPPORTED_MESSAGE_TYPE: "Unsupported message type",
    Condition.UNSUPPORTED_EVENT_CODE: "Unsupported event code",
    Condition.UNSUPPORTED_PROCESSING_ID: "Unsupported processing id",
    Condition.UNSUPPORTED_VERSION_ID: "Unsupported version id",
    Condition.UNKNOWN_KEY_IDENTIFIER: "Unknown key identifier",
    Condition.DUPLICATE_KEY_IDENTIFIER: "Duplicate key identifier",
    Condition.INTERNAL: "Application error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AckError:
    """One ERR segment.

    Attributes:
        condition: What is wrong.
        text: One sentence for a person, without patient data; cut at 250 characters.
        segment: Name of the segment it was found in; may be empty.
        occurrence: Which segment of that name, from 1.
        field: Field number in it; 0 means the whole segment.

    Source: HL7 v2.8.2 section 2.14.5.
    """

    condition: Condition
    text: str = ""
    segment: str = ""
    occurrence: int = 1
    field: int = 0


_REACTIONS: Final[tuple[tuple[type[AsepsisError], bool, Condition], ...]] = (
    # Error class, whether the message as such is rejected (else it is in error), condition.
    # First match counts, so leaves stand before their roots.
    (LimitExceeded, True, Condition.VALUE_TOO_LONG),
    (UnsupportedMedia, True, Condition.DATA_TYPE),
    (ContentMismatch, False, Condition.UNKNOWN_KEY_IDENTIFIER),
    (InputError, False, Condition.DATA_TYPE),
    (TrustError, True, Condition.INTERNAL),
)
_WITHHELD: Final = (TransientError, SafetyRefusal, ConfigError)


def reaction(error: AsepsisError, *, commit: bool) -> tuple[AckCode, AckError] | None:
    """Return how to answer a message that failed with `error`, or None: send no answer at all.

    A fault that may pass withholds the answer, because many senders drop a message on AE or AR and
    all of them repeat one that nobody answered.

    Args:
        error: Why the message was not stored.
        commit: Whether the sender waits for a commit answer (enhanced mode).

    Source: HL7 v2.8.2 sections 2.9.2 and 2.9.3, tables 0008 and 0357.
    """
    if isinstance(error, _WITHHELD):
        return None
    for kind, rejected, condition in _REACTIONS:
        if isinstance(error, kind):
            return _code(rejected=rejected, commit=commit), AckError(
                condition=condition, text=f"{error.code}: {error}"
            )
    return None


def _code(*, rejected: bool, commit: bool) -> AckCode:
    if commit:
        return AckCode.COMMIT_REJECT if rejected else AckCode.COMMIT_ERROR
    return AckCode.APPLICATION_REJECT if rejected else AckCode.APPLICATION_ERROR


def wanted(condition: str, *, failed: bool) -> bool:
    """Tell whether an answer is wanted.

    Args:
        condition: MSH-15 or MSH-16: AL always, NE never, ER on error, SU on success. Anything else
            counts as always: an answer too many is harmless, one too few stops a sender.
        failed: Whether the message was refused.

    Source: HL7 v2.8.2 table 0155.
    """
    return {"NE": False, "ER": failed, "SU": not failed}.get(condition, True)


def acknowledge(
    header: Header,
    code: AckCode,
    *,
    control_id: str,
    clock: Callable[[], int],
    error: AckError | None = None,
) -> bytes:
    """Return the acknowledgement of one message.

    Addresses, processing id, version and character set are echoed byte for byte and in the
    message's own delimiters, so the sender recognises itself whatever it calls itself.

    Args:
        header: Of the message; from `Header.salvage` where the message itself is unreadable.
        code: The verdict.
        control_id: MSH-10 of the answer, unique among ours, at most 199 characters.
        clock: Wall time, nanoseconds since 1970, for MSH-7.
        error: What was wrong; only beside an error or reject.

    Raises:
        InputError: An error beside an accept, or a header that cannot be echoed.

    Source: HL7 v2.8.2 sections 2.9.2, 2.13.1 (ACK), 2.14.5, 2.14.8 and 2.14.9.
    """
    if error is not None and code in ACCEPTS:
        raise InputError("an accept carries no error")
    writer = Writer(delimiters=header.delimiters, charset="ASCII")
    event = header.raw(9).split(header.delimiters.component)[1:2]
    kind = ("ACK", event[0].decode("ascii", "replace"), "ACK") if event and event[0] else "ACK"
    head: Fields = {
        3: Verbatim(header.raw(5)),
        4: Verbatim(header.raw(6)),
        5: Verbatim(header.raw(3)),
        6: Verbatim(header.raw(4)),
        7: written_dtm(clock(), digits=_MS_DIGITS),
        9: kind,
        10: control_id,
        11: Verbatim(header.raw(11)),
        12: Verbatim(header.raw(12)),
        18: Verbatim(header.raw(18)),
    }
    segments = [
        writer.segment("MSH", head),
        writer.segment("MSA", {1: code.value, 2: Verbatim(header.raw(10))}),
    ]
    if error is not None:
        segments.append(writer.segment("ERR", _err(error, header)))
    return join_segments(segments)


def _err(error: AckError, header: Header) -> Fields:
    text = CONDITION_TEXTS[error.condition]
    place = (error.segment, str(error.occurrence), str(error.field) if error.field else "")
    location = place if error.segment else ""
    if _version(header) < _ERR_BY_LOCATION_SINCE:
        names = place if error.segment else ("", "", "")
        return {1: (*names, (error.condition.value, text, "HL70357"))}
    return {
        2: location,
        3: (error.condition.value, text, "HL70357"),
        4: "E",
        8: _plain(error.text, header.delimiters),
    }


def _plain(text: str, delimiters: Delimiters) -> str:
    """Return text that can be written in ASCII and, where there is no escape, without one."""
    text = text[:_USER_TEXT_MAX].encode("ascii", "replace").decode("ascii")
    if delimiters.escape:
        return text
    every = (delimiters.field + delimiters.encoding).decode("ascii")
    return "".join(" " if mark in every or not mark.isprintable() else mark for mark in text)


def _version(header: Header) -> tuple[int, int]:
    """Read MSH-12 as two numbers; what is unreadable counts as new, which is what is specified."""
    major, _, rest = header.raw(12).partition(b".")
    minor = rest[:1]
    if major.isdigit() and minor.isdigit() and len(major) == 1:
        return int(major), int(minor)
    return _ERR_BY_LOCATION_SINCE
