"""`asepsis driver`: what is shipped conforms, what is begun works, what is kept can be replayed."""

import subprocess
import sys
from pathlib import Path

import pytest

from asepsis.cli.main import assembled
from asepsis.core.errors import AsepsisError, ConfigError, InputError
from asepsis.edge.gateway.drivers import recording
from asepsis.edge.gateway.drivers.catalogue import DRIVERS, find, load_file, plans
from asepsis.edge.gateway.drivers.sdk import Linked, Values
from asepsis.edge.gateway.drivers.settings import DriverEntry
from asepsis.tools.testing.intellivue_monitor import Monitor
from asepsis.tools.testing.medibus_ventilator import Ventilator
from asepsis.tools.testing.peer_servers import PtyPeer, UdpPeer

MONITOR = "urn:dev:mac:0000000000000041"


def run(*words: str) -> int:
    """Run a command; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        assembled()(words)
    return int(ended.value.code or 0)


def test_the_shipped_drivers_are_listed_and_conform(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("driver", "list", "--json") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in DRIVERS)
    assert run("driver", "check", "medibus") == 0
    assert "conforms" in capsys.readouterr().out


def test_a_new_driver_works_and_its_tests_pass(tmp_path: Path) -> None:
    assert run("driver", "new", "pump_x", "--folder", str(tmp_path)) == 0
    file, test = tmp_path / "pump_x.py", tmp_path / "test_pump_x.py"
    assert run("driver", "check", str(file), "--peer", str(test)) == 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for path in (file, test):
        lint = [sys.executable, "-m", "ruff", "check", "--quiet", "--isolated", str(path)]
        assert subprocess.run(lint, check=False).returncode == 0
    with pytest.raises(InputError):
        assembled()(
            ["driver", "new", "pump_x", "--folder", str(tmp_path)], result_action="return_value"
        )


@pytest.mark.parametrize("which", ["intellivue", "medibus"])
def test_a_session_is_kept_and_replayed(tmp_path: Path, which: str) -> None:
    file = tmp_path / "session"
    peer = UdpPeer(Monitor()) if which == "intellivue" else PtyPeer(Ventilator())
    where = (
        ("--address", "127.0.0.1", "--port", str(peer.port))
        if isinstance(peer, UdpPeer)
        else ("--line", peer.path)
    )
    peer.start()
    try:
        assert run("driver", "capture", which, "--to", str(file), *where, "--seconds", "1.6") == 0
    finally:
        peer.close()
    assert file.stat().st_mode & 0o777 == 0o600
    told = [told for _, told in recording.replay(DRIVERS[which], recording.read(file))]
    assert [told for told in told if isinstance(told, Linked)]
    assert [told for told in told if isinstance(told, Values)]
    assert run("driver", "replay", str(file), "--driver", which) == 0


@pytest.mark.parametrize(
    "text",
    ["", '{}\n{"at_ns": 1}\n', "{}\nnonsense\n", '{}\n{"at_ns": 1, "way": "in", "hex": "x"}'],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "session"
    file.write_text(text)
    try:
        assert not list(recording.read(file))
    except InputError:
        return
    assert not text


def entry(**more: object) -> DriverEntry:
    usual: dict[str, object] = {
        "name": "m",
        "device": MONITOR,
        "driver": "intellivue",
        "address": "10.0.0.9",
        "cleartext": True,
    }
    return DriverEntry(**(usual | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [
        {"driver": ""},
        {"driver": "nobody"},
        {"file": "x.py"},
        {"address": "192.168.0.1"},
        {"address": "monitor.example"},
        {"cleartext": False},
        {"device": "monitor"},
        {"driver": "medibus"},
        {"driver": "medibus", "address": ""},
    ],
)
def test_settings_that_do_not_fit_are_an_operators_mistake(
    tmp_path: Path, more: dict[str, object]
) -> None:
    with pytest.raises(ConfigError):
        plans([entry(**more)], segments=["10.0.0.0/8"], folder=tmp_path)


def test_two_cables_are_not_one_device(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two drivers"):
        plans([entry(), entry(name="n")], segments=["10.0.0.0/8"], folder=tmp_path)
    (plan,) = plans([entry()], segments=["10.0.0.0/8"], folder=tmp_path)
    assert plan.device.uri == MONITOR


@pytest.mark.parametrize("text", ["", "DRIVER = 1", "raise ValueError", "import nothing_there"])
def test_a_file_that_is_no_driver_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(AsepsisError):
        load_file(file)
    with pytest.raises(ConfigError):
        find("", "absent.py", folder=tmp_path)
