"""What a check finds, for build servers: which risk is over which limit, on which path. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from asepsis.analysis.plans.problem import Plan
from asepsis.analysis.threats.compiled import UNITS, Objective
from asepsis.analysis.threats.study import Risks, Study
from asepsis.analysis.threats.telling import Path

SHARE_SHOWN: Final = 0.01
"""A loss that makes up less than this share of a risk is not named beside it."""


class Kind(StrEnum):
    """What is found."""

    OVER = "risk-over-limit"
    NOT_ACCEPTED = "loss-not-accepted"
    REACHED = "loss-reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A risk beside its limit.

    Attributes:
        objective: In which.
        risk: A year, with the harm that the plan adds.
        limit: Most that is allowed; None where none was given.
        losses: What makes it up, largest first, each with its share of the risk a year.
    """

    objective: Objective
    risk: float
    limit: float | None
    losses: Sequence[tuple[str, float]]

    @property
    def over(self) -> bool:
        """Whether it is exceeded."""
        return self.limit is not None and self.risk > self.limit

    @property
    def text(self) -> str:
        """One sentence for people."""
        words = f"{self.risk:.4g} {UNITS[self.objective]} ({self.objective.value})"
        return words if self.limit is None else f"{words}, {self.limit:g} allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A loss that attackers can reach, beside what is accepted.

    Attributes:
        path: Its best path.
        accepted: Largest probability that somebody accepted; None if nobody did.
    """

    path: Path
    accepted: float | None

    @property
    def over(self) -> bool:
        """Whether more is left than accepted."""
        return self.accepted is not None and self.path.at_most > self.accepted

    @property
    def text(self) -> str:
        """One sentence for people."""
        words = f"{self.path.text}: {self.path.at_most:.3g} a year by the best path"
        return words if self.accepted is None else f"{words}, {self.accepted:g} accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one check found.

    Attributes:
        risks: Objective -> risk a year.
        limits: One for each objective in which something is at risk or limited.
        found: One for each loss that can be reached, worst first.
    """

    risks: Risks
    limits: Sequence[Limit]
    found: Sequence[Found]

    @property
    def over(self) -> bool:
        """Whether any limit or accepted risk is exceeded."""
        return any(line.over for line in (*self.limits, *self.found))

    def document(self) -> dict[str, Any]:
        """Return what is exceeded as plain values."""
        return {
            "risks": dict(self.risks),
            "over": [
                {"objective": line.objective.value, "risk": line.risk, "limit": line.limit}
                for line in self.limits
                if line.over
            ],
            "not_accepted": [
                {
                    "loss": line.path.loss,
                    "probability": line.path.at_most,
                    "accepted": line.accepted,
                }
                for line in self.found
                if line.over
            ],
        }


def checked(study: Study, plan: Plan, *, limits: Mapping[Objective, float | None]) -> Checked:
    """Compare what a plan leaves with limits and accepted risks.

    Args:
        study: Model and graph.
        plan: What is there already.
        limits: Most that is allowed, a year; None or no entry for no limit.
    """
    risks = study.risks(plan)
    paths = study.paths(plan, expected=False)
    found = [Found(path=path, accepted=study.model.losses[path.loss].accept) for path in paths]
    return Checked(
        risks=risks,
        limits=[
            Limit(
                objective=objective,
                risk=risks.get(objective.value, 0.0),
                limit=limits.get(objective),
                losses=_shares(paths, objective, risks.get(objective.value, 0.0)),
            )
            for objective in Objective
            if objective.value in risks or limits.get(objective) is not None
        ],
        found=found,
    )


def _shares(paths: Sequence[Path], objective: Objective, risk: float) -> list[tuple[str, float]]:
    shares = [(path.loss, path.columns[objective.value]) for path in paths]
    shown = [(name, share) for name, share in shares if share and share >= risk * SHARE_SHOWN]
    return sorted(shown, key=lambda pair: (-pair[1], pair[0]))
