"""Goal: a signer's message is exactly one known request within its limits, or none."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.trust import answers, signer_values
from asepsis.core.trust import requests as typed
from asepsis.core.trust.statements import (
    read_time_statement,
    time_statement,
    tree_head_statement,
)

PROOFS = (
    st.builds(typed.TokenProof, id=st.text(max_size=20), secret=st.text(max_size=64))
    | st.builds(typed.RenewalProof, current_cert_der=st.binary(max_size=99))
    | st.builds(
        typed.IDevIdProof,
        chain_der=st.lists(st.binary(max_size=99), min_size=1, max_size=5).map(tuple),
    )
)


@given(csr=st.binary(max_size=4_096), profile=st.text(max_size=30), proof=PROOFS)
def test_a_request_round_trips(csr: bytes, profile: str, proof: typed.Proof) -> None:
    request = typed.IssueRequest(csr_der=csr, profile=profile, proof=proof)
    frame = typed.encode_message(request)
    assert typed.message_length(frame[:4]) == len(frame) - 4
    assert typed.decode_hub_request(frame[4:]) == request


@given(st.binary(max_size=200))
def test_noise_is_an_input_error_only(noise: bytes) -> None:
    for decode in (typed.decode_hub_request, typed.decode_admin_request, answers.decode_answer):
        with pytest.raises(InputError):
            decode(noise)


def test_text_that_is_no_utf8_is_an_input_error() -> None:
    """Goal: msgspec raises UnicodeDecodeError here, which must not leak."""
    body = typed.encode_message(typed.RevokeRequest(name="NAME", reason="x"))[4:]
    with pytest.raises(InputError):
        typed.decode_hub_request(body.replace(b"NAME", b"NA\xffE"))


def test_each_socket_knows_its_own_requests_only() -> None:
    for ours, other, request in (
        (typed.decode_admin_request, typed.decode_hub_request, typed.ListRequest()),
        (typed.decode_hub_request, typed.decode_admin_request, typed.CrlRequest()),
    ):
        body = typed.encode_message(request)[4:]
        assert ours(body) == request
        with pytest.raises(InputError):
            other(body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "time", "nonce": b"1234567"},
        {"type": "time", "nonce": b"1" * 33},
        {"type": "status", "further": 1},
        {"type": "issue", "csr_der": b"", "profile": "device"},
        {"type": "issue", "csr_der": b"1" * 4_097, "profile": "d", "proof": {"type": "token"}},
        {"type": "tree-head"},
        {"type": "revoke", "name": b"bytes", "reason": "x"},
    ],
)
def test_a_field_too_many_too_few_or_too_long_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        typed.decode_hub_request(msgspec.msgpack.encode(wrong))


def test_lengths_are_limited() -> None:
    with pytest.raises(LimitExceeded):
        typed.message_length(signer_values.LENGTH.pack(signer_values.MESSAGE_BYTES_MAX + 1))
    for prefix in (b"", b"\0\0\0", b"\0" * 4):
        with pytest.raises(FramingError):
            typed.message_length(prefix)
    with pytest.raises(LimitExceeded):
        typed.encode_message(answers.Crl(crl_der=bytes(signer_values.MESSAGE_BYTES_MAX)))


def test_serials_survive_messagepack() -> None:
    serial = (1 << 159) + 7
    issued = answers.Issued(chain_der=(b"x",), superseded=(serial.to_bytes(20, "big"),))
    read = answers.decode_answer(typed.encode_message(issued)[4:])
    assert isinstance(read, answers.Issued)
    assert read.superseded_serials() == (serial,)


@given(
    nonce=st.binary(min_size=8, max_size=32),
    wall_ns=st.integers(0, 2**64 - 1),
    uncertainty_ms=st.integers(0, 2**32 - 1),
)
def test_time_round_trips_for_its_nonce_only(
    nonce: bytes, wall_ns: int, uncertainty_ms: int
) -> None:
    statement = time_statement(nonce=nonce, wall_ns=wall_ns, uncertainty_ms=uncertainty_ms)
    assert read_time_statement(statement, nonce=nonce) == (wall_ns, uncertainty_ms)
    other = bytes([nonce[0] ^ 1]) + nonce[1:]
    for wrong, asked in ((statement, other), (statement[:-1], nonce), (statement + b"\0", nonce)):
        with pytest.raises(InputError):
            read_time_statement(wrong, nonce=asked)


def test_golden_statements() -> None:
    """Goal: the signed bytes never change: devices and auditors depend on them."""
    assert time_statement(nonce=b"12345678", wall_ns=1, uncertainty_ms=1_000).hex() == (
        "41544d310831323334353637380000000000000001000003e8"
    )
    assert tree_head_statement(size=2, root=b"\xaa" * 32, timestamp_ns=3).hex() == (
        "4154483100000000000000020000000000000003" + "aa" * 32
    )


@pytest.mark.parametrize(
    ("nonce", "wall_ns", "uncertainty_ms"),
    [(b"1234567", 0, 0), (b"1" * 33, 0, 0), (b"1" * 8, -1, 0), (b"1" * 8, 0, 2**32)],
)
def test_time_out_of_range_is_refused(nonce: bytes, wall_ns: int, uncertainty_ms: int) -> None:
    with pytest.raises(InputError):
        time_statement(nonce=nonce, wall_ns=wall_ns, uncertainty_ms=uncertainty_ms)


def test_a_tree_head_out_of_range_is_refused() -> None:
    for size, root in ((-1, b"0" * 32), (1, b"0" * 31)):
        with pytest.raises(InputError):
            tree_head_statement(size=size, root=root, timestamp_ns=0)
