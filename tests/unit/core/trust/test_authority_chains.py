"""Goal: an IDevID counts only under a listed maker's anchor, whatever its age (RFC 5280 6.1)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from asepsis.core.errors import IdentityInvalid
from asepsis.core.trust.authority import check_anchor, verify_idevid_chain, verify_issued_by
from asepsis.core.trust.identity import Profile, load_certificate

DER = serialization.Encoding.DER
NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
LONG_AGO = datetime(2004, 1, 1, tzinfo=UTC)


class Maker:
    """A maker's CA, two levels, as IEEE 802.1AR has it."""

    def __init__(self, name: str = "Maker", *, key: Any = None) -> None:
        self.root_key = key or ec.generate_private_key(ec.SECP384R1())
        self.sub_key = ec.generate_private_key(ec.SECP256R1())
        self.root = self.certificate(name, name, self.root_key, self.root_key, path=1)
        self.sub = self.certificate("Sub " + name, name, self.sub_key, self.root_key, path=0)

    def certificate(
        self,
        subject: str,
        issuer: str,
        key: Any,
        signer: Any,
        *,
        path: int | None = None,
        serial: str = "",
        until: datetime = NEVER,
        algorithm: Any = None,
        further: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    ) -> x509.Certificate:
        ca = path is not None
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject)]
        if serial:
            attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=ca, crl_sign=ca,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(attributes))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(LONG_AGO)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=path), critical=True)
            .add_extension(usage, critical=True)
        )
        for extension, critical in further:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(signer, algorithm or hashes.SHA256())

    def idevid(self, **more: Any) -> x509.Certificate:
        key = more.pop("key", None) or ec.generate_private_key(ec.SECP256R1())
        return self.certificate("Pump", "Sub Maker", key, self.sub_key, serial="PM-1", **more)


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker()


def ders(*certificates: x509.Certificate) -> list[bytes]:
    return [one.public_bytes(DER) for one in certificates]


def test_chain_with_and_without_root_and_under_an_intermediate_anchor(maker: Maker) -> None:
    leaf = maker.idevid()
    for chain, anchor in (
        ((leaf, maker.sub), maker.root),
        ((leaf, maker.sub, maker.root), maker.root),
        ((leaf,), maker.sub),
        ((leaf, maker.sub), maker.sub),
    ):
        identity = verify_idevid_chain(ders(*chain), anchors=ders(anchor))
        assert identity.serial_number == "PM-1"


def test_an_expired_idevid_counts(maker: Maker) -> None:
    leaf = maker.idevid(until=LONG_AGO + timedelta(days=1))
    assert verify_idevid_chain(ders(leaf, maker.sub), anchors=ders(maker.root)).serial_number


def test_another_maker_with_the_same_name_does_not_count(maker: Maker) -> None:
    impostor = Maker()
    with pytest.raises(IdentityInvalid):
        verify_idevid_chain(ders(impostor.idevid(), impostor.sub), anchors=ders(maker.root))
    with pytest.raises(IdentityInvalid):
        verify_idevid_chain(ders(impostor.idevid(), maker.sub), anchors=ders(maker.root))
    both = ders(maker.root, impostor.root)
    assert verify_idevid_chain(ders(impostor.idevid(), impostor.sub), anchors=both)


def test_a_missing_intermediate_no_anchor_and_an_empty_chain_are_refused(maker: Maker) -> None:
    for chain, anchors in (
        (ders(maker.idevid()), ders(maker.root)),
        (ders(maker.idevid(), maker.sub), []),
        ([], ders(maker.root)),
        (ders(*[maker.idevid()] * 6), ders(maker.root)),
    ):
        with pytest.raises(IdentityInvalid):
            verify_idevid_chain(chain, anchors=anchors)


def test_a_device_certificate_issues_nothing(maker: Maker) -> None:
    """Goal: the classic hole: a leaf used as an issuer (no CA flag) is refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    device = maker.certificate("Sub Maker", "Maker", key, maker.root_key, serial="PM-1")
    forged = maker.certificate("Pump", "Sub Maker", key, key, serial="PM-2")
    with pytest.raises(IdentityInvalid, match="may not sign"):
        verify_idevid_chain(ders(forged, device), anchors=ders(maker.root))


def test_a_chain_longer_than_its_path_length_is_refused(maker: Maker) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    below = maker.certificate("Third", "Sub Maker", key, maker.sub_key, path=0)
    leaf = maker.certificate("Pump", "Third", key, key, serial="PM-1")
    with pytest.raises(IdentityInvalid, match="path length"):
        verify_idevid_chain(ders(leaf, below, maker.sub), anchors=ders(maker.root))


def test_weak_keys_and_hashes_are_refused(maker: Maker) -> None:
    weak = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)  # noqa: S505
    with pytest.raises(IdentityInvalid, match="weak key"):
        verify_idevid_chain(ders(maker.idevid(key=weak), maker.sub), anchors=ders(maker.root))
    short = maker.idevid(algorithm=hashes.SHA224())
    with pytest.raises(IdentityInvalid):
        verify_idevid_chain(ders(short, maker.sub), anchors=ders(maker.root))
    with pytest.raises(IdentityInvalid, match="weak key"):
        check_anchor(Maker(key=weak).root.public_bytes(DER))


def test_an_rsa_maker_counts() -> None:
    maker = Maker(key=rsa.generate_private_key(public_exponent=65_537, key_size=2_048))
    assert verify_idevid_chain(ders(maker.idevid(), maker.sub), anchors=ders(maker.root))


def test_a_critical_extension_that_is_not_understood_is_refused(maker: Maker) -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    critical, not_critical = (maker.idevid(further=((odd, flag),)) for flag in (True, False))
    assert verify_idevid_chain(ders(not_critical, maker.sub), anchors=ders(maker.root))
    with pytest.raises(IdentityInvalid, match="critical"):
        verify_idevid_chain(ders(critical, maker.sub), anchors=ders(maker.root))


def test_a_leaf_is_no_anchor(maker: Maker) -> None:
    check_anchor(maker.root.public_bytes(DER))
    with pytest.raises(IdentityInvalid):
        check_anchor(maker.idevid().public_bytes(DER))


def test_only_the_issuer_itself_verifies(pki: Any, foreign_pki: Any) -> None:
    leaf = load_certificate(pki.leaf(Profile.DEVICE).public_bytes(DER))
    verify_issued_by(leaf, issuer=pki.issuing.certificate)
    for other in (pki.root, pki.sibling().issuing, foreign_pki.issuing):
        with pytest.raises(IdentityInvalid):
            verify_issued_by(leaf, issuer=other.certificate)
