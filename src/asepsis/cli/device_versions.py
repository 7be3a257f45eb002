"""`asepsis device versions|swap|rollback|service`: orders to the supervisor of a running device."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.output import console, show_json, show_table
from asepsis.core.errors import SafetyRefusal, Unavailable
from asepsis.edge.device.supervisor_orders import ask_supervisor

app: Final = App(name="service", help="The service port of a running device.")
SWAP_S: Final = 60.0
LOOK_S: Final = 0.2
SERVED: Final = frozenset({"serving", "warming", "ready"})
Folder = Annotated[Path, Parameter(help="Folder of the device, which runs.")]
Json = Annotated[bool, Parameter(help="One JSON document.")]
Wait = Annotated[bool, Parameter(help="Wait until the version serves or is refused.")]
DryRun = Annotated[bool, Parameter(help="Check what would be done; do nothing.")]


def versions(*, folder: Folder, json: Json = False) -> None:
    """Show which version of each compartment serves, which is confirmed, and which are there.

    A version is put into `releases/COMPARTMENT/VERSION/asepsis` of the device's folder by whoever
    has verified it. `before` is where `rollback` goes back to.
    """
    found = ask_supervisor(folder, "versions")
    if json:
        show_json(found)
        return
    rows = [
        (
            name,
            one["serves"],
            "" if one["serves"] == one["confirmed"] else "on trial",
            one["before"],
            one["phase"],
            one["starts"],
            ", ".join(one["here"]),
            _last(one["last"]),
        )
        for name, one in found["compartments"].items()
    ]
    columns = ("compartment", "serves", "", "before", "phase", "starts", "there", "last")
    show_table("Versions", columns, rows)
    console.print(f"Clinical state: {found['state']}.")
    if found["service"]:
        left_s = found["service_open_s"]
        console.print(f"Service port: {f'open for {left_s} s more' if left_s else 'closed'}.")


def swap(
    compartment: str,
    version: str,
    *,
    folder: Folder,
    wait: Wait = True,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Replace a compartment of a running device by another version of it.

    By rung `swap` the new version gets ready beside the old one and takes over once its self-tests
    are there and vitals has given a permit; by rung `restart` it starts in its place. For 30 s it
    is on trial: if it falls, the old one serves again.
    """
    begun = ask_supervisor(
        folder, "swap", compartment=compartment, version=version, dry_run=dry_run
    )
    _follow(folder, begun, wait=wait, json=json)


def rollback(
    compartment: str,
    *,
    folder: Folder,
    wait: Wait = True,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Go back to the version of a compartment that served before.

    From a version on trial to the confirmed one, else to the one that was confirmed before it. It
    is a swap as any other, with self-tests and a permit.
    """
    begun = ask_supervisor(folder, "rollback", compartment=compartment, dry_run=dry_run)
    _follow(folder, begun, wait=wait, json=json)


@app.command(name="open")
def open_port(
    *,
    folder: Folder,
    minutes: Annotated[float, Parameter(help="For how long, at most 60.")] = 10.0,
    json: Json = False,
) -> None:
    """Open the service port, in maintenance only; it closes by itself.

    It closes when its time is over and when the device leaves maintenance, for example because a
    patient is attached. Both are told to the hub.
    """
    found = ask_supervisor(folder, "service-open", seconds=minutes * 60)
    if json:
        show_json(found)
        return
    console.print(f"Service port open for {found['service_open_s']} s.")


@app.command
def close(*, folder: Folder, json: Json = False) -> None:
    """Close the service port now, and end every connection to it."""
    found = ask_supervisor(folder, "service-close")
    if json:
        show_json(found)
        return
    console.print("Service port closed." if found["closed"] else "It was closed.")


def _follow(folder: Path, begun: dict[str, Any], *, wait: bool, json: bool) -> None:
    """Say what was begun, or wait for what comes of it.

    Raises:
        SafetyRefusal: The device did not take the version.
        Unavailable: Nothing came of it in time.
    """
    name, version = begun["compartment"], begun["to"]
    if begun["begun"] and wait:
        begun = {**begun, "became": _outcome(folder, name, version)}
    if json:
        show_json(begun)
    elif not begun["begun"]:
        console.print(f"{name} would go from {begun['from']} to {version}.", markup=False)
    elif wait:
        console.print(
            f"{name} {version} serves, on trial; {begun['from']} serves again if it falls.",
            markup=False,
        )
    else:
        console.print(f"{name} {version} gets ready; see `asepsis device versions`.", markup=False)


def _outcome(folder: Path, name: str, version: str) -> str:
    deadline_s = time.monotonic() + SWAP_S
    while time.monotonic() < deadline_s:
        found = ask_supervisor(folder, "versions")
        one = found["compartments"][name]
        if name not in found["replacing"]:
            if one["serves"] != version:
                raise SafetyRefusal(f"{name} {version} does not serve: {_last(one['last'])}")
            if one["phase"] in SERVED:
                return "serves"
        time.sleep(LOOK_S)
    raise Unavailable(f"nothing came of {name} {version} in {SWAP_S:.0f} s")


def _last(last: Mapping[str, str]) -> str:
    return " ".join(word for word in (last.get("event", ""), last.get("why", "")) if word)
