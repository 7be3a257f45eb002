"""The processes of a gateway's families: started, watched, started anew, ended together."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway_ward import Sender, Ward, oru

from asepsis.core.errors import ConfigError
from asepsis.edge.gateway import families
from asepsis.edge.gateway.settings import Settings

RUN = """
import random, sys, time
from pathlib import Path
from asepsis.edge.gateway.families import Family
from asepsis.edge.gateway.findings import Findings
from asepsis.edge.gateway.supervision import Supervisor
Supervisor(
    [Family(name=n, module=n, wanted=lambda _: True) for n in sys.argv[2:]],
    settings_file=Path(sys.argv[1]) / "settings",
    run_folder=Path(sys.argv[1]) / "run",
    rng=random.Random(1),
    findings=Findings(time.monotonic_ns),
).run()
"""
SLEEPS = "import signal\nsignal.pause()\n"


class Supervised:
    """A supervisor over modules that stand in a folder of the test."""

    def __init__(self, folder: Path, modules: dict[str, str]) -> None:
        self.folder = folder
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text)
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(folder), *modules],
            env={**os.environ, "PYTHONPATH": str(folder)},
            stderr=subprocess.PIPE,
            text=True,
        )

    def rows(self) -> dict[str, Any]:
        try:
            rows = json.loads((self.folder / "run" / "families.json").read_text())
        except (OSError, ValueError):
            return {}
        return {row["family"]: row for row in rows}

    def until(self, told: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            rows = self.rows()
            if rows and told(rows):
                return rows
            time.sleep(0.02)
        raise AssertionError(self.rows())


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Supervised]]:
    made: list[Supervised] = []

    def start(modules: dict[str, str]) -> Supervised:
        made.append(Supervised(tmp_path, modules))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.communicate()


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_one_that_ends_is_started_anew_and_the_other_goes_on(
    supervised: Callable[[dict[str, str]], Supervised],
) -> None:
    one = supervised({"steady": SLEEPS, "shaky": SLEEPS})
    first = one.until(lambda rows: all(row["pid"] for row in rows.values()))
    os.kill(first["shaky"]["pid"], signal.SIGKILL)
    then = one.until(lambda rows: rows["shaky"]["starts"] == 2 and rows["shaky"]["pid"] > 0)
    assert then["steady"]["pid"] == first["steady"]["pid"]
    assert then["shaky"]["last_exit"] == -signal.SIGKILL
    one.process.terminate()
    assert one.process.wait(20) == 0
    assert gone(then["steady"]["pid"])
    assert gone(then["shaky"]["pid"])


def test_one_with_wrong_settings_waits_and_all_of_them_end_the_gateway(
    supervised: Callable[[dict[str, str]], Supervised],
) -> None:
    one = supervised({"steady": SLEEPS, "wrong": "raise SystemExit(5)\n"})
    one.until(lambda rows: rows["wrong"]["last_exit"] == 5)
    time.sleep(0.5)
    assert one.rows()["wrong"]["starts"] == 1
    os.kill(one.process.pid, signal.SIGTERM)
    _, log = one.process.communicate(timeout=20)
    assert json.loads(log.splitlines()[0]) | {"again_s": 0} == {
        "finding": "family-ended", "peer": "wrong", "times": 1, "code": 5, "again_s": 0,
    }  # fmt: skip
    alone = supervised({"wrong": "raise SystemExit(5)\n"})
    _, log = alone.process.communicate(timeout=20)
    assert "ConfigError" in log


def test_a_supervisor_that_is_killed_takes_its_families_with_it(
    supervised: Callable[[dict[str, str]], Supervised],
) -> None:
    one = supervised({"steady": SLEEPS})
    rows = one.until(lambda rows: rows["steady"]["pid"] > 0)
    one.process.kill()
    assert gone(rows["steady"]["pid"])


def test_the_command_runs_what_the_settings_ask_for(prepared: Callable[..., Ward]) -> None:
    ward = prepared()
    script = "import sys; from asepsis.cli.gateway import app; sys.exit(app(sys.argv[1:]))"
    with (ward.folder / "gateway.log").open("ab") as log:
        ward.gateway = subprocess.Popen(
            [sys.executable, "-c", script, "run", "--settings", str(ward.data / "gateway.toml")],
            stdout=log,
            stderr=log,
        )
    file = ward.data / "run" / "ready.json"
    deadline = time.monotonic() + 30
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    ward.ready = json.loads(file.read_text())
    with Sender(ward.port()) as sender:
        assert sender.send(oru(1)) == "CA"  # No hub: the spool's durability is acknowledged.
    (row,) = json.loads((ward.data / "run" / "families.json").read_text())
    assert row["family"] == "hl7"
    assert ward.stop_gateway() == 0
    assert gone(row["pid"])


def test_settings_that_ask_for_nothing_are_refused() -> None:
    with pytest.raises(ConfigError):
        families.wanted(Settings())


def test_no_two_families_share_a_name_or_a_module() -> None:
    names = [family.name for family in families.FAMILIES]
    modules = [family.module for family in families.FAMILIES]
    assert len(set(names)) == len(names)
    assert len(set(modules)) == len(modules)
