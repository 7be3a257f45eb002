"""Goal: time, tree heads and lists are signed by their own keys and never rewind."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from asepsis.core.trust import answers, signer_values
from asepsis.core.trust import requests as typed
from asepsis.core.trust.identity import Profile, profile_of
from asepsis.core.trust.statements import read_time_statement, tree_head_statement

DEVICE = "urn:dev:mac:0011223344556677"
NONCE = b"0123456789abcdef"


def verify(certificate_der: bytes, signature: bytes, statement: bytes) -> Profile:
    certificate = x509.load_der_x509_certificate(certificate_der)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    key.verify(utils.encode_dss_signature(r, s), statement, ec.ECDSA(hashes.SHA256()))
    return profile_of(certificate)


def sign_time(bench: Any) -> answers.SignedTime:
    answer = bench.signer.hub_request(typed.TimeRequest(nonce=NONCE))
    assert isinstance(answer, answers.SignedTime), answer
    return answer


def test_time_is_signed_by_the_time_key(bench: Any) -> None:
    answer = sign_time(bench)
    assert verify(answer.chain_der[0], answer.signature, answer.statement) is Profile.TIME
    assert read_time_statement(answer.statement, nonce=NONCE) == (bench.now_ns, 5)


def test_time_never_goes_back(bench: Any) -> None:
    """Goal: a host clock that was set back does not take the ward's clocks along."""
    before = read_time_statement(sign_time(bench).statement, nonce=NONCE)[0]
    bench.pass_days(-3)
    assert read_time_statement(sign_time(bench).statement, nonce=NONCE)[0] >= before
    bench.restart()
    assert "clock-behind" in bench.alarms()


def test_many_times_cost_few_records(bench: Any) -> None:
    sign_time(bench)
    records = bench.status().log_records
    for _ in range(50):
        sign_time(bench)
    assert bench.status().log_records == records
    bench.now_ns += 61 * 10**9
    sign_time(bench)
    assert bench.status().log_records == records + 1


def test_the_time_certificate_renews_itself(bench: Any) -> None:
    first = sign_time(bench).chain_der[0]
    bench.pass_days(50)
    assert sign_time(bench).chain_der[0] == first
    bench.pass_days(20)
    assert sign_time(bench).chain_der[0] != first


def head(size: int, fill: bytes = b"\x01") -> typed.TreeHeadRequest:
    return typed.TreeHeadRequest(
        head=signer_values.TreeHead(size=size, root=fill * 32, timestamp_ns=9)
    )


def test_a_tree_head_is_signed_by_the_audit_key(bench: Any) -> None:
    answer = bench.signer.hub_request(head(3))
    authorities = bench.signer.hub_request(typed.AuthoritiesRequest())
    statement = tree_head_statement(size=3, root=b"\x01" * 32, timestamp_ns=9)
    assert verify(authorities.audit_der, answer.signature, statement) is Profile.AUDIT


@pytest.mark.parametrize("later", [(2, b"\x01"), (3, b"\x02"), (0, b"\x01")])
def test_the_audit_log_never_shrinks_or_changes(bench: Any, later: tuple[int, bytes]) -> None:
    """Goal: a broken-into hub cannot have a shorter history signed; restart changes nothing."""
    assert isinstance(bench.signer.hub_request(head(3)), answers.Signature)
    bench.restart()
    answer = bench.signer.hub_request(head(*later))
    assert isinstance(answer, answers.Refused)
    assert answer.code == "ASP-106"
    assert bench.alarms() == ["audit-log-rewound"]
    assert isinstance(bench.signer.hub_request(head(3)), answers.Signature)
    bench.signer.admin_request(typed.ForgetTreeHeadRequest(reason="restored the backup of Monday"))
    assert isinstance(bench.signer.hub_request(head(*later)), answers.Signature)


def test_the_list_holds_what_was_revoked(bench: Any) -> None:
    device = bench.enrol(DEVICE)
    bench.signer.hub_request(typed.RevokeRequest(name=DEVICE, reason="stolen"))
    serial = x509.load_der_x509_certificate(device.certificate_der).serial_number
    lists = [
        x509.load_der_x509_crl(bench.signer.hub_request(typed.CrlRequest()).crl_der)
        for _ in range(2)
    ]
    assert [entry.serial_number for entry in lists[0]] == [serial]
    numbers = [one.extensions.get_extension_for_class(x509.CRLNumber).value for one in lists]
    assert [one.crl_number for one in numbers] == [1, 2]
    bench.pass_days(91)
    assert len(x509.load_der_x509_crl(bench.signer.hub_request(typed.CrlRequest()).crl_der)) == 0
