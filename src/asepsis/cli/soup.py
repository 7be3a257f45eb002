"""`asepsis device soup`: what the standards ask of every component that somebody else wrote."""

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from asepsis.cli.day import read_day
from asepsis.cli.device import app
from asepsis.cli.output import console, show_json
from asepsis.core.errors import ConfigError
from asepsis.edge.device.manifest import SHIPPED, read_file
from asepsis.tools.imagebuild.audit.bill import read_bill
from asepsis.tools.imagebuild.audit.report import audit
from asepsis.tools.imagebuild.audit.soup import SoupFile, read_notes, soup_file
from asepsis.tools.imagebuild.audit.soup_page import page

EXIT_DRAFT: Final = 1


@app.command
def soup(
    sbom: Annotated[Path, Parameter(help="CycloneDX document of the image, JSON.")],
    /,
    *,
    notes: Annotated[Path | None, Parameter(help="What people know of each item, TOML.")] = None,
    advisories: Annotated[
        list[Path] | None,
        Parameter(help="As `asepsis image audit` takes them.", consume_multiple=True),
    ] = None,
    manifest: Annotated[Path | None, Parameter(help="By default the shipped one.")] = None,
    on: Annotated[str | None, Parameter(help="Day to judge support by, YYYY-MM-DD; today.")] = None,
    into: Annotated[Path | None, Parameter(help="File for the page; else to the terminal.")] = None,
    json: Annotated[bool, Parameter(help="JSON instead of Markdown.")] = False,
) -> int:
    """Write the SOUP file of a device: IEC 62304 5.3.3, 5.3.4, 7.1.2, 7.1.3 and 8.1.2 per item.

    Name, manufacturer, version and hash come from the bill of materials, known anomalies and end of
    support from the advisories, the rest from the notes. What is missing is named. The exit code is
    0 for a complete file, 1 for a draft.
    """
    today = read_day(on)
    found = soup_file(
        read_bill(sbom),
        notes=read_notes(notes),
        manifest=read_file(manifest or SHIPPED).manifest,
        found=audit(sbom, advisories or [], today=today),
    )
    if json:
        show_json(found.as_document())
    elif into is None:
        console.print(page(found), markup=False, highlight=False, soft_wrap=True)
    else:
        _write(found, into)
    return 0 if found.complete else EXIT_DRAFT


def _write(found: SoupFile, into: Path) -> None:
    try:
        into.write_text(page(found), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {into}: {error.strerror}") from error
    gaps = sum(len(item.gaps) for item in found.items)
    state = "complete" if found.complete else f"a draft with {gaps} gaps"
    console.print(f"{into}: {len(found.items)} items, {state}", markup=False, soft_wrap=True)
