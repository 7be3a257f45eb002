"""Runs a device whose compartments are held by an attacker, with some layers on and others off.

Standard library, `asepsis.core` and `asepsis.edge` only, so that any user's Python can run it.
"""

import base64
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from asepsis.core.errors import FramingError, Unavailable
from asepsis.core.model.manifest import Manifest
from asepsis.core.trust import libcrypto
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.manifest import NETWORK, ORIGIN, VITALS, WHOLE, together
from asepsis.edge.device.state import code_link
from asepsis.edge.device.supervisor import Supervisor
from asepsis.edge.sandbox import bubblewrap, launcher
from asepsis.edge.sandbox.control import receive_report
from asepsis.edge.sandbox.generate import host
from asepsis.edge.sandbox.launcher import Compartment
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital, IdentityFolder
from asepsis.tools.attack.surroundings import (
    HOST,
    OTHER_HOST,
    QUERY,
    Surroundings,
    Visits,
    surroundings,
)
from asepsis.tools.attack.table import ATTACKS, WRAPPED, Vantage
from asepsis.tools.attack.takeover import (
    GATEWAY_LAYERS,
    Watched,
    first_address,
    gateway_blueprint,
    prelude,
)

ADDED: Final = Path(__file__).with_name("compartments.toml")
TRIAL_S: Final = 60.0
SETTLE_S: Final = 1.2
"""Vitals says once a second how it fares: its word after the last attack is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the attacks came to with some layers on.

    Attributes:
        layers: Layers that were on.
        abi: Landlock's version, as this machine has it or as it was made to look.
        outcomes: By vantage and name of the attack.
        visits: Who was reached how often from outside the broker.
        vitals_starts: Starts of vitals; 1 is unmoved.
        ticks: Blocks of samples that vitals measured meanwhile.
        skipped: Blocks that it did not.
    """

    layers: frozenset[Layer]
    abi: int
    outcomes: Mapping[Vantage, Mapping[str, str]]
    visits: Mapping[str, int]
    vitals_starts: int
    ticks: int
    skipped: int


def manifest() -> Manifest:
    """Return the manifest of a whole device with the compartment that a trial adds.

    Raises:
        ConfigError: A file was changed into none, or a claim is broken.
    """
    return together(*WHOLE, ADDED)


def vantages(attack_layers: frozenset[Layer]) -> dict[Vantage, frozenset[Layer]]:
    """Return the layers that are on in each compartment."""
    return {
        vantage: attack_layers if vantage in WRAPPED else attack_layers & GATEWAY_LAYERS
        for vantage in Vantage
    }


def attacked(folder: IdentityFolder, *, layers: frozenset[Layer], abi: int, place: Path) -> Trial:
    """Run a device with an attacker in every vantage at once, and return what came of it.

    Args:
        folder: Of an enrolled device; its hub is replaced by one that never answers.
        layers: Layers to apply.
        abi: Landlock is made to look no newer than this.
        place: Folder of the trial, which other users may pass.

    Raises:
        Unavailable: A compartment did not come up, or the attacks did not end in time.
    """
    with surroundings(place) as (around, visits):
        name, _, root_der = folder.load()
        hub = Endpoint(HOST, around.hub)
        folder.finish(name, Hospital(hub, hub), root_der)
        return _Run(folder, layers=layers, abi=abi, place=place).trial(around, visits)


