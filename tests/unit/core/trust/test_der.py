"""Goal: the small DER codec agrees with asn1's rules and never reads what is not minimal."""

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.x509 import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.trust import der
from asepsis.core.trust.der import DerReader

naturals = st.integers(min_value=1, max_value=2**256)


@given(naturals, naturals)
def test_integers_are_those_of_cryptography(r: int, s: int) -> None:
    ours = der.element(der.SEQUENCE, der.integer(r), der.integer(s))
    assert ours == encode_dss_signature(r, s)
    assert decode_dss_signature(ours) == (r, s)
    outer = DerReader(ours)
    reader = outer.inner(der.SEQUENCE)
    assert (reader.unsigned(), reader.unsigned()) == (r, s)
    reader.end()
    outer.end()


@given(
    st.integers(0, 2),
    st.integers(0, 39),
    st.lists(st.integers(0, 2**63), max_size=8),
)
def test_object_identifiers_come_back(first: int, second: int, rest: list[int]) -> None:
    text = ".".join(map(str, (first, second, *rest)))
    reader = DerReader(der.object_identifier(text))
    assert der.dotted(reader.content(der.OBJECT_IDENTIFIER)) == text


def test_known_object_identifier() -> None:
    """Goal: the example of X.690 clause 8.19.5, and one that cryptography knows."""
    assert der.object_identifier("2.999.3").hex() == "0603883703"
    known = ObjectIdentifier("1.2.840.10045.4.3.2").dotted_string
    assert der.object_identifier(known).hex() == "06082a8648ce3d040302"


@given(st.binary(max_size=70_000 // 16), st.integers(0, 15))
def test_every_length_is_minimal_and_comes_back(content: bytes, repeat: int) -> None:
    whole = content * repeat
    raw = der.element(der.OCTET_STRING, whole)
    reader = DerReader(raw)
    assert reader.next_is(der.OCTET_STRING)
    assert reader.content(der.OCTET_STRING) == whole
    reader.end()
    assert DerReader(raw).raw(der.OCTET_STRING) == raw
    assert DerReader(raw).any() == (der.OCTET_STRING, whole)


@given(st.binary(max_size=40))
def test_what_is_read_is_what_would_be_written(data: bytes) -> None:
    """Goal: one encoding only; whatever the reader takes, the writer would have written."""
    reader = DerReader(data)
    try:
        tag, content = reader.any()
    except FramingError:
        return
    assert data.startswith(der.element(tag, content))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("0480", id="indefinite length"),
        pytest.param("048100", id="long form of a short length"),
        pytest.param("04820001aa", id="leading zero in a length"),
        pytest.param("0484000000010a", id="length of four bytes"),
        pytest.param("0402aa", id="cut off"),
        pytest.param("04", id="no length"),
        pytest.param("", id="empty"),
        pytest.param("0500", id="another tag"),
    ],
)
def test_bad_elements_are_refused(raw: str) -> None:
    with pytest.raises(FramingError):
        DerReader(bytes.fromhex(raw)).content(der.OCTET_STRING)


@pytest.mark.parametrize("raw", ["0200", "0201ff", "02020001", "0203008000"[:-2]])
def test_bad_integers_are_refused(raw: str) -> None:
    with pytest.raises(FramingError):
        DerReader(bytes.fromhex(raw)).unsigned()


@pytest.mark.parametrize("content", ["", "2a80", "2a8001", "80"])
def test_bad_object_identifiers_are_refused(content: str) -> None:
    with pytest.raises(FramingError):
        der.dotted(bytes.fromhex(content))


def test_misuse_and_excess_are_refused() -> None:
    with pytest.raises(InputError):
        der.integer(-1)
    with pytest.raises(InputError):
        der.object_identifier("1.2.-3")
    with pytest.raises(InputError):
        der.context(31)
    with pytest.raises(LimitExceeded):
        DerReader(bytes(der.DER_BYTES_MAX + 1))
    with pytest.raises(FramingError):
        DerReader(b"\0").end()
    with pytest.raises(FramingError):
        DerReader(bytes.fromhex("1f0100")).any()
