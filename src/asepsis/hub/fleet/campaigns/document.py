"""Campaigns and calendars as people write them: TOML, strict, every limit named.

Source: docs/reference/campaigns.md.
"""

import tomllib
from datetime import datetime, time
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.model.calendar import DAYS, Blackout, Calendar, Window
from asepsis.hub.fleet.campaigns.model import (
    ANY,
    Budget,
    Gate,
    Kind,
    Reserve,
    Selector,
    Spec,
    Wave,
)

DOCUMENT_BYTES_MAX: Final = 262_144
ALWAYS: Final = "always"
"""The calendar that says in so many words that every moment will do."""
HOUR_S: Final = 3_600
_HOURS_MAX: Final = 24 * 366

_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
_Words = Annotated[tuple[_Word, ...], msgspec.Meta(max_length=10_000)]
_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
_Hours = Annotated[float, msgspec.Meta(ge=0, le=_HOURS_MAX)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base: named fields, nothing unknown."""


class _Gate(_Part, frozen=True):
    """Gate of a wave."""

    verified_percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100
    failed_max: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    observe_h: _Hours = 0


class _Wave(_Part, frozen=True):
    """One wave."""

    kind: Literal["bench", "canary", "ward", "site"]
    gate: _Gate = _Gate()
    devices: _Words = ()
    wards: _Words = ()
    each: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1


class _Budget(_Part, frozen=True, rename={"device_class": "class"}):
    """One disruption budget."""

    at_once_max: Annotated[int, msgspec.Meta(ge=0, le=100_000)]
    ward: _Word = ANY
    device_class: _Word = ANY


class _Reserve(_Part, frozen=True, rename={"device_class": "class"}):
    """One minimum of ready devices."""

    area: _Word
    wards: Annotated[tuple[_Word, ...], msgspec.Meta(min_length=1, max_length=1_000)]
    device_class: _Word
    ready_min: Annotated[int, msgspec.Meta(ge=0, le=100_000)]


class _Select(_Part, frozen=True):
    """Which devices."""

    models: _Words = ()
    classes: _Words = ()
    wards: _Words = ()
    devices: _Words = ()
    attributes: dict[_Word, _Word] = {}


class _Campaign(_Part, frozen=True):
    """A campaign."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,59}$")]
    release: _Hash
    change: _Word
    waves: Annotated[tuple[_Wave, ...], msgspec.Meta(min_length=1, max_length=64)]
    calendars: Annotated[tuple[_Word, ...], msgspec.Meta(min_length=1, max_length=16)]
    select: _Select = _Select()
    budgets: Annotated[tuple[_Budget, ...], msgspec.Meta(max_length=1_000)] = ()
    reserves: Annotated[tuple[_Reserve, ...], msgspec.Meta(max_length=1_000)] = ()
    acceptance: bool = False
    dynamic: bool = False
    recall_h: Annotated[float, msgspec.Meta(gt=0, le=_HOURS_MAX)] = 4
    unseen_h: Annotated[float, msgspec.Meta(gt=0, le=_HOURS_MAX)] = 24


class _Window(_Part, frozen=True):
    """A stretch of local time that comes back every week."""

    days: Annotated[
        tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...],
        msgspec.Meta(min_length=1, max_length=7),
    ]
    start: time
    end: time


class _Blackout(_Part, frozen=True):
    """Local time in which nothing is done."""

    start: datetime
    end: datetime
    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""


class _Calendar(_Part, frozen=True):
    """A calendar."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,59}$")]
    zone: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{0,59}$")]
    windows: tuple[_Window, ...]
    blackouts: tuple[_Blackout, ...] = ()


def read_campaign(text: str) -> Spec:
    """Read and check a campaign.

    Raises:
        InputError: No TOML, an unknown key, a value that is none, or waves in a wrong order.
        LimitExceeded: Over `DOCUMENT_BYTES_MAX` bytes.
    """
    found: _Campaign = _read(text, _Campaign)
    kinds = [Kind[wave.kind.upper()] for wave in found.waves]
    if kinds != sorted(kinds):
        raise InputError("campaign: waves follow each other as bench, canary, ward, site")
    for wave in found.waves:
        if (wave.kind == "bench") != bool(wave.devices):
            raise InputError("campaign: a bench names its devices, other waves name none")
    return Spec(
        name=found.name,
        release=found.release,
        change=found.change,
        waves=tuple(_wave(wave) for wave in found.waves),
        select=_select(found.select),
        calendars=tuple(name for name in found.calendars if name != ALWAYS),
        budgets=tuple(
            Budget(ward=b.ward, device_class=b.device_class, at_once_max=b.at_once_max)
            for b in found.budgets or (_Budget(at_once_max=1),)
        ),
        reserves=tuple(
            Reserve(
                area=r.area,
                wards=frozenset(r.wards),
                device_class=r.device_class,
                ready_min=r.ready_min,
            )
            for r in found.reserves
        ),
        acceptance=found.acceptance,
        dynamic=found.dynamic,
        recall_s=round(found.recall_h * HOUR_S),
        unseen_s=round(found.unseen_h * HOUR_S),
    )


def read_calendar(text: str) -> Calendar:
    """Read and check a calendar.

    Raises:
        InputError: No TOML, an unknown key, a zone that IANA does not have, or times that are none.
        LimitExceeded: Over `DOCUMENT_BYTES_MAX` bytes, or more windows than may be.
    """
    found: _Calendar = _read(text, _Calendar)
    if found.name == ALWAYS:
        raise InputError(f"calendar: the name {ALWAYS} means that every moment will do")
    local = [w.start for w in found.windows] + [w.end for w in found.windows]
    times = [b.start for b in found.blackouts] + [b.end for b in found.blackouts]
    if any(t.tzinfo is not None for t in (*local, *times)):
        raise InputError("calendar: times are local, without an offset; the zone says the rest")
    return Calendar(
        name=found.name,
        zone=_zone(found.zone),
        windows=tuple(
            Window(days=frozenset(DAYS.index(d) for d in w.days), start=w.start, end=w.end)
            for w in found.windows
        ),
        blackouts=tuple(
            Blackout(start=b.start, end=b.end, reason=b.reason) for b in found.blackouts
        ),
    )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        # ZoneInfo has no error of its own for a name that is none: what it is depends on the name.
        raise InputError(f"calendar: there is no time zone {name}") from error


def _read(text: str, kind: type[Any]) -> Any:
    if len(text.encode()) > DOCUMENT_BYTES_MAX:
        raise LimitExceeded(f"a document has at most {DOCUMENT_BYTES_MAX} bytes")
    try:
        return msgspec.convert(tomllib.loads(text), kind)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        word = kind.__name__.strip("_").lower()
        raise InputError(f"{word}: {error}", hint="see docs/reference/campaigns.md") from error


def _wave(wave: _Wave) -> Wave:
    gate = Gate(
        verified_percent=wave.gate.verified_percent,
        failed_max=wave.gate.failed_max,
        observe_s=round(wave.gate.observe_h * HOUR_S),
    )
    return Wave(
        kind=Kind[wave.kind.upper()],
        gate=gate,
        devices=frozenset(wave.devices),
        wards=frozenset(wave.wards),
        each=wave.each,
    )


def _select(select: _Select) -> Selector:
    return Selector(
        models=frozenset(select.models),
        classes=frozenset(select.classes),
        wards=frozenset(select.wards),
        devices=frozenset(select.devices),
        attributes=select.attributes,
    )
