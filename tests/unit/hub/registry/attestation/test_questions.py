"""A question is answered once, soon, or never."""

import pytest

from asepsis.core.errors import Conflict, RateLimited
from asepsis.hub.registry.attestation import questions
from asepsis.hub.registry.attestation.questions import WAIT_NS, Questions


class Clock:
    """Time that moves when the test says so."""

    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_a_question_is_taken_once_and_only_the_newest_counts() -> None:
    asked = Questions[bytes](Clock())
    asked.ask("a", b"1")
    asked.ask("a", b"2")
    asked.ask("b", b"3")
    assert asked.take("a") == b"2"
    with pytest.raises(Conflict):
        asked.take("a")
    assert asked.take("b") == b"3"


def test_a_question_lapses() -> None:
    clock = Clock()
    asked = Questions[bytes](clock)
    asked.ask("a", b"1")
    clock.now_ns = WAIT_NS
    with pytest.raises(Conflict):
        asked.take("a")


def test_open_questions_have_a_limit_and_lapsed_ones_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(questions, "WAITING_MAX", 2)
    clock = Clock()
    asked = Questions[bytes](clock)
    asked.ask("a", b"1")
    asked.ask("b", b"2")
    with pytest.raises(RateLimited):
        asked.ask("c", b"3")
    clock.now_ns = WAIT_NS
    asked.ask("c", b"3")
    assert asked.take("c") == b"3"
