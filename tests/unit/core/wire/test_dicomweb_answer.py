"""What archives answer: only what they list counts, whatever else they say."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.wire.dicomweb_answer import (
    ANSWER_BYTES_MAX,
    DataSetDigest,
    lists_instance,
    read_store_answer,
)
from asepsis.core.wire.dicomweb_store import Failure, Stored, store_response


def _file(meta: bytes, data: bytes) -> bytes:
    head = b"\x02\x00\x00\x00UL\x04\x00" + len(meta).to_bytes(4, "little")
    return bytes(128) + b"DICM" + head + meta + data


def test_an_answer_names_what_was_stored_and_why_the_rest_was_not() -> None:
    body = store_response(
        [
            Stored(sop_class="1.2", sop_instance="1.2.1", retrieve_url="https://a/1"),
            Stored(sop_class="1.2", sop_instance="1.2.2", failure=Failure.NO_RESOURCES),
            Stored(sop_class="", sop_instance="", failure=Failure.NOT_UNDERSTOOD),
        ]
    )
    found = read_store_answer(body)
    assert found.stored == {"1.2.1"}
    assert found.failed == {"1.2.2": 0xA700}
    assert read_store_answer(b" [" + body + b"]") == found


def test_what_is_listed_as_stored_and_as_failed_has_failed() -> None:
    item = {"00081155": {"Value": ["1.2"]}}
    body = json.dumps({"00081198": {"Value": [item]}, "00081199": {"Value": [item]}}).encode()
    found = read_store_answer(body)
    assert not found.stored
    assert found.failed == {"1.2": 0}


KEYS = st.sampled_from(["00081198", "00081199", "00081155", "00081197", "Value", "vr"])
JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(KEYS, s)
)


@given(JSON)
def test_any_json_is_read_or_refused(document: object) -> None:
    body = json.dumps(document).encode()
    try:
        found = read_store_answer(body)
        lists_instance(body, "1.2")
    except InputError:
        return
    assert "" not in found.stored


def test_what_is_no_answer_is_refused() -> None:
    for body in (b"", b"<html>", b"\xff", b"3", b"[" * 100_000):
        with pytest.raises(FramingError):
            read_store_answer(body)
    with pytest.raises(LimitExceeded):
        read_store_answer(b" " * (ANSWER_BYTES_MAX + 1))


def test_a_search_finds_the_instance_that_was_asked_for_only() -> None:
    body = b'[{"00080018":{"vr":"UI","Value":["1.2.3"]}}]'
    assert lists_instance(body, "1.2.3")
    assert not lists_instance(body, "1.2")
    assert not lists_instance(b"", "1.2")


@given(st.binary(max_size=300), st.binary(max_size=300), st.data())
def test_a_data_set_has_one_digest_in_any_chunking(
    meta: bytes, data: bytes, drawn: st.DataObject
) -> None:
    whole = _file(meta, data)
    cut = sorted(drawn.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    found = DataSetDigest()
    for begin, end in zip([0, *cut], [*cut, len(whole)], strict=True):
        found.feed(whole[begin:end])
    assert found.digest() == hashlib.sha256(data).digest()
    assert found.byte_count == len(data)


def test_what_is_no_file_has_no_digest() -> None:
    for data in (bytes(200), _file(bytes(70_000), b"")):
        with pytest.raises(FramingError):
            DataSetDigest().feed(data)
    for data in (b"", _file(b"12345678", b"")[:-2]):
        short = DataSetDigest()
        short.feed(data)
        with pytest.raises(FramingError):
            short.digest()
