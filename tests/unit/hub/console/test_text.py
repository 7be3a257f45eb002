"""Foreign text: nothing hidden, nothing turned around, nothing endless."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.hub.console.text import MARKS_MAX, TEXT_CHARS_MAX, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Müller, Anna", "Müller, Anna"),
        ("gpj.\u202etxe", "gpj.[U+202E]txe"),
        ("a\u2066b\u2069", "a[U+2066]b[U+2069]"),
        ("zero\u200bwidth", "zero[U+200B]width"),
        ("line\nbreak\x00", "line[U+000A]break[U+0000]"),
        ("\ud800", "[U+D800]"),
        ("מרים כהן", "מרים כהן"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
    ],
)
def test_what_lies_is_shown_by_number(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_long_text_is_cut_with_a_sign() -> None:
    assert visible("x" * (TEXT_CHARS_MAX + 1)) == "x" * TEXT_CHARS_MAX + "…"


def test_marks_do_not_climb_over_the_line_above() -> None:
    assert visible("e" + "\u0301" * 40) == "e" + "\u0301" * MARKS_MAX


@given(st.text(max_size=600))
def test_nothing_shown_is_a_control_or_turns_text(text: str) -> None:
    shown = visible(text)
    kinds = {unicodedata.category(char) for char in shown if char not in "\u200c\u200d"}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert len(shown) <= TEXT_CHARS_MAX * 10 + 1
    assert visible(shown) == shown or len(shown) > TEXT_CHARS_MAX
