"""Images whose patient is sealed by CMS, both ways with GDCM's own tool."""

import io
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pydicom
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from asepsis.core.errors import SignatureInvalid
from asepsis.core.mapping.dicom_protection import protect, reveal
from asepsis.core.trust.envelope import open_envelope, read_key, read_recipient, seal_envelope

CT = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
SECRET = b"s" * 32
GDCM = shutil.which("gdcmanon")
needs_gdcm = pytest.mark.skipif(GDCM is None, reason="gdcmanon is not installed")
PERSONAL = ("PatientName", "PatientID", "StudyDate", "StudyInstanceUID", "SOPInstanceUID")


class Recipient:
    """Somebody with an RSA key."""

    def __init__(self, folder: Path) -> None:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "recipient")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(now - timedelta(1))
            .not_valid_after(now + timedelta(1))
            .sign(key, SHA256())
        )
        folder.mkdir(exist_ok=True)
        self.key_file, self.certificate_file = folder / "key.pem", folder / "cert.pem"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.key_file.write_bytes(pem)
        self.certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        self.key = read_key(pem)
        self.certificate = read_recipient(self.certificate_file.read_bytes())

    def seal(self, content: bytes) -> bytes:
        return seal_envelope(content, [self.certificate])

    def open(self, der: bytes) -> bytes:
        return open_envelope(der, certificate=self.certificate, key=self.key)


@pytest.fixture
def recipient(tmp_path: Path) -> Recipient:
    return Recipient(tmp_path / "recipient")


def read(data: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(io.BytesIO(data))


def test_an_object_comes_back_as_it_was(recipient: Recipient) -> None:
    original = CT.read_bytes()
    hidden = protect(original, secret=SECRET, seal=recipient.seal)
    assert b"CompressedSamples" not in hidden
    before, after = read(original), read(reveal(hidden, open_sealed=recipient.open))
    for element in before:
        if not element.tag.is_private:
            assert after[element.tag] == element


def test_nobody_else_opens_it(recipient: Recipient, tmp_path: Path) -> None:
    hidden = protect(CT.read_bytes(), secret=SECRET, seal=recipient.seal)
    other = Recipient(tmp_path / "other")
    with pytest.raises(SignatureInvalid):
        reveal(hidden, open_sealed=other.open)


@needs_gdcm
def test_gdcm_opens_what_we_sealed(recipient: Recipient, tmp_path: Path) -> None:
    source, target = tmp_path / "hidden.dcm", tmp_path / "shown.dcm"
    source.write_bytes(protect(CT.read_bytes(), secret=SECRET, seal=recipient.seal))
    _gdcm("-d", "-k", recipient.key_file, "-c", recipient.certificate_file, source, target)
    before, after = pydicom.dcmread(CT), pydicom.dcmread(target)
    for keyword in PERSONAL:
        assert after.get(keyword) == before.get(keyword), keyword
    assert after.PixelData == before.PixelData


@needs_gdcm
def test_we_open_what_gdcm_sealed(recipient: Recipient, tmp_path: Path) -> None:
    target = tmp_path / "hidden.dcm"
    _gdcm("-e", "--aes256", "-c", recipient.certificate_file, CT, target)
    hidden = target.read_bytes()
    assert b"CompressedSamples" not in hidden
    before, after = pydicom.dcmread(CT), read(reveal(hidden, open_sealed=recipient.open))
    for keyword in PERSONAL:
        assert after.get(keyword) == before.get(keyword), keyword
    assert after.PixelData == before.PixelData


def _gdcm(*arguments: object) -> None:
    command = [str(GDCM), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
