"""The key that seals what a family keeps on the gateway's disk."""

import os
from pathlib import Path

from asepsis.core.errors import ConfigError
from asepsis.core.trust.sealing import KeyEncryptionKey, kek_from_credential, kek_from_passphrase
from asepsis.edge.gateway.settings import Sealing


def open_kek(sealing: Sealing, *, folder: Path) -> KeyEncryptionKey:
    """Return the key that seals the spool.

    Raises:
        ConfigError: The credential or passphrase file is absent or unfit.
    """
    if sealing.source == "passphrase":
        if not sealing.passphrase_file:
            raise ConfigError("sealing.passphrase_file is empty")
        return kek_from_passphrase(Path(sealing.passphrase_file), salt_file=folder / "kek.salt")
    found = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not found:
        raise ConfigError(
            "no systemd credentials",
            hint="LoadCredentialEncrypted=asepsis-kek in the unit, or sealing.source",
        )
    return kek_from_credential(Path(found))
