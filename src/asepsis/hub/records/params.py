"""The parameters of reads: parsed, bounded, and refused where they say something else. Pure.

Source: HL7 FHIR R4 search 3.1.1.4 (parameter types, prefixes), Observation search parameters,
Observation operation lastn.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.mapping.fhir_search import AUTHORITY_SYSTEM
from asepsis.core.mapping.fhir_time import from_date_time
from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.fhir import MDC_SYSTEM, POCD
from asepsis.hub.records import queries
from asepsis.hub.records.kinds import Kind
from asepsis.hub.records.render import CURSOR_CHARS_MAX
from asepsis.hub.records.waves import SPAN_NS_MAX

QUERY_BYTES_MAX: Final = 4_096
PARAMETERS_MAX: Final = 16
FOREVER_NS: Final = (1 << 63) - 1
WAVE_COUNT_MAX: Final = 200
"""Stretches of waveform on a page: each is some kilobytes of text."""
CURSOR: Final = "_cursor"
TREND_NS_MAX: Final = 2 * 86_400_000_000_000
POINTS_MIN: Final = 2
HANDLE_MAX: Final = 65_535
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_PREFIXES: Final = frozenset({"ge", "gt", "le", "lt"})
_PROFILES: Final[Mapping[str, Kind]] = {
    "NumericObservation": Kind.NUMERICS,
    "SampleArrayObservation": Kind.WAVEFORMS,
}
_TREND: Final = frozenset({"device", "patient", "_format", "date", "code", "handle", "points"})
_PERIOD: Final = frozenset({"date", "_lastUpdated"})
_COMMON: Final = frozenset({"device", "patient", "_format"})
SEARCH: Final = _COMMON | _PERIOD | {"code", "_count", "_profile", CURSOR}
DEVICES: Final = frozenset({"_count", CURSOR, "_format"})
METRICS: Final = frozenset({"source", "_format"})
_LASTN: Final = _COMMON | {"date", "code", "max"}
_ALARMS: Final = _COMMON | _PERIOD | {"_count", CURSOR}


_COUNTS: Final[Mapping[str, tuple[int, int]]] = {
    "_count": (queries.COUNT_DEFAULT, queries.COUNT_MAX),
    "max": (1, queries.LASTN_MAX),
    "points": (1_440, queries.POINTS_MAX),
}
"""Parameter -> how many if it is absent, how many at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What somebody wants to read.

    Attributes:
        kind: Of record.
        device: Name, key or FHIR reference of a device; "" for any of the patient.
        patient: Whose values; None for all of the device.
        codes: MDC codes; none for all.
        from_ns: First moment of measurement.
        to_ns: First moment that is no longer wanted.
        received_from_ns: First time of arrival.
        received_to_ns: First time of arrival that is no longer wanted.
        count: Results on a page, or of each metric.
        cursor: Where the page before this one ended, "" for the first.
        query: The parameters, cursor aside, to be repeated in the address of the next page.
    """

    kind: Kind
    device: str
    patient: PatientId | None
    codes: tuple[int, ...] = ()
    from_ns: int
    to_ns: int
    received_from_ns: int
    received_to_ns: int
    count: int
    cursor: str
    query: str


def parse_search(query: bytes) -> Read:
    """Read the parameters of `GET /fhir/Observation`.

    Raises:
        InputError: Another parameter, one that is not as it must be, neither device nor patient,
            or waveforms without a date.
        LimitExceeded: Too many or too long parameters, too long a stretch of waveforms.
    """
    given = _given(query, SEARCH)
    kind = _kind(given)
    read = _read(given, kind, count_name="_count")
    if kind is Kind.WAVEFORMS:
        if not read.from_ns or read.to_ns == FOREVER_NS:
            raise InputError("a search for waveforms names date=ge and date=lt")
        if read.to_ns - read.from_ns > SPAN_NS_MAX:
            raise LimitExceeded("a search for waveforms covers at most ten minutes")
    return read


def parse_lastn(query: bytes) -> Read:
    """Read the parameters of `GET /fhir/Observation/$lastn`; raises as `parse_search`."""
    return _read(_given(query, _LASTN), Kind.NUMERICS, count_name="max")


def parse_alarms(query: bytes) -> Read:
    """Read the parameters of `GET /alarms`; raises as `parse_search`."""
    return _read(_given(query, _ALARMS), Kind.ALARMS, count_name="_count")


def parse_trend(query: bytes) -> tuple[Read, int | None]:
    """Read the parameters of `GET /trends`; returns them and the handle, if one is named.

    Raises:
        InputError: As `parse_search`; also without both dates, or without code and handle.
        LimitExceeded: As `parse_search`; also more than two days.
    """
    given = _given(query, _TREND)
    read = _read(given, Kind.NUMERICS, count_name="points")
    handle = _once(given, "handle")
    if not read.from_ns or read.to_ns == FOREVER_NS:
        raise InputError("a trend names date=ge and date=lt")
    if read.to_ns - read.from_ns > TREND_NS_MAX:
        raise LimitExceeded("a trend covers at most two days")
    if read.count < POINTS_MIN or (len(read.codes) != 1 and not handle):
        raise InputError("a trend names one code or handle and has at least two points")
    return read, _number(handle, "handle", 1, HANDLE_MAX) if handle else None


def parse_one(query: bytes, *names: str) -> dict[str, str]:
    """Read parameters that stand there at most once each.

    Raises:
        InputError: Another parameter, or one given twice.
        LimitExceeded: Too many or too long.
    """
    given = _given(query, frozenset(names))
    found: dict[str, str] = {}
    for name, values in given.items():
        if len(values) > 1:
            raise InputError(f"{name} is given once")
        found[name] = values[0]
    return found


def page_size(given: Mapping[str, str]) -> int:
    """Return `_count` of parsed parameters."""
    return _number(given.get("_count", ""), "_count", queries.COUNT_DEFAULT, queries.COUNT_MAX)


def _given(query: bytes, known: frozenset[str]) -> dict[str, list[str]]:
    if len(query) > QUERY_BYTES_MAX:
        raise LimitExceeded(f"a query has at most {QUERY_BYTES_MAX} bytes")
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query),
            max_num_fields=PARAMETERS_MAX,
            errors="strict",
        )
    except ValueError as error:
        raise InputError("the parameters cannot be read") from error
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        plain = "patient" if name in {"patient:identifier", "subject:identifier"} else name
        if plain not in known:
            raise InputError(
                "a parameter is not known here", hint=f"known are {', '.join(sorted(known))}"
            )
        given.setdefault(plain, []).append(value)
    if given.get("_format", ["json"])[0] not in {"json", "application/fhir+json"}:
        raise InputError("only JSON is spoken here")
    return given


def _kind(given: Mapping[str, Sequence[str]]) -> Kind:
    name = _once(given, "_profile").removeprefix(POCD)
    if name and name not in _PROFILES:
        raise InputError("the profiles are " + " and ".join(_PROFILES))
    return _PROFILES[name] if name else Kind.NUMERICS


def _read(given: Mapping[str, Sequence[str]], kind: Kind, *, count_name: str) -> Read:
    device, patient = _once(given, "device"), _once(given, "patient")
    if not device and not patient:
        raise InputError("a search names a device or a patient")
    if len(device) > NAME_CHARS_MAX:
        raise LimitExceeded(f"a device has at most {NAME_CHARS_MAX} characters")
    from_ns, to_ns = _period(given.get("date", ()))
    received_from_ns, received_to_ns = _period(given.get("_lastUpdated", ()))
    usual, most = _COUNTS[count_name]
    if kind is Kind.WAVEFORMS:
        most = WAVE_COUNT_MAX
    cursor = _once(given, CURSOR)
    if len(cursor) > CURSOR_CHARS_MAX:
        raise LimitExceeded("a cursor is not so long")
    repeated = [(n, value) for n, values in given.items() if n != CURSOR for value in values]
    return Read(
        kind=kind,
        device=device,
        patient=_patient(patient) if patient else None,
        codes=_codes(given.get("code", ())),
        from_ns=from_ns,
        to_ns=to_ns,
        received_from_ns=received_from_ns,
        received_to_ns=received_to_ns,
        count=_number(_once(given, count_name), count_name, usual, most),
        cursor=cursor,
        query=urlencode(repeated),
    )


def _once(given: Mapping[str, Sequence[str]], name: str) -> str:
    values = given.get(name, ())
    if len(values) > 1:
        raise InputError(f"{name} is given once")
    return values[0] if values else ""


def _number(text: str, name: str, usual: int, most: int) -> int:
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) > 0):
        raise InputError(f"{name} is a number from 1 to {most}")
    return min(int(text), most)  # FHIR search 3.1.1.5.8: a server may give less than asked for.


def _patient(text: str) -> PatientId:
    authority, _, value = text.partition("|")
    if authority.startswith(AUTHORITY_SYSTEM):
        authority = unquote(authority.removeprefix(AUTHORITY_SYSTEM))
    return PatientId.of_key(f"{authority}|{value}" if "|" in text else f"|{text}")


def _codes(values: Sequence[str]) -> tuple[int, ...]:
    found: list[int] = []
    for token in ",".join(values).split(",") if values else ():
        digits = token.removeprefix(f"{MDC_SYSTEM}|")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
            raise InputError(
                "a code is a number of ISO/IEEE 11073-10101", hint=f"{MDC_SYSTEM}|147842"
            )
        found.append(int(digits))
    if len(found) > queries.CODES_MAX:
        raise LimitExceeded(f"at most {queries.CODES_MAX} codes in one search")
    return tuple(found)


def _period(values: Sequence[str]) -> tuple[int, int]:
    first, last = 0, FOREVER_NS
    for value in values:
        prefix, text = value[:2], value[2:]
        if prefix not in _PREFIXES:
            raise InputError("a date begins with ge, gt, le or lt")
        at_ns = from_date_time(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
        match prefix:
            case "ge" | "gt":
                first = max(first, at_ns + (prefix == "gt"))
            case _:
                last = min(last, at_ns + (prefix == "le"))
    if first >= last:
        raise InputError("the dates leave no time between them")
    return first, last
