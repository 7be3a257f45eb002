"""Loads what the TUF libraries load on first use, before a process gives up reading their files."""

from datetime import UTC, datetime
from typing import Final

from asepsis.core.trust.metadata.faults import translated
from asepsis.core.trust.metadata.library import CryptoSigner, Metadata, Timestamp

_REHEARSED: Final = datetime(2026, 1, 1, tzinfo=UTC)


def rehearse_metadata() -> None:
    """Sign, write, read and check metadata once."""
    key = CryptoSigner.generate_ecdsa()
    metadata = Metadata(Timestamp(expires=_REHEARSED))
    metadata.sign(key)
    with translated("the rehearsal"):
        again = Metadata[Timestamp].from_bytes(metadata.to_bytes())
        key.public_key.verify_signature(again.signatures[key.public_key.keyid], again.signed_bytes)
