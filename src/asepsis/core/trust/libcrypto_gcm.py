"""AES-256-GCM by the libcrypto that is loaded already."""

import contextlib
import ctypes
from collections.abc import Generator
from ctypes import byref, c_int
from typing import Final

from asepsis.core.errors import InputError, SignatureInvalid
from asepsis.core.trust.libcrypto import check_size
from asepsis.core.trust.libcrypto_binding import check, failure, library, owned

NONCE_BYTES: Final = 12


TAG_BYTES: Final = 16


AES_KEY_BYTES: Final = 32


_EVP_CTRL_AEAD_GET_TAG: Final = 0x10


_EVP_CTRL_AEAD_SET_TAG: Final = 0x11


class AesGcm:
    """AES-256-GCM under one key; safe to share between threads.

    Args:
        key: 32 bytes.

    Raises:
        InputError: Another length.

    Source: NIST SP 800-38D; RFC 5116 section 5.2.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != AES_KEY_BYTES:
            raise InputError("an AES-256 key has 32 bytes")
        self._key = key

    def seal(self, plaintext: bytes, *, nonce: bytes, aad: bytes) -> bytes:
        """Encrypt and authenticate.

        Args:
            plaintext: At most `MESSAGE_BYTES_MAX` bytes.
            nonce: 12 bytes, never twice under one key.
            aad: Authenticated and not encrypted, at most `MESSAGE_BYTES_MAX` bytes.

        Returns:
            Ciphertext, as long as the plaintext, and 16 bytes of tag.

        Raises:
            InputError: Nonce of another length.
            LimitExceeded: Too long a plaintext or aad.
            TrustError: libcrypto fails.
        """
        lib = library()
        tag = ctypes.create_string_buffer(TAG_BYTES)
        with self._started(nonce, aad, encrypt=1) as context:
            sealed = _transformed(context, plaintext)
            final = _final(context)
            check(final, "cannot seal")
            check(
                lib.EVP_CIPHER_CTX_ctrl(context, _EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag),
                "cannot seal",
            )
        return sealed + tag.raw

    def open(self, sealed: bytes, *, nonce: bytes, aad: bytes) -> bytes:
        """Check and decrypt what `seal` made; nothing is returned unless all of it is genuine.

        Args:
            sealed: Ciphertext and tag.
            nonce: As given to `seal`.
            aad: As given to `seal`.

        Raises:
            InputError: Nonce of another length.
            LimitExceeded: Too long an input.
            SignatureInvalid: Another key, nonce, aad or ciphertext.
        """
        if len(sealed) < TAG_BYTES:
            raise SignatureInvalid("sealed data is shorter than its tag")
        lib = library()
        tag = ctypes.create_string_buffer(sealed[-TAG_BYTES:], TAG_BYTES)
        with self._started(nonce, aad, encrypt=0) as context:
            plaintext = _transformed(context, sealed[:-TAG_BYTES])
            check(
                lib.EVP_CIPHER_CTX_ctrl(context, _EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag),
                "cannot open",
            )
            if _final(context) != 1:
                raise failure(SignatureInvalid, "sealed data is not genuine")
        return plaintext

    @contextlib.contextmanager
    def _started(self, nonce: bytes, aad: bytes, *, encrypt: int) -> Generator[int]:
        if len(nonce) != NONCE_BYTES:
            raise InputError("a GCM nonce has 12 bytes")
        check_size(aad)
        lib = library()
        made = lib.EVP_CIPHER_CTX_new()
        with owned(made, lib.EVP_CIPHER_CTX_free, "no memory for a cipher") as context:
            check(
                lib.EVP_CipherInit_ex(
                    context, lib.EVP_aes_256_gcm(), None, self._key, nonce, encrypt
                ),
                "cannot start AES-256-GCM",
            )
            size = c_int()
            check(
                lib.EVP_CipherUpdate(context, None, byref(size), aad, len(aad)),
                "cannot authenticate",
            )
            yield context


def _transformed(context: int, data: bytes) -> bytes:
    check_size(data)
    out = ctypes.create_string_buffer(len(data) or 1)
    size = c_int()
    code = library().EVP_CipherUpdate(context, out, byref(size), data, len(data))
    check(code, "cannot transform data")
    return out.raw[: size.value]


def _final(context: int) -> int:
    # GCM has no last block to write; the buffer is there because the interface wants one.
    return library().EVP_CipherFinal_ex(
        context, ctypes.create_string_buffer(TAG_BYTES), byref(c_int())
    )
