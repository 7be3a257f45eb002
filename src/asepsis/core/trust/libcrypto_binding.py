"""The one table of libcrypto's functions, and who owns a pointer.

Only `core.trust.libcrypto` and `core.trust.libcrypto_x509` may import this. Rules of the three:
every pointer has one owner that frees it; no pointer leaves them; every return code is checked;
the thread's OpenSSL error queue is empty afterwards, because the `ssl` module reads the same queue.

Source: manual pages of OpenSSL 3.0.
"""

import _ssl
import contextlib
import ctypes
from collections.abc import Callable, Generator
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_ulong, c_void_p
from functools import lru_cache
from typing import Any, Final

from asepsis.core.errors import ConfigError, TrustError
from asepsis.core.trust import der

_OPENSSL_3: Final = 0x30000000
_P: Final = c_void_p
_BUFFER: Final = c_char_p
_OUT_POINTER: Final = POINTER(c_void_p)
_OUT_INT: Final = POINTER(c_int)
_OUT_SIZE: Final = POINTER(c_size_t)

# name: (result type, argument types), from the manual pages of OpenSSL 3.0.
_PROTOTYPES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "OpenSSL_version_num": (c_ulong, ()),
    "ERR_clear_error": (None, ()),
    "ERR_get_error": (c_ulong, ()),
    "ERR_error_string_n": (None, (c_ulong, _BUFFER, c_size_t)),
    "CRYPTO_free": (None, (_P, _BUFFER, c_int)),
    # Keys
    "EVP_PKEY_CTX_new_from_name": (_P, (_P, _BUFFER, _BUFFER)),
    "EVP_PKEY_keygen_init": (c_int, (_P,)),
    "EVP_PKEY_CTX_set_group_name": (c_int, (_P, _BUFFER)),
    "EVP_PKEY_generate": (c_int, (_P, _OUT_POINTER)),
    "EVP_PKEY_free": (None, (_P,)),
    "EVP_PKEY_CTX_new": (_P, (_P, _P)),
    "EVP_PKEY_CTX_free": (None, (_P,)),
    "EVP_PKEY_pairwise_check": (c_int, (_P,)),
    "EVP_PKEY2PKCS8": (_P, (_P,)),
    "PKCS8_PRIV_KEY_INFO_free": (None, (_P,)),
    "i2d_PKCS8_PRIV_KEY_INFO": (c_int, (_P, _OUT_POINTER)),
    "d2i_AutoPrivateKey": (_P, (_P, _OUT_POINTER, c_long)),
    "i2d_PUBKEY": (c_int, (_P, _OUT_POINTER)),
    "d2i_PUBKEY": (_P, (_P, _OUT_POINTER, c_long)),
    # Signatures
    "EVP_MD_CTX_new": (_P, ()),
    "EVP_MD_CTX_free": (None, (_P,)),
    "EVP_sha256": (_P, ()),
    "EVP_DigestSignInit": (c_int, (_P, _P, _P, _P, _P)),
    "EVP_DigestSign": (c_int, (_P, _BUFFER, _OUT_SIZE, _BUFFER, c_size_t)),
    "EVP_DigestVerifyInit": (c_int, (_P, _P, _P, _P, _P)),
    "EVP_DigestVerify": (c_int, (_P, _BUFFER, c_size_t, _BUFFER, c_size_t)),
    # Sealing
    "EVP_CIPHER_CTX_new": (_P, ()),
    "EVP_CIPHER_CTX_free": (None, (_P,)),
    "EVP_CIPHER_CTX_ctrl": (c_int, (_P, c_int, c_int, _P)),
    "EVP_aes_256_gcm": (_P, ()),
    "EVP_CipherInit_ex": (c_int, (_P, _P, _P, _BUFFER, _BUFFER, c_int)),
    "EVP_CipherUpdate": (c_int, (_P, _BUFFER, _OUT_INT, _BUFFER, c_int)),
    "EVP_CipherFinal_ex": (c_int, (_P, _BUFFER, _OUT_INT)),
    # Certificates
    "d2i_X509": (_P, (_P, _OUT_POINTER, c_long)),
    "X509_free": (None, (_P,)),
    "OPENSSL_sk_new_null": (_P, ()),
    "OPENSSL_sk_push": (c_int, (_P, _P)),
    "OPENSSL_sk_free": (None, (_P,)),
    "X509_STORE_new": (_P, ()),
    "X509_STORE_free": (None, (_P,)),
    "X509_STORE_add_cert": (c_int, (_P, _P)),
    "X509_STORE_CTX_new": (_P, ()),
    "X509_STORE_CTX_free": (None, (_P,)),
    "X509_STORE_CTX_init": (c_int, (_P, _P, _P, _P)),
    "X509_STORE_CTX_get0_param": (_P, (_P,)),
    "X509_STORE_CTX_get_error": (c_int, (_P,)),
    "X509_VERIFY_PARAM_set_flags": (c_int, (_P, c_ulong)),
    "X509_VERIFY_PARAM_set_purpose": (c_int, (_P, c_int)),
    "X509_VERIFY_PARAM_set_depth": (None, (_P, c_int)),
    "X509_VERIFY_PARAM_set_auth_level": (None, (_P, c_int)),
    "X509_verify_cert": (c_int, (_P,)),
    "X509_verify_cert_error_string": (c_char_p, (c_long,)),
}


