"""What `asepsis threats plan` prints around a plan: why, how sure, what more money would buy."""

import random
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from asepsis.analysis.threats.compiled import UNITS
from asepsis.analysis.threats.reasons import Reason, reasons
from asepsis.analysis.threats.stability import (
    FACTOR,
    Price,
    Stability,
    Swing,
    prices,
    stability,
    tornado,
)
from asepsis.analysis.threats.study import Planned, Study
from asepsis.cli.output import console, show_facts, show_table
from asepsis.cli.threats_shown import figure

ROWS = 12
"""Widest swings that are printed; `--json` has all."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """What is asked for beside the plan."""

    why: Annotated[
        bool, Parameter(help="Say why the plan takes each thing, and why not the others.")
    ] = False
    prices: Annotated[bool, Parameter(help="Say what each budget is worth at its limit.")] = False
    draws: Annotated[
        int, Parameter(help="Try the plan under so many draws of all uncertain figures.")
    ] = 0
    factor: Annotated[
        float, Parameter(help="With --draws: by how much each figure may be off.")
    ] = FACTOR
    seed: Annotated[int, Parameter(help="With --draws: the same seed draws the same.")] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What was found; empty where nothing was asked for."""

    why: tuple[Reason, ...]
    prices: tuple[Price, ...]
    tornado: tuple[Swing, ...]
    stability: Stability | None

    def to_document(self) -> dict[str, Any]:
        """Return plain values for JSON, only those that were asked for."""
        found = {
            "why": [asdict(reason) for reason in self.why],
            "prices": [{**asdict(price), "for_each": price.for_each} for price in self.prices],
            "tornado": [asdict(swing) for swing in self.tornado],
            "stability": None if self.stability is None else asdict(self.stability),
        }
        return {name: value for name, value in found.items() if value}


def weigh(study: Study, planned: Planned, asked: Weighing) -> Weighed:
    """Return what was asked for about a plan.

    Raises:
        InputError: A number of draws or a factor out of its range.
    """
    return Weighed(
        why=tuple(reasons(study, planned)) if asked.why else (),
        prices=tuple(prices(study, planned)) if asked.prices else (),
        tornado=tuple(tornado(study, planned, factor=asked.factor)) if asked.draws else (),
        stability=stability(
            study,
            planned,
            rng=random.Random(asked.seed),  # noqa: S311 - draws of a study, repeatable
            draws=asked.draws,
            factor=asked.factor,
        )
        if asked.draws
        else None,
    )


def show_weighed(found: Weighed, planned: Planned) -> None:
    """Print it for people."""
    unit = UNITS[planned.objective]
    for reason in found.why:
        mark = "+" if reason.taken else "-"
        console.print(f"{mark} {reason.text}", markup=False, soft_wrap=True)
    if found.prices:
        rows = [_price(price) for price in found.prices]
        columns = ("budget", "limit", "needed", "one step less", "best use of more", "for each")
        show_table(f"What budgets are worth ({unit})", columns, rows)
    if found.tornado:
        rows = [
            (s.input, figure(s.low), figure(s.high), _changes(s))
            for s in found.tornado
            if s.changes or s.impossible or s in found.tornado[:ROWS]
        ]
        columns = ("if this is off", "too high", "too low", "the plan would")
        show_table(f"What the plan leaves then ({unit})", columns, rows)
    if found.stability is not None:
        _show_stability(found.stability)


def _show_stability(found: Stability) -> None:
    low, middle, high = (figure(value) for value in found.left)
    facts = {
        "no plan keeps what is accepted in": f"{found.impossible:.0%} of {found.draws} draws",
        "stays the best plan in": f"{found.same:.0%} of the others",
        "within 1 % of the best in": f"{found.as_good:.0%}",
        "leaves at most above the best": f"{found.regret:.0%}",
        "leaves (5 %, middle, 95 %)": f"{low}, {middle}, {high}",
        "best plans take": ", ".join(
            f"{name} {share:.0%}"
            for name, share in sorted(found.taken.items(), key=lambda item: (-item[1], item[0]))
        ),
    }
    show_facts("If all figures are off at once", facts)


def _price(price: Price) -> tuple[str, ...]:
    less = "" if price.less is None else f"{price.less:,.0f}: {figure(price.costs)} more is left"
    more = (
        "nothing" if price.more is None else f"{price.more:,.0f}: {figure(price.spares)} less left"
    )
    each = f"{price.for_each:.3g}" if price.for_each else ""
    return price.budget, f"{price.limit:,.0f}", f"{price.needed:,.0f}", less, more, each


def _changes(swing: Swing) -> str:
    words = [f"take {name}" if not before else f"drop {name}" if not after else
             f"take {name}={after}" for name, (before, after) in swing.changes.items()]  # fmt: skip
    words += ["have no way to keep what is accepted"] * swing.impossible
    return ", ".join(words) or "stay"
