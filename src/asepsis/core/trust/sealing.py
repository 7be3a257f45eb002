"""Keys that make stored data unreadable: where the top one comes from, and those below it.

A key-encryption key (KEK) lies outside the data folder: in a systemd credential, behind a
passphrase, or, for a demo, only in memory. It wraps one key per scope and day (`DayKeys`), which
seals journal records and dies with their retention; subkeys derived from it seal database columns
(`ColumnSealer`). The cipher itself is a port: `sealing_cryptography` in the hub,
`sealing_libcrypto` on a device.

Source: RFC 5869 (HKDF), RFC 7914 (scrypt), NIST SP 800-38D (AES-GCM).
"""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from asepsis.core.errors import ConfigError, SignatureInvalid

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
CREDENTIAL_NAME: Final = "asepsis-kek"
CREDENTIAL_BYTES_MAX: Final = 4096
PASSPHRASE_BYTES_MIN: Final = 12
SALT_BYTES: Final = 16
SCRYPT_N: Final = 1 << 15
SCRYPT_R: Final = 8
SCRYPT_MEMORY_BYTES_MAX: Final = 64 << 20
_VERSION: Final = b"\x01"


class Aead(Protocol):
    """AES-256-GCM with 96-bit nonces; thread-safe."""

    def seal(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Return ciphertext and 16-byte tag."""
        ...

    def open(self, key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        """Return the plaintext.

        Raises:
            SignatureInvalid: Text, tag or associated data were changed.
        """
        ...


class KekSource(Enum):
    """Where a key-encryption key came from."""

    CREDENTIAL = "systemd credential"
    PASSPHRASE = "passphrase file"  # noqa: S105 - says where, not what
    THROW_AWAY = "throw-away"


@dataclass(frozen=True, slots=True)
class KeyEncryptionKey:
    """The key above all others of a data folder; never written by us.

    Attributes:
        source: Where it came from.
        secret: 32 bytes.
    """

    source: KekSource
    secret: bytes = field(repr=False)

    def describe(self) -> str:
        """Say in plain words where the key is and what it survives."""
        return _DESCRIPTIONS[self.source]

    def subkey(self, purpose: str) -> bytes:
        """Return the 32-byte key of one purpose (HKDF-SHA256)."""
        return hkdf_sha256(self.secret, info=f"asepsis 1 {purpose}".encode())


def kek_from_credential(folder: Path) -> KeyEncryptionKey:
    """Read the key that systemd decrypted for this service.

    Args:
        folder: What `$CREDENTIALS_DIRECTORY` names; holds `asepsis-kek`, 32 random bytes or more.

    Raises:
        ConfigError: Absent, too short or too long.

    Source: systemd.exec(5) LoadCredentialEncrypted=, systemd-creds(1).
    """
    path = folder / CREDENTIAL_NAME
    secret = _read_bounded(path, CREDENTIAL_BYTES_MAX)
    if len(secret) < KEY_BYTES:
        raise ConfigError(f"{path}: a key-encryption key has at least {KEY_BYTES} bytes")
    return KeyEncryptionKey(KekSource.CREDENTIAL, hkdf_sha256(secret, info=b"asepsis 1 kek"))


def kek_from_passphrase(passphrase_file: Path, *, salt_file: Path) -> KeyEncryptionKey:
    """Derive the key from a passphrase by scrypt (N = 2**15, r = 8, p = 1; about 0.1 s).

    Args:
        passphrase_file: Readable by its owner only, outside the data folder; a trailing newline
            does not count.
        salt_file: 16 random bytes beside the data; made if absent.

    Raises:
        ConfigError: Absent, readable by others, or shorter than 12 bytes.

    Source: RFC 7914.
    """
    passphrase = _read_bounded(passphrase_file, CREDENTIAL_BYTES_MAX).rstrip(b"\r\n")
    if passphrase_file.stat().st_mode & 0o077:
        raise ConfigError(f"{passphrase_file}: readable by others", hint="chmod 600")
    if len(passphrase) < PASSPHRASE_BYTES_MIN:
        raise ConfigError(
            f"{passphrase_file}: a passphrase has {PASSPHRASE_BYTES_MIN} bytes or more"
        )
    secret = hashlib.scrypt(
        passphrase,
        salt=_salt(salt_file),
        n=SCRYPT_N,
        r=SCRYPT_R,
        p=1,
        maxmem=SCRYPT_MEMORY_BYTES_MAX,
        dklen=KEY_BYTES,
    )
    return KeyEncryptionKey(KekSource.PASSPHRASE, secret)


def throw_away_kek() -> KeyEncryptionKey:
    """Make a key that ends with this process; what it seals is lost then. For demos only."""
    return KeyEncryptionKey(KekSource.THROW_AWAY, secrets.token_bytes(KEY_BYTES))


class ColumnSealer:
    """Seals values of database columns, each column under a subkey of its own.

    Args:
        kek: The key above.
        aead: The cipher.
    """

    def __init__(self, kek: KeyEncryptionKey, *, aead: Aead) -> None:
        self._kek = kek
        self._aead = aead
        self._subkeys: dict[str, bytes] = {}

    def seal_value(self, table_column: str, plaintext: bytes) -> bytes:
        """Encrypt a value of a column such as "patient.name"."""
        key = self._subkey("column", table_column)
        return _VERSION + seal_with_nonce(self._aead, key, plaintext, table_column.encode())

    def open_value(self, table_column: str, sealed: bytes) -> bytes:
        """Decrypt a value.

        Raises:
            SignatureInvalid: It was changed, or belongs to another column or data folder.
        """
        if sealed[:1] != _VERSION:
            raise SignatureInvalid(f"{table_column}: not a sealed value")
        key = self._subkey("column", table_column)
        return open_with_nonce(self._aead, key, sealed[1:], table_column.encode())

    def lookup_hash(self, table_column: str, value: bytes) -> bytes:
        """Return the 32 bytes by which a sealed value can be found: equal values, equal hashes."""
        return hmac.digest(self._subkey("lookup", table_column), value, "sha256")

    def _subkey(self, use: str, table_column: str) -> bytes:
        purpose = f"{use} {table_column}"
        key = self._subkeys.get(purpose)
        if key is None:
            # Columns are named in our own source, so this holds a few dozen keys at most.
            key = self._subkeys[purpose] = self._kek.subkey(purpose)
        return key


def hkdf_sha256(secret: bytes, *, info: bytes, salt: bytes = b"") -> bytes:
    """Derive 32 bytes; one block of HKDF-SHA256.

    Source: RFC 5869 sections 2.2 and 2.3.
    """
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def seal_with_nonce(aead: Aead, key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Seal under a fresh random nonce, which stands in front of the result."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + aead.seal(key, nonce, plaintext, aad)


def open_with_nonce(aead: Aead, key: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Open what `seal_with_nonce` made.

    Raises:
        SignatureInvalid: It was changed.
    """
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise SignatureInvalid("sealed data is cut short")
    return aead.open(key, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)


def write_durably(path: Path, content: bytes) -> None:
    """Make a file appear whole and durable, or not at all; readable by its owner only.

    Raises:
        OSError: No space, or no permission.
    """
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        OSError: The disk failed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _salt(salt_file: Path) -> bytes:
    try:
        if not salt_file.exists():
            salt_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_durably(salt_file, secrets.token_bytes(SALT_BYTES))
    except OSError as error:
        raise ConfigError(f"{salt_file}: {error.strerror}") from error
    salt = _read_bounded(salt_file, CREDENTIAL_BYTES_MAX)
    if len(salt) != SALT_BYTES:
        raise ConfigError(f"{salt_file}: a salt has {SALT_BYTES} bytes")
    return salt


def _read_bounded(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(content) > bytes_max:
        raise ConfigError(f"{path}: longer than {bytes_max} bytes")
    return content


_DESCRIPTIONS: Final = {
    KekSource.CREDENTIAL: (
        "key-encryption key from the systemd credential asepsis-kek; systemd-creds seals it to the"
        " TPM, to the host's own key or to both, which this program cannot see"
    ),
    KekSource.PASSPHRASE: "key-encryption key from a passphrase file (scrypt, salt by the data)",
    KekSource.THROW_AWAY: (
        "throw-away key-encryption key, in memory only: all stored data is unreadable after this"
        " process ends (demo)"
    ),
}
