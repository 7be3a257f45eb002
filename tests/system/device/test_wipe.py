"""The end of a device at a real hub: wiped, its receipt verified, its certificates revoked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asepsis.edge.device.wipe import Order, wipe

NAME = "urn:dev:mac:0012210000000061"
pytestmark = pytest.mark.slow


def asepsis(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asepsis.cli.main", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_wiped_device_is_revoked_by_its_receipt(hub: Any, tmp_path: Path) -> None:
    folder, data = hub.enrolled(NAME), hub.made.data
    order = Order(medium=None, fill=False, by="A. Technician", tool="test", now=lambda: "2026")
    receipt = wipe(folder, order=order).receipt
    assert receipt
    path = tmp_path / "receipt.json"
    path.write_bytes(receipt.replace(b'"chain"', b'"other"'))
    refused = asepsis("devices", "retire", path, "--yes", "--data", data)
    assert refused.returncode != 0
    path.write_bytes(receipt)
    done = asepsis("devices", "retire", path, "--yes", "--json", "--data", data)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["device"] == NAME
    assert told["receipt"]["method"].startswith("NIST SP 800-88")
    shown = json.loads(asepsis("devices", "show", NAME, "--json", "--data", data).stdout)
    assert shown["revoked_at_ns"]
