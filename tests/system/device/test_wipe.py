"""The end of a device at a real hub: wiped, its receipt verified, its certificates revoked."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from asepsis.cli.devices import people
from asepsis.cli.main import main
from asepsis.edge.device.wipe import Order, wipe

NAME = "urn:dev:mac:0012210000000061"
# The program reads the shell's words itself; the library finds that odd inside a test.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens"),
]


def retire(monkeypatch: pytest.MonkeyPatch, receipt: Path, data: Path) -> int:
    words = ["asepsis", "devices", "retire", str(receipt), "--yes", "--json", "--data", str(data)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_wiped_device_is_revoked_by_its_receipt(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, data = hub.enrolled(NAME), hub.made.data
    order = Order(medium=None, fill=False, by="A. Technician", tool="test", now=lambda: "2026")
    receipt = wipe(folder, order=order).receipt
    assert receipt
    path = tmp_path / "receipt.json"
    path.write_bytes(receipt.replace(b'"chain"', b'"other"'))
    client = people(data)
    try:
        assert retire(monkeypatch, path, data) != 0
        assert not client.device(NAME)["revoked_at_ns"], "a changed receipt revokes nobody"
        path.write_bytes(receipt)
        capfd.readouterr()
        assert retire(monkeypatch, path, data) == 0
        told = json.loads(capfd.readouterr().out)
        assert told["device"] == NAME
        assert told["receipt"]["method"].startswith("NIST SP 800-88")
        assert client.device(NAME)["revoked_at_ns"]
    finally:
        client.close()
