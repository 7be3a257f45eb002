"""`asepsis route`: try routes offline, with the functions that the hub uses."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.output import console, show_json, show_table
from asepsis.cli.route_written import Candidate, is_document, written_of
from asepsis.core.errors import InputError, NotFound
from asepsis.core.mapping.hl7_envelope import Subject
from asepsis.core.mapping.route import Change, Origin, Route, Trace, routes_of
from asepsis.core.mapping.route_document import FILE_BYTES_MAX, read_routes
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_names import field_name

app: Final = App(
    name="route", help="Try routes offline: what goes where, and what changes on the way."
)
MESSAGE_FILE_BYTES_MAX: Final = 64 * 1_048_576
_BEGIN: Final = re.compile(rb"(?:\A|(?<=\r))(?=MSH)")


@app.command(name="check")
def check(routes: Path, /, *, json: bool = False) -> None:
    """Check a file of routes and show what it says; nothing is sent.

    Args:
        routes: The file.
        json: One JSON document instead of a table.
    """
    rows = [
        {
            "route": route.name,
            "from": route.document.origin,
            "types": " ".join(route.document.filter.types) or "every",
            "steps": len(route.document.map),
            "to": " ".join(route.to),
            "on refused": route.document.on_refused or "ADT stops, others step over",
        }
        for route in load_routes(routes)
    ]
    if json:
        show_json(rows)
        return
    columns = tuple(rows[0]) if rows else ("route",)
    show_table("Routes", columns, [list(row.values()) for row in rows])


@app.command(name="test")
def try_messages(
    routes: Path,
    messages: Annotated[
        list[Path], Parameter(help="HL7 messages, FHIR bundles, alarm documents; - reads here.")
    ],
    /,
    *,
    source: Annotated[str, Parameter(help="As if this gateway had brought them.")] = "",
    peer: Annotated[str, Parameter(help="As if this peer had sent them.")] = "",
    device: Annotated[str, Parameter(help="Device that sent the bundles, urn:dev:...")] = "",
    patient: Annotated[
        str, Parameter(help="As if the device were confirmed for authority|value.")
    ] = "",
    json: bool = False,
) -> int:
    """Show what each route makes of each message: every step, with the names of the fields.

    Of a FHIR bundle or an alarm document first the message that the hub writes is made, and tried
    with the routes from observations or alerts. Nothing is sent, and no hub is asked. Exit code 1
    if a route cannot transform a message.

    Args:
        routes: The file of routes.
        messages: Files.
        source: Name of a gateway.
        peer: Name of a peer of it.
        device: Name of a device of the standard.
        patient: Whom it is used for.
        json: One JSON document instead of text.
    """
    found = load_routes(routes)
    origin = Origin(source, peer)
    subject = Subject(patient=PatientId.of_key(patient) if patient else None)
    reports = [
        _report(route, candidate, origin, place)
        for place, candidate in _messages(messages, device, subject)
        for route in found
    ]
    if json:
        show_json({"results": reports})
    else:
        for report in reports:
            _tell(report)
    return int(any(report["error"] for report in reports))


def load_routes(path: Path) -> Sequence[Route]:
    """Read a file of routes and the tables beside it.

    Raises:
        NotFound: A file is absent.
        InputError: As `read_routes`.
    """

    def read_table(name: str) -> bytes:
        return _read(path.parent / name, FILE_BYTES_MAX * 4)

    return routes_of(read_routes(_read(path, FILE_BYTES_MAX), read_table=read_table))


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(bytes_max + 1)
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from error


def _messages(files: Sequence[Path], device: str, subject: Subject) -> list[tuple[str, Candidate]]:
    found: list[tuple[str, Candidate]] = []
    for file in files:
        here = str(file) == "-"
        data = sys.stdin.buffer.read() if here else _read(file, MESSAGE_FILE_BYTES_MAX)
        if is_document(data):
            made = written_of(data, device=device, subject=subject)
            found += [(f"{file}#{number}", one) for number, one in enumerate(made, 1)]
            continue
        data = data.replace(b"\r\n", b"\r").replace(b"\n", b"\r")  # Editors change line ends.
        parts = [part for part in _BEGIN.split(data) if part.strip()]
        if not parts or not parts[0].removeprefix(b"\xef\xbb\xbf").startswith(b"MSH"):
            raise InputError(f"{file} holds no HL7 message")
        found += [
            (f"{file}#{number}", Candidate("messages", part))
            for number, part in enumerate(parts, 1)
        ]
    return found


def _report(route: Route, candidate: Candidate, origin: Origin, place: str) -> dict[str, Any]:
    report: dict[str, Any] = {
        "message": place,
        "route": route.name,
        "to": list(route.to),
        "taken": False,
        "why_not": "",
        "on_refused": "",
        "steps": [],
        "results": [],
        "error": "",
    }
    if route.document.origin != candidate.origin:
        report["why_not"] = f"it is from {route.document.origin}, and this is {candidate.origin}"
        return report
    try:
        message = Message.parse(candidate.body)
        report["why_not"] = route.refusal(message, origin)
        if report["why_not"]:
            return report
        report["taken"] = True
        report["on_refused"] = route.on_refused(message.header.message_code).value
        traces, results = route.trace(message)
    except InputError as error:
        report["error"] = f"{error.code}: {error}"
        return report
    report["steps"] = [_step(trace) for trace in traces]
    report["results"] = [body.decode("utf-8", "replace") for body in results]
    return report


def _step(trace: Trace) -> dict[str, Any]:
    changes = [_change(change) for change in trace.changes]
    return {"do": trace.step, "changes": changes, "messages": trace.messages}


def _change(change: Change) -> dict[str, str]:
    segment, _, number = change.path.partition("-")
    return {
        "path": change.path,
        "name": field_name(segment[:3], int(number)),
        "before": change.before,
        "after": change.after,
    }


def _tell(report: dict[str, Any]) -> None:
    head = f"{report['message']}  route {report['route']}"
    if report["error"]:
        console.print(f"{head}: NOT POSSIBLE: {report['error']}", markup=False)
        return
    if not report["taken"]:
        console.print(f"{head}: passed over, {report['why_not']}", markup=False)
        return
    console.print(f"{head}: taken, refused means {report['on_refused']}", markup=False)
    rows = [
        (number, step["do"], change["path"], change["name"], change["before"], change["after"])
        for number, step in enumerate(report["steps"], 1)
        for change in step["changes"] or [dict.fromkeys(("path", "name", "before", "after"), "")]
    ]
    if rows:
        show_table("Steps", ("step", "do", "field", "name", "before", "after"), rows)
    for number, body in enumerate(report["results"], 1):
        console.print(f"-> {' '.join(report['to'])}, message {number}:", markup=False)
        console.print(body.replace("\r", "\n").rstrip(), markup=False, soft_wrap=True)
