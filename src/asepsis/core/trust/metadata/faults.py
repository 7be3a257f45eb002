"""Turns the errors of python-tuf and securesystemslib into ours; none of theirs leaks."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from tuf.api import exceptions
from tuf.api.serialization import DeserializationError, SerializationError

from asepsis.core import errors
from asepsis.core.trust.metadata.library import SignatureLibraryError

_BY_CLASS: Final[tuple[tuple[type[Exception], type[errors.AsepsisError], str], ...]] = (
    (DeserializationError, errors.InputError, "not TUF metadata"),
    (SerializationError, errors.InputError, "not TUF metadata"),
    (exceptions.ExpiredMetadataError, errors.TrustError, "expired"),
    (exceptions.BadVersionNumberError, errors.TrustError, "rolled back"),
    (exceptions.UnsignedMetadataError, errors.SignatureInvalid, "not signed by enough keys"),
    (exceptions.LengthOrHashMismatchError, errors.ContentMismatch, "another length or hash"),
    (exceptions.RepositoryError, errors.TrustError, "not acceptable"),
    (SignatureLibraryError, errors.SignatureInvalid, "not a usable key or signature"),
)
"""The first that fits: python-tuf's class, ours, and the word for it."""
DETAIL_CHARS_MAX: Final = 200


@contextmanager
def translated(what: str) -> Generator[None]:
    """Raise our errors for those of the libraries inside the block.

    Args:
        what: What was being checked, for the message.

    Raises:
        TrustError: Expired, rolled back, signed by too few keys, or against TUF's rules.
        ContentMismatch: Bytes of another length or hash than the signed ones.
        InputError: Not TUF metadata.
    """
    try:
        yield
    except (
        exceptions.RepositoryError,
        DeserializationError,
        SerializationError,
        SignatureLibraryError,
    ) as error:
        raise fault(what, error) from error


def fault(what: str, error: Exception) -> errors.AsepsisError:
    """Return our error for one of the libraries'."""
    for theirs, ours, word in _BY_CLASS:
        if isinstance(error, theirs):
            return ours(f"{what} is {word}: {str(error)[:DETAIL_CHARS_MAX]}")
    raise AssertionError("not an error of these libraries")
