"""Nanoseconds to FHIR text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.core.mapping.fhir_time import NS_PER_S, WALL_NS_MAX, from_date_time, to_instant


@given(st.integers(0, WALL_NS_MAX))
def test_no_nanosecond_is_lost(wall_ns: int) -> None:
    assert from_date_time(to_instant(wall_ns)) == wall_ns


@pytest.mark.parametrize(
    ("text", "wall_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2021-07-09T11:33:24+02:00", 1_625_823_204 * NS_PER_S),
        ("2021-07-09T04:33:24.5-05:00", 1_625_823_204_500_000_000),
        ("2016-12-31T23:59:60Z", 1_483_228_799 * NS_PER_S),
        ("1970-01-01T00:00:00.000000001Z", 1),
    ],
)
def test_times_of_any_zone_are_read(text: str, wall_ns: int) -> None:
    assert from_date_time(text) == wall_ns


@pytest.mark.parametrize(
    "text",
    ["2021", "2021-07-09", "2021-07-09T11:33Z", "2021-02-30T00:00:00Z", "1969-12-31T23:59:59Z",
     "2021-07-09T11:33:24", "2021-07-09T11:33:24+99:00", "٢٠٢١-07-09T11:33:24Z", ""],
)  # fmt: skip
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        from_date_time(text)


@pytest.mark.parametrize("wall_ns", [-1, WALL_NS_MAX + NS_PER_S])
def test_years_beyond_fhir_are_refused(wall_ns: int) -> None:
    with pytest.raises(InputError):
        to_instant(wall_ns)
