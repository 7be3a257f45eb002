"""How metrics are shown, and what may be asked of a ward view."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.core.mapping.nomenclature import METRICS_BY_CODE
from asepsis.hub.console import live_catalogue
from asepsis.hub.console.live_catalogue import RANK_LAST, event_label, shown_metric
from asepsis.hub.console.live_rules import WardQuery, parse_ward_query


def test_every_row_names_a_metric_of_the_nomenclature() -> None:
    """Goal: no label without a code behind it, so that no metric is shown under another's name."""
    known = {metric.refid for metric in METRICS_BY_CODE.values()}
    rows = [line.split(" ")[0] for line in live_catalogue._ROWS.splitlines()]  # noqa: SLF001
    assert {f"MDC_{row}" for row in rows} <= known
    assert len(rows) == len(set(rows))


def test_a_ward_finds_its_own_words() -> None:
    rate = shown_metric(147_842, 264_864, wave=False)
    assert (rate.label, rate.unit, rate.group) == ("HR", "/min", "ecg")
    systolic = shown_metric(150_037, 266_016, wave=False)
    assert (systolic.label, systolic.part, systolic.unit) == ("ABP", "sys", "mmHg")
    assert shown_metric(131_330, 266_418, wave=True).label == "II"
    assert shown_metric(150_344, 268_192, wave=False).unit == "°C"
    assert event_label(196_648) == "Above high limit"
    assert event_label(1) == ""


def test_what_nobody_knows_is_shown_as_such() -> None:
    private = shown_metric(1_024 << 16 | 7, 262_656, wave=False)
    assert private.label == "MDC:1024:7"
    assert private.name == "private metric"
    assert private.rank > RANK_LAST


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.booleans())
def test_every_code_can_be_shown(code: int, unit: int, wave: bool) -> None:  # noqa: FBT001
    shown = shown_metric(code, unit, wave=wave)
    assert shown.label
    assert shown.group


def test_a_query_names_a_ward_or_all() -> None:
    assert parse_ward_query(b"", None) == WardQuery(None, waveforms=False, after=None)
    found = parse_ward_query(b"ward=ICU%20A&waveforms=1", b"17")
    assert found == WardQuery("ICU A", waveforms=True, after=17)


@pytest.mark.parametrize(
    ("query", "last"),
    [
        (b"ward=", None),
        (b"ward=a&ward=b", None),
        (b"waveforms=2", None),
        (b"device=x", None),
        (b"ward=" + b"x" * 61, None),
        (b"ward=\xff", None),
        (b"", b"-1"),
        (b"", b"9" * 19),
    ],
)
def test_other_queries_are_refused(query: bytes, last: bytes | None) -> None:
    with pytest.raises(InputError):
        parse_ward_query(query, last)
