"""`asepsis audit verify` says what the file alone says, with the exit codes of `asepsis`."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from asepsis.cli.main import main
from asepsis.core.trust import libcrypto, merkle, witness
from asepsis.core.trust.witness import Seen
from asepsis.tools.evidence import verify_evidence

KEY = libcrypto.generate_key()
NOW_NS = 1_800_000_000 * 10**9
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


def play(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["asepsis", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int | None)
    return ended.value.code or 0


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(5)]
    state = merkle.Frontier()
    for one in leaves:
        state, _ = state.append(one)
    signed = witness.cosign(KEY, Seen(5, state.root()), at_ns=NOW_NS)
    pack: dict[str, Any] = {
        "format": verify_evidence.PACK_FORMAT,
        "hospital": "",
        "about": ["x"],
        "size": 5,
        "made_at_ns": NOW_NS,
        "leaves": base64.b64encode(b"".join(leaves)).decode(),
        "cosignatures": [
            {
                "witness": "gw",
                "size": 5,
                "root": signed.root.hex(),
                "at_ns": NOW_NS,
                "signature": signed.signature.hex(),
            }
        ],
        "entries": [],
        "documents": [],
        "witnesses": [],
    }
    trust = {
        "format": verify_evidence.TRUST_FORMAT,
        "threshold": 1,
        "witnesses": [{"name": "gw", "key": KEY.spki_der.hex()}],
    }
    places = tmp_path / "pack.json", tmp_path / "trust.json"
    for path, content in zip(places, (pack, trust), strict=True):
        path.write_text(json.dumps(content))
    return places


def test_a_pack_that_holds(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    paper = files[0].with_suffix(".pdf")
    assert play(monkeypatch, "audit", "verify", *files, "--pdf", paper) == 0
    assert "holds" in capfd.readouterr().out
    assert paper.read_bytes().startswith(b"%PDF-")


def test_a_pack_that_does_not(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mirror = files[0].with_name("leaves.bin")
    mirror.write_bytes(merkle.leaf_hash(b"\0") + bytes(32))
    assert play(monkeypatch, "audit", "verify", *files, "--against", mirror) == 2
    said = capfd.readouterr()
    assert "leaf 1:" in said.out
    assert "first bad leaf is 1" in " ".join(said.err.split())


def test_what_is_no_pack(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert play(monkeypatch, "audit", "verify", files[1], files[1]) == 1
    assert play(monkeypatch, "audit", "verify", files[0].with_name("absent"), files[1]) == 5
    assert play(monkeypatch, "audit", "trust", files[0], "--approver", "vendor=x") == 1
    assert play(monkeypatch, "audit", "export", files[0], "--about", "x", "--document", "x") == 1
    assert play(monkeypatch, "audit", "witness", files[0], "--every", "0") == 1
    assert "ASP-" in capfd.readouterr().err
