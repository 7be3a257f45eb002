"""Results as JSON: FHIR for measurements, our own words for alarms. Pure."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from asepsis.core.compliance.profile import BINDING, Metric
from asepsis.core.compliance.values import ValueJudge
from asepsis.core.compliance.verdict import Severity
from asepsis.core.errors import InputError
from asepsis.core.mapping.alarm_document import alarms_to_document
from asepsis.core.mapping.fhir_numeric import Origin, numeric_to_observation
from asepsis.core.mapping.fhir_search import recorded, searchset
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.mapping.fhir_waveform import waveform_to_observation
from asepsis.core.model.identity import Assurance, DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.fhir import Observation
from asepsis.core.wire.fhir_alarm import AlarmEntry
from asepsis.core.wire.fhir_codec import encode
from asepsis.hub.records import entries, waves
from asepsis.hub.records.entries import Mark, Value
from asepsis.hub.records.entries_alarms import StoredAlarm
from asepsis.hub.records.entries_frames import StoredFrame
from asepsis.hub.records.kinds import Kind
from asepsis.hub.records.queries import DeclaredMetric
from asepsis.hub.records.search import Found, Key

CURSOR_CHARS_MAX: Final = 1_024
_NOTES: Final = (
    (Mark.LATE, "late"),
    (Mark.HELD_BACK, "held-back"),
    (Mark.CLOCK, "clock"),
    (Mark.AMBIGUOUS, "ambiguous-hour"),
    (Mark.OTHER_PATIENT, "other-patient"),
)
_STATUSES: Final = tuple(MeasurementStatus)


KEY_TYPES: Final[Mapping[Kind, tuple[type, ...]]] = {
    Kind.NUMERICS: (int, str, int, bytes, *(int,) * 10),
    Kind.ALARMS: (int, str, bytes),
    Kind.WAVEFORMS: (int, str, int, int, int, bytes, int),
}
"""Types of the parts of a key, see `search.value_key` and its likes."""


class RecordedAlarm(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An alarm event as `GET /alarms` gives it.

    Attributes:
        device: Name of the device.
        patient: `authority|value` of whom it certainly concerns; null if that is not known.
        assurance: How far its origin is proven; null for a condition that the hub itself found.
        received_at: When the hub got it.
        late: Whether it came on the late lane: it was over when it came.
        event: In the words of `standard/schemas/alarm.json`.
    """

    device: str
    patient: str | None
    assurance: str | None
    received_at: str
    late: bool
    event: AlarmEntry


class AlarmPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of alarm events; `next` is the address of the next one, null at the end."""

    alarms: tuple[RecordedAlarm, ...]
    next: str | None


def encode_cursor(key: Key, *, as_of_ns: int) -> str:
    """Write where a page ended, and when the first one was asked for."""
    raw = msgspec.msgpack.encode([as_of_ns, list(key)])
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode_cursor(text: str, kind: Kind) -> tuple[Key, int]:
    """Return key and time of a cursor of a search of one kind.

    It holds no secret and opens nothing: every page is authorised anew.

    Raises:
        InputError: Not one of ours.
    """
    if len(text) > CURSOR_CHARS_MAX:
        raise InputError("a cursor is not so long")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        as_of_ns, parts = msgspec.msgpack.decode(raw, type=tuple[int, list[Any]])
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise InputError("not a cursor of this search") from error
    # A key is compared with keys of the record, so each part must be of the same type.
    if tuple(map(type, parts)) not in {KEY_TYPES[kind], (int,)}:
        raise InputError("not a cursor of this search")
    return tuple(parts), as_of_ns


def observations(
    found: Sequence[Found],
    *,
    self_url: str,
    next_url: str | None,
    declared: Sequence[DeclaredMetric] = (),
) -> bytes:
    """Return a searchset of measurements as FHIR JSON."""
    judges = _judges(declared)
    resources = [observation(each, judges.get(each.device)) for each in found]
    return encode(searchset(resources, self_url=self_url, next_url=next_url))


def observation(found: Found, judge: ValueJudge | None = None) -> Observation:
    """Return one measurement as FHIR: a number or a stretch of a waveform.

    Args:
        found: The measurement.
        judge: Knows what its device declares now; None where nothing was decided.

    Source: HL7 PoCD NumericObservation, SampleArrayObservation.
    """
    item = found.item
    if isinstance(item, Value):
        return _numeric(found, item, judge)
    return _waveform(found, cast("StoredFrame", item))


def alarms(found: Sequence[Found], *, next_url: str | None) -> bytes:
    """Return alarm events as JSON."""
    page = AlarmPage(alarms=tuple(map(_alarm, found)), next=next_url)
    return msgspec.json.encode(page)


def _judges(declared: Sequence[DeclaredMetric]) -> dict[str, ValueJudge]:
    metrics: dict[str, list[Metric]] = {}
    for one in declared:
        metric = Metric(code=one.code, unit=one.unit, low=one.low, high=one.high)
        metrics.setdefault(one.device, []).append(metric)
    return {
        device: ValueJudge(msgspec.structs.replace(BINDING, metrics=tuple(each)))
        for device, each in metrics.items()
    }


def _numeric(found: Found, value: Value, judge: ValueJudge | None) -> Observation:
    handle, mdc_code, unit_code, raw, status, _ = value.row
    numeric = Numeric(
        handle=handle,
        mdc_code=mdc_code,
        unit_code=unit_code,
        value=raw,
        status=_STATUSES[status],
        offset_ms=0,
    )
    origin = value.origin
    mapped = numeric_to_observation(
        numeric, Origin(device=DeviceId(found.device), start_ns=value.t_ns)
    )
    identity = (
        f"{found.device}#{int(origin.source)}.{origin.producer_tag.hex()}.{origin.epoch}"
        f".{origin.sequence}.{origin.device_start_ns}.{value.place}"
    )
    return recorded(
        mapped.value,
        identity=identity,
        received_at_ns=origin.received_at_ns,
        assurance=origin.assurance,
        notes=_notes(origin.marks) + _unverified(numeric, judge),
        patient=_patient(found),
    )


def _unverified(numeric: Numeric, judge: ValueJudge | None) -> list[str]:
    """Return `unverified-range` and `unverified-unit` where the device declares something else."""
    found = judge.numeric(numeric) if judge is not None else ()
    return [f"unverified-{each.rule}" for each in found if each.severity >= Severity.QUARANTINE]


def _waveform(found: Found, stored: StoredFrame) -> Observation:
    frame = stored.frame
    mapped = waveform_to_observation(
        frame, Origin(device=DeviceId(found.device), start_ns=frame.wall_ns)
    )
    # Who sent a packet for a device without origin key is not kept: the least is said.
    proven = Assurance.DEVICE_ORIGIN if waves.proven(found) else Assurance.SOURCE_CLAIMED
    return recorded(
        mapped.value,
        identity=f"{found.device}#wave.{frame.digest.hex()}.{stored.epoch}",
        received_at_ns=stored.received_at_ns,
        assurance=proven,
        notes=_notes(stored.marks),
        patient=_patient(found),
    )


def _alarm(found: Found) -> RecordedAlarm:
    alarm = cast("StoredAlarm", found.item)
    document = alarms_to_document((alarm.event,), device=found.device, start_ns=alarm.t_ns)
    return RecordedAlarm(
        device=found.device,
        patient=found.patient,
        assurance=alarm.assurance.value if alarm.assurance else None,
        received_at=to_instant(alarm.received_at_ns),
        late=alarm.late,
        event=document.events[0],
    )


def _notes(marks: entries.Mark) -> list[str]:
    return [word for mark, word in _NOTES if marks & mark]


def _patient(found: Found) -> PatientId | None:
    return None if found.patient is None else PatientId.of_key(found.patient)
