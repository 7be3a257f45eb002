"""What keeps the record gives way to who answers, and goes on all the same."""

import threading

from asepsis.hub.records.process import PAUSE_S_MAX, Courtesy


def test_nobody_waits_without_a_question() -> None:
    Courtesy(iter(()).__next__)()  # It does not even look at the clock.


def test_it_waits_until_the_answer_is_there() -> None:
    courtesy = Courtesy()
    courtesy.begin()
    threading.Timer(PAUSE_S_MAX / 10, courtesy.end).start()
    courtesy()  # Returns by the answer, or after `PAUSE_S_MAX`: either way it goes on.
    courtesy.begin()
    courtesy.end()
    courtesy()


def test_it_works_as_long_as_it_waited_however_many_people_read() -> None:
    """Goal: readers that never cease cost the record half of its time, not all."""
    looks = iter((1.0, 2.0, 2.5, 3.5, 4.0))
    courtesy = Courtesy(looks.__next__)
    courtesy.begin()
    courtesy()  # Waits, from 1 to 2: it may work until 3.
    courtesy()  # At 2.5 it works.
    assert next(looks) == 3.5
    courtesy.end()
