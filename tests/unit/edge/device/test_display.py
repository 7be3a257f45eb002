"""What the display shows as a function of records and time."""

from decimal import Decimal

from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import float_type
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.display import NOTHING, STALE_NS, Screen
from asepsis.edge.device.models import MODELS
from asepsis.edge.device.records import Record, Value

MODEL = MODELS[Kind.MONITOR]
SIGN = MODEL.signs[0]
NOW_NS = 10 * 10**9


def record(at_ns: int, *, status: MeasurementStatus = MeasurementStatus.VALID) -> Record:
    value = Value(
        handle=SIGN.handle,
        mdc_code=SIGN.mdc_code,
        unit_code=SIGN.unit_code,
        value=float_type.from_decimal(Decimal(72)),
        status=status,
    )
    return Record(state=ClinicalState.IN_USE, monotonic_ns=at_ns, values=(value,))


def test_what_is_measured_is_shown() -> None:
    screen = Screen(MODEL)
    screen.take(record(NOW_NS))
    assert f"{SIGN.name} 72" in screen.lines(NOW_NS)


def test_nothing_old_looks_new() -> None:
    """Goal: a value that stands still is a dash, also while other records come."""
    screen = Screen(MODEL)
    screen.take(record(NOW_NS))
    late_ns = NOW_NS + STALE_NS + 1
    assert f"{SIGN.name} 72" in screen.lines(NOW_NS + STALE_NS)
    assert screen.lines(late_ns)[0] == f"{SIGN.name} {NOTHING}"
    screen.take(Record(state=ClinicalState.IN_USE, monotonic_ns=late_ns))
    assert screen.lines(late_ns)[0] == f"{SIGN.name} {NOTHING}"


def test_what_is_not_valid_is_a_dash() -> None:
    screen = Screen(MODEL)
    screen.take(record(NOW_NS, status=MeasurementStatus.NOT_AVAILABLE))
    assert screen.lines(NOW_NS)[0] == f"{SIGN.name} {NOTHING}"
