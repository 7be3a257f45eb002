"""The compartments of the update agent: fetcher and self-test, by the manifest of this device."""

from functools import lru_cache
from pathlib import Path
from typing import Final

from asepsis.core.model.manifest import Manifest
from asepsis.core.model.manifest_claims import require_claims
from asepsis.core.model.manifest_toml import read_manifest
from asepsis.edge.device.manifest import SHIPPED

FETCHER: Final = "fetcher"
SELFTEST: Final = "selftest"
DECLARED: Final = Path(__file__).with_name("update.toml")


@lru_cache(maxsize=1)
def updating() -> Manifest:
    """Return the manifest of this device with what updates it; every safety claim holds.

    Raises:
        ConfigError: A file was changed into none, or breaks a claim.
    """
    text = SHIPPED.read_bytes() + DECLARED.read_bytes()
    manifest = read_manifest(text, name=DECLARED.name).manifest
    require_claims(manifest)
    return manifest
