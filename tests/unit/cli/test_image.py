"""`asepsis image`: exit codes say what to do, and errors name what is missing."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from asepsis.cli.main import main

# The program reads the shell's words itself; the library finds that odd inside a test.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
PAGE = """---
identifiers:
  - cpe: cpe:2.3:a:openssl:openssl

releases:
  - releaseCycle: "3.0"
    eol: 2026-09-07
---
"""
BILL = {
    "bomFormat": "CycloneDX",
    "components": [
        {
            "name": "libssl3",
            "version": "3.0.22-1",
            "purl": "pkg:deb/debian/libssl3@3.0.22-1",
            "cpe": "cpe:2.3:a:openssl:openssl:3.0.22:*:*:*:*:*:*:*",
        }
    ],
}


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Any:
    def played(*arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["asepsis", "image", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return played


def test_an_audit_ends_with_1_if_support_is_over(
    play: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bill, page = tmp_path / "sbom.json", tmp_path / "openssl.md"
    bill.write_text(json.dumps(BILL), "utf-8")
    page.write_text(PAGE, "utf-8")
    assert play("audit", bill, "--advisories", page, "--on", "2026-09-07", "--json") == 0
    capfd.readouterr()
    assert play("audit", bill, "--advisories", page, "--on", "2026-09-08", "--json") == 1
    found = json.loads(capfd.readouterr().out)
    assert found["support"][0] == {
        "part": "libssl3 3.0.22-1",
        "cycle": "3.0",
        "ends": "2026-09-07",
        "extended": None,
        "over": True,
    }
    assert play("audit", bill, "--advisories", page, "--on", "2026-09-08") == 1
    assert "OVER" in capfd.readouterr().out
    assert play("audit", bill, "--advisories", page, "--on", "soon") == 5


def test_what_is_missing_is_named(
    play: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert play("build", tmp_path, "--out", tmp_path / "out") == 5
    assert "recipe" in capfd.readouterr().err
    assert play("boot", tmp_path, "--efi", tmp_path / "other.efi") == 5
    assert "--firmware" in capfd.readouterr().err
