"""The one-time token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.edge.uplink.token import EnrolmentToken

PIN = "ab" * 32
SECRET = "s" * 43


def test_a_token_is_read_with_surrounding_space() -> None:
    token = EnrolmentToken.parse(f"  id-1.{SECRET}.{PIN}\n")
    assert (token.id, token.secret, token.pin) == ("id-1", SECRET, PIN)


def test_the_secret_is_never_part_of_what_is_printed() -> None:
    assert SECRET not in repr(EnrolmentToken.parse(f"id.{SECRET}.{PIN}"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        f"id.{SECRET}.{PIN.upper()}",
        f"id.short.{PIN}",
        f"id.{SECRET}.{PIN[:-1]}",
        "x" * 400,
    ],
)
def test_anything_else_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InputError) as caught:
        EnrolmentToken.parse(text)
    assert not text or text not in str(caught.value)


@given(st.text(max_size=350))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        EnrolmentToken.parse(text)
    except InputError:
        return
