"""`asepsis device update ...`: what people at a device see of an update, and say to it."""

from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.errors import ConfigError
from asepsis.edge.device.update import place
from asepsis.edge.device.update.desk import ask_desk
from asepsis.edge.device.update.updating import UPDATE

app: Final = App(name="update", help="Updates of a device, seen and answered at the device.")
Folder = Annotated[Path, Parameter(help="Folder of the device.")]
Json = Annotated[bool, Parameter(help="One JSON document.")]
ROOT_BYTES_MAX: Final = 512_000


@app.command
def begin(
    *,
    folder: Folder,
    director_root: Annotated[Path, Parameter(help="Root of the hospital's director.")],
    vendor: Annotated[
        list[str], Parameter(help="NAME=FILE: root of a vendor's repository; repeat for more.")
    ],
) -> None:
    """Give an enrolled device the roots that it trusts, once.

    The director's root comes from the hospital at enrolment, a vendor's from the verified image.
    Later roots come by their own chains, never from a hub.
    """
    roots: dict[str, bytes] = {}
    for one in vendor:
        name, _, file = one.partition("=")
        if not file:
            raise ConfigError(f"{one!r} names no root", hint="--vendor acme=acme.root.json")
        roots[name] = _read(Path(file))
    place.begin(folder / UPDATE, director_root=_read(director_root), vendor_roots=roots)
    console.print(f"Begun: {len(roots) + 1} roots in {folder / UPDATE}.", markup=False)


@app.command
def status(*, folder: Folder, json: Json = False) -> None:
    """Show the update in hand, what it waits for, its self-tests, and what the next start brings.

    A verified update may still owe a start of the device: that debt is shown until it is paid.
    """
    _show(ask_desk(folder, "status"), json=json)


@app.command
def now(*, folder: Folder, json: Json = False) -> None:
    """Say at the device that the update it asks about may be installed now.

    The word holds for 15 minutes; every other condition is judged as before.
    """
    _show(ask_desk(folder, "now"), json=json)


@app.command
def later(*, folder: Folder, json: Json = False) -> None:
    """Put the question off for half an hour; at most four times.

    After that the update waits on, and the hospital sees that it does. It is never installed
    because nobody answered.
    """
    _show(ask_desk(folder, "later"), json=json)


@app.command(name="out-of-service")
def out_of_service(
    *,
    folder: Folder,
    who: Annotated[str, Parameter(help="Who takes it out of service.")],
    json: Json = False,
) -> None:
    """Take a ready-reserve device out of service, so that it may be updated."""
    _show(ask_desk(folder, "out-of-service", who=who), json=json)


@app.command(name="in-service")
def in_service(*, folder: Folder, json: Json = False) -> None:
    """Return a device to service."""
    _show(ask_desk(folder, "in-service"), json=json)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(ROOT_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > ROOT_BYTES_MAX:
        raise ConfigError(f"a root has at most {ROOT_BYTES_MAX} bytes")
    return content


def _show(found: dict[str, Any], *, json: bool) -> None:
    if json:
        show_json(found)
        return
    update = found["update"]
    facts = {
        "update": f"{update['component']} {update['version']}" if update else "none",
        "outcome": update["outcome"] if update else "",
        "waits for": update["waits_for"] if update else "",
        "reason": update["reason"] if update else "",
        "asks a person": "yes" if found["asks"] else "no",
        "out of service": found["out_of_service"] or "no",
        "after the next start": ", ".join(found["after_next_start"]) or "nothing",
    }
    show_facts("Update", facts)
    if update and update["tests"]:
        rows = [
            (
                test["name"],
                "not measured" if test["measured"] is None else f"{test['measured']:g}",
                f"{test['low']:g} to {test['high']:g}",
                test["unit"],
                "passed" if test["passed"] else "failed",
            )
            for test in update["tests"]
        ]
        show_table("Self-tests", ("test", "measured", "tolerance", "unit", ""), rows)
