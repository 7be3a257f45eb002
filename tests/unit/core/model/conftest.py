"""Manifests made by hypothesis, and the one that is shipped."""

from pathlib import Path

import pytest

import asepsis
from asepsis.core.model.manifest import Manifest
from asepsis.core.model.manifest_toml import read_manifest

SHIPPED = Path(asepsis.__file__).parent / "edge" / "device" / "monitor.toml"


@pytest.fixture(scope="session")
def text() -> str:
    """Return the text of the manifest that a device runs by."""
    return SHIPPED.read_text("utf-8")


@pytest.fixture(scope="session")
def shipped(text: str) -> Manifest:
    """Return the manifest that a device runs by."""
    return read_manifest(text.encode()).manifest
