"""`asepsis associations`: which device is used for which patient, and who decides it."""

from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.devices import people
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.errors import InputError
from asepsis.core.model.patient import PatientId
from asepsis.tools.associations import AssociationClient

app: Final = App(name="associations", help="See and decide which device is used for which patient.")
COLUMNS: Final = ("id", "device", "patient", "place", "state", "why", "from", "to")
State = Literal["proposed", "confirmed", "ended", "rejected"]
Token = Annotated[
    Path | None, Parameter(help="File with a clinician's token; by default the administrator's.")
]
Patient = Annotated[str, Parameter(help="The patient's identifier, as authority|value.")]
Reason = Annotated[str, Parameter(help="Why; goes into the audit log.")]
Yes = Annotated[bool, Parameter(help="Do not ask again.")]


@app.command(name="list")
def list_associations(
    *, state: State = "proposed", token: Token = None, data: Data = DATA, json: bool = False
) -> None:
    """Show associations in a state, the newest first; proposals wait for a person."""
    with client(data, token) as here:
        found = here.associations(state)
    if json:
        show_json(found)
        return
    show_table(f"Associations, {state}", COLUMNS, [_row(one) for one in found])


@app.command
def confirm(
    association: str,
    /,
    *,
    patient: Annotated[str | None, Parameter(help="The identifier on the wristband.")] = None,
    token: Token = None,
    data: Data = DATA,
    json: bool = False,
) -> int:
    """Confirm a proposal at the bedside, from now.

    The identifier on the patient's wristband must be given, as authority|value: with --patient, or
    when asked.
    """
    with client(data, token) as here:
        if patient is None:
            _show_about(here.confirm(association, patient=None), "Confirming")
            patient = console.input("Type the patient's identifier to go on: ").strip()
        return _tell(here.confirm(association, patient=patient), json=json)


@app.command
def associate(
    device: str,
    /,
    *,
    patient: Patient,
    token: Token = None,
    yes: Yes = False,
    data: Data = DATA,
    json: bool = False,
) -> int:
    """Say at the bedside that a device is used for a patient, from now."""
    who = PatientId.of_key(patient)
    with client(data, token) as here:
        if not yes:
            _show_about(here.associate(device, who, confirm=False), "Associating")
            if not _asked(patient):
                return 1
        return _tell(here.associate(device, who, confirm=True), json=json)


@app.command
def reject(
    association: str,
    /,
    *,
    reason: Reason,
    token: Token = None,
    data: Data = DATA,
    json: bool = False,
) -> int:
    """Decline a proposal; ADT does not propose it again for the same stay."""
    with client(data, token) as here:
        return _tell(here.reject(association, reason=reason), json=json)


@app.command
def end(
    association: str,
    /,
    *,
    reason: Reason,
    token: Token = None,
    yes: Yes = False,
    data: Data = DATA,
    json: bool = False,
) -> int:
    """End a confirmed association now; what comes from then on is nobody's."""
    with client(data, token) as here:
        shown = here.end(association, reason=reason, patient=None)
        if not yes:
            _show_about(shown, "Ending")
            if not _asked(shown["confirm"]):
                return 1
        return _tell(here.end(association, reason=reason, patient=shown["confirm"]), json=json)


@app.command(name="assign-late")
def assign_late(
    device: str,
    /,
    *,
    patient: Patient,
    start: Annotated[str, Parameter(help="First moment, ISO 8601 with offset.")],
    stop: Annotated[str, Parameter(help="First moment after it, ISO 8601 with offset.")],
    token: Token = None,
    yes: Yes = False,
    data: Data = DATA,
    json: bool = False,
) -> int:
    """Assign what a device recorded in a time that is over, up to 31 days.

    Refused where it overlaps a time for which the device is confirmed for somebody.
    """
    who = PatientId.of_key(patient)
    span = {"start_ns": _moment_ns(start), "end_ns": _moment_ns(stop)}
    with client(data, token) as here:
        if not yes:
            _show_about(here.assign_late(device, who, **span, confirm=False), "Assigning")
            if not _asked(patient):
                return 1
        return _tell(here.assign_late(device, who, **span, confirm=True), json=json)


@contextmanager
def client(data: Path, token: Path | None) -> Generator[AssociationClient]:
    """Open a client for the hub that runs in a data folder; errors as `devices.people`."""
    with closing(people(data, token=token)) as asked:
        yield AssociationClient(asked)


def moment(ns: int | None) -> str:
    """Return a moment for people; "" for none."""
    return "" if ns is None else f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def key(patient: Mapping[str, Any]) -> str:
    """Return a patient's identifier as authority|value."""
    return f"{patient['authority']}|{patient['value']}"


def _row(one: Mapping[str, Any]) -> list[str]:
    who = " ".join(part for part in (key(one["patient"]), one["patient_name"]) if part)
    why = one["end_reason"] or one["basis"]
    times = moment(one["start_ns"]), moment(one["end_ns"])
    return [one["id"], one["device"], who, one["label"], one["state"], why, *times]


def _show_about(shown: Mapping[str, Any], title: str) -> None:
    patient = shown["patient"]
    facts = {
        "patient": key(patient["id"]),
        "name": patient["name"] or "not known to the hub",
        "birth date": patient["birth_date"],
        "device": shown["device"],
    }
    if shown.get("now"):
        facts["confirmed now"] = key(shown["now"]["patient"])
    if shown.get("overlaps"):
        facts["confirmed in that time"] = f"{len(shown['overlaps'])} times: it will be refused"
    show_facts(title, facts)


def _asked(patient: str) -> bool:
    if console.input("Type the patient's identifier to go on: ").strip() == patient:
        return True
    console.print("nothing was changed")
    return False


def _tell(outcome: Mapping[str, Any], *, json: bool) -> int:
    if json:
        show_json(outcome)
        return 0
    one = outcome["association"]
    console.print(f"{one['device']} is {one['state']} for {key(one['patient'])}", markup=False)
    return 0


def _moment_ns(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError("not a time of ISO 8601", hint="like 2026-11-22T14:00:00+01:00") from error
    if found.tzinfo is None:
        raise InputError("a time needs its offset", hint="like 2026-11-22T14:00:00+01:00")
    return round(found.timestamp()) * 1_000_000_000
