"""One compartment under supervision: real processes, and a clock that the test turns."""

import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from asepsis.core.errors import Conflict, SafetyRefusal, Unavailable
from asepsis.core.model.manifest import Rung
from asepsis.edge.device.manifest import NETWORK, shipped
from asepsis.edge.sandbox.launcher import Compartment
from asepsis.edge.sandbox.supervision import Phase
from asepsis.edge.sandbox.supervision_parts import Means, Pace, Runner
from asepsis.edge.sandbox.supervision_state import Confirmed, StateStore
from asepsis.edge.sandbox.supervision_watch import LOST_AFTER, Watch
from asepsis.tools.testing.faulty_disk import FaultyDisk

TESTS = ("confined", "alive")
PACE = Pace()


@dataclass
class Ward:
    """A compartment whose processes only wait, on a disk and a clock of the test's own."""

    rung: Rung = Rung.SWAP
    now_s: float = 100.0
    permitted: str | None = ""
    startable: bool = True
    setting: str = "one"
    disk: FaultyDisk = field(default_factory=FaultyDisk)
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    made: list[Runner] = field(default_factory=list[Runner])
    waits: int = 0
    ends: list[socket.socket] = field(default_factory=list[socket.socket])

    def __post_init__(self) -> None:
        declared = shipped().compartments[NETWORK]
        self.watch = Watch(
            replace(declared, update=replace(declared.update, rung=self.rung)),
            means=Means(starter=self, permit=self, wait=self, confirm=self.confirm),
            version="1",
            pace=PACE,
            tell=lambda _, event, details: self.told.append((event, dict(details))),
            clock_s=lambda: self.now_s,
        )

    # What it starts with.
    def start(self, version: str, *, warm: bool) -> Runner:
        del warm
        if not self.startable:
            raise Unavailable("no program")
        own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ends.append(theirs)
        process = subprocess.Popen(["/bin/sleep", "60"])
        compartment = Compartment("network", process=process, pid=process.pid, own=own)
        self.made.append(Runner(process=compartment, version=version, likeness=self.setting))
        return self.made[-1]

    def serve(self, runner: Runner) -> None:
        runner.process.order("serve", {})

    def likeness(self, version: str) -> object:
        del version
        return self.setting

    def may_start(self) -> bool:
        return True

    # How it waits.
    def failed(self) -> float:
        self.waits += 1
        return 1.0

    def succeeded(self) -> None:
        self.waits = 0

    # Who permits.
    def ask(self, version: str) -> None:
        if version == "unasked":
            raise SafetyRefusal("nobody answers")

    def verdict(self) -> str | None:
        return self.permitted

    def redeem(self) -> None:
        return None

    def confirm(self, name: str, version: str) -> None:
        StateStore(self.disk).save(Confirmed().confirm(name, version))

    # What the test does.
    def look(self, after_s: float = 0.0) -> None:
        self.now_s += after_s
        self.watch.look(self.now_s)

    def prove(self, runner: Runner | None, *events: str) -> None:
        assert runner
        for event in events or TESTS:
            self.watch.heard(runner, event)

    def serve_on(self, for_s: float) -> None:
        """Let time pass in which what serves says that it lives."""
        until_s = self.now_s + for_s
        while self.now_s < until_s:
            self.prove(self.watch.serving, "alive")
            self.look(min(5.0, until_s - self.now_s))

    def serving(self) -> Runner:
        self.look()
        self.prove(self.watch.serving)
        assert self.watch.phase is Phase.SERVING
        assert self.watch.serving
        return self.watch.serving

    def events(self) -> list[str]:
        return [event for event, _ in self.told]


@pytest.fixture
def ward() -> Iterator[Ward]:
    yield from closing(Ward())


@pytest.fixture
def restarted() -> Iterator[Ward]:
    yield from closing(Ward(rung=Rung.RESTART))


def closing(made: Ward) -> Iterator[Ward]:
    yield made
    made.watch.end()
    for end in made.ends:
        end.close()
    assert all(not runner.process.running for runner in made.made)


def test_it_starts_proves_itself_and_is_forgiven(ward: Ward) -> None:
    ward.serving()
    ward.waits = 3
    ward.serve_on(PACE.trial_s)
    assert ward.waits == 0


def test_what_ends_is_started_again_after_a_wait(restarted: Ward) -> None:
    runner = restarted.serving()
    runner.process.kill()
    restarted.look()
    assert restarted.events() == ["ended"]
    restarted.look(0.5)
    assert restarted.watch.phase is Phase.DOWN
    restarted.look(0.6)
    assert restarted.watch.phase is Phase.STARTING


def test_what_hangs_is_ended(restarted: Ward) -> None:
    runner = restarted.serving()
    for _ in range(round(restarted.watch.declared.resources.silence_s) + 1):
        restarted.look(PACE.blind_s)
    assert restarted.events() == ["hung"]
    assert not runner.process.running


def test_nobody_was_silent_while_the_whole_machine_stood_still(restarted: Ward) -> None:
    """Goal: after a standstill a compartment has its time again; the standstill counts a little."""
    runner = restarted.serving()
    silence_s = restarted.watch.declared.resources.silence_s
    restarted.look(10 * silence_s)
    assert restarted.events() == []
    assert runner.process.running
    for _ in range(round(silence_s) + 1):
        restarted.look(PACE.blind_s)
    assert restarted.events() == ["hung"]


def test_a_spare_takes_over_at_once_and_is_the_only_one_left(ward: Ward) -> None:
    first = ward.serving()
    ward.look(PACE.spare_s)
    spare = ward.watch.standby
    ward.prove(spare, "confined")
    assert ward.watch.phase is Phase.READY
    ward.watch.gone(first, "ended")
    assert ward.watch.serving is spare
    assert not first.process.running
    assert ward.events() == ["ended", "spare-takes-over"]
    ward.prove(spare, "alive")
    assert ward.watch.phase is Phase.SERVING


