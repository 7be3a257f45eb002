"""AES-256-GCM by the libcrypto that `ssl` has loaded already, for the edge; no package needed."""

from functools import lru_cache

from asepsis.core.trust.libcrypto_gcm import AesGcm

_cipher = lru_cache(maxsize=64)(AesGcm)


class LibcryptoAead:
    """Implements `sealing.Aead`."""

    def seal(self, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Return ciphertext and 16-byte tag."""
        return _cipher(key).seal(plaintext, nonce=nonce, aad=aad)

    def open(self, key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        """Return the plaintext.

        Raises:
            SignatureInvalid: Text, tag or associated data were changed.
        """
        return _cipher(key).open(sealed, nonce=nonce, aad=aad)
