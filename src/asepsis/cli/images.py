"""`asepsis images`: what the hub holds until archives have it, and what it set apart."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.devices import people
from asepsis.cli.hub import DATA, Data
from asepsis.cli.output import console, show_json, show_table

app: Final = App(
    name="images", help="See what images the hub holds until archives have them. No patient data."
)
_NS: Final = 1_000_000_000


@app.command(name="list")
def list_images(*, data: Data = DATA, json: bool = False) -> None:
    """Show the studies that are held, the newest first."""
    found: list[dict[str, Any]] = people(data).get("/api/images")["studies"]
    if json:
        show_json(found)
        return
    rows = [
        (
            one["study"],
            one["device"],
            one["instances"],
            one["accepted"],
            _megabytes(one["bytes"]),
            _time(one["received_at_ns"]),
        )
        for one in found
    ]
    columns = ("study", "device", "instances", "at the archive", "MB", "last came")
    show_table("Images held", columns, rows)


@app.command
def show(
    study: Annotated[str, Parameter(help="Study Instance UID.")],
    /,
    *,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Show the instances of one study."""
    found: list[dict[str, Any]] = people(data).get(f"/api/images/{study}")["instances"]
    if json:
        show_json(found)
        return
    rows = [
        (
            one["instance"],
            one["calling_ae"],
            _megabytes(one["bytes"]),
            _time(one["received_at_ns"]),
            _time(one["accepted_at_ns"]) if one["accepted_at_ns"] else "not yet",
        )
        for one in found
    ]
    show_table(study, ("instance", "from AE", "MB", "came", "at the archive"), rows)


@app.command
def quarantine(*, data: Data = DATA, json: bool = False) -> None:
    """Show what was refused and set apart, and why; the reasons stand in the reference."""
    found: list[dict[str, Any]] = people(data).get("/api/quarantined-images")["objects"]
    if json:
        show_json(found)
        return
    rows = [
        (
            one["id"],
            one["reason"],
            one["device"],
            one["calling_ae"],
            _megabytes(one["bytes"]),
            _time(one["at_ns"]),
        )
        for one in found
    ]
    show_table("Images set apart", ("id", "reason", "device", "from AE", "MB", "came"), rows)
    if found:
        console.print("What each reason means: docs/reference/imaging.md")


def _megabytes(byte_count: int) -> str:
    return f"{byte_count / 1e6:,.2f}"


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / _NS, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
