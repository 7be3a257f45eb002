"""`asepsis release questions|assess|check|show|add`: the release document, and releases with it."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.cli.release import DryRun, Folder, app, now, say_drafts
from asepsis.core.errors import InputError
from asepsis.core.model.release import DOCUMENT_BYTES_MAX, ReleaseDocument, digest, read_document
from asepsis.core.model.release_assessment import conclude, findings
from asepsis.core.model.release_pathways import PATHWAYS
from asepsis.core.trust.metadata.fields import Release
from asepsis.tools.release import documents, editing, keys
from asepsis.tools.release.documents import Documented, read_documented, read_given
from asepsis.tools.release.repository import Repository

PathwayName = Literal["510k", "pma", "hde", "pccp", "eu-mdr", "other"]
DocumentFile = Annotated[Path, Parameter(help="Release document, JSON.")]
Files = Annotated[
    list[Path] | None,
    Parameter(name="--file", help="Bill of materials, VEX, or decision; repeat for more."),
]


@app.command
def questions(pathway: PathwayName, /, *, json: bool = False) -> None:
    """Show what a regulatory pathway asks, and where a yes leads.

    510k, pma, hde and pccp are of the United States, eu-mdr of the European Union. For any other
    the manufacturer signs a decision as a file.
    """
    table = PATHWAYS[pathway]
    rows = [(one.id, one.text, one.yes.value, one.source) for one in table.questions]
    if json:
        show_json([dict(zip(("id", "text", "yes", "source"), row, strict=True)) for row in rows])
        return
    show_table(table.title, ("id", "question", "yes", "source"), rows)


@app.command
def assess(
    into: Annotated[Path, Parameter(help="New file for the document.")],
    /,
    *,
    vendor: Annotated[str, Parameter(help="Name as the image repository has it.")],
    model: Annotated[str, Parameter(help="Device model it is made for.")],
    artefact: Annotated[list[str], Parameter(help="COMPONENT=FILE; repeat for more.")],
    sbom: Annotated[Path, Parameter(help="Bill of materials, CycloneDX.")],
    vex: Annotated[Path | None, Parameter(help="VEX document.")] = None,
    pathway: Annotated[list[PathwayName], Parameter(help="One a market; repeat for more.")],
) -> None:
    """Begin a release document: hashes and questions stand in it, every answer is missing.

    The manufacturer fills it in: what closes, what it needs, self-tests, notes, and the safety
    assessment with its author and document number. `asepsis release check` says what lacks.
    """
    given = [one.partition("=") for one in artefact]
    if not all(component and file for component, _, file in given):
        raise InputError("name artefacts as COMPONENT=FILE")
    content = documents.skeleton(
        vendor=vendor,
        model=model,
        pathways=pathway,
        artefacts=[(component, keys.read_file(Path(file))) for component, _, file in given],
        files=[(one.name, read_given(one)) for one in (sbom, vex) if one is not None],
    )
    keys.write_new(into, content, mode=0o644)
    console.print(f"{into}: now fill it in, then `asepsis release check`", markup=False)


@app.command
def check(document: DocumentFile, /, *, file: Files = None, json: bool = False) -> int:
    """Say everything that keeps a release document from being complete; ends with 1 if anything.

    With --file the named files are checked as well. Nobody can approve a release whose document is
    not complete.
    """
    said = read_document(read_given(document, bytes_max=DOCUMENT_BYTES_MAX))
    found = findings(said)
    if not found and file:
        read_documented(document, file)
    if json:
        show_json({"complete": not found, "findings": list(found)})
    elif found:
        show_table("Lacks", ("what",), [(one,) for one in found])
    else:
        for one in said.assessment.pathways:
            console.print(f"{one.name}: {conclude(one).value}", markup=False)
        console.print("complete", markup=False)
    return 1 if found else 0


@app.command
def show(document: DocumentFile, /, *, json: bool = False) -> None:
    """Show a release document as an approver reads it."""
    content = read_given(document, bytes_max=DOCUMENT_BYTES_MAX)
    said = read_document(content)
    if json:
        show_json({"sha256": digest(content), **msgspec.to_builtins(said)})
        return
    show_facts(f"{said.vendor} {said.model}: {said.name}", _facts(said, content))
    rows = [(o.component, o.version, o.counter, o.floor, o.reboot) for o in said.components]
    show_table("Components", ("component", "version", "counter", "floor", "reboot"), rows)
    tests = [(one.name, one.low, one.high, one.unit) for one in said.self_tests]
    show_table("Self-tests", ("test", "low", "high", "unit"), tests)
    for pathway in said.assessment.pathways:
        answers = [
            (one.question, "yes" if one.answer else "no", one.rationale) for one in pathway.answers
        ]
        title = f"{PATHWAYS[pathway.name].title}: {conclude(pathway).value} {pathway.submission}"
        show_table(title.strip(), ("question", "answer", "rationale"), answers)
    for note in said.notes:
        console.print(f"[{note.language}] {note.text}", markup=False)


@app.command
def add(
    repository: Folder,
    artefact: Annotated[Path, Parameter(help="The file to be installed.")],
    /,
    *,
    document: Annotated[
        Path | None, Parameter(help="Release document; it says everything that is signed.")
    ] = None,
    file: Files = None,
    model: Annotated[str, Parameter(help="Without a document: device model.")] = "",
    component: Annotated[str, Parameter(help="Without a document: what it replaces.")] = "",
    release: Annotated[str, Parameter(help="Without a document: version in words.")] = "",
    counter: Annotated[
        int, Parameter(help="Without a document: number of the release, above every one before.")
    ] = 0,
    floor: Annotated[
        int, Parameter(help="Devices that verified it take nothing below this counter.")
    ] = 0,
    reboot: Annotated[
        Literal["none", "component", "device"], Parameter(help="What has to start anew.")
    ] = "component",
    dry_run: DryRun = False,
    json: bool = False,
) -> None:
    """Add a release: counter, security floor and the hash of its document are signed with it.

    Without --document nobody can approve it: no assessment, no rollout.
    """
    documented = read_documented(document, file or []) if document else None
    if documented is None:
        wanted = _release(
            {
                "model": model,
                "component": component,
                "version": release,
                "counter": counter,
                "floor": floor,
                "reboot": reboot,
            }
        )
    else:
        wanted = documents.release_of(documented.document, keys.read_file(artefact))
    _add(repository, artefact, wanted, documented, dry_run=dry_run, as_json=json)


def _add(
    repository: Path,
    artefact: Path,
    wanted: Release,
    documented: Documented | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    opened = Repository.open(repository)
    if dry_run:
        show_json({"would_add": {"file": str(artefact), **msgspec.to_builtins(wanted)}})
        return
    path, role = editing.add(
        opened, artefact, release=wanted, name=artefact.name, now=now(), document=documented
    )
    if as_json:
        show_json({"path": path, "role": role})
        return
    console.print(f"{path} in the draft of role {role}", markup=False, soft_wrap=True)
    if documented is None:
        console.print("it has no assessment: nobody can approve it", markup=False)
    say_drafts(opened)


def _facts(said: ReleaseDocument, content: bytes) -> dict[str, Any]:
    assessment, installing = said.assessment, said.installing
    return {
        "SHA-256": digest(content),
        "manufacturer": assessment.manufacturer,
        "assessed by": f"{assessment.author}, {assessment.document}, {assessment.date}",
        "schedule": assessment.schedule,
        "field action": f"{assessment.field_action.kind} {assessment.field_action.number}".strip(),
        "closes": ", ".join(one.id for one in said.closes) or "nothing known",
        "installed while": ", ".join(installing.states),
        "takes": f"{installing.run_s} s, back in {installing.rollback_s} s",
        "acceptance": "by biomedical engineering" if installing.acceptance else "not needed",
        "changes": ", ".join(installing.changes) or "no setting",
    }


def _release(fields: dict[str, Any]) -> Release:
    try:
        return msgspec.convert(fields, Release)
    except msgspec.ValidationError as error:
        raise InputError(f"no release: {error}", hint="--document says all of it") from error
