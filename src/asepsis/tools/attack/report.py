"""What trials came to, for people, for scripts, and as a page for the security file."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2

from asepsis.core.errors import ConfigError
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.sandbox.layers import Layers
from asepsis.tools.attack import sets
from asepsis.tools.attack.guest import GuestTrial
from asepsis.tools.attack.mdhex.replay import Replay
from asepsis.tools.attack.payload import ABSENT, DENIED, SUCCEEDED
from asepsis.tools.attack.rig import Trial
from asepsis.tools.attack.rows import Row
from asepsis.tools.attack.table import ATTACKS, LANDLOCK_VERSIONS, Attack, Vantage, expected

JSON_FILE: Final = "attack.json"
HTML_FILE: Final = "attack.html"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One attack from one vantage in one trial.

    Attributes:
        vantage: From where.
        measured: `denied`, `SUCCEEDED` or `absent`.
        detail: What the attacker was told.
        wanted: What the table says.
    """

    vantage: Vantage
    measured: str
    detail: str
    wanted: str

    @property
    def weaker(self) -> bool:
        """Whether it succeeded where a layer was said to stop it."""
        return self.measured == SUCCEEDED and self.wanted != SUCCEEDED

    @property
    def stronger(self) -> bool:
        """Whether it was stopped where the table names no layer that would."""
        return self.measured == DENIED and self.wanted == SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the trials ran.

    Attributes:
        kernel: Its version.
        abi: Landlock's version; 0 for none.
        as_root: Whether the device was started as root.
        layers: What holds.
    """

    kernel: str
    abi: int
    as_root: bool
    layers: Layers

    @classmethod
    def here(cls, found: Layers, *, abi: int) -> "Machine":
        """Return this machine."""
        return cls(kernel=os.uname().release, abi=abi, as_root=os.geteuid() == 0, layers=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All trials of a run.

    Attributes:
        machine: Where.
        at: When, as ISO 8601.
        trials: Label and outcome, in the order of the run.
        rows: Attacks on what travels and on the supervisor, tried with every layer on.
        guest: Attacks as root against the SELinux policy; None if no guest was started.
        replay: The six MDhex-shaped flaws in a monolith and in a compartment; None if not asked.
    """

    machine: Machine
    at: str
    trials: Sequence[tuple[str, Trial]]
    rows: Sequence[Row] = ()
    guest: GuestTrial | None = None
    replay: Replay | None = None

    def cells(self, attack: Attack, trial: Trial) -> list[Cell]:
        """Return what an attack came to from every vantage that holds what it attacks."""
        found: list[Cell] = []
        for vantage in Vantage:
            if vantage in attack.held:
                measured = trial.outcomes[vantage].get(attack.name, ABSENT)
                word, _, detail = measured.partition(": ")
                wanted = expected(
                    attack,
                    vantage=vantage,
                    layers=trial.layers,
                    abi=trial.abi,
                    as_root=self.machine.as_root,
                )
                found.append(Cell(vantage=vantage, measured=word, detail=detail, wanted=wanted))
        return found

    def findings(self) -> list[str]:
        """Return in words where a layer did not stop what it should, or vitals was moved."""
        found: list[str] = []
        for label, trial in self.trials:
            for attack in ATTACKS:
                found += [
                    f"{label}: {attack.name} succeeded from {cell.vantage.value}"
                    for cell in self.cells(attack, trial)
                    if cell.weaker
                ]
            if trial.vitals_starts != 1:
                found.append(f"{label}: vitals was started {trial.vitals_starts} times")
        found += [f"{row.name}: {row.detail}" for row in self.rows if row.believed]
        found += self.guest.findings() if self.guest else []
        found += self.replay.findings() if self.replay else []
        return found

    def carried_by(self, attack: Attack) -> list[str]:
        """Return the layers without which an attack succeeds somewhere, of those tried."""
        return [
            label.removeprefix("-")
            for label, trial in self.trials
            if label.startswith("-")
            and any(cell.measured == SUCCEEDED for cell in self.cells(attack, trial))
        ]

    def counts(self, trial: Trial) -> dict[str, int]:
        """Return how many outcomes of a trial were which."""
        measured = [cell.measured for attack in ATTACKS for cell in self.cells(attack, trial)]
        return {word: measured.count(word) for word in (DENIED, SUCCEEDED, ABSENT)}

    def document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "format": FORMAT,
            "at": self.at,
            "machine": {
                "kernel": self.machine.kernel,
                "landlock": self.machine.abi,
                "as_root": self.machine.as_root,
                "layers": self.machine.layers.as_document(),
            },
            "trials": [self._trial(label, trial) for label, trial in self.trials],
            "rows": [row.document() for row in self.rows],
            "guest": self.guest.document() if self.guest else None,
            "mdhex": self.replay.document() if self.replay else None,
            "expected": predictions(self.machine.layers.holding),
            "findings": self.findings(),
        }

    def _trial(self, label: str, trial: Trial) -> dict[str, Any]:
        return {
            "layers": label,
            "on": sorted(layer.value for layer in trial.layers),
            "landlock": trial.abi,
            "counts": self.counts(trial),
            "vitals_starts": trial.vitals_starts,
            "ticks": trial.ticks,
            "skipped": trial.skipped,
            "visits": dict(trial.visits),
            "attacks": [
                {
                    "name": attack.name,
                    "group": attack.group.value,
                    "title": attack.title,
                    "outcomes": {
                        cell.vantage.value: {
                            "measured": cell.measured,
                            "detail": cell.detail,
                            "expected": cell.wanted,
                        }
                        for cell in self.cells(attack, trial)
                    },
                }
                for attack in ATTACKS
            ],
        }


def predictions(holding: frozenset[Layer]) -> list[dict[str, Any]]:
    """Return which attacks succeed on which version of Landlock with which layers, as root.

    Args:
        holding: Layers that hold where `all` are on.
    """
    found: list[dict[str, Any]] = []
    for abi in LANDLOCK_VERSIONS:
        for label in sets.labels([sets.EACH]):
            on = sets.layers(label, holding=holding)
            found.append(
                {
                    "landlock": abi,
                    "layers": label,
                    "succeed": [
                        attack.name
                        for attack in ATTACKS
                        if any(
                            expected(attack, vantage=vantage, layers=on, abi=abi, as_root=True)
                            == SUCCEEDED
                            for vantage in attack.held
                        )
                    ],
                }
            )
    return found


def write_reports(report: Report, folder: Path) -> dict[str, Path]:
    """Write both forms and return where they are.

    Raises:
        ConfigError: The folder cannot be written.
    """
    text = json.dumps(report.document(), indent=1, ensure_ascii=False) + "\n"
    forms = {JSON_FILE: text, HTML_FILE: as_html(report)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in forms.items():
            (folder / name).write_text(content, "utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write reports to {folder}: {error.strerror}") from error
    return {name: folder / name for name in forms}


def as_html(report: Report) -> str:
    """Return the report as one page without scripts or references to anything outside."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html.jinja")
    return page.render(
        report=report,
        attacks=ATTACKS,
        vantages=list(Vantage),
        succeeded=SUCCEEDED,
        guest=report.guest.document() if report.guest else None,
        predictions=predictions(report.machine.layers.holding),
    )
