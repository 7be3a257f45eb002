"""The certs-only message as a device reads it, and signed time before it is verified."""

import base64
import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import AsepsisError, FramingError, InputError
from asepsis.core.trust.der import SEQUENCE, element
from asepsis.core.trust.pkcs7 import certs_only, to_body
from asepsis.edge.uplink import est
from asepsis.edge.uplink.connection import Answer, HubConnection

CERTIFICATES = st.lists(
    st.binary(max_size=300).map(lambda content: element(SEQUENCE, content)),
    min_size=1,
    max_size=est.CERTIFICATES_MAX,
)


@given(CERTIFICATES)
def test_what_the_hub_writes_the_device_reads(certificates: list[bytes]) -> None:
    assert est.certificates_of(to_body(certs_only(certificates))) == certificates


@given(CERTIFICATES, st.data())
def test_a_message_that_was_cut_off_is_refused(certificates: list[bytes], data: Any) -> None:
    message = certs_only(certificates)
    cut = message[: data.draw(st.integers(0, len(message) - 1))]
    with pytest.raises(FramingError):
        est.certificates_of(base64.encodebytes(cut))


@given(CERTIFICATES, st.data())
def test_a_body_that_was_cut_off_never_gives_other_certificates(
    certificates: list[bytes], data: Any
) -> None:
    body = to_body(certs_only(certificates))
    try:
        found = est.certificates_of(body[: data.draw(st.integers(0, len(body) - 1))])
    except InputError:
        return
    assert found == certificates, "only the line end was cut off"


@given(st.binary(max_size=400))
def test_noise_is_an_input_error_only(body: bytes) -> None:
    for noise in (body, base64.encodebytes(body)):
        with pytest.raises(InputError):
            est.certificates_of(noise)


@given(CERTIFICATES, st.data())
def test_one_changed_byte_leaks_no_foreign_error(certificates: list[bytes], data: Any) -> None:
    body = bytearray(to_body(certs_only(certificates)))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        est.certificates_of(bytes(body))
    except AsepsisError:
        return


def test_more_certificates_than_a_chain_has_are_refused() -> None:
    many = [element(SEQUENCE, bytes([n])) for n in range(est.CERTIFICATES_MAX + 1)]
    with pytest.raises(FramingError):
        est.certificates_of(to_body(certs_only(many)))


class Saying:
    """As much of a connection as asking for the time needs; says one thing."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.path = ""

    def request(self, _method: str, path: str) -> Answer:
        self.path = path
        return Answer(200, "application/vnd.asepsis.time+json", self.body)


def asked(body: bytes) -> tuple[est.SignedTimeAnswer, str]:
    hub = Saying(body)
    return est.ask_time(cast("HubConnection", hub)), hub.path


GOOD = {"statement": "AAEC", "signature": "AwQ=", "chain": ["BQ==", "Bg=="]}


def test_signed_time_is_read_and_every_question_has_its_own_nonce() -> None:
    answer, path = asked(json.dumps(GOOD).encode())
    assert (answer.statement, answer.signature) == (b"\x00\x01\x02", b"\x03\x04")
    assert answer.chain_der == (b"\x05", b"\x06")
    assert path == f"/time?nonce={answer.nonce.hex()}"
    assert asked(json.dumps(GOOD).encode())[0].nonce != answer.nonce


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        json.dumps(GOOD | {"chain": []}).encode(),
        json.dumps(GOOD | {"chain": ["BQ=="] * 9}).encode(),
        json.dumps(GOOD | {"chain": 5}).encode(),
        json.dumps(GOOD | {"chain": [5]}).encode(),
        json.dumps(GOOD | {"statement": None}).encode(),
        json.dumps(GOOD | {"statement": "*"}).encode(),
        json.dumps(GOOD | {"signature": "ü"}).encode(),
        json.dumps({k: v for k, v in GOOD.items() if k != "signature"}).encode(),
    ],
)
def test_signed_time_of_another_form_is_refused(body: bytes) -> None:
    with pytest.raises(FramingError):
        asked(body)
