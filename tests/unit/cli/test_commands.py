"""The commands say the same in the terminal and on their page; exit codes say what to do."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from asepsis.cli.main import GROUPS, assembled, main
from asepsis.cli.output import exit_code
from asepsis.core import errors

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
TOKEN = f"id.{'s' * 43}.{'ab' * 32}"


def play(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Run a command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["asepsis", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int | None)
    return ended.value.code or 0


def run(*arguments: str | Path, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell would."""
    command = [sys.executable, *python, "-m", "asepsis.cli.main", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def commands(found: App, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    """Yield every command that does something, with its words."""
    names = [name for name in found if not name.startswith("-")]
    if found.default_command is not None:
        yield path, found
    for name in names:
        yield from commands(found[name], (*path, name))


# The program reads the shell's words itself; the library finds that odd inside a test.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
ALL = dict(commands(assembled()))


def test_the_page_lists_every_command() -> None:
    listed = re.findall(r"^\| `asepsis ([a-z -]+)` \|", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(" ".join(words) for words in ALL)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_explains_a_command_and_its_options_are_on_the_page(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert play(monkeypatch, *words, "--help") == 0
    told = capfd.readouterr().out
    assert " ".join(("Usage: asepsis", *words)) in told
    written = set(re.findall(r"(--[a-z][a-z-]+)", PAGE))
    shown = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", told))
    twins = {"--help", "--version"} | {s for s in shown if re.match(r"--(no|empty)-", s)}
    positional = (
        {"--name", "--expectation", "--certificate", "--fingerprint", "--gateway", "--devices"}
        if words[0] != "hub"
        else set[str]()
    )
    assert shown - twins - positional <= written


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_whole_when_it_is_loaded_alone(group: str) -> None:
    """Goal: what a module adds to a group is not missing because nobody loaded that module."""
    script = (
        "import sys; from asepsis.cli.main import assembled\n"
        "def walk(app, path):\n"
        "    if app.default_command is not None: print(*path)\n"
        "    for name in app:\n"
        "        if not name.startswith('-'): walk(app[name], (*path, name))\n"
        "walk(assembled(sys.argv[1:]), ())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, group],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    expected = {" ".join(words) for words in ALL if words[0] == group}
    assert set(done.stdout.splitlines()) == expected


def test_help_of_asepsis_lists_the_groups() -> None:
    done = run("--help")
    assert done.returncode == 0, done.stderr
    for group in {words[0] for words in ALL}:
        assert re.search(rf"^\W*{group}\s", done.stdout, re.MULTILINE), group


def test_the_page_names_every_class_of_errors_with_its_exit_code() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| .*(ASP-\dxx)", PAGE, re.MULTILINE))
    for kind in (
        errors.InputError,
        errors.TrustError,
        errors.SafetyRefusal,
        errors.TransientError,
        errors.ConfigError,
    ):
        assert rows[str(exit_code(kind("x")))] == f"{kind.code[:5]}xx"
    assert exit_code(errors.AsepsisError("x")) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("enrol", "expect", "a monitor"), 1, "ASP-100"),
        (("enrol", "expect", "urn:dev:mac:00", "--kind", "gateway"), 1, "ASP-100"),
        (("nonsense",), 2, "nonsense"),
        (("enrol", "expect"), 2, "requires an argument"),
        (("demo", "--seconds", "many"), 2, "seconds"),
        (("devices", "list", "--data", "{empty}"), 4, "ASP-403"),
        (("enrol", "list", "--data", "{empty}"), 4, "ASP-403"),
        (("hub", "status", "--data", "{empty}"), 5, "ASP-500"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_the_exit_code_says_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    words = (word.replace("{empty}", str(tmp_path)) for word in arguments)
    assert play(monkeypatch, *words) == code
    assert says in capfd.readouterr().err


def test_a_hub_without_a_hospital_does_not_start(tmp_path: Path) -> None:
    """Goal: in a process of its own, because a hub gives root up for ever."""
    done = run("hub", "--data", tmp_path)
    assert done.returncode == 5
    assert "ASP-500" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_file_that_is_none_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    common = ("--token-file", file, "--hub", "127.0.0.1", "--folder", tmp_path / "device")
    for text in (None, TOKEN[:-1], "\udcff"):
        if text is not None:
            file.write_text(text, "utf-8", errors="surrogateescape")
        name = "urn:dev:mac:0000000000000001"
        assert play(monkeypatch, "enrol", "device", name, *common) == 1
        told = capfd.readouterr()
        assert "s" * 43 not in told.out + told.err


def test_a_hub_that_is_away_is_exit_code_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    code = play(
        monkeypatch,
        *("enrol", "device", "urn:dev:mac:0000000000000001", "--token-file", file),
        *("--hub", "127.0.0.1", "--enrolment-port", "1", "--folder", tmp_path / "device"),
    )
    assert code == 4


def test_without_its_own_checks_nothing_runs() -> None:
    done = run("hub", "status", python=("-O",))
    assert done.returncode == 5
    assert "-O" in done.stderr


def test_init_refuses_what_it_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = play(
        monkeypatch,
        *("hub", "init", "--data", tmp_path / "data", "--hospital", "H", "--name", "localhost"),
        *("--root-key", tmp_path / "root.key", "--root-passphrase-file", tmp_path / "absent"),
        *("--sealing-passphrase-file", tmp_path / "absent"),
    )
    assert code == 5
    assert not (tmp_path / "data").exists()
