"""Thinning of vital signs for a chart: one message a minute. Alerts are never held or dropped.

A window holds the messages of one sender, patient, device and order that bear the same minute. It
closes when a message of another minute comes, when somebody says that time has passed, or when too
much waits. Messages that are not plain numbers of a device, and every alert, go straight through.

Source: own; IHE DEV TF-2 3.1 (PCD-01) and 3.4 (PCD-04).
"""

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final, Generic, Literal, TypeVar

from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_parts import CR

WINDOWS_MAX: Final = 20_000
MEMBERS_MAX: Final = 3_600
"""Messages of one window."""
OPEN_S: Final = 75.0
"""How long a window waits for the next minute's message, seconds."""
_NS_PER_S: Final = 1_000_000_000
_MINUTE: Final = re.compile(rb"(\d{12})(?:\d\d(?:\.\d{1,4})?)?([+-]\d{4})?(?![0-9])")
_ALERT: Final = re.compile(
    rb"MDC_EVT|ALARM|ALERT|_EVENT_PHASE|(?:\||\^|\r)(?:196616|68480|68481|68482|68483|68484|68485)\^"
)
"""Codes of PCD-04 and words of events; what holds one is never thinned.

Source: ISO/IEEE 11073-10101 MDC_EVT_ALARM and MDC_ATTR_*; IHE DEV TF-2 appendix B.
"""
_CRITICAL: Final = frozenset((b"HH", b"LL", b"AA", b">", b"<"))
"""OBX-8 of values that a sender calls critical. Source: HL7 v2.8.2 table 0078."""
_NUMBERS: Final = frozenset((b"NM", b"SN", b""))
M = TypeVar("M")


@dataclass(slots=True)
class _Window(Generic[M]):
    minute: bytes
    opened_ns: int
    keep: Literal["last", "median"]
    message: Message
    members: list[M]
    values: dict[bytes, list[tuple[Decimal, bytes]]] = field(
        default_factory=dict[bytes, list[tuple[Decimal, bytes]]]
    )


@dataclass(frozen=True, slots=True)
class Sample(Generic[M]):
    """A message that goes on.

    Attributes:
        body: Its bytes.
        members: What the caller gave with each message that it stands for, in order.
    """

    body: bytes
    members: tuple[M, ...]


class Sampler(Generic[M]):
    """The open windows of one destination.

    Source: own.
    """

    def __init__(self) -> None:
        self._windows: dict[Hashable, _Window[M]] = {}
        self._of_patient: dict[Hashable, dict[Hashable, None]] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def take(
        self, message: Message, member: M, *, keep: Literal["last", "median"], now_ns: int
    ) -> list[Sample[M]]:
        """Take a message; return what goes on now, in order: a closed window, or the message.

        Args:
            message: Parsed, mapped.
            member: Given back with the sample that stands for it.
            keep: How its window is thinned.
            now_ns: Monotonic nanoseconds.
        """
        minute = minute_of(message)
        if not minute or not may_be_sampled(message):
            # What is held of the same patient goes first: order is kept.
            held = tuple(self._of_patient.get(_patient(message), ()))
            return [*map(self._close, held), Sample(message.body, (member,))]
        key = window_key(message)
        done: list[Sample[M]] = []
        window = self._windows.get(key)
        if window is not None and (window.minute != minute or len(window.members) >= MEMBERS_MAX):
            done.append(self._close(key))
            window = None
        if window is None:
            if len(self._windows) >= WINDOWS_MAX:
                done.append(self._close(next(iter(self._windows))))
            window = self._windows[key] = _Window(minute, now_ns, keep, message, [])
            self._of_patient.setdefault(_patient(message), {})[key] = None
        window.message = message
        window.members.append(member)
        if keep == "median":
            _collect(window.values, message)
        return done

    def expire(self, *, now_ns: int) -> list[Sample[M]]:
        """Return what waited long enough for a next minute, oldest first."""
        oldest_ns = now_ns - int(OPEN_S * _NS_PER_S)
        due = [key for key, window in self._windows.items() if window.opened_ns <= oldest_ns]
        return [self._close(key) for key in due]

    def flush(self) -> list[Sample[M]]:
        """Close every window, for example before a destination is removed."""
        return [self._close(key) for key in tuple(self._windows)]

    def _close(self, key: Hashable) -> Sample[M]:
        window = self._windows.pop(key)
        patient = _patient(window.message)
        keys = self._of_patient[patient]
        del keys[key]
        if not keys:
            del self._of_patient[patient]
        body = window.message.body
        if window.keep == "median":
            body = with_medians(window.message, window.values)
        return Sample(body, tuple(window.members))


def _patient(message: Message) -> Hashable:
    return (*message.first("MSH", 3, 4), *message.first("PID", 3))


def may_be_sampled(message: Message) -> bool:
    """Say whether a message is nothing but numbers of a device, none of them critical."""
    (kind,) = message.first("MSH", 9)
    if not kind.startswith((b"ORU^R01", b"ORU" + message.delimiters.component + b"R01")):
        return False
    kinds, codes, flags = message.columns("OBX", 2, 3, 8)
    if not any(kind == b"NM" for kind in kinds) or not _NUMBERS.issuperset(kinds):
        return False
    if any(_ALERT.search(b"|" + code) for code in codes):
        return False
    return not any(_CRITICAL.intersection(_parts(flag, message)) for flag in flags)


def window_key(message: Message) -> Hashable:
    """Return what the messages of one window share: sender, patient, order, device."""
    return (
        *message.first("MSH", 3, 4),
        *message.first("PID", 3),
        *message.first("OBR", 4),
        *message.first("OBX", 18),
        frozenset(zip(*message.columns("OBX", 3, 4), strict=True)),
    )


def minute_of(message: Message) -> bytes:
    """Return the minute that a message bears, as its sender wrote it; b"" if it bears none."""
    for segment, number in (("OBR", 7), ("OBX", 14), ("MSH", 7)):
        (moment,) = message.first(segment, number)
        if moment:
            found = _MINUTE.match(moment)
            return b"".join(found.groups(b"")) if found else b""
    return b""


def with_medians(message: Message, values: dict[bytes, list[tuple[Decimal, bytes]]]) -> bytes:
    """Return a message with the lower median of each number: one that was truly measured."""
    separator = message.delimiters.field
    lines = message.body.split(CR)
    for index, line in enumerate(lines):
        fields = line.split(separator)
        if fields[0] != b"OBX" or len(fields) <= 5:
            continue
        found = values.get(_number_key(fields[3], fields[4]))
        if found and fields[2] == b"NM" and _decimal(fields[5]) is not None:
            ordered = sorted(found, key=lambda one: one[0])
            fields[5] = ordered[(len(ordered) - 1) // 2][1]
            lines[index] = separator.join(fields)
    return CR.join(lines)


def _collect(values: dict[bytes, list[tuple[Decimal, bytes]]], message: Message) -> None:
    for kind, code, sub, value in zip(*message.columns("OBX", 2, 3, 4, 5), strict=True):
        number = _decimal(value) if kind == b"NM" else None
        if number is not None:
            values.setdefault(_number_key(code, sub), []).append((number, value))


def _number_key(code: bytes, sub: bytes) -> bytes:
    return code + b"\r" + sub


def _decimal(raw: bytes) -> Decimal | None:
    try:
        number = Decimal(raw.decode("ascii"))
    except (InvalidOperation, UnicodeDecodeError):
        return None
    return number if number.is_finite() else None


def _parts(raw: bytes, message: Message) -> Iterable[bytes]:
    return raw.split(message.delimiters.repetition)
