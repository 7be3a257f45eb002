"""Makes the helpers of this folder importable by their tests."""

import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load(name: str) -> ModuleType:
    full = f"asepsis_device_tests_{name}"
    if full not in sys.modules:
        path = Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(full, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


@pytest.fixture(scope="session")
def ward() -> ModuleType:
    """Return the module that enrols a device by hand."""
    return _load("ward")


@pytest.fixture(scope="session")
def intrusion() -> ModuleType:
    """Return the module that runs devices under attack."""
    return _load("intrusion")


@pytest.fixture(scope="session")
def outage() -> ModuleType:
    """Return the module that cuts links and watches live views."""
    return _load("outage")


@pytest.fixture(scope="session")
def hub() -> Iterator[Any]:
    """Run one real hub for the tests of this folder."""
    # Not pytest's own folder: the hub's and the signer's users must be able to pass.
    with tempfile.TemporaryDirectory(prefix="asepsis-device-") as folder:
        Path(folder).chmod(0o755)
        with _load("hub").running(Path(folder)) as found:
            yield found


@pytest.fixture(scope="session")
def wide_hub() -> Iterator[Any]:
    """Run a hub that carries requests, and renews no device whose attestation was refused."""
    with tempfile.TemporaryDirectory(prefix="asepsis-device-") as folder:
        Path(folder).chmod(0o755)
        settings = '\n[devices]\ncarry_requests = true\nrenew = "unless-refused"\n'
        with _load("hub").running(Path(folder), settings=settings) as found:
            yield found
