"""Where the four private keys are: a sealed file, or a PKCS#11 token behind the same interface."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.errors import ConfigError
from asepsis.core.trust.sealing import write_durably
from asepsis.core.trust.token import Pkcs11Config
from asepsis.hub.signer import sealed

SEALED_NAME: Final = "keys.sealed"


class Role(StrEnum):
    """What a key is for; one key never does two things (NIST SP 800-57 part 1 section 5.2)."""

    ISSUING = "issuing"
    DIRECTOR = "director"
    TIME = "time"
    AUDIT = "audit"


class KeyStore(Protocol):
    """Holds one P-256 key for each role."""

    def key(self, role: Role) -> ec.EllipticCurvePrivateKey:
        """Return a handle that signs; the key itself may not be readable."""
        ...

    def describe(self) -> str:
        """Say in plain words where the keys lie and what protects them."""
        ...


@dataclass(frozen=True, slots=True)
class SealedKeyStore:
    """Keys out of the sealed file, in this process's memory.

    Attributes:
        keys: One private key for each role.
        origin: Where the seal's secret came from.
    """

    keys: Mapping[Role, ec.EllipticCurvePrivateKey]
    origin: str

    @classmethod
    def create(cls, folder: Path, *, secret: sealed.SealSecret) -> "SealedKeyStore":
        """Make new keys and seal them.

        Raises:
            ConfigError: The folder holds keys already; they are never overwritten.
        """
        path = folder / SEALED_NAME
        if path.exists():
            raise ConfigError(f"{path} exists", hint="init is done once in the life of a hospital")
        keys = {role: ec.generate_private_key(ec.SECP256R1()) for role in Role}
        plain = {role.value: _pkcs8(key) for role, key in keys.items()}
        write_durably(path, sealed.seal(plain, secret=secret))
        return cls(keys, secret.origin)

    @classmethod
    def open(cls, folder: Path, *, secret: sealed.SealSecret) -> "SealedKeyStore":
        """Open the sealed file.

        Raises:
            ConfigError: No file, another secret, or a key is missing.
        """
        try:
            content = (folder / SEALED_NAME).read_bytes()
        except OSError as error:
            raise ConfigError("no sealed keys", hint="run `asepsis hub init` first") from error
        plain = sealed.unseal(content, secret=secret)
        try:
            return cls({role: _load(plain[role.value]) for role in Role}, secret.origin)
        except (KeyError, ValueError) as error:
            raise ConfigError("sealed key file lacks a key") from error

    def key(self, role: Role) -> ec.EllipticCurvePrivateKey:
        """Return the private key of a role."""
        return self.keys[role]

    def describe(self) -> str:
        """Say where the keys lie."""
        return f"sealed file, opened by {self.origin}"


class SignerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What init wrote into the signer's own folder.

    Attributes:
        pkcs11: The token, or `None` for the sealed file.
        time_uncertainty_ms: Largest error of this host's clock that the operator vouches for.
    """

    pkcs11: Pkcs11Config | None = None
    time_uncertainty_ms: int = 1_000


def _pkcs8(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),  # sealed as a whole by the caller
    )


def _load(der: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_der_private_key(der, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("sealed key is not an elliptic curve key")
    return key
