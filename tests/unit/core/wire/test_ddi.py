"""Documents of update clients, as JSON and as CBOR, and what is refused of them."""

import datetime as dt
import json
import re
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire import ddi
from asepsis.core.wire.ddi import CBOR, Execution, Finished
from asepsis.core.wire.ddi_cbor import read_cbor, write_cbor

JSON = ddi.JSON[0]
CLOSED: dict[str, Any] = {"status": {"execution": "closed", "result": {"finished": "success"}}}


def both(document: object) -> list[tuple[bytes, str]]:
    return [(json.dumps(document).encode(), JSON), (cbor2.dumps(document), CBOR)]


def test_a_feedback_as_swupdate_sends_it() -> None:
    """Goal: numbers where strings belong, and times of another form, do no harm."""
    document = CLOSED | {"id": 8, "time": "20261122T024609"}
    document["status"] = CLOSED["status"] | {"details": ["Update Installed."], "code": 200}
    for raw, media in both(document):
        found = ddi.read_feedback(raw, media)
        assert (found.execution, found.finished) == (Execution.CLOSED, Finished.SUCCESS)
        assert found.details == ("Update Installed.",)
        assert found.code == 200


def test_an_indefinite_length_map_is_read() -> None:
    """Goal: Java's encoders write maps and lists whose length is not said."""
    raw = b"\xbf\x66status\xbf\x69execution\x66closed\x66result\xbf\x68finished\x64none\xff\xff\xff"
    assert ddi.read_feedback(raw, CBOR).finished is Finished.NONE


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"status": None},
        {"status": {"execution": "exploded", "result": {"finished": "none"}}},
        {"status": {"execution": "closed", "result": {"finished": "maybe"}}},
        {"status": {"execution": "closed", "result": {"finished": "none"}, "code": 2**40}},
        [],
    ],
)
def test_what_is_no_feedback_is_refused(document: object) -> None:
    for raw, media in both(document):
        with pytest.raises(InputError):
            ddi.read_feedback(raw, media)


def test_long_stories_are_cut_and_control_characters_shown_as_blanks() -> None:
    lines = ["x" * 9_999, "\x1b[31mred", *["y"] * 99]
    document = {"status": CLOSED["status"] | {"details": lines}}
    for raw, media in both(document):
        found = ddi.read_feedback(raw, media).details
        assert len(found) == ddi.DETAILS_MAX
        assert len(found[0]) == ddi.DETAIL_CHARS_MAX
        assert found[1] == " [31mred"


def test_attributes() -> None:
    document = {"mode": None, "data": {"a": "b", "n": 1, "t": True, "z": None}, "id": ""}
    for raw, media in both(document):
        found = ddi.read_attributes(raw, media)
        assert found.mode == "merge"
        assert found.data == {"a": "b", "n": "1", "t": "true", "z": ""}
    for data in ({str(n): "" for n in range(101)}, {"k": "v" * 129}, {"k" * 129: ""}):
        for raw, media in both({"data": data}):
            with pytest.raises(LimitExceeded):
                ddi.read_attributes(raw, media)


def test_confirmations_and_what_runs() -> None:
    for raw, media in both({"confirmation": "denied", "details": "no"}):
        assert ddi.read_confirmation(raw, media).confirmed is False
        assert ddi.read_confirmation(raw, media).details == ("no",)
    for raw, media in both({"initiator": "ana", "remark": None}):
        assert ddi.read_auto_confirm(raw, media).initiator == "ana"
    assert ddi.read_auto_confirm(b"", JSON).initiator == ""
    for raw, media in both({"name": "os", "version": "2"}):
        assert ddi.read_installed(raw, media) == ("os", "2")
    for document in ({"name": "", "version": "2"}, {"name": "n" * 257, "version": ""}):
        for raw, media in both(document):
            with pytest.raises(InputError):
                ddi.read_installed(raw, media)


TAGGED = [
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    2**70,
    re.compile("(a+)+"),
    {1, 2},
    cbor2.CBORTag(40_000, 1),
    cbor2.CBORTag(55_799, 1),
]


@pytest.mark.parametrize("value", TAGGED, ids=lambda value: type(value).__name__)
def test_no_tag_of_cbor_is_taken(value: Any) -> None:
    """Goal: no date, big number, pattern or shared reference is ever built from a stranger."""
    with pytest.raises(InputError):
        read_cbor(cbor2.dumps({"a": value}))


def test_every_tag_below_a_thousand_is_refused() -> None:
    for tag in range(1_100):
        with pytest.raises(InputError):
            read_cbor(cbor2.dumps(cbor2.CBORTag(tag, [1])))


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x01\x02", b"\x81" * 60 + b"\x01", b"\xa2\x61a\x01\x61a\x02", b"\x9a\xff\xff\xff\xff"],
    ids=["empty", "left over", "deep", "a key twice", "a long list that ends"],
)
def test_malformed_cbor_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError):
        read_cbor(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for media in (JSON, CBOR):
        for read in (ddi.read_feedback, ddi.read_attributes, ddi.read_confirmation):
            try:
                read(raw, media)
            except InputError:
                continue


PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8)


@given(st.dictionaries(st.text(max_size=4), st.lists(PLAIN, max_size=3) | PLAIN))
def test_what_is_written_is_read(document: Any) -> None:
    assert read_cbor(write_cbor(document)) == document
