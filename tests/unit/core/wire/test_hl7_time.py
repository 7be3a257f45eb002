"""How we write times, read back by the one reader of times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.core.mapping.sender_time import time_span
from asepsis.core.wire.hl7_time import DIGITS_MAX, written_dtm

YEAR_9999_NS = 253_402_300_799 * 10**9


@given(
    at_ns=st.integers(min_value=0, max_value=YEAR_9999_NS),
    digits=st.integers(min_value=1, max_value=DIGITS_MAX),
)
def test_what_is_written_is_read_as_the_stretch_that_it_was_cut_from(
    at_ns: int, digits: int
) -> None:
    span = time_span(written_dtm(at_ns, digits=digits), None)
    assert span is not None
    assert span.earliest_ns <= at_ns <= span.latest_ns
    assert span.latest_ns - span.earliest_ns == 10 ** (9 - digits) - 1


@pytest.mark.parametrize("at_ns", [-1, (YEAR_9999_NS + 10**9) * 2, 10**40])
def test_other_years_are_refused(at_ns: int) -> None:
    with pytest.raises(InputError):
        written_dtm(at_ns, digits=3)
