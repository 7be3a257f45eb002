"""Requests as bytes: what was written is read, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError
from asepsis.core.wire.gate_request import (
    FRAME_BYTES_MAX,
    LIMIT_MAX,
    REQUEST_BYTES,
    LimitRequest,
    code_of,
    decode,
    device_tag,
    encode,
)

LIMITS = st.none() | st.integers(-2_000_000_000, 2_000_000_000).map(lambda n: n / 1_000)
REQUESTS = st.builds(
    LimitRequest,
    handle=st.integers(1, 65_535),
    low=LIMITS,
    high=LIMITS,
    device=st.binary(min_size=16, max_size=16),
    challenge=st.binary(min_size=16, max_size=16),
    request_id=st.binary(min_size=8, max_size=8),
)


@given(REQUESTS, st.sampled_from([b"", bytes(64)]))
def test_what_was_written_is_read(request: LimitRequest, signature: bytes) -> None:
    frame = encode(request)
    assert len(frame) == REQUEST_BYTES
    assert decode(frame + signature) == (request, signature)
    assert len(code_of(frame)) == 6


@given(st.binary(max_size=2 * FRAME_BYTES_MAX))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FramingError):
        decode(data)


@given(REQUESTS, st.sampled_from([0, 4, 5]), st.integers(1, 255))
def test_another_magic_kind_or_reserved_byte_is_refused(
    request: LimitRequest, at: int, change: int
) -> None:
    frame = bytearray(encode(request))
    frame[at] ^= change
    with pytest.raises(FramingError):
        decode(bytes(frame))


@pytest.mark.parametrize(
    "change",
    [{"handle": 0}, {"handle": 70_000}, {"low": float("nan")}, {"high": LIMIT_MAX * 2},
     {"device": b"short"}, {"challenge": b""}, {"request_id": bytes(9)}],
)  # fmt: skip
def test_a_field_outside_its_range_is_not_written(change: dict[str, object]) -> None:
    fields: dict[str, object] = {
        "handle": 1,
        "low": 1.0,
        "high": 2.0,
        "device": device_tag("urn:dev:mac:0012210000000001"),
        "request_id": bytes(8),
    }
    with pytest.raises(InputError):
        encode(LimitRequest(**(fields | change)))  # type: ignore[arg-type]
