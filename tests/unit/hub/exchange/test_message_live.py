"""Goal: a value of the past never looks like one of the present, also in the repeated hour."""

from datetime import UTC, datetime

import pytest

from asepsis.core.mapping.pcd01 import TimeOf
from asepsis.core.mapping.sender_time import Certainty
from asepsis.hub.exchange.message_live import instant_ns, is_current

S = 10**9
NOON_NS = int(datetime(2026, 11, 3, 12, tzinfo=UTC).timestamp()) * S
FIRST_NS = int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()) * S
HOUR_NS = 3_600 * S


@pytest.mark.parametrize(
    ("age_s", "certainty", "current"),
    [
        (0, Certainty.OFFSET, True),
        (9, Certainty.ZONE, True),
        (11, Certainty.ZONE, False),
        (-9, Certainty.ZONE, True),
        (-11, Certainty.ZONE, False),  # A clock that is ahead would make old values look new.
        (0, Certainty.SKIPPED, False),
        (0, Certainty.COARSE, False),
        (0, Certainty.UNREADABLE, False),
    ],
)
def test_only_the_time_of_now_is_current(
    age_s: int,
    certainty: Certainty,
    current: bool,  # noqa: FBT001 - parametrized
) -> None:
    time = TimeOf(NOON_NS - age_s * S, 0, certainty)
    assert is_current(time, now_ns=NOON_NS, last_ns=0) is current


def test_a_value_older_than_the_last_shown_is_not_current() -> None:
    time = TimeOf(NOON_NS - 2 * S, 0, Certainty.OFFSET)
    assert is_current(time, now_ns=NOON_NS, last_ns=NOON_NS - 2 * S)
    assert not is_current(time, now_ns=NOON_NS, last_ns=NOON_NS - S)


def test_in_the_first_pass_of_a_repeated_hour_the_earlier_instant_is_meant() -> None:
    time = TimeOf(FIRST_NS, HOUR_NS, Certainty.AMBIGUOUS)
    assert is_current(time, now_ns=FIRST_NS + S, last_ns=0)
    assert instant_ns(time, now_ns=FIRST_NS + S) == FIRST_NS


def test_in_the_second_pass_only_a_stream_that_never_paused_is_believed() -> None:
    """An hour-old message that a sender kept looks exactly like a new one."""
    time = TimeOf(FIRST_NS, HOUR_NS, Certainty.AMBIGUOUS)
    now_ns = FIRST_NS + HOUR_NS + S
    assert not is_current(time, now_ns=now_ns, last_ns=0)
    assert not is_current(time, now_ns=now_ns, last_ns=now_ns - 60 * S)
    assert is_current(time, now_ns=now_ns, last_ns=now_ns - 2 * S)
    assert instant_ns(time, now_ns=now_ns) == FIRST_NS + HOUR_NS


def test_between_the_two_instants_neither_is_now() -> None:
    time = TimeOf(FIRST_NS, HOUR_NS, Certainty.AMBIGUOUS)
    half_ns = FIRST_NS + HOUR_NS // 2
    assert not is_current(time, now_ns=half_ns, last_ns=half_ns)
