"""Which report follows which."""

from hypothesis import given
from hypothesis import strategies as st

from asepsis.edge.gateway.sdc.continuity import Continuity, Step, Version


def v(number: int, sequence: str = "a", instance: int | None = None) -> Version:
    return Version(number, sequence, instance)


def test_the_next_version_and_a_second_report_of_it_fit() -> None:
    seen = Continuity.of(v(5))
    assert [seen.take(v(n)) for n in (6, 6, 7)] == [Step.FITS] * 3


def test_what_the_mdib_held_already_is_old() -> None:
    seen = Continuity.of(v(5))
    assert seen.take(v(5)) is Step.OLD
    assert seen.take(v(4)) is Step.OLD


def test_a_report_that_came_after_a_newer_one_is_old() -> None:
    seen = Continuity.of(v(5))
    seen.take(v(7))
    assert seen.take(v(6)) is Step.OLD
    assert seen.at == v(7)


def test_a_hole_is_seen_once() -> None:
    seen = Continuity.of(v(5))
    assert [seen.take(v(n)) for n in (8, 9)] == [Step.HOLE, Step.FITS]


def test_another_sequence_or_instance_is_another_device_run() -> None:
    seen = Continuity.of(v(5, "a", 1))
    assert seen.take(v(6, "b", 1)) is Step.OTHER
    assert seen.take(v(6, "a", 2)) is Step.OTHER
    assert seen.stands_behind(v(5, "b", 1)) is Step.OTHER


def test_what_the_device_says_it_is_at_shows_missing_reports() -> None:
    seen = Continuity.of(v(5))
    assert seen.stands_behind(v(5)) is Step.FITS
    assert seen.stands_behind(v(6)) is Step.HOLE


@given(st.lists(st.integers(0, 40), max_size=40))
def test_no_report_that_is_not_newer_is_taken_and_no_skipped_version_is_silent(
    numbers: list[int],
) -> None:
    seen = Continuity.of(v(5))
    newest = 5
    for number in numbers:
        step = seen.take(v(number))
        assert (step is Step.HOLE) == (number > newest + 1)
        assert (step is Step.OLD) == (number < newest or number <= 5)
        newest = max(newest, number)
