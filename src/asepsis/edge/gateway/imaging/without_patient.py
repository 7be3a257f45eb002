"""Takes the patient out of what a destination gets: in the process that speaks DICOM.

A destination that asks for it never gets an object as it was: what cannot be read, or is too long
to be held, is refused.

Source: DICOM PS3.15 annex E (Basic Application Level Confidentiality Profile).
"""

import encodings
import importlib
import pkgutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.core.mapping import dicom_protection
from asepsis.edge.gateway.imaging import datasets
from asepsis.edge.gateway.imaging.settings import ArchiveEntry
from asepsis.edge.inspection.sample import SAMPLE

OBJECT_BYTES_MAX: Final = 64 << 20
"""Longest object that is changed: it is held as a whole, read and written again."""
MEMORY_MIB: Final = 512
"""What that takes on one association at most."""
SECRET_BYTES_MIN: Final = 32
SECRET_BYTES_MAX: Final = 4_096

Protect = Callable[[bytes], bytes]
"""Returns a DICOM file without the patient; raises InputError for what cannot be read."""


def check(entry: ArchiveEntry) -> None:
    """Check what goes together.

    Raises:
        ConfigError: No secret, or an archive that is also asked about what it does not know.
    """
    if bool(entry.uid_secret_file) != entry.deidentify:
        raise ConfigError(f"{entry.host}: deidentify and uid_secret_file belong together")
    if entry.deidentify and (entry.queries or entry.commits or entry.worklist):
        raise ConfigError(
            f"{entry.host}: an archive without patients knows no UID that a modality knows",
            hint="no queries, commits or worklist beside deidentify",
        )


def protection(entry: ArchiveEntry) -> Protect | None:
    """Return what takes patients out for a destination; None where they stay in.

    Everything that it loads is loaded now: a confined process cannot load.

    Raises:
        ConfigError: The secret cannot be read, or is too short.
    """
    if not entry.deidentify:
        return None
    try:
        with Path(entry.uid_secret_file).open("rb") as file:
            secret = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{entry.uid_secret_file}: {error.strerror}") from error
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise ConfigError(
            f"{entry.uid_secret_file}: not {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes",
            hint="head -c 32 /dev/urandom > FILE",
        )
    for module in pkgutil.iter_modules(encodings.__path__):
        with suppress(ImportError):  # Codecs of other operating systems.
            importlib.import_module(f"encodings.{module.name}")
    datasets.preload()
    dicom_protection.protect(SAMPLE, secret=secret)
    return lambda data: dicom_protection.protect(data, secret=secret)
