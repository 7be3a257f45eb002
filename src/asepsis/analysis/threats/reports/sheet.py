"""The sheet on which two parties discuss a plan: what one of them does, pays, gains and accepts.

It is a draft of the responsibility agreement: the manufacturer evaluates the risk of its device,
the hospital accepts the risk of its network and its use; neither signs for the other.

Source: IEC 80001-1:2021, 5.6 and Annex on responsibility agreements; ISO 14971:2019, 8 and 10.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from asepsis.analysis.plans.problem import Plan
from asepsis.analysis.threats.compiled import budgets
from asepsis.analysis.threats.difference import meaning
from asepsis.analysis.threats.model import Model, Party
from asepsis.analysis.threats.reports.blocks import Block, Document, Heading, Table, Words
from asepsis.analysis.threats.reports.committee import (
    PLAN_HEAD,
    PLAN_WIDTHS,
    Findings,
    left_of,
    plan_rows,
    proof_words,
    unit_of,
)
from asepsis.analysis.threats.reports.figures import figure
from asepsis.analysis.threats.telling import Path

OTHER: Final[Mapping[Party, Party]] = {"hospital": "vendor", "vendor": "hospital"}
_BLANK: Final = "________________"
_ROLE: Final[Mapping[Party, str]] = {
    "hospital": "The hospital accepts the risks of its network and of its use of the devices. It "
    "does not sign for the design of a device.",
    "vendor": "The vendor evaluates the risks of its devices and says what remains in them. It "
    "does not sign for the hospital's network and use.",
}


def sheet(found: Findings, *, party: Party) -> Document:
    """Return the sheet of one party.

    Args:
        found: Plan and paths.
        party: Whose.
    """
    return Document(
        title=f"What the {party} does: {found.study.model.name}",
        subtitle=f"Draft for a responsibility agreement (IEC 80001-1), made {found.made}; "
        f"meaning of the model {meaning(found.study.graph)[:16]}",
        blocks=(
            Words(text=_ROLE[party], strong=True),
            *_does(found, party),
            *_pays(found, party),
            *_gains(found, party),
            *_alone(found, party),
            *_accepts(found, party),
        ),
    )


def _does(found: Findings, party: Party) -> Iterator[Block]:
    model, plan = found.study.model, found.planned.best.plan
    own = part(model, plan, decides=party)
    others = part(model, plan, decides=OTHER[party])
    yield Heading(text=f"What the {party} does")
    none = f"The plan has nothing that the {party} decides."
    yield Table(head=PLAN_HEAD, rows=plan_rows(model, own), widths=PLAN_WIDTHS, none=none)
    yield Heading(text=f"What it relies on: the {OTHER[party]}'s part")
    none = f"The plan has nothing that the {OTHER[party]} decides."
    yield Table(head=PLAN_HEAD, rows=plan_rows(model, others), widths=PLAN_WIDTHS, none=none)
    never = [name for name, control in model.countermeasures.items() if control.never]
    if never:
        yield Words(text=f"Agreed never to be done: {', '.join(never)}.")


def _pays(found: Findings, party: Party) -> Iterator[Block]:
    yield Heading(text=f"What the {party} pays")
    limits = budgets(found.study.model)
    rows: list[tuple[str, ...]] = []
    for name, cost in found.planned.best.costs.items():
        if name.startswith(f"{party} ") and (cost or name in limits):
            limit = f"{float(limits[name]):,.0f}" if name in limits else "none said"
            rows.append((f"{name} a year", f"{float(cost):,.0f}", limit))
    yield Table(head=("budget", "this plan takes", "limit"), rows=rows, none="Nothing.")
    model, plan = found.study.model, found.planned.best.plan
    shared = [
        name
        for name in plan
        if (control := model.countermeasures[name]).pays == party and control.decides != party
    ]
    if shared:
        words = f"Of this the {OTHER[party]} decides: {', '.join(shared)}."
        yield Words(text=words)


def _gains(found: Findings, party: Party) -> Iterator[Block]:
    """Yield what each of its measures is worth while everything else of the plan is done."""
    study, planned = found.study, found.planned
    of, unit = planned.objective.value, unit_of(study.model, planned.objective)
    best = planned.risks["best"][of]
    yield Heading(text="What that gains")
    yield Words(
        text=f"The whole plan leaves {figure(best)} {unit} instead of "
        f"{figure(planned.risks['nothing'][of])} ({proof_words(planned.best)})."
    )
    rows: list[tuple[str, ...]] = []
    for name in part(study.model, planned.best.plan, decides=party):
        without = {n: level for n, level in planned.best.plan.items() if n != name}
        gone = [n for n in without if name in study.model.countermeasures[n].needs]
        risk = study.risks({n: v for n, v in without.items() if n not in gone}).get(of, 0.0)
        words = f" (and {', '.join(gone)}, which needs it)" if gone else ""
        rows.append((name, f"{figure(risk)}{words}", figure(risk - best)))
    head = ("measure", f"{unit} left without it", "so it is worth")
    yield Table(head=head, rows=rows, none=f"The {party} decides no measure of the plan.")


def _alone(found: Findings, party: Party) -> Iterator[Block]:
    planned = found.planned
    of, unit = planned.objective.value, unit_of(found.study.model, planned.objective)
    yield Heading(text="If one does nothing")
    yield Table(
        head=("who acts", unit),
        rows=[
            ("nobody", figure(planned.risks["nothing"][of])),
            (f"only the {party}", figure(planned.alone[party])),
            (f"only the {OTHER[party]}", figure(planned.alone[OTHER[party]])),
            ("both", figure(planned.risks["best"][of])),
        ],
        widths=(2, 1),
    )


def _accepts(found: Findings, party: Party) -> Iterator[Block]:
    """Yield residual risks with a line to sign; the vendor's are those that lie in its devices."""
    yield Heading(text="What remains, to be accepted by name and date")
    rows: list[tuple[str, ...]] = []
    for path in found.before:
        loss, left = found.study.model.losses[path.loss], left_of(found, path.loss)
        after = found.after.get(path.loss)
        if not left or (party == "vendor" and not (after and _lies_in_devices(found, after))):
            continue
        signed = party == "hospital" and loss.accepted_by
        over = loss.accept is not None and left > loss.accept
        rows.append(
            (
                path.text,
                path.severity,
                f"{left:.3g}" + (" OVER what is accepted" if over else ""),
                _steps(after),
                loss.accepted_by if signed else _BLANK,
                (loss.accepted_on if signed else "") or "____-__-__",
            )
        )
    head = ("residual risk", "severity", "a year, at most", "by this path", "name", "date")
    none = f"Nothing remains that the {party} has to accept."
    yield Table(head=head, rows=rows, widths=(2.5, 1.5, 1.3, 4.5, 2.2, 1.4), none=none)


def _lies_in_devices(found: Findings, path: Path) -> bool:
    """Return whether a step of a path is one that a measure of the vendor could change."""
    controls = found.study.model.countermeasures
    return any(
        controls[name].decides == "vendor"
        for step in path.sentences
        for name in step.countermeasures
    )


def _steps(path: Path | None) -> str:
    return "; ".join(step.text for step in path.sentences) if path else ""


def part(model: Model, plan: Plan, *, decides: Party) -> dict[str, int]:
    """Return what of a plan one party decides."""
    return {n: level for n, level in plan.items() if model.countermeasures[n].decides == decides}


def unsigned(document: Document) -> Sequence[str]:
    """Return the residual risks of a sheet that nobody has accepted yet."""
    tables = [block for block in document.blocks if isinstance(block, Table)]
    return [row[0] for row in tables[-1].rows if _BLANK in row]