class _Run:
    def __init__(
        self, folder: IdentityFolder, *, layers: frozenset[Layer], abi: int, place: Path
    ) -> None:
        self._watched = Watched(folder, layers)
        self._abi = abi
        self._place = place
        self._guests: dict[Vantage, Compartment] = {}
        self._outcomes: dict[Vantage, dict[str, str]] = {vantage: {} for vantage in Vantage}
        self._supervisor: Supervisor | None = None
        self._around: Surroundings | None = None

    def trial(self, around: Surroundings, visits: Visits) -> Trial:
        watched, self._around = self._watched, around
        watched.on_event = self._take_over
        log_path = self._place / "guests.log"
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(log_path.open("ab", buffering=0))
            supervisor = self._supervisor = stack.enter_context(watched.running())
            stack.callback(self._end_guests)
            self._until(lambda: supervisor.feed(ORIGIN) is not None)
            self._start_guests(supervisor, log)
            self._until(self._all_done)
            self._during(SETTLE_S)
            visits.hang_up()
            alive = watched.told(VITALS, "alive")
            facts = alive[-1] if alive else {}
            return Trial(
                layers=watched.layers,
                abi=self._abi,
                outcomes=self._outcomes,
                visits={who: count for who, count in visits.seen.items() if who != "hub"},
                vitals_starts=supervisor.starts[VITALS],
                ticks=int(facts.get("ticks", 0)),
                skipped=int(facts.get("skipped", 0)),
            )

    def _take_over(self, compartment: str, event: str) -> None:
        if (compartment, event) == (ORIGIN, "mapped"):
            self._watched.preludes[NETWORK] = self._prelude(Vantage.NETWORK)

    def _prelude(self, vantage: Vantage) -> str:
        if self._supervisor is None or self._around is None:
            raise AssertionError("nothing runs that could be attacked")
        keys = self._watched.folder.origin_key_path
        origin = self._supervisor.pid(ORIGIN)
        return prelude(
            vantage,
            abi=self._abi,
            targets={
                **_where(self._around),
                "attacks": [a.name for a in ATTACKS if vantage in a.held],
                "vitals": self._supervisor.pid(VITALS),
                "origin": origin,
                "address": first_address(origin),
                "keys": [str(keys), "/state/../origin.key", f"/proc/{origin}/root{keys}"],
                "outside": str(self._place / f"outside-{vantage.name}"),
                "mount_point": str(_made(self._place / f"mount-{vantage.name}")),
            },
        )

    def _start_guests(self, supervisor: Supervisor, log: IO[bytes]) -> None:
        package = bubblewrap.code().package
        code = code_link(self._watched.folder.path, package)
        declared = manifest().compartments
        feed = supervisor.feed(VITALS)
        if feed is None:
            raise Unavailable("vitals has no ring")
        key = libcrypto.generate_key()
        files = {"candidate": b"candidate", "signature": key.sign(b"candidate")}
        opened = {name: _memory(name, content) for name, content in files.items()}
        spki = base64.b64encode(key.spki_der).decode()
        bodies: dict[Vantage, tuple[dict[str, Any], dict[str, int]]] = {
            Vantage.DISPLAY: (
                {"ring_epoch": feed.epoch, "kind": Kind.MONITOR.value},
                feed.handed(),
            ),
            Vantage.VERIFIER: ({"spki": spki}, opened),
            Vantage.GATEWAY: ({}, {}),
        }
        try:
            for vantage, (body, descriptors) in bodies.items():
                text = self._prelude(vantage)
                if vantage in WRAPPED:
                    plan = host.blueprint(
                        declared[vantage.value],
                        layers=self._watched.layers,
                        state=self._place,
                        prelude=text,
                    )
                else:
                    plan = gateway_blueprint(self._watched.layers, prelude=text)
                self._guests[vantage] = launcher.launch(
                    plan, body=body, descriptors=descriptors, code_folder=code, log=log
                )
        finally:
            for descriptor in opened.values():
                os.close(descriptor)

    def _all_done(self) -> bool:
        attacks = self._watched.told(NETWORK, "attack")
        self._outcomes[Vantage.NETWORK] = {d["name"]: d["outcome"] for d in attacks}
        for vantage, guest in self._guests.items():
            _listen(guest, self._outcomes[vantage])
        return all("done" in found for found in self._outcomes.values()) and self._forget_done()

    def _forget_done(self) -> bool:
        for found in self._outcomes.values():
            found.pop("done")
        return True

    def _until(self, wanted: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + TRIAL_S
        while not wanted():
            if self._supervisor is None or time.monotonic() > deadline_s:
                missing = [v.value for v, found in self._outcomes.items() if "done" not in found]
                raise Unavailable(f"the attacks did not end: {', '.join(missing)}")
            self._supervisor.step()

    def _during(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while self._supervisor is not None and time.monotonic() < until_s:
            self._supervisor.step()

    def _end_guests(self) -> None:
        for guest in self._guests.values():
            guest.kill()


def _where(around: Surroundings) -> dict[str, Any]:
    return {
        "hub": around.hub,
        "elsewhere": around.elsewhere,
        "other_host": OTHER_HOST,
        "udp": around.udp,
        "dns": around.dns,
        "ipv6": around.ipv6,
        "query": QUERY.decode("latin-1"),
        "path_socket": str(around.path_socket),
        "abstract": around.abstract,
        "dev_mem": Path("/dev/mem").exists(),
    }


def _made(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def _memory(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _listen(guest: Compartment, outcomes: dict[str, str]) -> None:
    """Take the reports of a compartment that the supervisor does not know."""
    while True:
        try:
            report = receive_report(guest.control)
        except (BlockingIOError, FramingError, OSError):
            return
        if report is None:
            raise Unavailable(f"{guest.name} ended before its attacks")
        if report.get("event") == "attack":
            outcomes[str(report["name"])] = str(report["outcome"])
        elif report.get("event") == "failed":
            raise Unavailable(f"{guest.name} did not come up: {report.get('text')}")
