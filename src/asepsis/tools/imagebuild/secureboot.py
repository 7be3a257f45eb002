"""Keys of Secure Boot, made anew for a build or a trial, and a machine's variable store with them.

Who signs modules of the kernel must not be able to sign a kernel. Debian's kernel takes modules by
the certificates in `db`, and so does firmware take kernel images. So the module certificate stands
in `db` and is revoked for firmware in `dbx`, by the SHA-384 of what was signed of it: firmware
judges all three hashes, the kernel only SHA-256. It issues no certificates, so that no child of it
counts either. Were a kernel to judge SHA-384 one day, it would refuse the modules: the safe side.

Sources: UEFI 2.10, 8.2 (authenticated variables), 32.4.1 (signature lists), 32.3 (PK, KEK, db);
UEFI PI 1.8 volume 3, 3.2 (firmware volume); EDK II `VariableFormat.h`; Linux
`security/integrity/platform_certs/keyring_handler.c`.
"""

import datetime as dt
import hashlib
import os
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from asepsis.core.errors import ConfigError, ContentMismatch

ROLES: Final = ("PK", "KEK", "db")
MODULE: Final = "module"
"""Signs modules of the kernel, and no kernel."""
DELIVERY: Final = "delivery"
"""Signs what is brought to a running device; P-256."""
KEY_BITS: Final = 2_048
"""What every UEFI implementation takes."""
VALID_DAYS: Final = 3_650
_OWNER: Final = uuid.UUID("6a3d3f4c-5f0e-4e5c-9d5c-2f6f3a1b7c11")
"""Names us as the owner of signatures."""
_GLOBAL: Final = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
_SECURITY: Final = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
_ENABLE: Final = uuid.UUID("f0a30bc7-af08-4556-99c4-001009c93a44")
_CUSTOM: Final = uuid.UUID("c076ec0c-7028-4399-a072-71ee5c448b9f")
_X509: Final = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
_X509_SHA384: Final = uuid.UUID("7076876e-80c2-4ee6-aad2-28b349a6865b")
_ALWAYS: Final = bytes(16)
"""An EFI_TIME of nothing but zeros: revoked whenever it was signed."""
_STORE: Final = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792")
"""gEfiAuthenticatedVariableGuid: the format of the store."""
_NV_BS: Final = 0x3
_NV_BS_RT_TIMED: Final = 0x27
_VOLUME_HEADER_LENGTH_AT: Final = 48
_STORE_HEADER: Final = 28
_VARIABLE: Final = struct.Struct("<HBBIQ16sIII16s")
_START: Final = 0x55AA
_ADDED: Final = 0x3F


@dataclass(frozen=True, slots=True)
class SecureBootKeys:
    """Where the keys of Secure Boot are.

    Attributes:
        folder: Folder with `PK.key`, `PK.crt` and so on, PEM, and `delivery.der`, the public half
            of `delivery.key`; keys are readable by this user only.
    """

    folder: Path

    def key(self, role: str) -> Path:
        """Return the file of a private key."""
        return self.folder / f"{role}.key"

    def certificate(self, role: str) -> Path:
        """Return the file of a certificate."""
        return self.folder / f"{role}.crt"

    @property
    def delivery_spki(self) -> Path:
        """Public key of what is brought to a running device, DER."""
        return self.folder / f"{DELIVERY}.der"


def make_keys(folder: Path, *, now: dt.datetime) -> SecureBootKeys:
    """Make keys that sign nothing but this build; what is already there stays.

    Args:
        folder: Made if absent, mode 0700.
        now: Start of the certificates' validity.

    Raises:
        ConfigError: The folder cannot be written.
    """
    made = SecureBootKeys(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for role in (*ROLES, MODULE):
            if not (made.key(role).exists() and made.certificate(role).exists()):
                _make(made, role, now=now)
        if not made.delivery_spki.exists():  # Who builds again has the public half only.
            _make_delivery(made)
    except OSError as error:
        raise ConfigError(f"cannot keep keys in {folder}: {error.strerror}") from error
    return made


def enrol(template: bytes, keys: SecureBootKeys) -> bytes:
    """Return a variable store in which Secure Boot is on and only these keys count.

    Args:
        template: An empty store of OVMF.
        keys: Whose certificates go in.

    Raises:
        ContentMismatch: The template has another format, or no room.
    """
    header = struct.unpack_from("<H", template, _VOLUME_HEADER_LENGTH_AT)[0]
    body = header + _STORE_HEADER
    if (
        template[header : header + 16] != _STORE.bytes_le
        or template[body : body + 2] != b"\xff\xff"
    ):
        raise ContentMismatch("the firmware's variable store is not empty or of another format")
    database = _list(keys.certificate("db")) + _list(keys.certificate(MODULE))
    variables = b"".join(
        _variable(role, _GLOBAL, _list(keys.certificate(role))) for role in ("PK", "KEK")
    )
    variables += _variable("db", _SECURITY, database)
    variables += _variable("dbx", _SECURITY, _revoked(keys.certificate(MODULE)))
    variables += _variable("SecureBootEnable", _ENABLE, b"\x01", attributes=_NV_BS)
    variables += _variable("CustomMode", _CUSTOM, b"\x00", attributes=_NV_BS)
    size = struct.unpack_from("<I", template, header + 16)[0]
    if len(variables) > size - _STORE_HEADER:
        raise ContentMismatch("the certificates do not fit into the variable store")
    return template[:body] + variables + template[body + len(variables) :]


def _make(made: SecureBootKeys, role: str, *, now: dt.datetime) -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=KEY_BITS)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Asepsis image {role}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=role != MODULE, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    _keep(made.key(role), key)
    made.certificate(role).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _make_delivery(made: SecureBootKeys) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    _keep(made.key(DELIVERY), key)
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    made.delivery_spki.write_bytes(public)


def _keep(path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def _list(certificate: Path) -> bytes:
    """Return an EFI_SIGNATURE_LIST with one certificate."""
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(
        serialization.Encoding.DER
    )
    size = 16 + len(der)
    return _X509.bytes_le + struct.pack("<III", 28 + size, 0, size) + _OWNER.bytes_le + der


def _revoked(certificate: Path) -> bytes:
    """Return an EFI_SIGNATURE_LIST that revokes one certificate for firmware."""
    signed = x509.load_pem_x509_certificate(certificate.read_bytes()).tbs_certificate_bytes
    entry = _OWNER.bytes_le + hashlib.sha384(signed).digest() + _ALWAYS
    return _X509_SHA384.bytes_le + struct.pack("<III", 28 + len(entry), 0, len(entry)) + entry


def _variable(
    name: str, vendor: uuid.UUID, data: bytes, *, attributes: int = _NV_BS_RT_TIMED
) -> bytes:
    encoded = (name + "\0").encode("utf-16-le")
    head = _VARIABLE.pack(
        _START,
        _ADDED,
        0,
        attributes,
        0,
        bytes(16),
        0,
        len(encoded),
        len(data),
        vendor.bytes_le,
    )
    record = head + encoded + data
    return record + b"\xff" * (-len(record) % 4)
