"""The manifest that this device runs by, read from the file that is shipped with it.

The names stand here because each of these compartments is started with things of its own; what
they may do stands in the file and nowhere else.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.core.model.manifest import Manifest
from asepsis.core.model.manifest_claims import require_claims
from asepsis.core.model.manifest_toml import (
    MANIFEST_BYTES_MAX,
    ManifestFile,
    read_manifest,
)

VITALS: Final = "vitals"
ORIGIN: Final = "origin"
NETWORK: Final = "network"
TIMEKEEPER: Final = "timekeeper"
ATTESTER: Final = "attester"
VERIFIER: Final = "verifier"
SHIPPED: Final = Path(__file__).with_name("monitor.toml")
DISPLAY: Final = Path(__file__).with_name("display.toml")
"""The compartment of a screen, for devices that have one."""
ON_DEMAND: Final = Path(__file__).with_name("on_demand.toml")
"""Compartments that are started for one matter; no supervisor keeps them running."""
WHOLE: Final = (SHIPPED, DISPLAY, ON_DEMAND)
"""Files of every compartment that a device of ours can have, in the order they are read."""


def read_file(path: Path) -> ManifestFile:
    """Read a manifest from a file.

    Raises:
        ConfigError: It cannot be read, or is none; with file and line.
    """
    return read_manifest(read_text(path), name=path.name)


@lru_cache(maxsize=1)
def shipped() -> Manifest:
    """Return the manifest of this device; every safety claim holds in it.

    Raises:
        ConfigError: The file was changed into none, or breaks a claim.
    """
    manifest = read_file(SHIPPED).manifest
    require_claims(manifest)
    return manifest


@lru_cache(maxsize=1)
def with_display() -> Manifest:
    """Return the manifest of a device with a screen: what its supervisor keeps running.

    Raises:
        ConfigError: A file was changed into none, or breaks a claim.
    """
    return together(SHIPPED, DISPLAY)


@lru_cache(maxsize=1)
def whole() -> Manifest:
    """Return the manifest of a device with a screen and what is started on demand.

    Raises:
        ConfigError: A file was changed into none, or breaks a claim.
    """
    return together(*WHOLE)


def together(*files: Path) -> Manifest:
    """Return the manifest that files are behind each other; every safety claim holds in it.

    Raises:
        ConfigError: A file was changed into none, or a claim is broken.
    """
    manifest = read_together(*files).manifest
    require_claims(manifest)
    return manifest


def read_together(*files: Path) -> ManifestFile:
    """Read files behind each other as one manifest, so that one set of rules judges all of it.

    Raises:
        ConfigError: They cannot be read, or are none.
    """
    text = b"".join(read_text(path) for path in files)
    return read_manifest(text, name=" + ".join(path.name for path in files))


def read_text(path: Path) -> bytes:
    """Return the text of a manifest, and one byte of what is more than a manifest may have.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