def test_a_spare_for_another_setting_is_not_taken(ward: Ward) -> None:
    first = ward.serving()
    ward.look(PACE.spare_s)
    ward.prove(ward.watch.standby, "confined")
    ward.setting = "two"
    ward.watch.gone(first, "ended")
    assert ward.watch.phase is Phase.DOWN
    ward.look(2.0)
    assert ward.watch.serving
    assert ward.watch.serving.likeness == "two"


def test_a_version_takes_over_after_its_permit_and_is_kept_after_its_trial(ward: Ward) -> None:
    old = ward.serving()
    ward.watch.swap("2")
    assert ward.watch.standby
    ward.look()
    assert ward.watch.serving is old
    ward.prove(ward.watch.standby, "confined")
    ward.look()
    ward.look()
    assert ward.watch.phase is Phase.HANDING_OVER
    ward.prove(old, "released")
    new = ward.watch.serving
    assert (ward.watch.version, ward.watch.confirmed) == ("2", "1")
    ward.prove(new, "alive")
    ward.serve_on(PACE.trial_s)
    assert ward.watch.confirmed == "2"
    assert StateStore(ward.disk).load().version("network") == "2"


def test_from_a_trial_one_goes_back_to_the_confirmed_version_only(ward: Ward) -> None:
    ward.serving()
    ward.watch.swap("2")
    ward.prove(ward.watch.standby, "confined")
    ward.look()
    ward.look()
    ward.prove(ward.watch.serving, "released")
    ward.prove(ward.watch.serving, "alive")
    with pytest.raises(Conflict):
        ward.watch.swap("3")
    ward.serve_on(PACE.trial_s - 5.0)
    ward.watch.swap("1")
    ward.serve_on(10.0)  # The trial of version 2 ends meanwhile.
    assert ward.watch.confirmed == "1"
    ward.prove(ward.watch.standby, "confined")
    ward.look()
    ward.look()
    ward.prove(ward.watch.serving, "released")
    ward.prove(ward.watch.serving, "alive")
    assert (ward.watch.version, ward.watch.confirmed) == ("1", "1")
    assert "version-confirmed" not in ward.events()


def test_what_is_ended_for_good_is_not_being_replaced_any_more(ward: Ward) -> None:
    ward.serving()
    ward.watch.swap("2")
    ward.watch.end()
    assert (ward.watch.phase, ward.watch.replacing) == (Phase.DOWN, False)


@pytest.mark.parametrize(
    ("verdict", "why"), [("an alarm is active", "an alarm is active"), (None, "no answer")]
)
def test_without_a_permit_nothing_changes(ward: Ward, verdict: str | None, why: str) -> None:
    old = ward.serving()
    ward.permitted = verdict
    ward.watch.swap("2")
    ward.prove(ward.watch.standby, "confined")
    ward.look()
    ward.look(PACE.permit_s + 0.1)
    assert ward.told[-1] == ("version-refused", {"why": f"no permit: {why}", "version": "2"})
    assert ward.watch.serving is old
    assert ward.watch.phase is Phase.SERVING


def test_by_rung_restart_the_new_one_starts_in_its_place(restarted: Ward) -> None:
    old = restarted.serving()
    restarted.watch.swap("unasked")
    restarted.look()
    assert restarted.events() == ["version-refused"]
    restarted.watch.swap("2")
    restarted.look()
    restarted.look()
    assert restarted.watch.phase is Phase.ENDING
    restarted.look(PACE.release_s + 0.1)
    assert not old.process.running
    assert restarted.watch.phase is Phase.STARTING
    assert restarted.watch.version == "2"
    restarted.watch.gone(restarted.made[-1], "ended")
    assert restarted.told[-1][1]["rolled_back"] == "2"
    restarted.look()
    assert restarted.made[-1].version == "1"


def test_a_full_disk_keeps_nothing_and_stops_nothing(ward: Ward) -> None:
    ward.serving()
    ward.watch.swap("2")
    ward.prove(ward.watch.standby, "confined")
    ward.look()
    ward.look()
    ward.prove(ward.watch.serving, "released")
    ward.prove(ward.watch.serving, "alive")
    ward.disk.fail_at = ward.disk.operations + 1
    ward.serve_on(PACE.trial_s)
    assert ward.events()[-1] == "version-not-kept"
    assert (ward.watch.phase, ward.watch.confirmed) == (Phase.SERVING, "1")
    ward.serve_on(PACE.trial_s)
    assert ward.events()[-1] == "version-confirmed"


def test_one_that_never_comes_up_is_said_to_be_lost(ward: Ward) -> None:
    ward.startable = False
    for _ in range(LOST_AFTER + 2):
        ward.look(2.0)
    assert ward.events().count("compartment-lost") == 1
    ward.startable = True
    ward.look(2.0)
    ward.prove(ward.watch.serving)
    assert ward.watch.phase is Phase.SERVING


def test_what_cannot_be_replaced_now_is_refused(ward: Ward) -> None:
    with pytest.raises(Unavailable):
        ward.watch.swap("2")
    ward.serving()
    ward.watch.swap("2")
    with pytest.raises(Conflict):
        ward.watch.swap("3")
    image = Ward(rung=Rung.IMAGE)
    with pytest.raises(Conflict):
        image.watch.swap("2")


def test_a_killed_process_has_ended_when_kill_returns(ward: Ward) -> None:
    runner = ward.serving()
    runner.process.kill()
    assert not runner.process.running
    with pytest.raises(ProcessLookupError):
        os.kill(runner.process.pid, 0)
