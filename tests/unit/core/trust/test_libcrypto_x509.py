"""Goal: a device tells the hospital's hub from an impostor, whatever its clock says."""

import contextlib
import datetime as dt
import gc
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, IdentityInvalid, InputError, LimitExceeded, TrustError
from asepsis.core.trust import libcrypto_x509
from asepsis.core.trust.libcrypto_binding import library
from asepsis.core.trust.libcrypto_x509 import Purpose, read_certificate, verify_chain

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
URI = "urn:dev:mac:0011223344556677"
SERVER, CLIENT, TIME = (
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH,
    ExtendedKeyUsageOID.TIME_STAMPING,
)


@dataclass
class Authority:
    """A certificate with its key, made with another library than the one under test."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        """The certificate's bytes."""
        return self.certificate.public_bytes(Encoding.DER)


def issue(
    name: str,
    by: Authority | None = None,
    *,
    ca: bool = False,
    path_length: int | None = None,
    eku: Sequence[x509.ObjectIdentifier] = (),
    eku_critical: bool = False,
    names: Sequence[x509.GeneralName] = (),
    start: dt.datetime = START,
    days: int = 90,
    public_key: rsa.RSAPublicKey | None = None,
) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = by or Authority(None, key)  # type: ignore[arg-type]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(public_key or key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()),
            critical=False,
        )
    )
    if eku:
        builder = builder.add_extension(x509.ExtendedKeyUsage(eku), critical=eku_critical)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Authority(builder.sign(signer.key, SHA256()), key)


ROOT = issue("Hospital root", ca=True, days=7_300)
ISSUING = issue("Hospital issuing", ROOT, ca=True, path_length=0, days=1_800)
HUB = issue("hub", ISSUING, eku=[SERVER], names=[x509.DNSName("hub.ward.example")])
CLOCK = issue("clock", ISSUING, eku=[TIME], eku_critical=True)
DEVICE = issue("device", ISSUING, eku=[CLIENT, SERVER], names=[x509.UniformResourceIdentifier(URI)])


def test_the_hub_is_recognised_up_to_the_pinned_root() -> None:
    verify_chain(HUB.der, intermediates=[ISSUING.der], roots=[ROOT.der], purpose=Purpose.TLS_SERVER)
    # The root in the peer's own chain changes nothing: it is neither needed nor trusted.
    verify_chain(
        HUB.der,
        intermediates=[ROOT.der, ISSUING.der],
        roots=[ROOT.der],
        purpose=Purpose.TLS_SERVER,
    )


@pytest.mark.parametrize(
    ("leaf", "purpose"),
    [
        (HUB, Purpose.TLS_CLIENT),
        (HUB, Purpose.TIMESTAMP_SIGN),
        (CLOCK, Purpose.TLS_SERVER),
        (issue("clock", ISSUING, eku=[TIME]), Purpose.TIMESTAMP_SIGN),
        (issue("clock", ISSUING, eku=[TIME, SERVER], eku_critical=True), Purpose.TIMESTAMP_SIGN),
        (ISSUING, Purpose.TIMESTAMP_SIGN),
    ],
    ids=["hub as client", "hub as clock", "clock as hub", "not critical", "not alone", "CA"],
)
def test_another_purpose_is_refused(leaf: Authority, purpose: Purpose) -> None:
    with pytest.raises(IdentityInvalid):
        verify_chain(leaf.der, intermediates=[ISSUING.der], roots=[ROOT.der], purpose=purpose)
    assert library().ERR_get_error() == 0


def test_purposes_that_fit_are_taken() -> None:
    for leaf, purpose in (
        (CLOCK, Purpose.TIMESTAMP_SIGN),
        (DEVICE, Purpose.TLS_CLIENT),
        (DEVICE, Purpose.TLS_SERVER),
        (CLOCK, Purpose.ANY),
    ):
        verify_chain(leaf.der, intermediates=[ISSUING.der], roots=[ROOT.der], purpose=purpose)


