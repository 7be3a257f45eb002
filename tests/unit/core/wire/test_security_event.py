"""Security events as bytes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire.security_event import (
    EVENT_BYTES_MAX,
    DenialKind,
    SecurityEvent,
    decode,
    encode,
    peek_header,
)

EVENT = SecurityEvent(
    device=DeviceId.parse("urn:dev:mac:0012210000000001"),
    key_id=bytes(8),
    epoch=3,
    sequence=1,
    wall_ns=1_700_000_000_000_000_000,
    kind=DenialKind.TRACE,
    alarm=True,
    count=1,
    source="network",
    text="seccomp: ptrace on vitals",
)
TEXTS = st.text("abc :ä", max_size=40)
EVENTS = st.builds(
    replace,
    st.just(EVENT),
    key_id=st.binary(min_size=8, max_size=8),
    epoch=st.integers(1, 2**63 - 1),
    sequence=st.integers(1, 2**63 - 1),
    kind=st.sampled_from(list(DenialKind)),
    alarm=st.booleans(),
    count=st.integers(0, 2**32 - 1),
    source=st.text("abc-", max_size=24),
    text=TEXTS,
)


@given(EVENTS, st.binary(min_size=64, max_size=64))
def test_what_was_written_is_read(event: SecurityEvent, signature: bytes) -> None:
    signed = encode(event)
    data = signed + signature
    assert len(data) <= EVENT_BYTES_MAX
    assert decode(data) == (event, signed, signature)
    assert peek_header(data) == (event.device, event.epoch, event.sequence)


@given(st.binary(max_size=600))
def test_other_bytes_are_refused(data: bytes) -> None:
    for found in (data, b"ASE1" + data):
        with pytest.raises(FramingError):
            decode(found)


@given(EVENTS, st.integers(0, 400), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_reads_as_it_is_written(
    event: SecurityEvent, at: int, change: int
) -> None:
    data = bytearray(encode(event) + bytes(64))
    data[at % len(data)] ^= change
    try:
        found, signed, _ = decode(bytes(data))
    except FramingError:
        return
    assert encode(found) == signed


@pytest.mark.parametrize(
    "change",
    [{"epoch": 0}, {"sequence": 2**63}, {"count": 2**32}, {"source": "x" * 25}, {"text": "x" * 121},
     {"source": "ä"}, {"text": "two\nlines"}, {"key_id": b"short"}],
)  # fmt: skip
def test_a_field_outside_its_range_is_not_written(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        encode(replace(EVENT, **change))  # type: ignore[arg-type]
