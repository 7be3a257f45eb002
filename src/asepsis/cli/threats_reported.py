"""`asepsis threats report` and `sheet`: an analysis on paper or as a page."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from asepsis.analysis.threats.compiled import Objective
from asepsis.analysis.threats.model import Party
from asepsis.analysis.threats.reports.blocks import Document
from asepsis.analysis.threats.reports.committee import committee, findings
from asepsis.analysis.threats.reports.html import to_html
from asepsis.analysis.threats.reports.pdf import to_pdf
from asepsis.analysis.threats.reports.sheet import sheet as sheet_of
from asepsis.analysis.threats.reports.sheet import unsigned
from asepsis.cli.day import read_day
from asepsis.cli.output import console
from asepsis.cli.threats_files import read_study, write_report
from asepsis.core.errors import InputError

FORMS: Final[Mapping[str, Callable[[Document], bytes]]] = {".html": to_html, ".pdf": to_pdf}
Out = Annotated[Path, Parameter(help="File to write, .pdf or .html.")]
Day = Annotated[str | None, Parameter(help="Day on the report, YYYY-MM-DD; today if not given.")]
OBJECTIVE_HELP: Final = "In what the plan is to be best."


def report(
    model: Annotated[Path, Parameter(help="The model, YAML.")],
    /,
    *,
    out: Out,
    objective: Annotated[Objective, Parameter(help=OBJECTIVE_HELP)] = Objective.PATIENTS,
    front: Annotated[str, Parameter(help="Budget of the curve.")] = "hospital money",
    day: Day = None,
    seconds: Annotated[float, Parameter(help="Longest search for one plan, seconds.")] = 60.0,
) -> None:
    """Write the report for a committee: worst paths drawn, plan, curve, residual risks, tables.

    The risk table has the form of ANSI/AAMI SW96; each step of a path is traced to the controls of
    the plan and to the tests that the model names for them. The same model and day give the same
    bytes.
    """
    form = form_of(out)
    study, _ = read_study(model, seconds=seconds)
    made = read_day(day).isoformat()
    found = findings(study, objective, budget=front, made=made)
    write_report(out, form(committee(found)))
    console.print(f"wrote {out}", markup=False, soft_wrap=True)


def sheet(
    model: Annotated[Path, Parameter(help="The model, YAML.")],
    /,
    *,
    party: Annotated[Party, Parameter(help="Whose sheet.")],
    out: Out,
    objective: Annotated[Objective, Parameter(help=OBJECTIVE_HELP)] = Objective.PATIENTS,
    day: Day = None,
    seconds: Annotated[float, Parameter(help="Longest search for one plan, seconds.")] = 60.0,
) -> None:
    """Write what one party does, pays, gains and accepts: a draft of the agreement with the other.

    Make one for the hospital and one for the vendor and lay them beside each other. Residual risks
    have a line for a name and a day (IEC 80001-1); neither party signs for the other.
    """
    form = form_of(out)
    study, _ = read_study(model, seconds=seconds)
    made = sheet_of(findings(study, objective, made=read_day(day).isoformat()), party=party)
    write_report(out, form(made))
    open_ = unsigned(made)
    words = f"; to be accepted by name: {', '.join(open_)}" if open_ else ""
    console.print(f"wrote {out}{words}", markup=False, soft_wrap=True)


def form_of(out: Path) -> Callable[[Document], bytes]:
    """Return what writes a file of this name.

    Raises:
        InputError: Another ending.
    """
    form = FORMS.get(out.suffix.lower())
    if form is None:
        raise InputError(f"{out}: no report of this form", hint="name it .pdf or .html")
    return form
