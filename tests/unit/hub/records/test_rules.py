"""Whose a value is: edges exact, doubt against inclusion, two patients never share a value."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.model.identity import Assurance
from asepsis.core.model.time import UNSYNCHRONISED_MS
from asepsis.hub.records import rules
from asepsis.hub.records.entries import Mark, Origin, Source, Value
from asepsis.hub.records.rules import FOREVER_NS, Claim

MS = 1_000_000


def claim(patient: str, start_ns: int, end_ns: int = FOREVER_NS) -> Claim:
    return Claim(patient=patient, start_ns=start_ns, end_ns=end_ns)


def value(t_ns: int, **changes: Any) -> Value:
    fields: dict[str, Any] = {
        "start_ns": t_ns, "received_at_ns": t_ns + 50 * MS, "device_start_ns": t_ns,
        "epoch": 1, "sequence": 1, "uncertainty_ms": 10, "source": Source.BATCH,
        "assurance": Assurance.DEVICE_ORIGIN, "marks": Mark.NONE, "producer_tag": bytes(8),
    }  # fmt: skip
    return Value(t_ns, Origin(**{**fields, **changes}), 0, (1, 2, 3, 4, 0, 0))


@pytest.mark.parametrize(
    ("span", "whose"),
    [
        ((100, 100), "A"),
        ((99, 99), None),
        ((199, 199), "A"),
        ((200, 200), "B"),
        ((199, 200), None),
        ((90, 110), None),
        ((299, 300), None),
        ((300, 300), None),
    ],
)
def test_edges_are_exact(span: tuple[int, int], whose: str | None) -> None:
    """Goal: the first moment belongs to the interval, the last one to what follows."""
    claims = [claim("A", 100, 200), claim("B", 200, 300)]
    assert rules.patient_of(claims, span) == whose


def test_two_patients_at_once_are_nobody() -> None:
    """Goal: where two people said two things, no value is charted."""
    claims = [claim("A", 100, 300), claim("B", 200, 400)]
    assert rules.patient_of(claims, (150, 150)) == "A"
    assert rules.patient_of(claims, (250, 250)) is None
    assert rules.patient_of(claims, (350, 350)) == "B"


def test_two_intervals_that_meet_are_not_one() -> None:
    """Goal: a value that may lie in a gap between two intervals of one patient is left out."""
    claims = [claim("A", 100, 200), claim("A", 210, 300)]
    assert rules.patient_of(claims, (195, 215)) is None
    assert rules.patient_of(claims, (220, 230)) == "A"


def test_the_error_of_a_set_clock_counts_against_inclusion() -> None:
    claims = [claim("A", 1_000 * MS)]
    assert rules.patient_of(claims, rules.span_of_value(value(1_010 * MS))) == "A"
    assert rules.patient_of(claims, rules.span_of_value(value(1_009 * MS))) is None


def test_an_unset_clock_is_believed_only_where_arrival_agrees() -> None:
    """Goal: a device with a slow clock never charts to the patient before."""
    unset = value(500 * MS, uncertainty_ms=UNSYNCHRONISED_MS, received_at_ns=1_500 * MS)
    before, after = claim("A", 0, 1_000 * MS), claim("B", 1_000 * MS)
    assert rules.patient_of([before, after], rules.span_of_value(unset)) is None
    assert rules.patient_of([claim("A", 0)], rules.span_of_value(unset)) == "A"


def test_a_time_that_nobody_knows_is_nobodys() -> None:
    unknown = value(500, marks=Mark.CLOCK)
    assert rules.patient_of([claim("A", 0)], rules.span_of_value(unknown)) is None


def test_a_repeated_hour_counts_whole() -> None:
    later = value(
        3_600 * MS, marks=Mark.AMBIGUOUS, uncertainty_ms=UNSYNCHRONISED_MS, device_start_ns=0
    )
    assert rules.span_of_value(later) == (0, 3_650 * MS)


@given(
    claims=st.lists(
        st.builds(
            claim,
            st.sampled_from(["A", "B", "C"]),
            st.integers(0, 100),
            st.integers(0, 100) | st.just(FOREVER_NS),
        ),
        max_size=6,
    ),
    first=st.integers(0, 110),
    length=st.integers(0, 20),
)
def test_a_value_is_never_anybody_elses(claims: list[Claim], first: int, length: int) -> None:
    """Goal: whoever a value is given to, every moment of its span was his and nobody else's."""
    whose = rules.patient_of(claims, (first, first + length))
    if whose is None:
        return
    for moment in range(first, first + length + 1):
        at = {c.patient for c in claims if c.start_ns <= moment < c.end_ns}
        assert at == {whose}
