"""The revocation list for others: kept fresh, and only warned about when it is not.

The hub itself never reads it. What it admits follows from its own state, which knows a revocation
within a second; a list that nobody renewed must not refuse a ward (REQ-ID-016, REQ-ID-017).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from asepsis.core.errors import TransientError, TrustError
from asepsis.core.trust.sealing import write_durably
from asepsis.hub.keys import SignerClient

FILE: Final = "hospital.crl"
RENEW_EVERY: Final = timedelta(days=1)
"""Age at which a new list is signed; far below its validity."""

log = structlog.get_logger("hub")


class RevocationList:
    """Keeps `run/hospital.crl` (DER) fresh for peers that check certificates without this hub.

    Args:
        path: The file.
        signer: Signs it.
        clock: Wall time, nanoseconds since 1970.
    """

    def __init__(self, path: Path, signer: SignerClient, *, clock: Callable[[], int]) -> None:
        self._path = path
        self._signer = signer
        self._clock = clock

    async def care(self) -> None:
        """Sign a new list if the present one is a day old; warn if it is past its next update.

        Never raises for a list that cannot be renewed: nothing here depends on it.
        """
        now = datetime.fromtimestamp(self._clock() // 1_000_000_000, tz=UTC)
        found = self._read()
        if found is not None and now - found.last_update_utc < RENEW_EVERY:
            return
        try:
            write_durably(self._path, await self._signer.sign_crl())
            self._path.chmod(0o644)
        except (TransientError, TrustError, OSError) as error:
            if found is None or (found.next_update_utc or now) <= now:
                log.warning("the revocation list is stale", error=type(error).__name__)

    def _read(self) -> x509.CertificateRevocationList | None:
        try:
            return x509.load_der_x509_crl(self._path.read_bytes())
        except (OSError, ValueError):
            return None  # Absent or damaged: a new one is signed.
