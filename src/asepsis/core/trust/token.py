"""Keys in a PKCS#11 token: they are made there, sign there and never leave.

`TokenKey` looks like a private key of `cryptography`, so certificates and lists are built by the
same code whether the key is in memory or in a token.

Source: OASIS PKCS #11 Specification 3.1, section 6.3 (elliptic curve mechanisms).
"""

from pathlib import Path
from typing import Any, Final, NoReturn, Protocol, cast

import msgspec
import pkcs11
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11.exceptions import PKCS11Error, UserAlreadyLoggedIn
from pkcs11.util.ec import (
    encode_ec_public_key,
    encode_ecdsa_signature,
    encode_named_curve_parameters,
)

from asepsis.core.errors import ConfigError, Unavailable

PIN_CHARS_MAX: Final = 255


class Pkcs11Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A PKCS#11 token.

    Attributes:
        module: Path of the vendor's shared library.
        token: Label of the token.
        pin_file: File that holds the user PIN.
        prefix: The keys are labelled `<prefix>-issuing` and so on.
    """

    module: str
    token: str
    pin_file: str
    prefix: str = "asepsis"


class _Signs(Protocol):
    """What a private key object gains by its capabilities, unknown to the type stubs."""

    def sign(self, data: bytes, *, mechanism: pkcs11.Mechanism) -> bytes: ...


class TokenKey(ec.EllipticCurvePrivateKey):
    """A P-256 key in a token, usable wherever a private key signs.

    Args:
        private: Handle of the private key object.
        public: Its public key.
    """

    def __init__(self, private: _Signs, *, public: ec.EllipticCurvePublicKey) -> None:
        self._private = private
        self._public = public

    def sign(
        self,
        data: Any,  # bytes-like, as the base class takes it
        signature_algorithm: ec.EllipticCurveSignatureAlgorithm,
    ) -> bytes:
        """Sign with ECDSA over SHA-256 inside the token; returns DER as `cryptography` does.

        Raises:
            Unavailable: The token does not answer.
        """
        if not isinstance(signature_algorithm.algorithm, hashes.SHA256):
            raise UnsupportedAlgorithm("tokens sign with SHA-256 only here")
        digest = hashes.Hash(hashes.SHA256())
        digest.update(bytes(data))
        try:
            raw = self._private.sign(digest.finalize(), mechanism=pkcs11.Mechanism.ECDSA)
        except PKCS11Error as error:
            raise Unavailable("the PKCS#11 token does not sign") from error
        return encode_ecdsa_signature(raw)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public key."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256, always."""
        return ec.SECP256R1()

    @property
    def key_size(self) -> int:
        """Bits of the curve."""
        return 256

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Refuse: these keys sign and do nothing else."""
        del algorithm, peer_public_key
        _refuse()

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        """Refuse: the key does not leave its token."""
        _refuse()

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,  # noqa: A002 - the base class's name
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> bytes:
        """Refuse: the key does not leave its token."""
        del encoding, format, encryption_algorithm
        _refuse()

    def __copy__(self) -> "TokenKey":
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> "TokenKey":
        return self


def make_key(config: Pkcs11Config, label: str) -> TokenKey:
    """Make one more P-256 key in a token: sensitive, not extractable.

    Raises:
        ConfigError: The token does not open, or holds a key of that label already.
    """
    session = open_session(config, writable=True)
    make_in_session(session, config, label)
    return find_key(session, config, label)


def open_key(config: Pkcs11Config, label: str) -> TokenKey:
    """Return the handle of a P-256 key in a token.

    Raises:
        ConfigError: The token does not open, or holds no such key.
    """
    return find_key(open_session(config, writable=False), config, label)


def make_in_session(session: pkcs11.Session, config: Pkcs11Config, label: str) -> None:
    """Make a P-256 key over a writable session: sensitive, not extractable.

    Raises:
        ConfigError: The token holds a key of that label already, or makes none.
    """
    parameters = encode_named_curve_parameters("secp256r1")
    try:
        if list(session.get_objects({pkcs11.Attribute.LABEL: label})):
            raise ConfigError(f"token {config.token} holds {label} already")
        domain = session.create_domain_parameters(
            pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: parameters}, local=True
        )
        domain.generate_keypair(
            store=True,
            label=label,
            private_template={
                pkcs11.Attribute.SENSITIVE: True,
                pkcs11.Attribute.EXTRACTABLE: False,
            },
        )
    except PKCS11Error as error:
        raise ConfigError(f"token {config.token} makes no P-256 keys") from error


def find_key(session: pkcs11.Session, config: Pkcs11Config, label: str) -> TokenKey:
    """Return the handle of a key over an open session.

    Raises:
        ConfigError: The token holds no such key.
    """
    try:
        private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=label)
        public = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=label)
        loaded = serialization.load_der_public_key(
            encode_ec_public_key(cast("pkcs11.PublicKey", public))
        )
    except (PKCS11Error, ValueError) as error:
        raise ConfigError(f"token {config.token} lacks the key {label}") from error
    if not isinstance(loaded, ec.EllipticCurvePublicKey):
        raise ConfigError(f"{label} is no elliptic curve key")
    return TokenKey(cast("_Signs", private), public=loaded)


def open_session(config: Pkcs11Config, *, writable: bool) -> pkcs11.Session:
    """Open a token and log in.

    Resource handling: the session lasts as long as a key of it is held.

    Raises:
        ConfigError: The token does not open.
    """
    try:
        pin = Path(config.pin_file).read_text("utf-8")[:PIN_CHARS_MAX].strip()
        token = pkcs11.lib(config.module).get_token(token_label=config.token)
        try:
            return token.open(rw=writable, user_pin=pin)
        except UserAlreadyLoggedIn:  # Another key of this token is in use in this process.
            return token.open(rw=writable)
    except (PKCS11Error, OSError, RuntimeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"PKCS#11 token {config.token} does not open", hint="check module, label and PIN file"
        ) from error


def _refuse() -> NoReturn:
    raise UnsupportedAlgorithm("a key in a token only signs")
