"""Goal: the signer decides by what a person listed, whatever the hub asks."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.trust import answers, signer_values
from asepsis.core.trust import requests as typed
from asepsis.core.trust.identity import origin_from_der, peer_from_der, server_from_der

DEVICE = "urn:dev:mac:0011223344556677"
OTHER = "urn:dev:mac:00112233445566ff"
GATEWAY = "urn:uuid:11111111-2222-4333-8444-555555555555"
Keys = Callable[[], ec.EllipticCurvePrivateKey]


def refused(answer: answers.Answer, code: str) -> str:
    assert isinstance(answer, answers.Refused), answer
    assert answer.code == code, answer
    return answer.message


def issued(answer: answers.Answer) -> answers.Issued:
    assert isinstance(answer, answers.Issued), answer
    return answer


def test_a_listed_device_gets_its_certificate(bench: Any, key_maker: Keys) -> None:
    proof = bench.expect(DEVICE, model="Monitor 3", origin_required=True)
    answer = issued(bench.ask(key_maker(), proof))
    assert peer_from_der(answer.chain_der[0]).uri == DEVICE
    assert answer.chain_der[1:] == (bench.issuing_der, bench.root_der)
    assert answer.expectation is not None
    assert (answer.expectation.model, answer.expectation.origin_required) == ("Monitor 3", True)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_lost_answer_is_given_again(bench: Any, key_maker: Keys, *, restarted: bool) -> None:
    """Goal: kill -9 between log and answer strands no device: same request, same chain."""
    key, proof = key_maker(), bench.expect(DEVICE)
    first = issued(bench.ask(key, proof))
    if restarted:
        bench.restart()
    again = issued(bench.ask(key, proof))  # an ECDSA request is signed anew: other bytes, same key
    assert again.chain_der == first.chain_der
    assert again.again
    assert bench.status().certificates == 1


def test_a_token_is_good_for_one_key_of_each_profile(bench: Any, key_maker: Keys) -> None:
    proof = bench.expect(DEVICE)
    issued(bench.ask(key_maker(), proof))
    origin = issued(bench.ask(key_maker(), proof, profile="origin"))
    assert origin_from_der(origin.chain_der[0]).device.uri == DEVICE
    for profile in ("device", "origin"):
        assert "used already" in refused(bench.ask(key_maker(), proof, profile=profile), "ASP-207")
    assert "issuance-refused" in bench.alarms()


def test_device_and_origin_never_share_a_key(bench: Any, key_maker: Keys) -> None:
    key, proof = key_maker(), bench.expect(DEVICE)
    issued(bench.ask(key, proof))
    assert "another" in refused(bench.ask(key, proof, profile="origin"), "ASP-207")
    assert "another" in refused(bench.ask(key, bench.expect(OTHER)), "ASP-207")


def test_an_unlisted_name_gets_nothing(bench: Any, key_maker: Keys) -> None:
    unknown = typed.TokenProof(id="0123456789abcdef", secret="s" * 43)
    refused(bench.ask(key_maker(), unknown), "ASP-208")
    assert bench.alarms() == ["token-refused"]


def test_a_token_expires_and_wrong_secrets_close_it(bench: Any, key_maker: Keys) -> None:
    late = bench.expect(DEVICE)
    bench.pass_days(1.001)
    assert "expired" in refused(bench.ask(key_maker(), late), "ASP-208")
    good = bench.expect(OTHER)
    for _ in range(5):
        wrong = typed.TokenProof(id=good.id, secret="wrong")
        assert "wrong secret" in refused(bench.ask(key_maker(), wrong), "ASP-208")
    bench.restart()
    assert "closed" in refused(bench.ask(key_maker(), good), "ASP-208")


def test_the_secret_itself_is_stored_nowhere(bench: Any) -> None:
    proof = bench.expect(DEVICE)
    content = (bench.folder / "signer.log").read_bytes()
    assert proof.secret.encode() not in content


@pytest.mark.parametrize("profile", ["server", "time", "audit", "ca", "", "DEVICE"])
def test_no_other_profile_is_issued_on_request(bench: Any, key_maker: Keys, profile: str) -> None:
    refused(bench.ask(key_maker(), bench.expect(DEVICE), profile=profile), "ASP-207")


@pytest.mark.parametrize(
    ("listed", "name", "asked"),
    [("device", DEVICE, "gateway"), ("gateway", GATEWAY, "device"), ("gateway", GATEWAY, "origin")],
)
def test_another_usage_than_listed_is_refused(
    bench: Any, key_maker: Keys, listed: str, name: str, asked: str
) -> None:
    refused(bench.ask(key_maker(), bench.expect(name, listed), profile=asked), "ASP-207")


def test_a_request_for_another_name_is_refused(
    bench: Any, key_maker: Keys, csr_maker: Callable[..., bytes]
) -> None:
    key = key_maker()
    answer = bench.ask(key, bench.expect(DEVICE), csr_der=csr_maker(key, OTHER))
    assert "another identity" in refused(answer, "ASP-207")
    assert bench.alarms() == ["issuance-refused"]


def test_renewal_keeps_name_and_key(bench: Any, key_maker: Keys) -> None:
    device = bench.enrol(DEVICE)
    bench.pass_days(60)
    renewed = issued(bench.ask(device.key, device.renewal))
    assert peer_from_der(renewed.chain_der[0]).uri == DEVICE
    assert renewed.chain_der[0] != device.certificate_der
    again = issued(bench.ask(device.key, device.renewal))
    assert again.chain_der == renewed.chain_der
    assert "keeps the key" in refused(bench.ask(key_maker(), device.renewal), "ASP-207")


def test_expired_is_not_revoked_within_the_window(bench: Any) -> None:
    """Goal: REQ-ID-015: 14 months in store, and the device renews with its key."""
    device = bench.enrol(DEVICE)
    short = bench.enrol(OTHER, renewal_window_days=30)
    bench.pass_days(420)
    issued(bench.ask(device.key, device.renewal))
    assert "window" in refused(bench.ask(short.key, short.renewal), "ASP-203")
    bench.pass_days(90 + 731)
    refused(bench.ask(device.key, device.renewal), "ASP-203")


def test_only_our_own_certificates_renew(bench: Any, key_maker: Keys) -> None:
    foreign = typed.RenewalProof(current_cert_der=bench.root_der)
    assert "not one of this CA" in refused(bench.ask(key_maker(), foreign), "ASP-207")


def test_origin_renews_by_the_device_certificate(bench: Any, key_maker: Keys) -> None:
    """Goal: the origin compartment has no network; the device certificate speaks for it."""
    proof = bench.expect(DEVICE)
    key, origin_key = key_maker(), key_maker()
    device = issued(bench.ask(key, proof)).chain_der[0]
    issued(bench.ask(origin_key, proof, profile="origin"))
    bench.pass_days(60)
    renewal = typed.RenewalProof(current_cert_der=device)
    renewed = issued(bench.ask(origin_key, renewal, profile="origin"))
    assert origin_from_der(renewed.chain_der[0]).device.uri == DEVICE
    refused(bench.ask(key_maker(), renewal, profile="origin"), "ASP-207")


def test_the_network_compartment_cannot_bring_in_an_origin_key(bench: Any, key_maker: Keys) -> None:
    """Goal: a first origin key needs the token; the device certificate alone does not do."""
    device = bench.enrol(DEVICE)
    answer = bench.ask(key_maker(), device.renewal, profile="origin")
    assert "keeps the key" in refused(answer, "ASP-207")


def test_a_revoked_name_is_dead_in_every_way(bench: Any, key_maker: Keys) -> None:
    device = bench.enrol(DEVICE)
    open_token = bench.expect(DEVICE)
    done = bench.signer.hub_request(typed.RevokeRequest(name=DEVICE, reason="stolen"))
    assert isinstance(done, answers.Done)
    assert len(done.serials) == 1
    bench.restart()
    refused(bench.ask(device.key, device.renewal), "ASP-202")
    refused(bench.ask(key_maker(), open_token), "ASP-202")
    wanted = signer_values.Expectation(id="", name=DEVICE, profile="device")
    refused(bench.signer.admin_request(typed.ExpectRequest(expectation=wanted)), "ASP-202")


def test_release_lets_a_person_list_again_and_revives_nothing(bench: Any, key_maker: Keys) -> None:
    device, token = bench.enrol(DEVICE), bench.expect(DEVICE)
    bench.signer.hub_request(typed.RevokeRequest(name=DEVICE, reason="lost"))
    bench.signer.admin_request(typed.ReleaseRequest(name=DEVICE))
    refused(bench.ask(device.key, device.renewal), "ASP-202")
    refused(bench.ask(key_maker(), token), "ASP-208")
    issued(bench.ask(key_maker(), bench.expect(DEVICE)))


def test_listing_again_ends_the_older_keys(bench: Any, key_maker: Keys) -> None:
    """Goal: a new main board gets the name, and the old one's key is over."""
    old = bench.enrol(DEVICE)
    replaced = issued(bench.ask(key_maker(), bench.expect(DEVICE)))
    assert replaced.superseded_serials() == (
        x509.load_der_x509_certificate(old.certificate_der).serial_number,
    )
    refused(bench.ask(old.key, old.renewal), "ASP-202")


