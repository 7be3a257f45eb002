"""Data sets of queries and steps: there and back without a change, and nothing strange gets in."""

import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.edge.gateway.imaging import datasets
from asepsis.edge.gateway.imaging.services import EXPLICIT, IMPLICIT, SYNTAXES


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


NUMBERS = element(0x00101030, b"DS", b"070.50") + element(0x00200013, b"IS", b"007")
NAME = "M\u00fcller^J\u00fcrgen".encode("latin-1")
LATIN = element(0x00080005, b"CS", b"ISO_IR 100") + element(0x00100010, b"PN", NAME) + NUMBERS


def test_text_of_numbers_names_and_charset_survive() -> None:
    document, charset = datasets.decode(LATIN, EXPLICIT)
    assert charset == "ISO_IR 100"
    assert "00080005" not in document
    assert document["00100010"]["Value"] == [{"Alphabetic": "M\u00fcller^J\u00fcrgen"}]
    assert document["00101030"]["Value"] == ["070.50"]
    crossed: Any = msgspec.json.decode(msgspec.json.encode(document))
    assert datasets.encode(crossed, charset, EXPLICIT) == LATIN


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_sequences_and_empty_keys_survive(syntax: str) -> None:
    step = {"00400002": {"vr": "DA", "Value": ["20261122"]}, "00400001": {"vr": "AE"}}
    document: dict[str, Any] = {
        "00100020": {"vr": "LO"},
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "00400100": {"vr": "SQ", "Value": [step]},
        "00081110": {"vr": "SQ"},
    }
    again, _ = datasets.decode(datasets.encode(document, "", syntax), syntax)
    assert msgspec.json.encode(again) == msgspec.json.encode(dict(sorted(again.items())))
    assert again == document


def test_text_that_the_charset_lacks_is_written_in_unicode() -> None:
    """Goal: never a question mark in a name."""
    document = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "\u5c71\u7530^\u592a\u90ce"}]}}
    again, charset = datasets.decode(datasets.encode(document, "ISO_IR 100", IMPLICIT), IMPLICIT)
    assert (again, charset) == (document, "ISO_IR 192")


@given(st.binary(max_size=200), st.sampled_from(SYNTAXES))
def test_whatever_a_stranger_writes_is_read_or_refused(data: bytes, syntax: str) -> None:
    try:
        document, _ = datasets.decode(data, syntax)
    except (FramingError, LimitExceeded):
        return
    msgspec.json.encode(document)


def test_what_is_too_long_or_too_deep_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        datasets.decode(bytes(datasets.DATA_BYTES_MAX + 1), EXPLICIT)
    deep: dict[str, Any] = {"00100020": {"vr": "LO"}}
    for _ in range(datasets.DEPTH_MAX + 2):
        deep = {"00400100": {"vr": "SQ", "Value": [deep]}}
    with pytest.raises(LimitExceeded):
        datasets.decode(datasets.encode(deep, "", EXPLICIT), EXPLICIT)


@pytest.mark.parametrize("document", [{"x": {"vr": "LO"}}, {"00100010": 5}, {"00100020": {}}])
def test_what_is_no_document_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        datasets.encode(document, "", EXPLICIT)