@pytest.mark.parametrize("year", [1975, 2049, 2051, 2200])
def test_the_clock_is_not_asked(year: int) -> None:
    """Goal: a certificate of any time verifies; its dates are told, for the caller to judge."""
    start = dt.datetime(year, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
    leaf = issue("hub", ISSUING, eku=[SERVER], start=start)
    verify_chain(
        leaf.der, intermediates=[ISSUING.der], roots=[ROOT.der], purpose=Purpose.TLS_SERVER
    )
    facts = read_certificate(leaf.der)
    assert facts.not_before_ns == int(start.timestamp()) * 10**9
    assert facts.not_after_ns == facts.not_before_ns + 90 * 86_400 * 10**9


def impostors() -> dict[str, tuple[Authority, list[Authority]]]:
    other_root = issue("Hospital root", ca=True)
    other_issuing = issue("Hospital issuing", other_root, ca=True, path_length=0)
    below_leaf = issue("hub", DEVICE, eku=[SERVER])
    deeper = issue("deeper", ISSUING, ca=True)
    mallory = Authority(ISSUING.certificate, ec.generate_private_key(ec.SECP256R1()))
    return {
        "another hospital": (issue("hub", other_issuing, eku=[SERVER]), [other_issuing]),
        "with its root": (
            issue("hub", other_issuing, eku=[SERVER]),
            [other_issuing, other_root],
        ),
        "self-signed": (issue("hub", eku=[SERVER]), []),
        "signed by a device": (below_leaf, [DEVICE, ISSUING]),
        "beyond the path length": (issue("hub", deeper, eku=[SERVER]), [deeper, ISSUING]),
        "forged": (issue("hub", mallory, eku=[SERVER]), [ISSUING]),
        "issuer not sent": (HUB, []),
    }


@pytest.mark.parametrize("case", impostors())
def test_impostors_are_refused(case: str) -> None:
    leaf, chain = impostors()[case]
    with pytest.raises(IdentityInvalid):
        verify_chain(
            leaf.der,
            intermediates=[authority.der for authority in chain],
            roots=[ROOT.der],
            purpose=Purpose.TLS_SERVER,
        )
    assert library().ERR_get_error() == 0


def test_weak_keys_are_refused() -> None:
    weak = rsa.generate_private_key(65_537, 1_024)  # noqa: S505 - the point
    leaf = issue("hub", ISSUING, eku=[SERVER], public_key=weak.public_key())
    with pytest.raises(IdentityInvalid, match="too weak"):
        verify_chain(
            leaf.der, intermediates=[ISSUING.der], roots=[ROOT.der], purpose=Purpose.TLS_SERVER
        )


def test_facts_are_those_of_cryptography() -> None:
    for authority in (ROOT, ISSUING, HUB, CLOCK, DEVICE):
        facts, theirs = read_certificate(authority.der), authority.certificate
        assert facts.serial == theirs.serial_number
        assert facts.fingerprint == theirs.fingerprint(SHA256())
        assert facts.spki_der == theirs.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        assert facts.not_after_ns == int(theirs.not_valid_after_utc.timestamp()) * 10**9
    assert read_certificate(DEVICE.der).uris == (URI,)
    assert read_certificate(HUB.der).dns_names == ("hub.ward.example",)
    assert read_certificate(DEVICE.der).purposes == (CLIENT.dotted_string, SERVER.dotted_string)
    assert read_certificate(ROOT.der).purposes == ()


@given(st.data())
def test_no_change_of_a_certificate_gets_through(data: st.DataObject) -> None:
    """Goal: any byte changed, cut or added gives a typed refusal, never a crash or a pass."""
    raw = bytearray(DEVICE.der)
    at = data.draw(st.integers(0, len(raw) - 1))
    match data.draw(st.sampled_from(["change", "cut", "add"])):
        case "change":
            raw[at] ^= data.draw(st.integers(1, 255))
        case "cut":
            del raw[at:]
        case _:
            raw += data.draw(st.binary(min_size=1, max_size=4))
    with pytest.raises(IdentityInvalid):
        verify_chain(
            bytes(raw), intermediates=[ISSUING.der], roots=[ROOT.der], purpose=Purpose.TLS_CLIENT
        )
    # It may also read: facts are only believed after `verify_chain`.
    with contextlib.suppress(FramingError, LimitExceeded):
        read_certificate(bytes(raw))
    assert library().ERR_get_error() == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(InputError):
        read_certificate(raw)
    with pytest.raises(TrustError):
        verify_chain(raw, roots=[ROOT.der], purpose=Purpose.ANY)
    with pytest.raises(TrustError):
        verify_chain(HUB.der, roots=[raw], purpose=Purpose.ANY)


def test_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError):
        verify_chain(HUB.der, roots=[], purpose=Purpose.ANY)
    with pytest.raises(LimitExceeded):
        verify_chain(
            HUB.der, intermediates=[ISSUING.der] * 9, roots=[ROOT.der], purpose=Purpose.ANY
        )
    with pytest.raises(LimitExceeded):
        read_certificate(bytes(libcrypto_x509.CERTIFICATE_BYTES_MAX + 1))
    many = issue("many", ISSUING, names=[x509.DNSName(f"d{n}.example") for n in range(65)])
    with pytest.raises(LimitExceeded):
        read_certificate(many.der)
    monkeypatch.setattr(libcrypto_x509, "EXTENSIONS_MAX", 3)
    with pytest.raises(LimitExceeded):
        read_certificate(HUB.der)


def test_memory_does_not_grow() -> None:
    """Goal: every certificate, store and context is freed, on success and on refusal."""

    def rounds(count: int) -> None:
        for _ in range(count):
            verify_chain(
                HUB.der, intermediates=[ISSUING.der], roots=[ROOT.der], purpose=Purpose.TLS_SERVER
            )
            with pytest.raises(IdentityInvalid):
                verify_chain(HUB.der, roots=[ROOT.der], purpose=Purpose.TLS_SERVER)
        gc.collect()

    rounds(100)
    before = resident_pages()
    rounds(400)
    assert resident_pages() - before < 32


def resident_pages() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - not a real file
        return int(file.read().split()[1])