@lru_cache(maxsize=1)
def library() -> Any:
    """Return libcrypto with every prototype set.

    Raises:
        ConfigError: This Python's `ssl` is not built on OpenSSL 3 or later.
    """
    # dlsym on the extension module's handle also searches what it is linked with: the very
    # libcrypto that TLS uses, whatever its path. A static build has its symbols in the program.
    loaded: Any = ctypes.CDLL(getattr(_ssl, "__file__", None))
    try:
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise ConfigError(f"libcrypto lacks a function: {error}", hint="needs OpenSSL 3") from error
    if loaded.OpenSSL_version_num() < _OPENSSL_3:
        raise ConfigError("this Python's ssl module is older than OpenSSL 3")
    return loaded


@contextlib.contextmanager
def owned(pointer: int | None, free: Callable[[int], None], what: str) -> Generator[int]:
    """Hold a pointer that libcrypto gave us and free it at the end.

    Raises:
        TrustError: The pointer is null.
    """
    if not pointer:
        raise failure(TrustError, what)
    try:
        yield pointer
    finally:
        free(pointer)


def check(code: int, what: str) -> None:
    """Check a return code that is 1 for success.

    Raises:
        TrustError: Any other value.
    """
    if code != 1:
        raise failure(TrustError, what)


def failure(error: type[TrustError], what: str) -> TrustError:
    """Return an error that names OpenSSL's first reason, and empty the thread's error queue."""
    code: int = library().ERR_get_error()
    library().ERR_clear_error()
    if not code:
        return error(what)
    text = ctypes.create_string_buffer(256)
    library().ERR_error_string_n(code, text, len(text))
    return error(f"{what}: {text.value.decode('ascii', 'replace')}")


def parsed(function: Callable[..., int | None], raw: bytes, what: str) -> int:
    """Call a `d2i_...` function over all of `raw` and return the pointer, now the caller's.

    Raises:
        FramingError: Not one whole DER sequence.
        TrustError: libcrypto cannot read it.
    """
    element = der.DerReader(raw)
    element.raw(der.SEQUENCE)
    element.end()
    buffer = ctypes.create_string_buffer(raw, len(raw))
    cursor = c_void_p(ctypes.addressof(buffer))
    pointer = function(None, byref(cursor), len(raw))
    if not pointer:
        raise failure(TrustError, what)
    # d2i_AutoPrivateKey tries several forms and leaves the failed attempts in the queue.
    library().ERR_clear_error()
    return pointer


def written(function: Callable[..., int], pointer: int, what: str) -> bytes:
    """Call an `i2d_...` function and return what it wrote.

    Raises:
        TrustError: libcrypto cannot write it.
    """
    out = c_void_p()
    size = function(pointer, byref(out))
    if size <= 0 or not out.value:
        raise failure(TrustError, what)
    try:
        return ctypes.string_at(out.value, size)
    finally:
        library().CRYPTO_free(out, None, 0)
