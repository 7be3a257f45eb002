"""`asepsis deadletters`: what a destination did not take, and what a person decides about it."""

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter

from asepsis.cli.associations import Reason, Token, moment
from asepsis.cli.data import DATA, Data
from asepsis.cli.devices import people
from asepsis.cli.output import console, show_json, show_table

app: Final = App(
    name="deadletters", help="Search, read, replay, redirect or discard what was not delivered."
)
COLUMNS: Final = ("id", "state", "destination", "type", "code", "route", "refused")
PATH: Final = "/api/dead-letters"
State = Literal["open", "blocking", "held", "queued", "delivered", "discarded"]


@app.command(name="list")
def list_letters(
    *,
    destination: Annotated[str, Parameter(help="Only of this one.")] = "",
    state: Annotated[State | None, Parameter(help="By default what waits for a person.")] = None,
    message_type: Annotated[str, Parameter(help="Such as ADT^A40.")] = "",
    patient: Annotated[str, Parameter(help="First part of PID-3; the search is audited.")] = "",
    control_id: Annotated[str, Parameter(help="MSH-10.")] = "",
    after: Annotated[int, Parameter(help="Only with a higher number.")] = 0,
    limit: Annotated[int, Parameter(help="At most so many, up to 500.")] = 100,
    token: Token = None,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Show dead letters without their content, ascending."""
    query: dict[str, str | int] = {"after": after, "limit": limit}
    given = {
        "destination": destination,
        "state": state or "",
        "message_type": message_type,
        "patient": patient,
        "control_id": control_id,
    }
    query |= {name: text for name, text in given.items() if text}
    with closing(people(data, token=token)) as here:
        found = here.get(PATH, **query)["dead_letters"]
    if json:
        show_json(found)
        return
    show_table("Dead letters", COLUMNS, [_row(one) for one in found])


@app.command
def show(number: int, /, *, token: Token = None, data: Data = DATA, json: bool = False) -> None:
    """Read a dead letter with the names of its fields; who reads it stands in the audit log."""
    with closing(people(data, token=token)) as here:
        found = here.get(f"{PATH}/{number}")
    if json:
        show_json(found)
        return
    show_table("Dead letter", COLUMNS, [_row(found)])
    console.print(f"The destination says: {found['reason']}", markup=False)
    rows = [(field["path"], field["name"], field["value"]) for field in found["fields"]]
    show_table("Fields", ("field", "name", "value"), rows)


@app.command
def replay(
    number: int, /, *, reason: Reason, token: Token = None, data: Data = DATA, json: bool = False
) -> None:
    """Send it again to the destination that did not take it, or release what was held back."""
    _act(number, "replay", {"reason": reason}, token=token, data=data, json=json)


@app.command
def redirect(
    number: int,
    /,
    *,
    to: Annotated[str, Parameter(help="The destination that gets it instead.")],
    reason: Reason,
    token: Token = None,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Send it to another destination; a line that stood still for it goes on."""
    _act(number, "redirect", {"reason": reason, "to": to}, token=token, data=data, json=json)


@app.command
def discard(
    number: int, /, *, reason: Reason, token: Token = None, data: Data = DATA, json: bool = False
) -> None:
    """Give it up for good, with a reason; a line that stood still for it goes on."""
    _act(number, "discard", {"reason": reason}, token=token, data=data, json=json)


def _act(
    number: int, act: str, body: dict[str, str], *, token: Path | None, data: Path, json: bool
) -> None:
    with closing(people(data, token=token)) as here:
        outcome = here.post(f"{PATH}/{number}/{act}", body)
    if json:
        show_json(outcome)
    else:
        console.print(f"{act}: dead letter {number}, done", markup=False)


def _row(one: dict[str, Any]) -> list[str]:
    return [
        str(one["id"]),
        one["state"],
        one["destination"],
        one["message_type"] or one["kind"],
        one["code"],
        one["route"],
        moment(one["at_ns"]),
    ]
