"""`asepsis ddi`: devices with SWUpdate or RAUC, and what they are given."""

from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from cyclopts import App, Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.devices import moment, people
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.errors import InputError

app: Final = App(
    name="ddi",
    help="Devices with SWUpdate or RAUC: who they are, what they get, what came of it.",
)
target_app: Final = App(name="target", help="Devices as update clients.")
gateway_app: Final = App(name="gateway", help="Tokens that speak for every target.")
module_app: Final = App(name="module", help="Software that the vendor signed, with its file.")
for _group in (target_app, gateway_app, module_app):
    app.command(_group)

BASE: Final = "/api/ddi"
NS: Final = 1_000_000_000
Client = Literal["generic", "swupdate", "rauc"]
Kind = Literal["forced", "soft", "time-forced", "download-only"]
Name = Annotated[str, Parameter(help="Its own name (controllerId).")]
Number = Annotated[int, Parameter(help="Which action, as `asepsis ddi status` shows it.")]


@target_app.command(name="add")
def add_target(
    name: Name,
    *,
    client: Annotated[Client, Parameter(help="Which client it has; decides what it is told.")],
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Enter a device and print its token, this once: the hub keeps only a hash.

    Put the token into swupdate.cfg (`suricatta.targettoken`) or into the configuration of
    rauc-hawkbit-updater (`auth_token`).
    """
    with closing(people(data)) as hub:
        found = hub.post(f"{BASE}/targets", {"name": name, "profile": client})
    _say(found, as_json=json)


@target_app.command(name="change")
def change_target(
    name: Name,
    *,
    client: Annotated[Client | None, Parameter(help="Which client it has.")] = None,
    block: Annotated[bool | None, Parameter(negative="--unblock", help="Refuse it.")] = None,
    new_token: Annotated[bool, Parameter(negative="", help="Print a new token.")] = False,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Change a device: its client, its token, or whether it is refused."""
    body = {"profile": client, "blocked": block, "new_token": new_token}
    with closing(people(data)) as hub:
        found = hub.post(f"{BASE}/targets/{quote(name, safe='')}", body)
    _say(found, as_json=json)


@target_app.command(name="list")
def list_targets(
    *,
    after: Annotated[str, Parameter(help="Begin after this name.")] = "",
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Show devices as update clients, at most 500 at once."""
    with closing(people(data)) as hub:
        found = hub.get(f"{BASE}/targets", after=after)
    if json:
        show_json(found)
        return
    columns = ("target", "client", "blocked", "says it runs", "last seen", "from")
    show_table("Targets", columns, [_target(one) for one in found["targets"]])


@target_app.command(name="show")
def show_target(name: Name, *, data: Data = DATA, json: bool = False) -> None:
    """Show one device, what it says of itself, and its updates."""
    with closing(people(data)) as hub:
        found = hub.get(f"{BASE}/targets/{quote(name, safe='')}")
    if json:
        show_json(found)
        return
    facts = {"client": found["profile"], "blocked": found["blocked"], **found["attributes"]}
    show_facts(name, facts)
    _show_actions(found["actions"])


@gateway_app.command(name="add")
def add_gateway(
    name: Annotated[str, Parameter(help="What has the token.")],
    *,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Print a token that speaks for every target; it counts if `ddi.gateway_tokens` is set.

    Whoever has it can ask as any device and report for it. A target's own token is better.
    """
    with closing(people(data)) as hub:
        _say(hub.post(f"{BASE}/gateways", {"name": name}), as_json=json)


@gateway_app.command(name="remove")
def remove_gateway(
    name: Annotated[str, Parameter(help="Whose token ends.")], *, data: Data = DATA
) -> None:
    """Let a gateway's token count no more."""
    with closing(people(data)) as hub:
        hub.delete(f"{BASE}/gateways/{quote(name, safe='')}")
    console.print(f"the token of {name} counts no more", markup=False)


@module_app.command(name="add")
def add_module(
    file: Annotated[Path, Parameter(help="Update file that the vendor signed (.swu, .raucb).")],
    *,
    name: Annotated[str, Parameter(help="Name of the software.")],
    version: Annotated[str, Parameter(help="Version, as the device reports it when it runs it.")],
    part: Annotated[str, Parameter(help="What it is of the device.")] = "os",
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Bring an update file to the hub. Who brings it may not assign it: that takes a second person.

    The hub takes its hashes and believes nothing of it: the device checks the vendor's signature.
    """
    words = {"name": name, "version": version, "part": part, "file": file.name}
    with closing(people(data)) as hub:
        _say(hub.post_file(f"{BASE}/modules", file, **words), as_json=json)


@module_app.command(name="list")
def list_modules(*, data: Data = DATA, json: bool = False) -> None:
    """Show the software that was brought."""
    with closing(people(data)) as hub:
        found = hub.get(f"{BASE}/modules")
    if json:
        show_json(found)
        return
    rows = [
        (one["id"], one["name"], one["version"], one["files"][0]["sha256"], one["person"])
        for one in found["modules"]
    ]
    show_table("Modules", ("number", "name", "version", "SHA-256", "brought by"), rows)


@app.command
def assign(
    targets: Annotated[list[str], Parameter(help="Whom; at most 1000 at once.")],
    *,
    module: Annotated[list[int], Parameter(help="Number of a module; repeat.")],
    kind: Annotated[Kind, Parameter(help="How much is left to the device.")] = "forced",
    force_at: Annotated[
        datetime | None, Parameter(help="With --kind time-forced: from when, with its offset.")
    ] = None,
    window: Annotated[
        list[str] | None,
        Parameter(help="When it may be installed, 2026-12-01T01:00+01:00/120 (minutes); repeat."),
    ] = None,
    confirm: Annotated[
        bool, Parameter(negative="", help="Somebody at the device or at the hub confirms first.")
    ] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Say what would be asked.")] = False,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Assign software to devices; what they had open is taken back first.

    Outside its windows a device with SWUpdate sees nothing of it: it would report success.
    """
    body: dict[str, Any] = {
        "targets": targets,
        "modules": module,
        "kind": kind,
        "force_ns": _moment_ns(force_at) if force_at else 0,
        "windows": [_window(one) for one in window or ()],
        "confirm": confirm,
    }
    if dry_run:
        _say(body, as_json=json)
        return
    with closing(people(data)) as hub:
        found = hub.post(f"{BASE}/actions", body)
    if json:
        show_json(found)
    else:
        _show_actions(found["actions"])


@app.command
def status(
    action: Annotated[int | None, Parameter(help="One action with what the device said.")] = None,
    *,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Show updates, newest first: where each is in the protocol, and what is known to be true.

    Only `verified` is success: the device itself says that it runs the version and that its
    self-test passed. `installing` is what a client's own "success" is worth.
    """
    with closing(people(data)) as hub:
        found = hub.get(f"{BASE}/actions" + ("" if action is None else f"/{action}"))
    if json:
        show_json(found)
        return
    _show_actions(found["actions"] if action is None else [found])
    if action is not None:
        rows = [
            (moment(one["at_ns"]), one["execution"], one["finished"], "; ".join(one["details"]))
            for one in found["reports"]
        ]
        show_table("What the device said", ("when", "it is", "it ended", "details"), rows)


@app.command
def cancel(
    action: Number,
    *,
    at_once: Annotated[
        bool, Parameter(negative="", help="Do not ask the device, which may go on with it.")
    ] = False,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Take an update back; a device that has looked at it is asked first."""
    with closing(people(data)) as hub:
        found = hub.post(f"{BASE}/actions/{action}/cancel", {"at_once": at_once})
    _say({"action": found["id"], "stage": found["stage"]}, as_json=json)


@app.command
def confirm(action: Number, *, data: Data = DATA, json: bool = False) -> None:
    """Let an update go on that waits for confirmation, after you asked at the device."""
    with closing(people(data)) as hub:
        found = hub.post(f"{BASE}/actions/{action}/confirm", {})
    _say({"action": found["id"], "stage": found["stage"]}, as_json=json)


def _window(text: str) -> list[int]:
    """Read a window: the moment at which it opens, and for how many minutes.

    Raises:
        InputError: It is not written so.
    """
    start, _, minutes = text.partition("/")
    try:
        opens = datetime.fromisoformat(start)
        length = timedelta(minutes=int(minutes))
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{text} is no window", hint="write 2026-12-01T01:00+01:00/120 for two hours"
        ) from error
    return [_moment_ns(opens), _moment_ns(opens + length)]


def _moment_ns(at: datetime) -> int:
    if at.tzinfo is None:
        raise InputError(f"{at.isoformat()} has no offset", hint="add +01:00, or Z for UTC")
    return int(at.timestamp()) * NS


def _target(one: dict[str, Any]) -> tuple[str, ...]:
    seen = moment(one["seen_ns"]) if one["seen_ns"] else "-"
    runs = one["attributes"].get("asepsis-version", "-")
    blocked = "yes" if one["blocked"] else "no"
    return one["name"], one["profile"], blocked, runs, seen, one["address"] or "-"


def _show_actions(actions: list[dict[str, Any]]) -> None:
    columns = ("action", "target", "software", "stage", "outcome", "why", "assigned by")
    rows = [
        (
            one["id"],
            one["target"],
            f"{one['name']} {one['version']}",
            one["stage"],
            one["outcome"],
            one["reason"] or "-",
            one["person"],
        )
        for one in actions
    ]
    show_table("Updates", columns, rows)


def _say(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(facts)
    else:
        show_facts("DDI", facts)
