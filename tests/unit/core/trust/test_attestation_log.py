"""The log of changes: what is written is read, and every change changes the register."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import AsepsisError, InputError, LimitExceeded
from asepsis.core.trust.attestation_log import (
    LINES_MAX,
    Change,
    Line,
    read_lines,
    replay,
    write_line,
)

WORDS = st.text(min_size=1, max_size=120).filter(str.isprintable)
LINES = st.builds(
    Line,
    change=st.sampled_from(Change),
    subject=WORDS,
    version=WORDS,
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
)


@given(lines=st.lists(LINES, max_size=5))
def test_what_is_written_is_read(lines: list[Line]) -> None:
    assert read_lines([json.loads(write_line(line)) for line in lines]) == tuple(lines)


@given(lines=st.lists(LINES, min_size=1, max_size=5, unique=True), other=LINES)
def test_every_line_counts_and_so_does_their_order(lines: list[Line], other: Line) -> None:
    """Goal: no other log replays to the same register."""
    value = replay(lines)
    assert replay(lines[:-1]) != value
    assert replay([*lines, other]) != value
    assert len(lines) == 1 or replay(lines[::-1]) != value


def test_fields_do_not_run_into_one_another() -> None:
    one = Line(change=Change.SWAP, subject="ab", version="c", sha256="0" * 64)
    other = Line(change=Change.SWAP, subject="a", version="bc", sha256="0" * 64)
    assert one.digest != other.digest


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"change": "swap", "subject": "a", "version": "1"},
        {"change": "swap", "subject": "a", "version": "1", "sha256": "0" * 64, "more": ""},
        {"change": "swap", "subject": "a", "version": 1, "sha256": "0" * 64},
        {"change": "eat", "subject": "a", "version": "1", "sha256": "0" * 64},
        {"change": "swap", "subject": "", "version": "1", "sha256": "0" * 64},
        {"change": "swap", "subject": "a\0", "version": "1", "sha256": "0" * 64},
        {"change": "swap", "subject": "a" * 121, "version": "1", "sha256": "0" * 64},
        {"change": "swap", "subject": "a", "version": "1", "sha256": "A" * 64},
    ],
)
def test_another_line_is_refused(document: object) -> None:
    with pytest.raises(InputError):
        read_lines([document])


def test_a_log_has_a_limit() -> None:
    with pytest.raises(LimitExceeded):
        read_lines([{}] * (LINES_MAX + 1))


@given(
    junk=st.recursive(
        st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_junk_is_refused(junk: object) -> None:
    with pytest.raises(AsepsisError):
        read_lines([junk])
