"""Goal: an IDevID enrols the one device whose serial a person listed (REQ-ID-010)."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from asepsis.core.trust import answers
from asepsis.core.trust import requests as typed
from asepsis.core.trust.authority import root_certificate

DEVICE = "urn:dev:mac:0011223344556677"
DER = serialization.Encoding.DER
Keys = Callable[[], ec.EllipticCurvePrivateKey]


class Maker:
    """A maker's one-level CA."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, now_ns: int) -> None:
        self.key = key
        self.root = root_certificate(key, hospital="Maker", now_ns=now_ns, serial=1 << 70)
        self.name = self.root.subject.rfc4514_string()

    def idevid(self, serial: str, key: ec.EllipticCurvePrivateKey) -> typed.IDevIdProof:
        subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, serial)])
        leaf = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.root.not_valid_before_utc)
            .not_valid_after(self.root.not_valid_after_utc)
            .sign(self.key, hashes.SHA256())
        )
        return typed.IDevIdProof(chain_der=(leaf.public_bytes(DER),))


@pytest.fixture
def maker(bench: Any, key_maker: Keys) -> Maker:
    made = Maker(key_maker(), bench.now_ns)
    trusted = typed.TrustMakerRequest(certificate_der=made.root.public_bytes(DER))
    assert bench.signer.admin_request(trusted) == answers.Done()
    return made


def refused(answer: answers.Answer, code: str) -> None:
    assert isinstance(answer, answers.Refused), answer
    assert answer.code == code


def test_the_listed_device_enrols_and_its_sibling_does_not(
    bench: Any, maker: Maker, key_maker: Keys
) -> None:
    bench.expect(DEVICE, idevid_issuer=maker.name, idevid_serial="PM-1")
    sibling = maker.idevid("PM-2", key_maker())
    refused(bench.ask(key_maker(), sibling), "ASP-207")
    own = maker.idevid("PM-1", key_maker())
    answer = bench.ask(key_maker(), own)
    assert isinstance(answer, answers.Issued)
    assert bench.alarms() == ["issuance-refused"]


def test_the_idevid_renews_the_same_key_later_and_no_other(
    bench: Any, maker: Maker, key_maker: Keys
) -> None:
    bench.expect(DEVICE, idevid_issuer=maker.name, idevid_serial="PM-1")
    key, proof = key_maker(), maker.idevid("PM-1", key_maker())
    assert isinstance(bench.ask(key, proof), answers.Issued)
    bench.pass_days(400)
    bench.restart()
    renewed = bench.ask(key, proof)
    assert isinstance(renewed, answers.Issued)
    assert not renewed.again
    refused(bench.ask(key_maker(), proof), "ASP-207")
    bench.pass_days(90 + 731)
    refused(bench.ask(key, proof), "ASP-203")


def test_a_listing_by_idevid_expires(bench: Any, maker: Maker, key_maker: Keys) -> None:
    bench.expect(DEVICE, idevid_issuer=maker.name, idevid_serial="PM-1")
    bench.pass_days(2)
    refused(bench.ask(key_maker(), maker.idevid("PM-1", key_maker())), "ASP-208")


def test_a_revoked_device_does_not_come_back_by_its_idevid(
    bench: Any, maker: Maker, key_maker: Keys
) -> None:
    bench.expect(DEVICE, idevid_issuer=maker.name, idevid_serial="PM-1")
    key, proof = key_maker(), maker.idevid("PM-1", key_maker())
    bench.ask(key, proof)
    bench.signer.hub_request(typed.RevokeRequest(name=DEVICE, reason="stolen"))
    refused(bench.ask(key, proof), "ASP-202")
    bench.signer.admin_request(typed.ReleaseRequest(name=DEVICE))
    refused(bench.ask(key, proof), "ASP-202")


def test_an_untrusted_or_distrusted_maker_is_refused(
    bench: Any, maker: Maker, key_maker: Keys
) -> None:
    bench.expect(DEVICE, idevid_issuer=maker.name, idevid_serial="PM-1")
    impostor = Maker(key_maker(), bench.now_ns)
    refused(bench.ask(key_maker(), impostor.idevid("PM-1", key_maker())), "ASP-201")
    fingerprint = maker.root.fingerprint(hashes.SHA256())
    request = typed.DistrustMakerRequest(fingerprint=fingerprint)
    assert bench.signer.admin_request(request) == answers.Done()
    refused(bench.signer.admin_request(request), "ASP-105")
    refused(bench.ask(key_maker(), maker.idevid("PM-1", key_maker())), "ASP-201")
    assert "foreign-certificate" in bench.alarms()
