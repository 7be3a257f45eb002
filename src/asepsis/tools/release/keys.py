"""Keys that sign metadata: PEM files, or PKCS#11 tokens named by URI.

Source: RFC 5208 (PKCS#8), RFC 7468 (PEM), RFC 7512 (PKCS#11 URI).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qs, unquote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from asepsis.core.errors import ConfigError
from asepsis.core.trust.metadata.library import CryptoSigner, Key, SSlibKey
from asepsis.core.trust.token import Pkcs11Config, make_key, open_key

KEY_BYTES_MAX: Final = 65_536
PASSPHRASE_BYTES_MIN: Final = 12
PASSPHRASE_BYTES_MAX: Final = 1_024
SCHEME: Final = "pkcs11:"
_PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class TokenUri:
    """A key in a token.

    Attributes:
        config: Which token, and how it opens.
        label: The key's label.
    """

    config: Pkcs11Config
    label: str


def make_file(path: Path, *, passphrase: bytes | None) -> Key:
    """Make a P-256 key in a new file, encrypted if there is a passphrase.

    Raises:
        ConfigError: The file exists, cannot be written, or the passphrase is too short.
    """
    if passphrase is not None and len(passphrase) < PASSPHRASE_BYTES_MIN:
        raise ConfigError(f"a passphrase has at least {PASSPHRASE_BYTES_MIN} bytes")
    key = ec.generate_private_key(ec.SECP256R1())
    how = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_new(path, private, mode=0o600)
    write_new(path.with_name(path.name + ".pub"), public, mode=0o644)
    return SSlibKey.from_crypto(key.public_key())


def make_in_token(uri: str) -> Key:
    """Make a P-256 key in a token: sensitive, not extractable.

    Raises:
        ConfigError: No such token, or it holds a key of that label already.
    """
    place = token_uri(uri)
    return SSlibKey.from_crypto(make_key(place.config, place.label).public_key())


def public_key(source: str) -> Key:
    """Return the public key behind a PEM file (public, or private without passphrase) or a URI.

    Raises:
        ConfigError: No key there, or not P-256 or Ed25519.
    """
    if source.startswith(SCHEME):
        place = token_uri(source)
        return SSlibKey.from_crypto(open_key(place.config, place.label).public_key())
    content = read_file(Path(source))
    try:
        loaded: object = (
            serialization.load_pem_public_key(content)
            if b"PUBLIC KEY" in content
            else serialization.load_pem_private_key(content, password=None).public_key()
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{source} holds no key that opens", hint="name the public half, FILE.pub"
        ) from error
    return SSlibKey.from_crypto(_taken(loaded, source))


def signer(source: str, *, passphrase: bytes | None = None) -> CryptoSigner:
    """Return what signs with the key behind a private PEM file or a token's URI.

    Raises:
        ConfigError: No private key there, another passphrase, or not P-256 or Ed25519.
    """
    if source.startswith(SCHEME):
        place = token_uri(source)
        return CryptoSigner(open_key(place.config, place.label))
    try:
        key = serialization.load_pem_private_key(read_file(Path(source)), password=passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{source} holds no private key that opens", hint="encrypted? --passphrase-file"
        ) from error
    _taken(key.public_key(), source)
    return CryptoSigner(cast("Any", key))


def token_uri(uri: str) -> TokenUri:
    """Read `pkcs11:token=T;object=LABEL?module-path=/lib.so&pin-source=/file`.

    Raises:
        ConfigError: A part is missing.
    """
    path, _, query = uri.removeprefix(SCHEME).partition("?")
    parts = {name: value for name, _, value in (p.partition("=") for p in path.split(";"))}
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    try:
        return TokenUri(
            Pkcs11Config(
                module=asked["module-path"],
                token=unquote(parts["token"]),
                pin_file=asked["pin-source"].removeprefix("file:"),
            ),
            unquote(parts["object"]),
        )
    except KeyError as error:
        raise ConfigError(
            f"the URI lacks {error.args[0]}",
            hint="pkcs11:token=T;object=LABEL?module-path=/lib.so&pin-source=/file",
        ) from error


def read_passphrase(path: Path | None) -> bytes | None:
    """Return the first line of a file, or None without one.

    Raises:
        ConfigError: The file does not open.
    """
    return None if path is None else read_file(path)[:PASSPHRASE_BYTES_MAX].split(b"\n")[0]


def _taken(key: object, source: str) -> _PublicKey:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ConfigError(f"{source}: keys are P-256 or Ed25519")


def read_file(path: Path) -> bytes:
    """Return the first `KEY_BYTES_MAX` bytes of a file.

    Raises:
        ConfigError: It does not open.
    """
    try:
        with path.open("rb") as file:
            return file.read(KEY_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"{path} does not open: {error.strerror}") from error


def write_public(path: Path, der: bytes) -> None:
    """Write a public key, given as SubjectPublicKeyInfo in DER, to a new PEM file.

    Raises:
        ConfigError: Not a public key, or the file exists or cannot be written.
    """
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("not a public key") from error
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    write_new(path, key.public_bytes(serialization.Encoding.PEM, form), mode=0o644)


def write_new(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file that must not exist yet, durably.

    Raises:
        ConfigError: It exists, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f"{path} is not made: {error.strerror}") from error
