"""`asepsis places`: where devices stand, and which wards let fixed monitors follow ADT."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.associations import Token, Yes, client, key
from asepsis.cli.data import DATA, Data
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.model.patient import Place

app: Final = App(name="places", help="Where devices stand, and the rules of wards.")
COLUMNS: Final = ("bed", "devices", "patient", "associated")


@app.command(name="list")
def list_places(*, token: Token = None, data: Data = DATA, json: bool = False) -> None:
    """Show beds with their devices; with a token that may see patients, who lies there."""
    with client(data, token) as here:
        found = here.beds()
    if json:
        show_json(found)
        return
    show_table("Beds", COLUMNS, [_row(bed) for bed in found["beds"]])
    wards = ", ".join(found["wards_following_adt"]) or "none"
    console.print(f"Wards whose fixed monitors follow ADT: {wards}", markup=False)


@app.command
def place(
    device: str,
    /,
    *,
    ward: Annotated[str, Parameter(help="Point of care (PL.1); none takes it from its bed.")] = "",
    room: Annotated[str, Parameter(help="Room (PL.2).")] = "",
    bed: Annotated[str, Parameter(help="Bed (PL.3).")] = "",
    facility: Annotated[str, Parameter(help="Facility (PL.4).")] = "",
    fixed: Annotated[bool, Parameter(help="Fixed there, as a wall monitor is.")] = False,
    token: Token = None,
    yes: Yes = False,
    data: Data = DATA,
    json: bool = False,
) -> int:
    """Say where a device stands; one that moves loses its association."""
    where = Place(ward, room, bed, facility) if ward else None
    with client(data, token) as here:
        outcome = here.place(device, where, fixed=fixed, confirm=yes)
        if not outcome["done"]:
            console.print("The device is confirmed for a patient; moving it ends that.")
            if console.input("Type the word 'move' to go on: ").strip() != "move":
                console.print("nothing was changed")
                return 1
            outcome = here.place(device, where, fixed=fixed, confirm=True)
        label = where.label() if where else "no bed"
        return _tell(outcome, f"{device} stands at {label}", json=json)


@app.command
def rule(
    ward: str,
    /,
    *,
    follow_adt: Annotated[bool, Parameter(help="Whether its fixed monitors follow ADT.")],
    token: Token = None,
    yes: Yes = False,
    data: Data = DATA,
    json: bool = False,
) -> int:
    """Let the fixed monitors of a ward follow ADT from now, or no longer."""
    with client(data, token) as here:
        if not yes:
            shown = here.set_rule(ward, follow_adt=follow_adt, confirm=False)
            word = "follow" if follow_adt else "do not follow"
            facts = {"from now its fixed monitors": f"{word} ADT", "which": shown["fixed_devices"]}
            show_facts(f"Ward {ward}", facts)
            if console.input("Type the ward's name to go on: ").strip() != ward:
                console.print("nothing was changed")
                return 1
        outcome = here.set_rule(ward, follow_adt=follow_adt, confirm=True)
        return _tell(outcome, f"the rule of {ward} is set", json=json)


def _row(bed: Mapping[str, Any]) -> list[str]:
    devices = [f"{d['name']}{' (fixed)' if d['fixed'] else ''}" for d in bed["devices"]]
    if "patient" not in bed:
        return [bed["label"], "\n".join(devices), "not shown", ""]
    patient = bed["patient"]
    who = f"{key(patient['id'])} {patient['name']}" if patient else "nobody, or not one"
    associated = [f"{a['device']}: {a['state']}" for a in bed["associations"]]
    return [bed["label"], "\n".join(devices), who, "\n".join(associated)]


def _tell(outcome: Mapping[str, Any], text: str, *, json: bool) -> int:
    if json:
        show_json(outcome)
    else:
        console.print(text, markup=False)
    return 0
