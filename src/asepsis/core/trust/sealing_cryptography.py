"""AES-256-GCM by the `cryptography` package, for the hub."""

from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asepsis.core.errors import SignatureInvalid

# Setting up a key costs as much as sealing a kilobyte; a lane uses one key all day.
_cipher = lru_cache(maxsize=64)(AESGCM)


class CryptographyAead:
    """Implements `sealing.Aead`."""

    def seal(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Return ciphertext and 16-byte tag."""
        return _cipher(key).encrypt(nonce, plaintext, aad)

    def open(self, key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        """Return the plaintext.

        Raises:
            SignatureInvalid: Text, tag or associated data were changed.
        """
        try:
            return _cipher(key).decrypt(nonce, sealed, aad)
        except InvalidTag as error:
            raise SignatureInvalid("sealed data was changed") from error
