"""`asepsis image rebase`: what an image would become on today's packages, before it is built."""

import tempfile
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from asepsis.cli.day import read_day
from asepsis.cli.image import app
from asepsis.cli.output import console, show_json, show_table
from asepsis.core.errors import ConfigError
from asepsis.tools.imagebuild.audit.bill import read_bill, read_bytes
from asepsis.tools.imagebuild.audit.report import audit
from asepsis.tools.imagebuild.difference import Difference, difference
from asepsis.tools.imagebuild.rebase import (
    INDEXES_MAX,
    Candidate,
    machine_indexes,
    read_index,
    rebase,
)

EXIT_DIFFERENT: Final = 1
EXIT_WORSE: Final = 2


@app.command(name="rebase")
def rebase_(
    sbom: Annotated[Path, Parameter(help="CycloneDX document of the image in the field.")],
    /,
    *,
    packages: Annotated[
        list[Path] | None,
        Parameter(
            help="Package indexes of Debian (`Packages`, .xz, .gz); by default this machine's apt.",
            consume_multiple=True,
        ),
    ] = None,
    candidate: Annotated[
        Path | None, Parameter(help="Compare with this bill, of an image that was built, instead.")
    ] = None,
    advisories: Annotated[
        list[Path] | None,
        Parameter(help="As `asepsis image audit` takes them.", consume_multiple=True),
    ] = None,
    into: Annotated[Path | None, Parameter(help="New file for the candidate's bill.")] = None,
    on: Annotated[str | None, Parameter(help="Day to judge support by, YYYY-MM-DD; today.")] = None,
    json: bool = False,
) -> int:
    """Say which packages and vulnerabilities a build from newer packages would change.

    Nothing is fetched or built: the candidate is a bill of materials. Build it by `asepsis image
    build` and compare what came out by --candidate. The exit code is 0 if nothing differs, 1 if
    something does, 2 if the candidate opens a vulnerability that was not open.
    """
    if candidate is not None and (packages or into):
        raise ConfigError("--candidate takes no --packages and no --into")
    if into is not None and into.exists():
        raise ConfigError(f"{into} is there already")
    old, today = read_bill(sbom), read_day(on)
    if candidate is not None:
        made, found = None, _compare(sbom, candidate, advisories or [], today=today)
    else:
        texts = (
            [read_index(path) for path in packages[:INDEXES_MAX]]
            if packages
            else machine_indexes(old.suite)
        )
        made = rebase(read_bytes(sbom), texts)
        found = _written(sbom, made, advisories or [], today=today)
        if into is not None:
            _write(into, made.document)
    if json:
        show_json(_document(made, found))
    else:
        _show(made, found)
    if found.begun:
        return EXIT_WORSE
    return 0 if found.empty else EXIT_DIFFERENT


def _written(sbom: Path, made: Candidate, advisories: list[Path], *, today: date) -> Difference:
    with tempfile.TemporaryDirectory(prefix="asepsis-rebase-") as folder:
        path = Path(folder) / "candidate.cdx.json"
        path.write_bytes(made.document)
        return _compare(sbom, path, advisories, today=today)


def _compare(old: Path, new: Path, advisories: list[Path], *, today: date) -> Difference:
    return difference(
        read_bill(old),
        read_bill(new),
        before=audit(old, advisories, today=today),
        after=audit(new, advisories, today=today),
    )


def _write(into: Path, document: bytes) -> None:
    try:
        into.write_bytes(document)
    except OSError as error:
        raise ConfigError(f"cannot write {into}: {error.strerror}") from error


def _document(made: Candidate | None, found: Difference) -> dict[str, Any]:
    document = found.as_document()
    if made is not None:
        document |= {
            "changes": [asdict(change) for change in made.changes],
            "kept": list(made.kept),
            "missing": list(made.missing),
            "unchanged": made.unchanged,
        }
    return document


def _show(made: Candidate | None, found: Difference) -> None:
    if made is None:
        rows = [("-", one) for one in found.removed] + [("+", one) for one in found.added]
        show_table("Packages", ("", "package"), rows)
    else:
        changes = [(c.name, c.before, c.after, c.source) for c in made.changes]
        show_table("Packages", ("package", "in the field", "candidate", "source"), changes)
        console.print(f"{made.unchanged} unchanged.")
        for words, names in (
            ("Newer in the field than in the indexes, so they stay", made.kept),
            ("Not in the indexes, so they stay", made.missing),
        ):
            if names:
                console.print(f"{words}: {', '.join(names)}", markup=False)
    rows = [
        (state, source, cve, "exploited" if cve in found.exploited else "")
        for state, several in (
            ("mended", found.mended),
            ("REMAINS OPEN", found.remaining),
            ("BEGINS", found.begun),
        )
        for source, cve in several
    ]
    if rows:
        show_table("Vulnerabilities", ("", "source", "vulnerability", ""), rows)
    else:
        console.print("By these advisories no vulnerability is open in either.")
    if found.over:
        console.print(f"Support is over: {', '.join(found.over)}", markup=False)
