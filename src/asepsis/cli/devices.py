"""`asepsis devices`: see what is enrolled, and revoke."""

import json as json_module
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.hub import DATA, Data
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.errors import Unavailable
from asepsis.tools.people import PeopleClient

app: Final = App(name="devices", help="See what is enrolled, and revoke.")
COLUMNS: Final = ("name", "kind", "model", "signs", "state")


@app.command(name="list")
def list_devices(*, data: Data = DATA, json: bool = False) -> None:
    """Show every device, gateway and consumer that the hub knows."""
    found = people(data).devices()
    if json:
        show_json(found)
        return
    show_table("Devices", COLUMNS, [_row(one) for one in found])


@app.command
def show(name: str, *, data: Data = DATA, json: bool = False) -> None:
    """Show one device."""
    found = people(data).device(name)
    if json:
        show_json(found)
        return
    show_facts(name, dict(zip(COLUMNS[1:], _row(found)[1:], strict=True)))


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
        device = preview["device"]
        show_facts(
            f"Revoking {name}",
            {
                "what it is": f"{device['kind']}, {device['model']}",
                "state": _state(device),
                "ends at once": "every certificate, renewal and token of this name",
                "connections closed": preview["would_close"],
            },
        )
        if console.input("Type the word 'revoke' to go on: ").strip() != "revoke":
            console.print("nothing was changed")
            return 1
    outcome = client.revoke(name, reason=reason, confirm=True)
    if json:
        show_json(outcome)
    else:
        console.print(f"{name} is revoked")
    return 0


@app.command
def declare(
    gateway: Annotated[str, Parameter(help="Which gateway.")],
    devices: Annotated[list[str], Parameter(help="Whom it may speak for.")],
    *,
    observed: Annotated[
        bool,
        Parameter(
            help="The gateway itself ends the devices' own connections, "
            "each network peer bound to one device by its policy."
        ),
    ] = False,
    days: Annotated[int, Parameter(help="How long, 1 to 1096.")] = 365,
    data: Data = DATA,
) -> None:
    """Let a gateway speak for devices."""
    evidence = "observed" if observed else "claimed"
    people(data).declare(gateway, devices, days=days, evidence=evidence)
    console.print(f"{gateway} speaks for {len(devices)} more devices, evidence {evidence}")


@app.command
def withdraw(
    gateway: Annotated[str, Parameter(help="Which gateway.")],
    devices: Annotated[list[str], Parameter(help="Whom it may no longer speak for.")],
    *,
    data: Data = DATA,
) -> None:
    """Take devices from a gateway's declared list; it counts at its next request."""
    people(data).withdraw(gateway, devices)
    console.print(f"{gateway} speaks for {len(devices)} fewer devices")


def people(data: Path, *, token: Path | None = None) -> PeopleClient:
    """Return a client for the hub that runs in a data folder.

    Args:
        data: Its folder.
        token: File with a person's token; by default its administrator's.

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
        token_path=token or data / "hub" / "admin.token",
    )


def _row(device: Mapping[str, Any]) -> list[str]:
    signs = "yes" if device["origin_key"] else "no"
    return [device["name"], device["kind"], device["model"], signs, _state(device)]


def _state(device: Mapping[str, Any]) -> str:
    if device["revoked_at_ns"]:
        return f"revoked {_moment(device['revoked_at_ns'])}"
    if not device["expires_at_ns"]:
        return "listed"
    return f"enrolled, certificate until {_moment(device['expires_at_ns'])}"


def _moment(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M} UTC"
