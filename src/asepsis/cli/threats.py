"""`asepsis threats`: a fleet's attack paths, the provably best plan, and what a change changes."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from asepsis.analysis.threats.compiled import Objective
from asepsis.analysis.threats.difference import difference
from asepsis.analysis.threats.file import schema
from asepsis.analysis.threats.library import shipped
from asepsis.analysis.threats.pta import read_analysis
from asepsis.analysis.threats.study import Study, parse_plan, plan_document
from asepsis.cli import threats_shown as shown
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.cli.threats_checked import Taken, check
from asepsis.cli.threats_compiled import compile_
from asepsis.cli.threats_files import read_bytes, read_study
from asepsis.cli.threats_imported import import_
from asepsis.cli.threats_reported import report, sheet
from asepsis.cli.threats_weighed import Weighing, show_weighed, weigh
from asepsis.core.errors import ConfigError, InputError

app: Final = App(
    name="threats",
    help="Analyse the threats to a fleet: attack paths, the best plan for the budget, changes.",
)
app.command(check)
app.command(report)
app.command(sheet)
app.command(import_, name="import")
app.command(compile_, name="compile")
EXIT_DIFFERENT: Final = 1
EXAMPLE: Final = "hospital.yaml"
Model = Annotated[Path, Parameter(help="The model, YAML.")]
Seconds = Annotated[float, Parameter(help="Longest search for one plan, seconds.")]


@app.command
def init(
    model: Annotated[Path, Parameter(help="File to write.")] = Path("threats.yaml"),
    /,
    *,
    dry_run: Annotated[bool, Parameter(help="Show the model and write nothing.")] = False,
) -> None:
    """Write an example to begin with: the intensive care of a hospital, with comments.

    Change it to what you have, then `asepsis threats check` and `asepsis threats plan`.
    """
    text = (files("asepsis.analysis.threats") / "examples" / EXAMPLE).read_text("utf-8")
    if dry_run:
        console.print(text, markup=False, soft_wrap=True)
        return
    try:
        with model.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{model} is there already", hint="name another file") from error
    except OSError as error:
        raise ConfigError(f"cannot write {model}: {error.strerror}") from error
    console.print(f"wrote {model}; next: asepsis threats check {model}", markup=False)


@app.command
def explain(
    model: Model,
    /,
    *,
    loss: Annotated[str | None, Parameter(help="Only this loss.")] = None,
    taken: Taken = None,
    json: bool = False,
) -> None:
    """Tell the best path to each loss in plain sentences, with probabilities and evidence.

    Patients, money and hours stand beside each other and are never added up; exploitability is the
    hardest step of the path, an order and no figure.
    """
    study = _study(model)
    if loss is not None and loss not in study.model.losses:
        raise InputError(f"no loss {loss!r}", hint=f"known: {', '.join(study.model.losses)}")
    plan = parse_plan(study.model, taken or [])
    found = [path for path in study.paths(plan) if loss in {None, path.loss}]
    if json:
        show_json([path.to_document() for path in found])
        return
    for path in found:
        shown.show_path(path, study.model.currency)
    if not found:
        console.print("no attacker of the model gets there", markup=False)


@app.command
def graph(
    model: Model,
    /,
    *,
    json: bool = False,
) -> None:
    """Print the attack graph for Graphviz (`| dot -Tsvg`): AND/OR, with cycles."""
    made = _study(model).graph
    nodes = [" ".join(atom) for atom in made.nodes]
    if json:
        steps = [
            {
                "rule": step.name or "attempt",
                "after": [nodes[node] for node in step.premises],
                "then": nodes[step.target],
                "probability": float(step.probability),
                "countermeasures": sorted(step.effects),
            }
            for step in made.steps
        ]
        show_json({"nodes": nodes, "steps": steps})
        return
    lines = ["digraph threats {", "  rankdir=LR;"]
    lines += [f'  n{index} [label="{node}"];' for index, node in enumerate(nodes)]
    for index, step in enumerate(made.steps):
        lines.append(f'  s{index} [shape=box, label="{step.name or "attempt"}"];')
        lines += [f"  n{node} -> s{index};" for node in step.premises]
        lines.append(f"  s{index} -> n{step.target};")
    console.print("\n".join([*lines, "}"]), markup=False, soft_wrap=True)


@app.command
def plan(
    model: Model,
    /,
    *,
    objective: Annotated[Objective, Parameter(help="In what the plan is to be best.")] = (
        Objective.PATIENTS
    ),
    front: Annotated[
        str | None, Parameter(help='Show what each amount of a budget buys: "hospital money".')
    ] = None,
    asked: Weighing | None = None,
    seconds: Seconds = 60.0,
    json: bool = False,
) -> None:
    """Find the plan that leaves the least risk within the model's budgets, and prove it.

    Beside it stands the ranked plan (each countermeasure alone, the best for its money first), what
    both leave in the other objectives, and what is left if only one party does its part. "proven"
    is said for the metric that was optimised: the sum over the best path to each loss.

    `--why` says what would be left without each thing that the plan takes and with each that it
    does not; `--prices` what a budget is worth at its limit; `--draws 100` what happens to the plan
    where likelihoods, effects, harms and losses are half or double of what the model says.
    """
    study = _study(model, seconds=seconds)
    if front is not None:
        shown.show_front(study.front(objective, front), objective, front, json=json)
        return
    planned = study.plan(objective)
    weighed = weigh(study, planned, asked or Weighing())
    if json:
        show_json({**plan_document(study, planned), **weighed.to_document()})
    else:
        shown.show_plan(study, planned)
        show_weighed(weighed, planned)


@app.command
def diff(
    old: Annotated[Path, Parameter(help="The model before.")],
    new: Annotated[Path, Parameter(help="The model after.")],
    /,
    *,
    json: bool = False,
) -> int:
    """Say what a change of the model changes for attackers: steps, reach and risks, not letters.

    The exit code is 0 if the two mean the same, 1 if not.
    """
    before, after = _study(old), _study(new)
    found = difference(before.graph, after.graph)
    risks = {"before": dict(before.risks({})), "after": dict(after.risks({}))}
    document = {name: list(getattr(found, name)) for name in type(found).__slots__}
    if json:
        show_json({**document, "risks": risks})
    elif found.nothing:
        console.print("no difference that an attacker or a plan would notice")
    else:
        marks = {"opened": "+", "closed": "-", "changed": "~", "weighed": "~"}
        marks |= {"reached": "now", "safe": "no more"}
        for name, mark in marks.items():
            for line in document[name]:
                console.print(f"{mark} {line}", markup=False, soft_wrap=True)
        rows = [
            (o, shown.figure(risks["before"].get(o, 0.0)), shown.figure(risks["after"].get(o, 0.0)))
            for o in (objective.value for objective in Objective)
        ]
        show_table("Risk a year, best paths", ("", "before", "after"), rows)
    return 0 if found.nothing else EXIT_DIFFERENT


@app.command
def rules(*, json: bool = False) -> None:
    """List the rules that come with Asepsis: ids, tags, STRIDE, CWE, ATT&CK, MDS2, difficulty."""
    known = shipped()
    if json:
        show_json([{n: getattr(r.text, n) for n in r.text.__struct_fields__} for r in known])
        return
    rows = [
        (r.id, r.text.title, r.text.difficulty, ", ".join(r.text.tags), ", ".join(r.text.attack))
        for r in known
    ]
    show_table(f"{len(rows)} rules", ("id", "what", "difficulty", "tags", "ATT&CK"), rows)


@app.command(name="schema")
def schema_() -> None:
    """Print the JSON schema of models, for editors."""
    show_json(schema())


@app.command
def pta(
    analysis: Annotated[Path, Parameter(help="Assets, threats, countermeasures; YAML.")],
    /,
    *,
    budget: Annotated[float | None, Parameter(help="Money for the plan.")] = None,
    json: bool = False,
) -> None:
    """Practical Threat Analysis: status, cost-effectiveness, ranked plan, and the exact one.

    Without a budget the ranked plan takes everything that lessens risk.
    """
    found = read_analysis(read_bytes(analysis), name=analysis.name)
    report = found.report(budget=budget)
    if json:
        show_json(report)
        return
    show_facts("System status", report["status"])
    columns = ("countermeasure", "cost", "mitigates", "for each unit", "why")
    rows = [tuple(line[c] for c in ("name", "cost", "mitigates", "ratio", "why")) for line in
            report["cost_effectiveness"]]  # fmt: skip
    show_table("Cost-effectiveness (each alone, theoretical)", columns, rows)
    for name in ("ranked", "exact"):
        show_facts(f"The {name} plan", report[name])


def _study(path: Path, *, seconds: float = 60.0) -> Study:
    return read_study(path, seconds=seconds)[0]
