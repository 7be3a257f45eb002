"""Parcels: what is written is read again, and nothing else is read at all."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.wire.parcel import (
    BLOCK,
    CONTENT_BYTES_MAX,
    NUMBER_MAX,
    Head,
    Parcel,
    ParcelKind,
    decode_content,
    decode_head,
    encode_content,
    encode_head,
)

names = st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True)


@given(
    kind=st.sampled_from(list(ParcelKind)),
    name=names,
    number=st.integers(1, NUMBER_MAX),
    payload=st.binary(max_size=300),
)
def test_a_parcel_is_read_as_it_was_written(
    kind: ParcelKind, name: str, number: int, payload: bytes
) -> None:
    parcel = Parcel(kind=kind, name=name, number=number, payload=payload)
    content = encode_content(parcel)
    assert decode_content(content) == parcel
    head = Head(number=number, content_bytes=len(content), signature=bytes(range(64)))
    block = encode_head(head)
    assert len(block) == BLOCK
    assert decode_head(block) == head


@given(noise=st.binary(max_size=200), at=st.integers(0, 80))
def test_noise_is_refused_or_read_within_limits(noise: bytes, at: int) -> None:
    whole = encode_content(Parcel(kind=ParcelKind.KERNEL_PATCH, name="a", number=1))
    for data in (noise, whole[:at] + noise + whole[at:]):
        with contextlib.suppress(InputError):
            decode_content(data)
        with contextlib.suppress(InputError):
            head = decode_head(data)
            assert head is None or head.content_bytes <= CONTENT_BYTES_MAX


def test_an_empty_medium_holds_nothing() -> None:
    assert decode_head(bytes(BLOCK)) is None


def test_what_has_no_form_is_refused() -> None:
    parcel = Parcel(kind=ParcelKind.KERNEL_PATCH, name="patch", number=1)
    for wrong in ("", "UPPER", "a" * 32, "a-b"):
        with pytest.raises(InputError):
            encode_content(Parcel(kind=parcel.kind, name=wrong, number=1))
    with pytest.raises(InputError):
        encode_content(Parcel(kind=parcel.kind, name="patch", number=0))
    with pytest.raises(LimitExceeded):
        encode_content(
            Parcel(kind=parcel.kind, name="patch", number=1, payload=bytes(CONTENT_BYTES_MAX))
        )
    with pytest.raises(InputError):
        encode_head(Head(number=1, content_bytes=64, signature=b"short"))
    content = encode_content(parcel)
    for data in (content.replace(b"kernel-patch", b"kernel-witch"), b"\0" * 64, content[:63]):
        with pytest.raises(FramingError):
            decode_content(data)
    with pytest.raises(LimitExceeded):
        decode_head(encode_head(Head(number=1, content_bytes=1 << 40, signature=bytes(64))))
    with pytest.raises(FramingError):
        decode_head(b"x" * BLOCK)
