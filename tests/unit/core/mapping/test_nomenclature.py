"""The MDC tables: consistent in themselves, and a wrong unit is found."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ContentMismatch, InputError
from asepsis.core.mapping import nomenclature as mdc
from asepsis.core.mapping.nomenclature_events import EVENTS
from asepsis.core.mapping.nomenclature_metrics import METRICS, UNIT_GROUPS
from asepsis.core.mapping.nomenclature_units import UNITS
from asepsis.core.mapping.ucum import parse
from asepsis.core.model.alarm import AlarmKind

PREFIXES = {"HECTO": (2, 2), "KILO": (3, 3), "CENTI": (17, -2), "MILLI": (18, -3),
            "MICRO": (19, -6), "NANO": (20, -9)}  # fmt: skip
HEART_RATE, SPO2, NIBP_SYS = 147842, 150456, 150021
PER_MIN, MMHG, PERCENT, DEGC = (mdc.PARTITION_UNITS << 16 | t for t in (2720, 3872, 544, 6048))
PRIVATE = 1024 << 16 | 17


def test_no_code_and_no_name_stands_twice() -> None:
    for text, rows in (
        (METRICS, mdc.METRICS_BY_CODE),
        (UNITS, mdc.UNITS_BY_CODE),
        (EVENTS, mdc.EVENTS_BY_CODE),
    ):
        assert len(rows) == len(text.splitlines())
        assert len({row.refid for row in rows.values()}) == len(rows)


def test_the_table_covers_monitor_ventilator_and_pump() -> None:
    assert len(mdc.METRICS_BY_CODE) >= 60
    words = {
        "monitor": "ECG_|PRESS_BLD|PULS_OXIM|TEMP",
        "ventilator": "VENT_|AWAY",
        "pump": "PUMP|TBI",
    }
    for pattern in words.values():
        assert sum(bool(re.search(pattern, m.refid)) for m in mdc.METRICS_BY_CODE.values()) >= 3


def test_every_row_has_two_independent_sources() -> None:
    rows = [
        *mdc.METRICS_BY_CODE.values(),
        *mdc.UNITS_BY_CODE.values(),
        *mdc.EVENTS_BY_CODE.values(),
    ]
    for row in rows:
        assert len(set(row.sources)) >= 2, row.refid
        assert set(row.sources) <= set("ABDFGHIMPQRSTUVX"), row.refid


def test_codes_lie_in_their_partition() -> None:
    for partition, rows in (
        (mdc.PARTITION_METRICS, mdc.METRICS_BY_CODE),
        (mdc.PARTITION_EVENTS, mdc.EVENTS_BY_CODE),
        (mdc.PARTITION_UNITS, mdc.UNITS_BY_CODE),
    ):
        assert {code >> 16 for code in rows} == {partition}
        assert not any(mdc.is_private(code) for code in rows)


def test_unit_codes_follow_the_prefix_rule_of_the_standard() -> None:
    """Goal: a digit typed wrong in a unit code breaks name, low bits or size, and shows here."""
    for unit in mdc.UNITS_BY_CODE.values():
        word = unit.refid.removeprefix("MDC_DIM_").split("_")[0]
        bits, _ = PREFIXES.get(word, (0, 0))
        if unit.refid == "MDC_DIM_MILLI_L_PER_MIN_PER_M_SQ":
            assert unit.code & 31 == 18
        assert unit.code & 31 == bits, unit.refid


def test_units_of_one_block_differ_by_their_prefix_only() -> None:
    for unit in mdc.UNITS_BY_CODE.values():
        base = mdc.UNITS_BY_CODE.get(unit.code & ~31)
        if base is None or base is unit:
            continue
        _, power = PREFIXES[unit.refid.removeprefix("MDC_DIM_").split("_")[0]]
        assert unit.unit.dimension == base.unit.dimension
        assert unit.unit.factor == base.unit.factor * Fraction(10) ** power, unit.refid


def test_blood_pressures_keep_the_order_of_the_standard() -> None:
    """Goal: systolic, diastolic and mean follow their base code by 1, 2 and 3, everywhere."""
    by_name = {m.refid: m.code for m in mdc.METRICS_BY_CODE.values()}
    for name, code in by_name.items():
        for step, suffix in enumerate(("_SYS", "_DIA", "_MEAN"), start=1):
            if name.endswith(suffix) and name.removesuffix(suffix) in by_name:
                assert code == by_name[name.removesuffix(suffix)] + step, name


@pytest.mark.parametrize(
    ("refid", "code"),
    [
        ("MDC_ECG_HEART_RATE", 2 << 16 | 16770),
        ("MDC_PULS_OXIM_SAT_O2", 2 << 16 | 19384),
        ("MDC_PRESS_BLD_NONINV_SYS", 2 << 16 | 18949),
        ("MDC_TEMP", 2 << 16 | 19272),
        ("MDC_FLOW_FLUID_PUMP", 157784),
        ("MDC_DIM_MMHG", 266016),
        ("MDC_DIM_BEAT_PER_MIN", 264864),
        ("MDC_DIM_MILLI_L_PER_HR", 265266),
        ("MDC_DIM_MICRO_G_PER_KG_PER_MIN", 265619),
        ("MDC_EVT_APNEA", 199680),
        ("MDC_EVT_ECG_ASYSTOLE", 199684),
    ],
)
def test_well_known_codes(refid: str, code: int) -> None:
    assert mdc.name_of(code) == refid


def test_a_unit_of_the_wrong_dimension_is_refused() -> None:
    for metric, unit in (
        (HEART_RATE, MMHG),
        (SPO2, PER_MIN),
        (NIBP_SYS, PERCENT),
        (NIBP_SYS, DEGC),
    ):
        with pytest.raises(ContentMismatch):
            mdc.check_unit(metric, unit)
    with pytest.raises(ContentMismatch, match=r"MDC_DIM_MMHG is no unit of MDC_ECG_HEART_RATE"):
        mdc.check_units([mdc.pair(SPO2, PERCENT), mdc.pair(HEART_RATE, MMHG)])


def test_unknown_codes_are_data_and_reported() -> None:
    known, foreign = mdc.pair(HEART_RATE, PER_MIN), mdc.pair(PRIVATE, MMHG)
    strange = mdc.pair(HEART_RATE, 4 << 16 | 0xF123)
    assert mdc.check_units([known]) == frozenset()
    assert mdc.check_units([known, foreign, strange]) == {foreign, strange}
    assert mdc.check_unit(HEART_RATE, PER_MIN)
    assert not mdc.check_unit(PRIVATE, MMHG)
    assert mdc.is_private(PRIVATE)


def test_a_prefix_that_is_not_in_the_table_still_has_its_dimension() -> None:
    deca_pascal = 4 << 16 | 3841
    assert mdc.check_unit(NIBP_SYS, deca_pascal)
    with pytest.raises(ContentMismatch):
        mdc.check_unit(HEART_RATE, deca_pascal)
    assert mdc.dimension_of(2 << 16 | 3841) is None


def test_a_setting_is_judged_as_the_quantity_that_it_sets() -> None:
    tidal_volume_setting = 16_929_196  # MDC_VENT_VOL_TIDAL_SETTING
    millilitre = 4 << 16 | 1618
    assert mdc.check_unit(tidal_volume_setting, millilitre)
    with pytest.raises(ContentMismatch):
        mdc.check_unit(tidal_volume_setting, MMHG)


def test_the_metric_decides_what_a_plain_per_minute_is() -> None:
    assert mdc.name_of(mdc.unit_code_for(HEART_RATE, "/min") or 0) == "MDC_DIM_BEAT_PER_MIN"
    assert mdc.name_of(mdc.unit_code_for(151562, "/min") or 0) == "MDC_DIM_RESP_PER_MIN"
    assert mdc.name_of(mdc.unit_code_for(PRIVATE, "Hz") or 0) == "MDC_DIM_HZ"
    assert mdc.unit_code_for(NIBP_SYS, "m[Hg]") is None


def test_ucum_units_are_judged_like_codes() -> None:
    assert mdc.check_ucum(NIBP_SYS, "kPa")
    assert not mdc.check_ucum(PRIVATE, "whatever")
    with pytest.raises(ContentMismatch):
        mdc.check_ucum(NIBP_SYS, "mV")
    with pytest.raises(InputError):
        mdc.check_ucum(NIBP_SYS, "mmHg")


@given(st.sampled_from(sorted(mdc.METRICS_BY_CODE)), st.sampled_from(sorted(mdc.UNITS_BY_CODE)))
def test_check_agrees_with_ucum(metric: int, unit: int) -> None:
    """Goal: the precomputed pairs say what the dimensions say, for all 15,000 pairs."""
    fits = mdc.UNITS_BY_CODE[unit].unit.dimension in mdc.METRICS_BY_CODE[metric].dimensions
    if fits:
        assert mdc.check_unit(metric, unit)
    else:
        with pytest.raises(ContentMismatch):
            mdc.check_unit(metric, unit)


def test_every_unit_group_is_used_and_reads() -> None:
    used = {line.split(" ")[3] for line in METRICS.splitlines()}
    assert used == set(UNIT_GROUPS)
    for metric in mdc.METRICS_BY_CODE.values():
        assert metric.units
        assert metric.is_numeric or metric.is_waveform


def test_events_know_what_they_are_by_nature() -> None:
    kinds = {e.refid: e.kind for e in mdc.EVENTS_BY_CODE.values()}
    assert kinds["MDC_EVT_APNEA"] is AlarmKind.PHYSIOLOGICAL
    assert kinds["MDC_EVT_BATT_LO"] is AlarmKind.TECHNICAL
    assert kinds["MDC_EVT_HI"] is None
    assert mdc.name_of(3 << 16 | 9) == "MDC:3:9"


def test_ucum_of_every_unit_code_is_canonical() -> None:
    for unit in mdc.UNITS_BY_CODE.values():
        assert parse(unit.ucum) == unit.unit
