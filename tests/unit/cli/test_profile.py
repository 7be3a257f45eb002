"""`asepsis profile` offline: what it says, and the exit codes that scripts go by."""

import json
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest

from asepsis.cli.main import main
from asepsis.core.compliance.profile import BINDING, Profile, read_profile
from asepsis.core.compliance.verdict import BLOCKING, FLOORS, Rule, Severity

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "standard/schemas/profile.json").read_text("utf-8"))
PROFILE = """
format = 1
name = "acme-m3"
version = 1
interface = "hl7v2"
[header]
versions = ["2.6"]
[[required]]
at = "PID-3"
[[metrics]]
code = 147842
unit = "{beat}/min"
low = 0
high = 350
"""

# The program reads the shell's words itself; the library finds that odd inside a test.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


def oru(value: int) -> bytes:
    return (
        b"MSH|^~\\&|MON|ICU|||20261122||ORU^R01|1|P|2.6\rPID|||4711\r"
        b"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1|%d|264864^^MDC\r" % value
    )


def play(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["asepsis", "profile", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int | None)
    return ended.value.code or 0


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "acme.toml").write_text(PROFILE)
    (tmp_path / "good.hl7").write_bytes(oru(0))
    (tmp_path / "high.hl7").write_bytes(oru(351))
    (tmp_path / "noise.hl7").write_bytes(b"noise")
    (tmp_path / "two.mllp").write_bytes(b"\x0b" + oru(1) + b"\x1c\r\x0b" + oru(999) + b"\x1c\r")
    return tmp_path


@pytest.mark.parametrize(
    ("names", "code"),
    [(["good.hl7"], 0), (["good.hl7", "high.hl7"], 1), (["high.hl7", "noise.hl7"], 2)],
)
def test_the_exit_code_says_the_worst(
    files: Path,
    names: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert play(monkeypatch, "check", files / "acme.toml", *(files / n for n in names)) == code
    told = capfd.readouterr().out
    assert ("observation" in told) is ("high.hl7" in names)


def test_json_has_every_finding_with_the_name_of_its_field(
    files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert play(monkeypatch, "check", files / "acme.toml", files / "two.mllp", "--json") == 1
    told = json.loads(capfd.readouterr().out)
    assert (told["judged"], told["held_back"]) == (2, 1)
    (finding,) = told["verdicts"][1]["findings"]
    assert finding == {
        "rule": "range",
        "severity": "quarantine",
        "where": "OBX[1]-5",
        "field": "observation value",
        "reason": "above what the device declares",
    }


def test_without_a_profile_what_everybody_must_keep_is_judged(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert play(monkeypatch, "check", "none", files / "high.hl7") == 0
    assert play(monkeypatch, "check", files / "absent.toml", files / "high.hl7") == 1


def test_a_proposal_goes_to_a_new_file_only(
    files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    output = files / "learned.toml"
    learn = ("learn", "acme", files / "good.hl7", files / "two.mllp", "--output", output)
    assert play(monkeypatch, *learn) == 0
    assert read_profile(output.read_bytes()).name == "acme"
    assert play(monkeypatch, *learn) == 1
    assert play(monkeypatch, "learn", "acme") == 1
    assert "--device" in capfd.readouterr().err


def test_the_schema_and_the_reader_agree() -> None:
    """Goal: the published schema takes what the reader takes, and hides no patient either."""
    judge = jsonschema.Draft202012Validator(SCHEMA)
    judge.validate(tomllib.loads(PROFILE))
    assert set(SCHEMA["properties"]) == set(Profile.__struct_fields__)
    words = {name: SCHEMA["properties"]["severities"]["properties"][name] for name in Rule}
    for rule, schema in words.items():
        kind = schema.get("$ref", "").removeprefix("#/$defs/")
        allowed = SCHEMA["$defs"][kind]["enum"] if kind else [schema["const"]]
        floor = FLOORS.get(Rule(rule), Severity.WARN)
        ceiling = Severity.BLOCK if rule in BLOCKING else Severity.QUARANTINE
        assert {Severity.named(word) for word in allowed} == {
            severity for severity in Severity if floor <= severity <= ceiling
        }, rule
    assert BINDING.interface == "hl7v2"
