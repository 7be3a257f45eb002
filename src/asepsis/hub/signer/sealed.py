"""Seals the signer's keys in one file: AES-256-GCM under a key derived with scrypt.

Where the secret comes from decides what the seal is worth, and `describe` says it: a systemd
credential (which may be bound to a TPM), a file that the operator names, or, if nothing is given, a
random file beside the sealed one, which protects only a stray copy.

Layout: `ASK1`, salt (16 bytes), nonce (12), ciphertext with tag.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from asepsis.core.errors import ConfigError
from asepsis.core.trust.sealing import write_durably

MAGIC: Final = b"ASK1"
SALT_BYTES: Final = 16
NONCE_BYTES: Final = 12
SECRET_BYTES_MIN: Final = 16
SECRET_BYTES_MAX: Final = 4_096
SCRYPT_COST: Final = 1 << 15
"""Costs 32 MiB and about 0.1 s, once at each start (RFC 7914 section 2)."""
CREDENTIAL_NAME: Final = "asepsis-signer"
LOCAL_SECRET_NAME: Final = "seal.secret"  # noqa: S105 - a file name


@dataclass(frozen=True, slots=True)
class SealSecret:
    """The secret behind the seal.

    Attributes:
        value: 16 to 4096 bytes.
        origin: Where it came from, in plain words.
    """

    value: bytes
    origin: str


def find_secret(*, secret_file: Path | None, credentials: Path | None) -> SealSecret | None:
    """Return the operator's secret, or `None` if none is configured.

    Args:
        secret_file: File that the operator named.
        credentials: systemd's `$CREDENTIALS_DIRECTORY`.

    Raises:
        ConfigError: A named file does not read, or is too short or too long.

    Source: systemd.exec(5), LoadCredentialEncrypted=.
    """
    if secret_file is not None:
        return SealSecret(_read(secret_file), "a secret file named by the operator")
    if credentials is not None and (credentials / CREDENTIAL_NAME).exists():
        return SealSecret(_read(credentials / CREDENTIAL_NAME), "a systemd credential")
    return None


def local_secret(folder: Path) -> SealSecret:
    """Return the random secret kept beside the sealed file; makes it at the first start."""
    path = folder / LOCAL_SECRET_NAME
    if not path.exists():
        write_durably(path, os.urandom(32))
    return SealSecret(
        _read(path), "a secret in the same folder: protects a stray copy of the sealed file only"
    )


def seal(keys: Mapping[str, bytes], *, secret: SealSecret) -> bytes:
    """Return the sealed form of named private keys (PKCS#8 DER).

    Source: NIST SP 800-38D (AES-GCM, 96-bit random nonce used once per derived key).
    """
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    cipher = AESGCM(_derive(secret.value, salt))
    return MAGIC + salt + nonce + cipher.encrypt(nonce, msgspec.msgpack.encode(dict(keys)), MAGIC)


def unseal(sealed: bytes, *, secret: SealSecret) -> dict[str, bytes]:
    """Return the named private keys of a sealed file.

    Raises:
        ConfigError: Another secret, or the file was changed.
    """
    at = len(MAGIC)
    salt, nonce = sealed[at : at + SALT_BYTES], sealed[at + SALT_BYTES :][:NONCE_BYTES]
    if not sealed.startswith(MAGIC) or len(nonce) != NONCE_BYTES:
        raise ConfigError("sealed key file is damaged")
    try:
        plain = AESGCM(_derive(secret.value, salt)).decrypt(
            nonce, sealed[at + SALT_BYTES + NONCE_BYTES :], MAGIC
        )
        return msgspec.msgpack.decode(plain, type=dict[str, bytes])
    except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
        raise ConfigError(
            "sealed keys do not open", hint="is it the secret that `hub init` was given?"
        ) from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            value = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"seal secret {path} does not read") from error
    if not SECRET_BYTES_MIN <= len(value) <= SECRET_BYTES_MAX:
        raise ConfigError(f"seal secret {path} has not 16 to 4096 bytes")
    return value


def _derive(secret: bytes, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=SCRYPT_COST, r=8, p=1).derive(secret)
