"""The signer's four keys in one PKCS#11 token, behind the same interface as the sealed file."""

from pathlib import Path

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core.trust.token import (
    Pkcs11Config,
    find_key,
    make_in_session,
    open_session,
)
from asepsis.hub.signer.keystore import Role


class TokenKeyStore:
    """Four keys in one token.

    Args:
        config: Which token.
        session: Open, logged-in session.

    Resource handling:
        The session lasts as long as the process.
    """

    def __init__(self, config: Pkcs11Config, *, session: pkcs11.Session) -> None:
        self._config = config
        self._session = session
        self._keys = {role: find_key(session, config, _label(config, role)) for role in Role}

    @classmethod
    def create(cls, config: Pkcs11Config) -> "TokenKeyStore":
        """Make the four keys in the token: sensitive, not extractable.

        Raises:
            ConfigError: The token does not open, or holds such keys already.
        """
        session = open_session(config, writable=True)
        for role in Role:
            make_in_session(session, config, _label(config, role))
        return cls(config, session=session)

    @classmethod
    def open(cls, config: Pkcs11Config) -> "TokenKeyStore":
        """Open the token and find the four keys.

        Raises:
            ConfigError: The token does not open, or a key is missing.
        """
        return cls(config, session=open_session(config, writable=False))

    def key(self, role: Role) -> ec.EllipticCurvePrivateKey:
        """Return the handle of a role's key."""
        return self._keys[role]

    def describe(self) -> str:
        """Say where the keys lie."""
        return f"PKCS#11 token {self._config.token} ({Path(self._config.module).name})"


def _label(config: Pkcs11Config, role: Role) -> str:
    return f"{config.prefix}-{role.value}"
