"""`asepsis threats compile`: a plan as a filter, networks, drafts of campaigns and profiles."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from asepsis.analysis.threats.compiled import Objective
from asepsis.analysis.threats.measures.build import Built, Known, build
from asepsis.analysis.threats.study import parse_plan
from asepsis.cli.output import console, show_json, show_table
from asepsis.cli.threats_checked import Taken
from asepsis.cli.threats_files import read_study, write_folder
from asepsis.core.errors import InputError

_Each = list[str] | None


def compile_(
    model: Annotated[Path, Parameter(help="The model, YAML.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder to write; new or empty.")],
    objective: Annotated[Objective, Parameter(help="In what the plan is to be best.")] = (
        Objective.PATIENTS
    ),
    taken: Taken = None,
    release: Annotated[
        _Each, Parameter(help="COUNTERMEASURE=SHA256: the artefact that its campaign brings.")
    ] = None,
    change: Annotated[str, Parameter(help="Reference of the change board, for campaigns.")] = "",
    card: Annotated[
        _Each, Parameter(help="PART=CARD: behind which card of the filter it is: bedside=eth0.20.")
    ] = None,
    seconds: Annotated[float, Parameter(help="Longest search for the plan, seconds.")] = 60.0,
    dry_run: Annotated[bool, Parameter(help="Say what there would be and write nothing.")] = False,
    json: bool = False,
) -> None:
    """Make of the best plan what can be loaded and started; or of --taken, if that is given.

    Segmentation becomes an nftables rule set (declared flows pass, nothing else) and the fewest
    VLANs that the plan needs; measures in software become drafts of campaigns, gateways drafts of
    interface profiles. Nothing is loaded, created or started. What is open, what the filter would
    cut and what stays work of people is printed: read that first.
    """
    study, _ = read_study(model, seconds=seconds)
    plan = parse_plan(study.model, taken) if taken else study.plan(objective).best.plan
    known = Known(releases=dict(_pairs(release)), change=change, cards=dict(_pairs(card)))
    built = build(study.model, plan, known=known)
    if not dry_run:
        write_folder(out, {name: text.encode() for name, text in built.files.items()})
    if json:
        show_json({"plan": dict(plan), **built.to_document()})
        return
    _show(built)
    words = "would write" if dry_run else "wrote"
    files = ", ".join(built.files) or "nothing"
    console.print(f"{words} {files} in {out}", markup=False, soft_wrap=True)


def _show(built: Built) -> None:
    if built.layout is not None:
        rows = [
            (
                vlan.name,
                "yes" if any(segment.guarded for segment in vlan.segments) else "no",
                ", ".join(sorted({d for segment in vlan.segments for d in segment.devices})),
                ", ".join(vlan.flows),
            )
            for vlan in built.layout.vlans
        ]
        proof = "none fewer would do" if built.layout.fewest else "perhaps fewer would do"
        title = f"{len(rows)} VLANs ({proof})"
        show_table(title, ("VLAN", "filter", "devices", "flows that it must allow"), rows)
        console.print(f"{len(built.openings)} flows pass the filter", markup=False)
    for title, lines in (
        ("WOULD BE CUT", built.cut),
        ("open", built.open),
        ("by hand", built.by_hand),
    ):
        for line in lines:
            console.print(f"{title}: {line}", markup=False, soft_wrap=True)


def _pairs(words: Sequence[str] | None) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for word in words or ():
        name, mark, value = word.partition("=")
        if not mark or not value:
            raise InputError(f"{word!r} is not NAME=VALUE")
        found.append((name, value))
    return found
