"""What the owner of the network compartment can make others believe: nothing, or it shows."""

import tempfile
from pathlib import Path

import pytest

from asepsis.edge.sandbox.layers import detect
from asepsis.tools.attack import rows_device, rows_service
from asepsis.tools.attack.enrolled import enrolled
from asepsis.tools.attack.rows import HARMLESS, REFUSED, VISIBLE

LIVES = 3
pytestmark = pytest.mark.slow


def test_nothing_is_believed_and_nobody_is_moved() -> None:
    """Goal: signed bytes, request gate and supervisor, each attacked by who holds the way in."""
    with tempfile.TemporaryDirectory(prefix="asepsis-rows-") as made:
        Path(made).chmod(0o755)
        folder = enrolled(Path(made) / "device")
        rows = rows_device.rows(folder, layers=detect().holding, lives=LIVES)
    assert {row.name: row.outcome for row in rows} == {
        "change-value": REFUSED,
        "forge-idle": REFUSED,
        "sign-with-tls-key": REFUSED,
        "sign-as-origin": REFUSED,
        "replay": REFUSED,
        "replay-of-a-boot": REFUSED,
        "withhold-batch": VISIBLE,
        "drop-alarm": VISIBLE,
        "limit": REFUSED,
        "supervisor": HARMLESS,
    }


def test_nobody_gets_in_by_the_service_port() -> None:
    """Goal: closed, opened in use, and kept until a patient comes; and it can be opened at all."""
    with tempfile.TemporaryDirectory(prefix="asepsis-rows-") as made:
        Path(made).chmod(0o755)
        folder = enrolled(Path(made) / "device")
        rows = rows_service.rows(folder, layers=detect().holding)
    assert {row.name: row.outcome for row in rows} == {
        "service-closed": REFUSED,
        "service-in-use": REFUSED,
        "service-kept": REFUSED,
    }
