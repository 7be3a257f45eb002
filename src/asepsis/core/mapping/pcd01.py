"""IHE PCD-01 (ORU^R01) to numerics per device, losses counted. Pure, so it can be replayed.

A value is taken only where device, metric, unit and number are said without doubt; everything else
is a loss, never a guess. The device is the one that OBX-18 or PRT-10 names and that the findings of
the message's record resolve; a row without either belongs to the device of its medical device
system, the first number of OBX-4.

Source: IHE PCD Technical Framework volume 2 (PCD-01, OBX segment, device containment in OBX-4).
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.mapping import pcd01_rows
from asepsis.core.mapping.loss import Mapped
from asepsis.core.mapping.pcd01_clock import TimeOf
from asepsis.core.mapping.sender_time import Certainty
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import Numeric
from asepsis.core.wire.hl7 import Message, MessageReader
from asepsis.core.wire.message_record import Found, MessageEntry, decode

__all__ = ["DeviceNumerics", "TimeOf", "numerics_of_entry", "numerics_of_message", "times_of"]

NS_PER_MS: Final = 1_000_000
OFFSET_MS_MAX: Final = 65_535
_PATH_BYTES_KEPT: Final = 64
"""Longest OBX-4 whose handle is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNumerics:
    """The numerics of one device in one message.

    Attributes:
        device: Whose values they are.
        start_ns: What their offsets count from, nanoseconds since 1970, by the sender's clock.
        numerics: In the order of the message.
        later_by_ns: How much later the values may have been measured: more than 0 where the
            sender's clocks repeat an hour and `certainty` is `AMBIGUOUS`.
        certainty: How surely the times are known. Beside `OFFSET`, `ZONE` and `AMBIGUOUS` the
            message has no readable time, and `start_ns` is the gateway's time of arrival.
        sequence: Sequence of the record.
        index: Place of the message in the record.
        other_patient: Whether the message named another patient than its device was confirmed for.
    """

    device: DeviceId
    start_ns: int
    numerics: tuple[Numeric, ...]
    later_by_ns: int
    certainty: Certainty
    sequence: int
    index: int
    other_patient: bool = False


def numerics_of_message(
    kind: str, body: bytes, *, sequence: int = 0
) -> Mapped[Sequence[DeviceNumerics]]:
    """Return the numerics of all messages of one record of the message lane.

    Other messages than ORU^R01 have none and are no loss. The same record gives the same result
    for ever: whom the gateway may speak for was judged when the record was stored.

    Args:
        kind: Kind of the record.
        body: Its body.
        sequence: Its sequence.

    Raises:
        InputError: Not a record of the message lane.
    """
    found: list[DeviceNumerics] = []
    losses: list[str] = []
    reader = MessageReader()
    for entry in decode(kind, body, sequence=sequence):
        try:
            message = reader.parse(entry.body)
        except InputError:
            losses.append("message: not readable")
            continue
        mapped = numerics_of_entry(entry, message)
        found += mapped.value
        losses += mapped.losses
    return Mapped(tuple(found), tuple(losses))


def numerics_of_entry(
    entry: MessageEntry, message: Message, *, unfit: bool = False
) -> Mapped[Sequence[DeviceNumerics]]:
    """Return the numerics of one message.

    Args:
        entry: The message and its findings.
        message: The same, parsed.
        unfit: Whether values in a unit that their metric never has are returned too: live views
            show them, marked; the record and charts never hold them.
    """
    if not _is_report(message):
        return Mapped(())
    findings = entry.findings
    if findings is None:
        return Mapped((), ("device: unverified, the message came without findings",))
    rows = pcd01_rows.read(message, findings, unfit=unfit)
    groups: dict[tuple[str, int, Certainty], list[pcd01_rows.Value]] = {}
    for value in rows.value:
        groups.setdefault((value.device, value.later_by_ns, value.certainty), []).append(value)
    numerics = [
        DeviceNumerics(
            device=DeviceId(device),
            start_ns=values[0].at_ns,
            numerics=tuple(_numerics(values)),
            later_by_ns=later_by_ns,
            certainty=certainty,
            sequence=entry.sequence,
            index=entry.index,
            other_patient=Found.OTHER_PATIENT in findings.found,
        )
        for (device, later_by_ns, certainty), all_values in groups.items()
        for values in _intervals(all_values)
    ]
    return Mapped(tuple(numerics), rows.losses)


def times_of(entry: MessageEntry, message: Message) -> Mapping[str, frozenset[TimeOf]]:
    """Return when the values of each device were measured; none for other messages.

    Args:
        entry: The message and its findings.
        message: The same, parsed.
    """
    if entry.findings is None or not _is_report(message):
        return {}
    return pcd01_rows.times(message, entry.findings)


def handle_of(path: bytes, mdc_code: int) -> int:
    """Return the handle of a metric, the same whenever its device says it in the same place.

    Args:
        path: OBX-4.
        mdc_code: Metric.
    """
    return zlib.crc32(path + b"|%d" % mdc_code) % 65_535 + 1


_kept_handle: Final = lru_cache(maxsize=16_384)(handle_of)


def _is_report(message: Message) -> bool:
    header = message.header
    return header.raw(9).split(header.delimiters.component)[:2] == [b"ORU", b"R01"]


def _intervals(values: Iterable[pcd01_rows.Value]) -> Iterable[list[pcd01_rows.Value]]:
    """Cut values in order of time where offsets from the first would not fit."""
    interval: list[pcd01_rows.Value] = []
    for value in sorted(values, key=lambda value: value.at_ns):
        if interval and (value.at_ns - interval[0].at_ns) // NS_PER_MS > OFFSET_MS_MAX:
            yield interval
            interval = []
        interval.append(value)
    yield interval


def _numerics(values: Sequence[pcd01_rows.Value]) -> Iterable[Numeric]:
    start_ns = values[0].at_ns
    for value in values:
        handle = _kept_handle if len(value.path) <= _PATH_BYTES_KEPT else handle_of
        yield Numeric(
            handle=handle(value.path, value.mdc_code),
            mdc_code=value.mdc_code,
            unit_code=value.unit_code,
            value=value.value,
            status=value.status,
            offset_ms=(value.at_ns - start_ns) // NS_PER_MS,
        )
