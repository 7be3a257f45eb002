"""What is refused before the XML reader sees it."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, LimitExceeded
from asepsis.edge.gateway.sdc.bounded import REPORT_BYTES_MAX, check_xml, read_bounded

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    "text",
    [
        b"<a/>",
        BOM + b"<?xml version='1.0' encoding='utf-8'?><a/>",
        b'<?xml version="1.0" encoding="UTF-8" standalone="yes" ?><a/>',
        b'<?xml version="1.0"?><a/>',
    ],
)
def test_messages_of_sdc_pass(text: bytes) -> None:
    check_xml(text)


@pytest.mark.parametrize(
    "text",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<?xml version="1.0"?><!doctype a SYSTEM "http://127.0.0.1/x"><a/>',
        b"<a><! ENTITY b></a>",
        b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE a+AD4-',
        b'<?xml version="1.0"' + b" " * 300 + b'encoding="UTF-7"?><a/>',
        b'<?xml encoding="cp037"?><a/>',
        "<a/>".encode("utf-16"),
        "<a/>".encode("utf-16-le"),
        b" <?xml version='1.0'?><a/>",
        b"",
        b"not xml",
    ],
)
def test_dtd_entities_and_other_encodings_are_refused(text: bytes) -> None:
    with pytest.raises(FramingError):
        check_xml(text)


def taken(data: bytes, length: str = "") -> bytes:
    stream = io.BytesIO(data)
    return read_bounded(stream.read, stream.readline, length)


@given(st.binary(max_size=300), st.integers(1, 64))
def test_chunks_and_lengths_give_the_same_body(body: bytes, size: int) -> None:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunked = b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    assert taken(chunked) == taken(body, str(len(body))) == body


@pytest.mark.parametrize("length", [str(REPORT_BYTES_MAX + 1), "999999999"])
def test_a_length_beyond_the_limit_is_refused_before_a_byte_is_read(length: str) -> None:
    with pytest.raises(LimitExceeded):
        taken(b"", length)


def test_chunks_that_grow_beyond_the_limit_are_refused() -> None:
    chunk = b"%x\r\n%s\r\n" % (1 << 18, b"a" * (1 << 18))
    with pytest.raises(LimitExceeded):
        taken(chunk * 5 + b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"abc", "4"),
        (b"", "-1"),
        (b"5\r\nabc", ""),
        (b"3\r\nabcX", ""),
        (b"0\r\nA: b\r\n", ""),
        (b"", ""),
    ],
)
def test_what_is_cut_off_or_of_no_length_is_refused(data: bytes, length: str) -> None:
    with pytest.raises(FramingError):
        taken(data, length)
