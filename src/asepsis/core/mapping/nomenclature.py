"""What the MDC numbers mean, and whether a unit can be the unit of a metric.

A metric that is not in the table, a vendor's private one above all, is data: it is never refused,
only reported, so that a reader can be told that nobody checked its unit. A unit of the wrong
dimension on a known metric is refused: a pressure in millivolts is a swapped channel or a forgery.

Source: ISO/IEEE 11073-10101:2020; UCUM 2.1; the rows' own sources are in
`docs/reference/nomenclature.md`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from asepsis.core.errors import ContentMismatch
from asepsis.core.mapping.nomenclature_events import EVENTS
from asepsis.core.mapping.nomenclature_metrics import METRICS, UNIT_GROUPS
from asepsis.core.mapping.nomenclature_units import UNITS
from asepsis.core.mapping.ucum import Dimension, Unit, parse
from asepsis.core.model.alarm import AlarmKind

PARTITION_METRICS: Final = 2
PARTITION_EVENTS: Final = 3
PARTITION_UNITS: Final = 4
SETTINGS_OFFSET: Final = 256 << 16
"""Added to the code of a measured metric, it names the setting of the same quantity."""

_PRIVATE_PARTITION: Final = 1024
_PRIVATE_TERM: Final = 0xF000
_PREFIX_BITS: Final = 31  # Units of one block differ by a decimal prefix only.


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row of the metric table.

    Attributes:
        code: 32-bit MDC code.
        refid: Reference identifier, for example `MDC_ECG_HEART_RATE`.
        display: What a person reads.
        is_numeric: Whether single values of it occur.
        is_waveform: Whether sample arrays of it occur.
        units: Usual unit codes, the preferred one first.
        dimensions: Every dimension that a unit of it may have.
        sources: Letters of the sources that agree on the row.
    """

    code: int
    refid: str
    display: str
    is_numeric: bool
    is_waveform: bool
    units: tuple[int, ...]
    dimensions: frozenset[Dimension]
    sources: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOfMeasure:
    """One row of the unit table.

    Attributes:
        code: 32-bit MDC code, partition 4.
        refid: Reference identifier, for example `MDC_DIM_MMHG`.
        ucum: The same unit in UCUM, for example `mm[Hg]`.
        unit: Its dimension and exact size.
        sources: Letters of the sources that agree on the row.
    """

    code: int
    refid: str
    ucum: str
    unit: Unit
    sources: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the event table.

    Attributes:
        code: 32-bit MDC code, partition 3.
        refid: Reference identifier, for example `MDC_EVT_APNEA`.
        kind: What the event is by nature, or None if either.
        display: What a person reads.
        sources: Letters of the sources that agree on the row.
    """

    code: int
    refid: str
    kind: AlarmKind | None
    display: str
    sources: str


def _read_units() -> dict[int, UnitOfMeasure]:
    units: dict[int, UnitOfMeasure] = {}
    for line in UNITS.splitlines():
        term, name, expression, sources = line.split(" ")
        code = PARTITION_UNITS << 16 | int(term)
        units[code] = UnitOfMeasure(
            code=code,
            refid=f"MDC_DIM_{name}",
            ucum=expression,
            unit=parse(expression),
            sources=sources,
        )
    return units


UNITS_BY_CODE: Final[Mapping[int, UnitOfMeasure]] = MappingProxyType(_read_units())
_UNIT_CODES: Final = {unit.refid: code for code, unit in UNITS_BY_CODE.items()}


def _read_metrics() -> dict[int, Metric]:
    metrics: dict[int, Metric] = {}
    for line in METRICS.splitlines():
        code, name, kind, group, sources, display = line.split(" ", 5)
        members = UNIT_GROUPS[group]
        units = tuple(_UNIT_CODES[f"MDC_DIM_{m}"] for m in members if not m.startswith("="))
        extra = {parse(m[1:]).dimension for m in members if m.startswith("=")}
        metrics[int(code)] = Metric(
            code=int(code),
            refid=f"MDC_{name}",
            display=display,
            is_numeric=kind in "nb",
            is_waveform=kind in "wb",
            units=units,
            dimensions=frozenset(extra | {UNITS_BY_CODE[u].unit.dimension for u in units}),
            sources=sources,
        )
    return metrics


_KINDS: Final = {"p": AlarmKind.PHYSIOLOGICAL, "t": AlarmKind.TECHNICAL, "e": None}


def _read_events() -> dict[int, Event]:
    events: dict[int, Event] = {}
    for line in EVENTS.splitlines():
        code, name, kind, sources, display = line.split(" ", 4)
        events[int(code)] = Event(
            code=int(code),
            refid=f"MDC_EVT_{name}",
            kind=_KINDS[kind],
            display=display,
            sources=sources,
        )
    return events


METRICS_BY_CODE: Final[Mapping[int, Metric]] = MappingProxyType(_read_metrics())
EVENTS_BY_CODE: Final[Mapping[int, Event]] = MappingProxyType(_read_events())
_BLOCKS: Final = {code & ~_PREFIX_BITS: unit.unit for code, unit in UNITS_BY_CODE.items()}


def pair(mdc_code: int, unit_code: int) -> int:
    """Return metric and unit as the one number that `check_units` takes."""
    return mdc_code << 32 | unit_code


_ALLOWED: Final = frozenset(
    pair(metric.code, unit.code)
    for metric in METRICS_BY_CODE.values()
    for unit in UNITS_BY_CODE.values()
    if unit.unit.dimension in metric.dimensions
)
_NOTHING: Final[frozenset[int]] = frozenset()


def is_private(code: int) -> bool:
    """Tell whether a code was given by a vendor, not by the standard.

    Source: ISO/IEEE 11073-10101 (private partition 1024; terms F000 to FFFF of each partition).
    """
    return code >> 16 >= _PRIVATE_PARTITION or code & 0xFFFF >= _PRIVATE_TERM


def metric_of(mdc_code: int) -> Metric | None:
    """Return the row of a metric; a setting has the row of the quantity that it sets.

    Source: ISO/IEEE 11073-10101:2020 (partition 258, settings).
    """
    metric = METRICS_BY_CODE.get(mdc_code)
    return metric or METRICS_BY_CODE.get(mdc_code - SETTINGS_OFFSET)


def name_of(code: int) -> str:
    """Return the reference identifier of a metric, unit or event, or its number as `MDC:2:18458`.

    Source: ISO/IEEE 11073-10101, context-free codes.
    """
    row = METRICS_BY_CODE.get(code) or EVENTS_BY_CODE.get(code) or UNITS_BY_CODE.get(code)
    return row.refid if row else f"MDC:{code >> 16}:{code & 0xFFFF}"


def check_unit(mdc_code: int, unit_code: int) -> bool:
    """Refuse a unit of the wrong dimension.

    Args:
        mdc_code: 32-bit MDC code of the metric.
        unit_code: 32-bit MDC code of the unit.

    Returns:
        True if both were known, so that the unit is really checked; False if the metric or the
        unit is not in the tables and the value must be shown as unchecked.

    Raises:
        ContentMismatch: The metric is known and is never measured in a unit of this dimension.

    Source: REQ-OBS-004, REQ-OBS-005; UCUM section 3.1.
    """
    return not check_units((pair(mdc_code, unit_code),))


def check_units(pairs: Iterable[int]) -> frozenset[int]:
    """Check all units of a batch at once, in about a microsecond when all are known.

    Args:
        pairs: Metric and unit of each numeric, as `pair` makes them.

    Returns:
        The pairs that could not be checked because metric or unit is not in the tables.

    Raises:
        ContentMismatch: One unit has a dimension that its metric never has.

    Source: REQ-OBS-004, REQ-OBS-005; UCUM section 3.1.
    """
    rest = frozenset(pairs) - _ALLOWED
    if not rest:
        return _NOTHING
    return frozenset(p for p in sorted(rest) if not _is_known(p >> 32, p & 0xFFFFFFFF))


def _is_known(mdc_code: int, unit_code: int) -> bool:
    metric = metric_of(mdc_code)
    dimension = dimension_of(unit_code)
    if metric is None or dimension is None:
        return False
    if dimension not in metric.dimensions:
        raise ContentMismatch(
            f"{name_of(unit_code)} is no unit of {name_of(mdc_code)}",
            hint="the dimension of the unit does not fit the metric; see reference/nomenclature",
        )
    return True


def dimension_of(unit_code: int) -> Dimension | None:
    """Return the dimension of a unit code, also of a prefixed one that is not in the table.

    Source: ISO/IEEE 11073-10101 Table A.6.3 (blocks of 32 codes, one for each decimal prefix).
    """
    if unit_code >> 16 != PARTITION_UNITS or is_private(unit_code):
        return None
    known = UNITS_BY_CODE.get(unit_code)
    unit = known.unit if known else _BLOCKS.get(unit_code & ~_PREFIX_BITS)
    return unit.dimension if unit else None


def check_ucum(mdc_code: int, expression: str) -> bool:
    """Refuse a UCUM unit of the wrong dimension, as `check_unit` does for unit codes.

    Returns:
        True if the metric is known and the unit fits; False if the metric is not in the table.

    Raises:
        ContentMismatch: The unit has a dimension that the metric never has.
        InputError: A known metric with a unit that cannot be read.
        LimitExceeded: The expression is too long or too deep.

    Source: REQ-OBS-004, REQ-OBS-006; UCUM section 3.1.
    """
    metric = metric_of(mdc_code)
    if metric is None:
        return False
    if parse(expression).dimension not in metric.dimensions:
        raise ContentMismatch(f"the unit in the observation is no unit of {name_of(mdc_code)}")
    return True


def unit_code_for(mdc_code: int, expression: str) -> int | None:
    """Return the unit code of a UCUM expression, as the metric would name it.

    `/min` alone is beats, breaths or neither; the metric's usual units decide. A unit of the same
    dimension and size counts as equal, so `cm[H2O]/(L/s)` finds `MDC_DIM_CM_H2O_PER_L_PER_SEC`.

    Returns:
        The 32-bit code, or None if no unit code of the table is that unit.

    Raises:
        InputError: Not a UCUM expression that is known here.
        LimitExceeded: The expression is too long or too deep.

    Source: HL7 PoCD 1.0.0-ballot3 (units in UCUM, DeviceMetric.unit in MDC).
    """
    wanted = parse(expression)
    metric = metric_of(mdc_code)
    for code in (*(metric.units if metric else ()), *UNITS_BY_CODE):
        if UNITS_BY_CODE[code].unit == wanted:
            return code
    return None
