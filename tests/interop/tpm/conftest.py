"""A real (software) TPM, and what its device should be."""

from collections.abc import Generator

import pytest

from asepsis.core.trust.tpm import EccKey
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import keys
from asepsis.tools.testing.software_tpm import SoftwareTpm


@pytest.fixture
def software() -> Generator[SoftwareTpm]:
    with SoftwareTpm() as tpm:
        yield tpm


@pytest.fixture
def tpm(software: SoftwareTpm) -> Generator[Tpm]:
    with Tpm(software.path) as line:
        yield line


@pytest.fixture
def ak(tpm: Tpm) -> EccKey:
    return keys(tpm)[1]