def test_a_second_listing_closes_the_first(bench: Any, key_maker: Keys) -> None:
    first = bench.expect(DEVICE)
    bench.expect(DEVICE)
    refused(bench.ask(key_maker(), first), "ASP-208")


def test_the_hub_gets_a_certificate_for_its_own_hosts_only(
    bench: Any, key_maker: Keys, csr_maker: Callable[..., bytes]
) -> None:
    csr = csr_maker(key_maker())
    own = typed.ServerCertificateRequest(csr_der=csr, names=("hub.example",))
    answer = issued(bench.signer.hub_request(own))
    assert server_from_der(answer.chain_der[0]).uri == bench.status().server_uri
    other = typed.ServerCertificateRequest(csr_der=csr, names=("bank.example",))
    refused(bench.signer.hub_request(other), "ASP-207")


def test_a_device_key_never_becomes_the_hubs(bench: Any, csr_maker: Callable[..., bytes]) -> None:
    device = bench.enrol(DEVICE)
    request = typed.ServerCertificateRequest(csr_der=csr_maker(device.key), names=("hub.example",))
    refused(bench.signer.hub_request(request), "ASP-207")


def test_the_hub_cannot_revoke_itself_or_strangers(bench: Any) -> None:
    for name in (bench.status().server_uri, OTHER):
        refused(bench.signer.hub_request(typed.RevokeRequest(name=name, reason="x")), "ASP-105")


def test_every_answer_was_in_the_log_before(bench: Any) -> None:
    device = bench.enrol(DEVICE)
    fingerprint = hashlib.sha256(device.certificate_der).digest()
    bench.restart()
    bench.pass_days(1)
    answer = bench.ask(device.key, device.renewal)
    assert fingerprint
    assert issued(answer)
