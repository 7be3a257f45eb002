"""`asepsis release pin|import|submit|status|assign ...`: what a person does at the hub."""

import base64
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

from cyclopts import Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.devices import people
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.cli.release import app
from asepsis.core.errors import InputError
from asepsis.tools.release.documents import read_given
from asepsis.tools.release.upload import upload

BASE: Final = "/api/updates"
Device = Annotated[str, Parameter(help="Name of the device.")]
Artefact = Annotated[str, Parameter(help="Target path of the release, or its SHA-256.")]


@app.command
def pin(
    vendor: Annotated[str, Parameter(help="Name of the vendor.")],
    root: Annotated[Path, Parameter(help="The vendor's root, as it came with the devices.")],
    /,
    *,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """At the hub: trust a vendor by its root; later roots follow by its own chain."""
    with closing(people(data)) as client:
        _say(client.post(f"{BASE}/vendors", {"name": vendor, "root": _text(root)}), as_json=json)


@app.command(name="import")
def import_(
    vendor: Annotated[str, Parameter(help="Name of the vendor.")],
    public: Annotated[Path, Parameter(help="What it published: the folder `public`.")],
    /,
    *,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """At the hub: bring what a vendor published, have it verified, and serve it to devices.

    The hub verifies it as a device would. Bring it again whenever the vendor published: what is
    withdrawn there is withdrawn here.
    """
    with closing(people(data)) as client:
        upload(client, vendor, public)
        found = client.post(f"{BASE}/vendors/{quote(vendor, safe='')}/import", {})
        _say(found, as_json=json)


@app.command(name="director-root")
def director_root(
    root: Annotated[Path, Parameter(help="The hospital's root, made with `init --director`.")],
    /,
    *,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """At the hub: give the director its first or next root, signed offline."""
    with closing(people(data)) as client:
        _say(client.post(f"{BASE}/director/roots", {"content": _text(root)}), as_json=json)


@app.command
def submit(
    authorisation: Annotated[Path, Parameter(help="Signed with `asepsis release approve`.")],
    /,
    *,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """At the hub: bring an authorisation; who brings it approves nothing by that."""
    with closing(people(data)) as client:
        found = client.post(f"{BASE}/authorisations", {"content": _text(authorisation)})
    if json:
        show_json(found)
        return
    show_facts(found["path"], _standing(found))


@app.command
def status(*, data: Data = DATA, json: bool = False) -> None:
    """At the hub: show how far every release is from a ward, and why not further."""
    with closing(people(data)) as client:
        found = client.get(BASE)
    if json:
        show_json(found)
        return
    rows = [
        (
            one["path"],
            one["version"],
            one["counter"],
            f"{len(one['approved_by']['vendor'])} + {len(one['approved_by']['hospital'])}",
            one["why_not"] or f"until {one['until'][:10]}",
        )
        for one in found["releases"]
    ]
    show_table("Releases", ("path", "version", "counter", "approved", "may be rolled out"), rows)
    behind = found["director"]
    console.print(
        f"director: root {found['director_root']}, {behind['devices']} devices, "
        f"{behind['behind']} to be signed",
        markup=False,
    )


@app.command(name="list-device")
def list_device(
    device: Device,
    /,
    *,
    model: Annotated[str, Parameter(help="Model, as the vendor's releases say it.")],
    hardware: Annotated[str, Parameter(help="Hardware id, as the device says it.")],
    data: Data = DATA,
    json: bool = False,
) -> None:
    """At the hub: say what a device is for an update; without it nothing is assigned to it."""
    listed = {"device": device, "model": model, "hardware": hardware}
    with closing(people(data)) as client:
        _say(client.post(f"{BASE}/devices", {"devices": [listed]}), as_json=json)


@app.command
def assign(
    device: Device,
    release: Artefact,
    /,
    *,
    dry_run: Annotated[bool, Parameter(help="Say what would be replaced, and do nothing.")] = False,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """At the hub: assign a release to one device, outside every campaign, such as on the bench.

    The device still checks vendor and both approvers, and decides the moment itself.
    """
    path = f"{BASE}/devices/{quote(device, safe='')}"
    with closing(people(data)) as client:
        sha256 = _sha256(client.get(BASE)["releases"], release)
        if dry_run:
            found = client.get(path) | {"would_assign": sha256}
        else:
            found = client.post(f"{path}/assign", {"artefact": sha256})
        _say(found, as_json=json)


@app.command
def unassign(
    device: Device,
    /,
    *,
    component: Annotated[str | None, Parameter(help="Only of this component.")] = None,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """At the hub: take back what is assigned to a device; what it began it finishes or undoes."""
    path = f"{BASE}/devices/{quote(device, safe='')}/clear"
    with closing(people(data)) as client:
        _say(client.post(path, {"component": component}), as_json=json)


def _standing(one: dict[str, Any]) -> dict[str, Any]:
    by = one["approved_by"]
    return {
        "SHA-256": one["sha256"],
        "vendor's approvers": ", ".join(keyid[:16] for keyid in by["vendor"]) or "none",
        "hospital's approvers": ", ".join(keyid[:16] for keyid in by["hospital"]) or "none",
        "may be rolled out": one["why_not"] or f"until {one['until']}",
    }


def _sha256(releases: list[dict[str, Any]], named: str) -> str:
    found = [one["sha256"] for one in releases if named in (one["path"], one["sha256"])]
    if len(found) != 1:
        raise InputError(
            f"{len(found)} releases are named {named}", hint="`asepsis release status` lists them"
        )
    return found[0]


def _text(path: Path) -> str:
    return base64.b64encode(read_given(path)).decode("ascii")


def _say(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    show_facts("Done", {name: str(value) for name, value in found.items()})
