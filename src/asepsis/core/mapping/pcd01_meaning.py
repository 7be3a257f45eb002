"""What a row of PCD-01 says but for device, place and time: metric, unit, number, quality. Pure.

Source: IHE PCD Technical Framework volume 2, appendix B (OBX segment of PCD-01).
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Final, NamedTuple

from asepsis.core.errors import ContentMismatch, InputError
from asepsis.core.mapping import nomenclature
from asepsis.core.mapping.fhir_numeric import UNIT_UNSPECIFIED, float_of
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire.float_type import FloatSpecial

NUMBER_CHARS_MAX: Final = 64
_UNNAMED: Final = ("unit: no MDC code is known for it",)
_CODE_MAX: Final = 0xFFFFFFFF
_MEASURED: Final = frozenset((b"F", b"R", b"P", b"C", b"U", b""))
"""OBX-11: final, entered but not verified (what devices send), preliminary, corrected."""
_ABSENT: Final = b"X"
_STATUSES: Final = {
    b"INV": MeasurementStatus.INVALID,
    b"QUES": MeasurementStatus.QUESTIONABLE,
    b"NAV": MeasurementStatus.NOT_AVAILABLE,
    b"CALI": MeasurementStatus.CALIBRATING,
    b"TEST": MeasurementStatus.TEST,
}
_MDC: Final = b"MDC"
_UCUM: Final = b"UCUM"


class Loss(Exception):  # noqa: N818 - it is one, and never leaves the mapping
    """Why a row has no place in the result."""


class Meant(NamedTuple):
    """What a row says but for its device, place and time.

    Attributes:
        code: MDC code of the metric.
        unit: MDC code of the unit.
        number: FLOAT-Type.
        status: Quality.
        losses: What could not be carried.
    """

    code: int
    unit: int
    number: int
    status: MeasurementStatus
    losses: tuple[str, ...]


@lru_cache(maxsize=16_384)  # A device says the same metrics, units and numbers again and again.
def meant(
    kind: bytes,
    code: bytes,
    unit: bytes,
    value: bytes,
    flags: bytes,
    state: bytes,
    marks: bytes,
    unfit: bool,  # noqa: FBT001 - a key of the cache
) -> Meant:
    """Return what a row means.

    Args:
        kind: OBX-2.
        code: OBX-3.
        unit: OBX-6.
        value: OBX-5.
        flags: OBX-8.
        state: OBX-11.
        marks: The separators of components and of repetitions.
        unfit: As in `pcd01_rows.read`.

    Raises:
        Loss: It is no number of a known metric in a unit of its own.
    """
    if kind != b"NM":
        raise Loss(f"value: type {_shown(kind)} is no number")
    component, repetition = marks[:1], marks[1:]
    metric = _metric(code, component)
    status, special = _status(value, flags.split(repetition) if flags else (), state)
    if special is not None:
        return Meant(metric, UNIT_UNSPECIFIED, int(special), status, ())
    number, rounded = _number(value)
    found, unnamed = _unit(unit, component, metric, unfit)
    return Meant(metric, found, number, status, (*rounded, *unnamed))


def _metric(raw: bytes, component: bytes) -> int:
    """Return the MDC code of OBX-3, from its first or its alternate triplet.

    Raises:
        Loss: No code of MDC, or a number and a name that are not the same metric.
    """
    parts = raw.split(component)
    for start in (0, 3):
        number, name, system = (*parts[start : start + 3], b"", b"", b"")[:3]
        if system == _MDC and number.isdigit() and len(number) <= 10:
            code = int(number)
            if not 0 < code <= _CODE_MAX:
                break
            metric = nomenclature.METRICS_BY_CODE.get(code)
            if metric is None:
                raise Loss("metric: its MDC code is not in the tables")
            if name and name.decode("ascii", "replace") != metric.refid:
                raise Loss("metric: number and name of its code contradict each other")
            return code
    raise Loss("metric: no MDC code")


def _status(
    value: bytes, flags: Sequence[bytes], state: bytes
) -> tuple[MeasurementStatus, FloatSpecial | None]:
    """Return the status of a row, and a special where it has no number.

    Raises:
        Loss: OBX-11 says that this is no measurement, or there is no value and no reason.
    """
    found = [_STATUSES[flag] for flag in flags if flag in _STATUSES]
    status = max(found) if found else MeasurementStatus.VALID
    if state == _ABSENT:
        return MeasurementStatus.NOT_AVAILABLE, FloatSpecial.NAN
    if state not in _MEASURED:
        raise Loss("status: OBX-11 says that it is no measurement")
    if not value:
        if not found:
            raise Loss("value: empty, and no reason given")
        return status, FloatSpecial.NAN
    return status, None


def _number(raw: bytes) -> tuple[int, tuple[str, ...]]:
    """Return OBX-5 as FLOAT-Type, and what it could not carry.

    Raises:
        Loss: Not a number.
    """
    losses: list[str] = []
    try:
        if len(raw) > NUMBER_CHARS_MAX:
            raise Loss("value: not a number")
        value = Decimal(raw.decode("ascii"))
        if not value.is_finite():
            raise Loss("value: not a number")
        return float_of(value, losses), tuple(losses)
    except (UnicodeDecodeError, InvalidOperation, InputError) as error:
        raise Loss("value: not a number") from error


def _unit(
    raw: bytes,
    component: bytes,
    code: int,
    unfit: bool,  # noqa: FBT001 - as `_meant`
) -> tuple[int, tuple[str, ...]]:
    """Return the MDC code of OBX-6, which is in MDC or UCUM, and what it could not carry.

    Raises:
        Loss: No unit, an unknown one, or one that the metric never has, unless `unfit` are taken.
    """
    identifier, _, system = (*raw.split(component)[:3], b"", b"", b"")[:3]
    try:
        if system == _MDC and identifier.isdigit() and len(identifier) <= 10:
            unit = int(identifier)
            if unfit and nomenclature.dimension_of(unit) is not None:
                return unit, ()
            if not nomenclature.check_unit(code, unit):
                raise Loss("unit: its MDC code is not in the tables")
            return unit, ()
        if system == _UCUM and identifier:
            text = identifier.decode("ascii")
            if not unfit:
                nomenclature.check_ucum(code, text)
            found = nomenclature.unit_code_for(code, text)
            return (UNIT_UNSPECIFIED, _UNNAMED) if found is None else (found, ())
    except ContentMismatch as error:
        raise Loss("unit: of the wrong dimension for its metric") from error
    except (InputError, UnicodeDecodeError) as error:
        raise Loss("unit: not UCUM") from error
    raise Loss("unit: neither MDC nor UCUM")


def _shown(raw: bytes) -> str:
    return raw.decode("ascii") if raw.isalnum() and len(raw) <= 3 else "unknown"
