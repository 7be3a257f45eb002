"""`asepsis threats check`: a build fails in units of risk, and its server shows why."""

import json as json_
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from asepsis.analysis.threats.compiled import Objective
from asepsis.analysis.threats.difference import meaning
from asepsis.analysis.threats.model import SECTIONS
from asepsis.analysis.threats.reports.findings import checked
from asepsis.analysis.threats.reports.junit import mistake_to_junit, to_junit
from asepsis.analysis.threats.reports.sarif import mistake_to_sarif, to_sarif
from asepsis.analysis.threats.study import parse_plan
from asepsis.cli import threats_shown as shown
from asepsis.cli.output import show_json
from asepsis.cli.threats_files import moment, read_study, write_report
from asepsis.core.errors import InputError, LimitExceeded

EXIT_OVER: Final = 1
Taken = Annotated[
    list[str] | None,
    Parameter(help="A countermeasure that is there: NAME or NAME=LEVEL; may stand several times."),
]


def check(
    model: Annotated[Path, Parameter(help="The model, YAML.")],
    /,
    *,
    taken: Taken = None,
    max_money: Annotated[float | None, Parameter(help="Most that may be lost a year.")] = None,
    max_hours: Annotated[float | None, Parameter(help="Most hours a year.")] = None,
    max_patients: Annotated[float | None, Parameter(help="Most patients a year.")] = None,
    sarif: Annotated[Path | None, Parameter(help="Write findings as SARIF 2.1.0 too.")] = None,
    junit: Annotated[Path | None, Parameter(help="Write findings as JUnit XML too.")] = None,
    json: bool = False,
) -> int:
    """Read a model strictly and compare its risks with limits; made for a build.

    The exit code is 0 if all is within, 1 if a risk or an accepted risk is exceeded or the model
    has a mistake (file and line are told). Risks are sums over best paths, each objective for
    itself. SARIF shows each path as a flow over the model's lines; both files are also written
    when the model has a mistake.
    """
    try:
        study, text = read_study(model)
    except (InputError, LimitExceeded) as error:
        if sarif is not None:
            log = mistake_to_sarif(error, uri=model.as_posix())
            write_report(sarif, json_.dumps(log, indent=1).encode())
        if junit is not None:
            write_report(junit, mistake_to_junit(error, name=model.name, at=moment()))
        raise
    plan = parse_plan(study.model, taken or [])
    limits = {
        Objective.MONEY: max_money,
        Objective.HOURS: max_hours,
        Objective.PATIENTS: max_patients,
    }
    found = checked(study, plan, limits=limits)
    document = {
        "model": study.model.name,
        "meaning": meaning(study.graph),
        "things": {s: len(getattr(study.model, s)) for s in SECTIONS},
        "steps": len(study.graph.steps),
        **found.document(),
    }
    if sarif is not None:
        log = to_sarif(found, text=text, uri=model.as_posix())
        write_report(sarif, json_.dumps(log, indent=1).encode())
    if junit is not None:
        write_report(junit, to_junit(found, name=study.model.name, at=moment()))
    if json:
        show_json(document)
    else:
        shown.show_check(study, document)
    return EXIT_OVER if found.over else 0
