"""Replays the six attacks on a monolith and on the same services in a compartment, side by side."""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import Unavailable
from asepsis.core.model.manifest_claims import breaches
from asepsis.core.model.manifest_toml import read_manifest
from asepsis.edge.device.manifest import ORIGIN, SHIPPED, VITALS
from asepsis.edge.device.state import code_link
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.sandbox import bubblewrap, launcher
from asepsis.edge.sandbox.control import receive_report
from asepsis.edge.sandbox.generate import host
from asepsis.edge.sandbox.launcher import Compartment
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.attack.mdhex.exploits import HOST, attack
from asepsis.tools.attack.mdhex.services import SERVICES
from asepsis.tools.attack.payload import SUCCEEDED
from asepsis.tools.attack.rig import ADDED, manifest
from asepsis.tools.attack.surroundings import Surroundings, surroundings
from asepsis.tools.attack.takeover import Watched, carried
from asepsis.tools.attack.wave import Wave

WAIT_S: Final = 40.0
KEY_S: Final = 10.0
NAME: Final = "services"
BY_KEYS: Final = ("CVE-2020-6964", "CVE-2020-6966")
CARRIED: Final = ("payload", "mdhex.services", "mdhex.compartment")
_WAY_FOR_KEYS: Final = """
[line.keys]
text = "Keys of a remote keyboard."
bytes_max = 20
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What the six attacks came to on one side.

    Attributes:
        outcomes: By flaw, what was tried from there and what it came to.
        gap_ms_max: Longest time between two blocks of the waveform while it was attacked.
        blocks: Blocks (in the monolith, samples) measured meanwhile.
        facts: What else was seen.
    """

    outcomes: Mapping[str, Mapping[str, str]]
    gap_ms_max: float
    blocks: int
    facts: Mapping[str, Any]

    def succeeded(self, flaw: str) -> list[str]:
        """Return what the attacker achieved through one flaw."""
        return [what for what, word in self.outcomes.get(flaw, {}).items() if word == SUCCEEDED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Both sides, and the honest row.

    Attributes:
        monolith: One process for everything.
        compartments: The same services in a compartment.
        wired: What keys from the network did in compartments whose maker made a way for them.
        claims: Safety claims that a manifest with such a way breaks.
    """

    monolith: Side
    compartments: Side
    wired: str
    claims: tuple[str, ...]

    @property
    def flaws(self) -> list[tuple[str, str]]:
        """Return number and sentence of each flaw."""
        return [
            (name, (service.__doc__ or "").partition(", ")[2].strip())
            for name, service in SERVICES.items()
        ]

    def findings(self) -> list[str]:
        """Return in words what an attacker achieved in compartments."""
        return [
            f"{flaw}: {what}, in compartments"
            for flaw in self.compartments.outcomes
            for what in self.compartments.succeeded(flaw)
        ]

    def document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def replay(folder: IdentityFolder, *, layers: frozenset[Layer], place: Path) -> Replay:
    """Break into a monolith, then into the same services in a compartment.

    Args:
        folder: Of an enrolled device, whose hub nobody is.
        layers: Layers to apply.
        place: Folder of the trial, which other users may pass.

    Raises:
        Unavailable: Something did not come up.
    """
    with surroundings(place) as (around, _):
        alone = _monolith(around, place)
        apart = _Apart(folder, layers=layers, place=place, around=around)
        side, wired = apart.run()
    return Replay(
        monolith=alone, compartments=side, wired=wired, claims=claims_broken_by_remote_keys()
    )


def claims_broken_by_remote_keys() -> tuple[str, ...]:
    """Return the claims that a manifest breaks which lets keys pass from services to vitals."""
    code = 'code = "asepsis.edge.device.vitals"'
    hears = SHIPPED.read_text("utf-8").replace(code, f'{code}\nhears = ["keys"]', 1)
    services = 'code = "asepsis.tools.attack.mdhex.compartment"'
    says = ADDED.read_text("utf-8").replace(services, f'{services}\nsays = ["keys"]', 1)
    text = (hears + _WAY_FOR_KEYS + says).encode()
    found = read_manifest(text, name=ADDED.name).manifest
    return tuple(sorted({breach.claim for breach in breaches(found)}))


def _monolith(around: Surroundings, place: Path) -> Side:
    home = place / "monolith"
    home.mkdir()
    command = [sys.executable, "-m", f"{__package__}.monolith", str(home)]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            ports: dict[str, int] = json.loads(_line(process))
            targets = _targets(around, place / "planted-monolith", vitals=process.pid, key="")
            outcomes = {name: attack(name, port, targets) for name, port in ports.items()}
            if process.stdin:
                process.stdin.close()
            facts = json.loads(_line(process))
        finally:
            process.kill()
    return Side(
        outcomes=outcomes, gap_ms_max=facts["gap_ms_max"], blocks=facts["samples"], facts=facts
    )


def _line(process: "subprocess.Popen[str]") -> str:
    if process.stdout is None or not select.select([process.stdout], [], [], WAIT_S)[0]:
        raise Unavailable("the monolith says nothing")
    return process.stdout.readline() or "{}"


def _targets(around: Surroundings, outside: Path, *, vitals: int, key: str) -> dict[str, Any]:
    return {
        "vitals": vitals,
        "key": key,
        "elsewhere": around.elsewhere,
        "outside": str(outside),
    }


@dataclass(slots=True)
class _Attack:
    ports: Mapping[str, int]
    targets: Mapping[str, Any]
    outcomes: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def run(self) -> None:
        for name, port in self.ports.items():
            self.outcomes[name] = attack(name, port, self.targets)


class _Apart:
    def __init__(
        self,
        folder: IdentityFolder,
        *,
        layers: frozenset[Layer],
        place: Path,
        around: Surroundings,
    ) -> None:
        self._watched = Watched(folder, layers)
        self._place = place
        self._around = around
        self._declared = manifest().compartments[NAME]

    def run(self) -> tuple[Side, str]:
        watched = self._watched
        with watched.running() as supervisor:
            _until(supervisor, lambda: supervisor.feed(ORIGIN) is not None)
            supervisor.bedside("tachycardia")
            _until(supervisor, lambda: bool(watched.told(VITALS, "alarm")))
            wave = Wave()
            began_ns = time.monotonic_ns()
            outcomes = self._attacked(supervisor, tuple(SERVICES), wave, wired=False)
            over_ns = time.monotonic_ns()
            side = Side(
                outcomes=outcomes,
                gap_ms_max=wave.longest_ms(began_ns, over_ns),
                blocks=wave.blocks(began_ns, over_ns),
                facts={"starts_of_vitals": supervisor.starts[VITALS]},
            )
            wired = self._wired(supervisor, wave)
            wave.close()
        return side, wired

    def _wired(self, supervisor: Supervisor, wave: Wave) -> str:
        """Be attacked with remote keys that lead to the bedside."""
        if supervisor.starts[VITALS] != 1:
            return "not tried: vitals was started anew before"
        before = len(self._watched.told(VITALS, "alarm"))
        self._attacked(supervisor, BY_KEYS, wave, wired=True)
        deadline_s = time.monotonic() + KEY_S
        while len(self._watched.told(VITALS, "alarm")) == before:
            if time.monotonic() > deadline_s:
                return "nothing came of it"
            supervisor.step()
        return "the alarm is acknowledged from the network"

    def _attacked(
        self, supervisor: Supervisor, names: tuple[str, ...], wave: Wave, *, wired: bool
    ) -> dict[str, dict[str, str]]:
        listeners = {name: socket.create_server((HOST, 0)) for name in SERVICES}
        ports = {name: int(listeners[name].getsockname()[1]) for name in names}
        services = self._start(listeners, wired=wired)
        try:
            tries = _Attack(
                ports,
                _targets(
                    self._around,
                    self._place / "planted-compartments",
                    vitals=supervisor.pid(VITALS),
                    key=str(self._watched.folder.origin_key_path),
                ),
            )
            thread = threading.Thread(target=tries.run, daemon=True)
            thread.start()

            def over() -> bool:
                wave.follow(supervisor.feed(VITALS))
                _pass_keys(services, supervisor)
                return not thread.is_alive()

            _until(supervisor, over)
            _until(supervisor, _after(0.5, over))
        finally:
            services.kill()
        return tries.outcomes

    def _start(self, listeners: dict[str, socket.socket], *, wired: bool) -> Compartment:
        layers = self._watched.layers
        state = self._place / NAME
        state.mkdir(mode=0o700, exist_ok=True)
        if Layer.USERS in layers:
            os.chown(state, self._declared.user, self._declared.user)
        plan = host.blueprint(self._declared, layers=layers, state=state, prelude=carried(CARRIED))
        seen = bubblewrap.STATE if Layer.BUBBLEWRAP in layers else state
        code = code_link(self._watched.folder.path, bubblewrap.code().package)
        try:
            with (self._place / "services.log").open("ab", buffering=0) as log:
                return launcher.launch(
                    plan,
                    body={"state": str(seen), "wired": wired},
                    descriptors={name: line.fileno() for name, line in listeners.items()},
                    code_folder=code,
                    log=log,
                )
        finally:
            for listener in listeners.values():
                listener.close()


def _pass_keys(services: Compartment, supervisor: Supervisor) -> None:
    """Be the maker who wired remote keys to the bedside."""
    while True:
        try:
            report = receive_report(services.control)
        except BlockingIOError:
            return
        if report is None:
            raise Unavailable("the services ended")
        if report.get("event") == "key":
            with contextlib.suppress(Unavailable):  # Vitals may be starting anew.
                supervisor.bedside("acknowledge")


def _until(supervisor: Supervisor, wanted: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not wanted():
        if time.monotonic() > deadline_s:
            raise Unavailable("the replay did not come so far")
        supervisor.step()


def _after(seconds: float, what: Callable[[], object]) -> Callable[[], bool]:
    until_s = time.monotonic() + seconds

    def over() -> bool:
        what()
        return time.monotonic() > until_s

    return over
