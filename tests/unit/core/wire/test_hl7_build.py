"""Writing messages: what is written reads back to the same values; truncation is never a crash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError, LimitExceeded, UnsupportedMedia
from asepsis.core.wire.hl7 import Delimiters, Message
from asepsis.core.wire.hl7_build import NULL, Field, Verbatim, Writer, join_segments

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
COMPONENTS = st.lists(
    st.one_of(TEXT, st.lists(TEXT, min_size=1, max_size=3).map(tuple)), min_size=1, max_size=4
).map(tuple)
REPETITIONS = st.lists(st.one_of(TEXT, COMPONENTS), min_size=1, max_size=3)
FIELDS = st.lists(st.one_of(TEXT, COMPONENTS, REPETITIONS), max_size=6)
NAMES = st.from_regex(r"[A-Z][A-Z0-9]{2}", fullmatch=True).filter(
    lambda name: name not in {"MSH", "FHS", "FTS", "BHS", "BTS"}
)
SEGMENTS = st.lists(st.tuples(NAMES, FIELDS), max_size=5)
MARKS = st.sampled_from(
    [Delimiters(), Delimiters(b"#", b"*", b"%", b"!", b"$"), Delimiters(truncation=b"#")]
)


def leaves(field: Field) -> list[tuple[int, int, int, str]]:
    """Return repetition, component, subcomponent and text of every leaf of a value."""
    found: list[tuple[int, int, int, str]] = []
    assert not isinstance(field, Verbatim)
    for r, repetition in enumerate(field if isinstance(field, list) else [field], 1):
        parts = repetition if isinstance(repetition, tuple) else (repetition,)
        for c, component in enumerate(parts, 1):
            subs = component if isinstance(component, tuple) else (component,)
            found += [(r, c, s, text) for s, text in enumerate(subs, 1)]
    return found


def write(segments: list[tuple[str, list[Field]]], delimiters: Delimiters) -> bytes:
    writer = Writer(delimiters=delimiters)
    head = writer.segment("MSH", {9: ("ACK", "A01"), 10: "1", 18: "UNICODE UTF-8"})
    return join_segments([head, *(writer.segment(name, fields) for name, fields in segments)])


@given(SEGMENTS, MARKS)
def test_round_trip(segments: list[tuple[str, list[Field]]], delimiters: Delimiters) -> None:
    message = Message.parse(write(segments, delimiters))
    assert message.delimiters == delimiters
    assert [segment.name for segment in message.segments()][1:] == [name for name, _ in segments]
    for segment, (_, fields) in zip(list(message.segments())[1:], segments, strict=True):
        for number, field in enumerate(fields, 1):
            for r, c, s, text in leaves(field):
                assert segment.text(number, repetition=r, component=c, subcomponent=s) == text


@given(SEGMENTS, MARKS, st.data())
def test_any_truncation_gives_a_message_or_our_error(
    segments: list[tuple[str, list[Field]]], delimiters: Delimiters, data: st.DataObject
) -> None:
    whole = write(segments, delimiters)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        message = Message.parse(cut)
        for segment in message.segments():
            for number in range(len(segment) + 2):
                segment.text(number)
    except InputError:
        return
    assert bytes(message) == cut.rstrip(b"\r") + b"\r"


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_give_a_message_or_our_error(data: bytes, headed: bool) -> None:  # noqa: FBT001
    try:
        message = Message.parse((b"MSH|^~\\&|" if headed else b"") + data)
        message.get("MSH-9.2")
        message.columns("PID", 1, 2, 3)
    except InputError:
        return
    assert Message.parse(bytes(message)).names == message.names


def test_fields_by_number_and_in_order() -> None:
    writer = Writer()
    assert writer.segment("PID", {3: "4711", 5: ("Muster", "Eva", "")}) == b"PID|||4711||Muster^Eva"
    assert writer.segment("PID", ["1", "", ["a", ("b", ("c", "d"))], ""]) == b"PID|1||a~b^c&d"
    assert writer.segment("MSH", ["A"]) == b"MSH|^~\\&|A"
    assert writer.segment("OBX", {5: NULL}) == b'OBX|||||""'
    assert writer.segment("ZZZ", []) == b"ZZZ"
    assert writer.field(Verbatim(b"a^b~c\\T\\")) == b"a^b~c\\T\\"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("pid", ["1"]),
        ("PIDX", ["1"]),
        ("", ["1"]),
        ("P\rD", ["1"]),
        ("ÄÖÜ", ["1"]),
        ("PID", {0: "1"}),
        ("MSH", {1: "|"}),
        ("MSH", {2: "^"}),
        ("PID", {10_001: "1"}),
        ("PID", [Verbatim(b"a|b")]),
        ("PID", [Verbatim(b"a\rPID")]),
        ("PID", [Verbatim(b"\x0b")]),
    ],
)
def test_what_cannot_be_written(name: str, fields: dict[int, Field] | list[Field]) -> None:
    with pytest.raises(InputError):
        Writer().segment(name, fields)


def test_character_sets() -> None:
    assert Writer(charset="8859/1").field("é") == b"\xe9"
    with pytest.raises(InputError):
        Writer(charset="ASCII").field("é")
    with pytest.raises(UnsupportedMedia):
        Writer(charset="UNICODE UTF-16")


def test_without_a_subcomponent_separator() -> None:
    writer = Writer(delimiters=Delimiters(subcomponent=b""))
    assert writer.field((("a",), "b")) == b"a^b"
    with pytest.raises(InputError):
        writer.field((("a", "b"),))


def test_join_segments() -> None:
    with pytest.raises(InputError):
        join_segments([])
    with pytest.raises(InputError):
        join_segments([b"PID|1"])
    with pytest.raises(LimitExceeded):
        join_segments([b"MSH|^~\\&|A"], bytes_max=10)
    assert join_segments([b"MSH|^~\\&|A"], bytes_max=11) == b"MSH|^~\\&|A\r"
