"""`asepsis devices`: see what is enrolled, and revoke."""

import json as json_module
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from asepsis.cli.hub import DATA, Data
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.errors import Unavailable
from asepsis.tools.people import PeopleClient

app: Final = App(name="devices", help="See what is enrolled, and revoke.")
COLUMNS: Final = ("name", "kind", "model", "state", "not_after")


@app.command(name="list")
def list_devices(*, data: Data = DATA, json: bool = False) -> None:
    """Show every device, gateway and consumer that the hub knows."""
    found = people(data).devices()
    if json:
        show_json(found)
        return
    show_table("Devices", COLUMNS, [[row.get(column, "") for column in COLUMNS] for row in found])


@app.command
def show(name: str, *, data: Data = DATA, json: bool = False) -> None:
    """Show one device."""
    found = people(data).device(name)
    if json:
        show_json(found)
        return
    show_facts(name, found)


@app.command
def revoke(
    name: str,
    *,
    reason: Annotated[str, Parameter(help="Why; goes into the audit log.")],
    yes: Annotated[bool, Parameter(help="Do not ask again.")] = False,
    data: Data = DATA,
    json: bool = False,
) -> int:
    """End every certificate, renewal and token of an identity and close its streams at once.

    Without --yes it first says what would end, and asks.
    """
    client = people(data)
    preview = client.revoke(name, reason=reason, confirm=False)
    if not yes:
        show_facts(f"Revoking {name} would end", preview)
        if console.input("Type the word 'revoke' to go on: ").strip() != "revoke":
            console.print("nothing was changed")
            return 1
    outcome = client.revoke(name, reason=reason, confirm=True)
    if json:
        show_json(outcome)
    else:
        console.print(f"{name} is revoked")
    return 0


def people(data: Path) -> PeopleClient:
    """Return a client for the hub that runs in a data folder, as its administrator.

    Raises:
        Unavailable: No hub runs there.
        ConfigError: The token or the root cannot be read.
    """
    try:
        ready = json_module.loads((data / "run" / "ready.json").read_text("utf-8"))
    except OSError as error:
        raise Unavailable(
            f"no hub runs in {data}", hint=f"start it: asepsis hub --data {data}"
        ) from error
    address = ready["listeners"]["people"]
    return PeopleClient(
        f"https://{address['host']}:{address['port']}",
        root_path=data / "ca" / "root.crt",
        token_path=data / "hub" / "admin.token",
    )
