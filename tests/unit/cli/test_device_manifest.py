"""`asepsis device check|explain|diff|generate` as people and scripts see them."""

import json
import re
import sys
import textwrap
from pathlib import Path

import pytest

from asepsis.cli.main import main
from asepsis.core.model.manifest_claims import CLAIMS
from asepsis.edge.device.manifest import SHIPPED
from asepsis.edge.sandbox.generate import secilc

# The program reads the shell's words itself; the library finds that odd inside a test.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
TEXT = SHIPPED.read_text("utf-8")


def play(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["asepsis", "device", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int | None)
    return ended.value.code or 0


@pytest.fixture
def unsafe(tmp_path: Path) -> Path:
    """Return a manifest in which the network compartment may write the vitals ring."""
    path = tmp_path / "unsafe.toml"
    path.write_text(
        TEXT.replace('reads = ["signed"]', 'reads = ["signed"]\nwrites = ["vitals"]'), "utf-8"
    )
    return path


def test_the_shipped_manifest_is_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert play(monkeypatch, "check") == 0
    assert "11 of 11" in capsys.readouterr().out
    assert play(monkeypatch, "check", "--json") == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document["claims_broken"] == []
    compiler = secilc.program()
    assert document["selinux"]["result"] == ("compiled" if compiler else "not compiled")


def test_a_broken_claim_is_told_by_its_id_with_file_and_line(
    unsafe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert play(monkeypatch, "check", SHIPPED, unsafe) == 2
    assert "CLAIM-RING-001" in capsys.readouterr().out
    assert play(monkeypatch, "check", "--json", unsafe) == 2
    (document,) = json.loads(capsys.readouterr().out)
    found = {breach["claim"]: breach for breach in document["claims_broken"]}
    assert found["CLAIM-RING-001"]["where"] == "unsafe.toml:8"
    assert document["selinux"]["result"] == "not compiled"


def test_a_mistake_is_told_and_nothing_else_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(TEXT.replace("syscalls", "syscals"), "utf-8")
    for command in (
        ["check", wrong],
        ["explain", wrong],
        ["diff", wrong],
        ["generate", wrong, "--into", tmp_path / "made"],
    ):
        assert play(monkeypatch, *command) == 5
        said = capsys.readouterr().err
        assert "wrong.toml" in said
        assert "syscalls" in said
    assert not (tmp_path / "made").exists()


def test_a_difference_is_told_as_rights(
    unsafe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert play(monkeypatch, "diff", SHIPPED) == 0
    assert "no difference" in capsys.readouterr().out
    assert play(monkeypatch, "diff", SHIPPED, unsafe) == 2
    out = capsys.readouterr().out
    assert "+ network writes ring vitals" in out
    assert "CLAIM-RING-001" in out
    assert play(monkeypatch, "diff", "--json", unsafe, SHIPPED) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["lost"] == ["network writes ring vitals"]
    assert document["gained"] == document["claims_newly_broken"] == []


def test_it_is_explained_in_words_and_as_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert play(monkeypatch, "explain") == 0
    out = capsys.readouterr().out
    assert all(claim in out for claim in CLAIMS)
    assert "timekeeper" in out
    assert play(monkeypatch, "explain", "--json") == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document["reached_from_outside"]["origin"] == "timekeeper"
    assert document["host"]["vitals"]["landlock"]["write"] == []
    assert "network reads ring signed" in document["rights"]
    assert any("(allow network_t ring__signed_t" in rule for rule in document["selinux"])


def test_files_are_generated_only_from_what_is_safe(
    unsafe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    into = tmp_path / "made"
    assert play(monkeypatch, "generate", "--into", into, "--dry-run") == 0
    assert "device.cil" in capsys.readouterr().out
    assert not into.exists()
    assert play(monkeypatch, "generate", unsafe, "--into", into) == 5
    assert "CLAIM-RING-001" in capsys.readouterr().err
    assert not into.exists()
    assert play(monkeypatch, "generate", "--into", into, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert all((into / name).is_file() for name in document["files"])
    blocked = tmp_path / "file"
    blocked.write_text("", "utf-8")
    assert play(monkeypatch, "generate", "--into", blocked) == 5


def test_the_how_to_adds_a_display_that_keeps_every_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).parents[3] / "docs/howto/write-a-manifest.md"
    (block,) = re.findall(r"```toml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    ours = tmp_path / "ours.toml"
    ours.write_text(TEXT + textwrap.dedent("   " + block.lstrip()), "utf-8")
    assert play(monkeypatch, "check", ours) == 0
    capsys.readouterr()
    assert play(monkeypatch, "diff", SHIPPED, ours) == 1
    told = capsys.readouterr().out
    rights = [line for line in told.splitlines() if line.startswith(("+", "-"))]
    assert "+ display reads ring vitals" in rights
    assert all(line.startswith("+ display ") for line in rights)
    assert not re.search("connected to|listens", told)
