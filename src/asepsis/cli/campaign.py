"""`asepsis campaign`: bring an approved release to many devices, wave by wave."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.devices import people
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.errors import ConfigError
from asepsis.hub.fleet.campaigns.document import read_calendar, read_campaign
from asepsis.tools.campaigns import (
    ORDER_COLUMNS,
    CampaignClient,
    read_csv,
    read_fleet,
    write_csv,
)

app: Final = App(
    name="campaign",
    help="Bring an approved release to many devices: wave by wave, in windows, never too many at "
    "once. The device alone chooses the moment; nothing here interrupts one that is in use.",
)
Token = Annotated[
    Path | None, Parameter(help="File with a person's token; by default the administrator's.")
]
Name = Annotated[str, Parameter(help="The campaign.")]
Reason = Annotated[str, Parameter(help="Why; it stands in the audit log.")]
DryRun = Annotated[bool, Parameter(help="Only say what would be done.")]
NS: Final = 1_000_000_000


@app.command
def create(
    file: Annotated[Path, Parameter(help="The campaign, TOML; see docs/reference/campaigns.md.")],
    /,
    *,
    dry_run: Annotated[bool, Parameter(help="Only check the file.")] = False,
    token: Token = None,
    data: Data = DATA,
) -> None:
    """Keep a campaign as a draft; nothing happens to a device before `start`."""
    document = _text(file)
    spec = read_campaign(document)
    if dry_run:
        console.print(f"{spec.name}: {len(spec.waves)} waves, well written", markup=False)
        return
    with client(data, token) as here:
        name = here.create(document)
        found = here.campaign(name)
    devices = sum(sum(wave["devices"].values()) for wave in found["waves"])
    console.print(f"{name} is a draft for {devices} devices", markup=False)
    console.print(f"see `asepsis campaign plan {name}`, then start it", markup=False)


@app.command
def plan(name: Name, /, *, token: Token = None, data: Data = DATA, json: bool = False) -> None:
    """Show who would get the release when, and why not now."""
    with client(data, token) as here:
        found = here.plan(name)
    if json:
        show_json(found)
        return
    columns = ("device", "ward", "class", "wave", "stands", "why not now", "next window")
    show_table(f"Plan of {name}", columns, [_planned(one) for one in found])


@app.command
def status(
    name: Annotated[str, Parameter(help="The campaign; without one, all of them.")] = "",
    /,
    *,
    token: Token = None,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Show how campaigns stand; only verified devices count for a gate."""
    with client(data, token) as here:
        found: Any = here.campaign(name) if name else here.campaigns()
    if json:
        show_json(found)
        return
    if not name:
        columns = ("name", "state", "wave", "waves", "component", "change", "reason")
        show_table("Campaigns", columns, [[one[c] for c in columns] for one in found])
        return
    words = ("state", "reason", "refused", "release", "change", "person", "successor")
    show_facts(name, {word: found[word] for word in words if found[word]})
    rows = [
        (one["wave"], one["kind"], _counts(one["devices"]), one["gate"], one["why"])
        for one in found["waves"]
    ]
    show_table("Waves", ("wave", "kind", "devices", "gate", "why"), rows)


@app.command
def start(name: Name, /, *, token: Token = None, data: Data = DATA) -> None:
    """Start a draft: from now on its first wave gets the release in its windows."""
    with client(data, token) as here:
        _state(name, here.order(name, "start"))


@app.command
def pause(name: Name, /, *, reason: Reason, token: Token = None, data: Data = DATA) -> None:
    """Give nobody anything more, and take back what has not begun."""
    with client(data, token) as here:
        _state(name, here.order(name, "pause", reason=reason))


@app.command
def resume(name: Name, /, *, reason: Reason, token: Token = None, data: Data = DATA) -> None:
    """Go on; after a gate halted it, this accepts the failures so far."""
    with client(data, token) as here:
        _state(name, here.order(name, "resume", reason=reason))


@app.command
def halt(name: Name, /, *, reason: Reason, token: Token = None, data: Data = DATA) -> None:
    """Stop because something is wrong; what has begun ends by itself, verified or rolled back."""
    with client(data, token) as here:
        _state(name, here.order(name, "halt", reason=reason))


@app.command
def rollback(
    name: Name,
    /,
    *,
    to: Annotated[str, Parameter(help="SHA-256 of the artefact that devices go to.")],
    reason: Reason,
    wave: Annotated[int | None, Parameter(help="Only this wave; by default all.")] = None,
    dry_run: DryRun = False,
    token: Token = None,
    data: Data = DATA,
) -> None:
    """End a campaign and bring its devices to another release, in the same windows and budgets.

    A release below the floor that verified devices keep is refused; supersede it by a newer one.
    """
    with client(data, token) as here:
        if dry_run:
            rows = here.plan(name)
            done = ("verified", "awaiting-acceptance", "accepted")
            many = [one for one in rows if one["standing"] in done and wave in (None, one["wave"])]
            console.print(f"{len(many)} devices would go to {to}", markup=False)
            return
        made = here.roll_back(name, to=to, reason=reason, wave=wave)
    console.print(f"{name} is rolled back by the campaign {made}", markup=False)


@app.command
def supersede(
    name: Name,
    /,
    *,
    by: Annotated[str, Parameter(help="The draft that takes its place.")],
    token: Token = None,
    data: Data = DATA,
) -> None:
    """End a campaign and start the draft that takes its place."""
    with client(data, token) as here:
        here.supersede(name, by=by)
    console.print(f"{name} is superseded by {by}, which runs", markup=False)


@app.command
def emergency(
    name: Name,
    /,
    *,
    reason: Annotated[str, Parameter(help="As the first person: why.")] = "",
    confirm: Annotated[int | None, Parameter(help="As the second person: the proposal.")] = None,
    token: Token = None,
    data: Data = DATA,
) -> None:
    """Let a campaign skip windows and waves; two people within 15 minutes.

    Budgets and ready devices still count, and a device in use is interrupted only by a person at
    that device.
    """
    with client(data, token) as here:
        if confirm is None:
            number = here.propose_emergency(name, reason=reason)
            console.print(
                f"proposed; a second person: campaign emergency {name} --confirm {number}"
            )
            return
        here.confirm_emergency(name, confirm)
    console.print(f"{name} skips windows and waves from now", markup=False)


@app.command
def accept(
    name: Name,
    device: Annotated[str, Parameter(help="The device that was checked.")],
    /,
    *,
    as_found: Annotated[str, Parameter(help="How the device was found.")],
    as_left: Annotated[str, Parameter(help="How it was left; the check that was done.")],
    token: Token = None,
    data: Data = DATA,
) -> None:
    """Return a device to service after biomedical engineering checked it; closes its work order."""
    with client(data, token) as here:
        here.about(name, device, "accept", as_found=as_found, as_left=as_left)
    console.print(f"{device} is back in service", markup=False)


@app.command
def retry(
    name: Name, device: str, /, *, reason: Reason, token: Token = None, data: Data = DATA
) -> None:
    """Let a campaign try a device once more that failed or was left."""
    with client(data, token) as here:
        here.about(name, device, "retry", reason=reason)
    console.print(f"{device} waits for a slot again", markup=False)


@app.command
def leave(
    name: Name, device: str, /, *, reason: Reason, token: Token = None, data: Data = DATA
) -> None:
    """Leave a device out that waits; no gate waits for it any more."""
    with client(data, token) as here:
        here.about(name, device, "leave", reason=reason)
    console.print(f"{device} is left out", markup=False)


@app.command
def hunt(name: Name, /, *, token: Token = None, data: Data = DATA, json: bool = False) -> None:
    """Show devices that the campaign still needs and that were not seen: where to look for them."""
    with client(data, token) as here:
        found = here.hunt(name)
    if json:
        show_json(found)
        return
    rows = [(o["device"], o["ward"], o["class"], o["standing"], _when(o["seen_ns"])) for o in found]
    show_table("Not seen", ("device", "last ward", "class", "stands", "last heard"), rows)


@app.command
def orders(
    file: Annotated[Path | None, Parameter(help="CSV that the other system returned.")] = None,
    /,
    *,
    campaign: Annotated[str, Parameter(help="Only of this campaign.")] = "",
    every: Annotated[bool, Parameter(help="Closed ones, too.")] = False,
    output: Annotated[Path | None, Parameter(help="Write CSV for another system.")] = None,
    token: Token = None,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Show work orders, write them as CSV, or take what another system returned.

    Of a returned file `reference` is noted, and `as_left` closes the order; closing one of the kind
    `acceptance` returns its device to service.
    """
    with client(data, token) as here:
        if file is not None:
            noted, closed = here.take_orders(read_csv(_text(file)))
            console.print(f"{noted} references noted, {closed} work orders closed", markup=False)
            return
        found = here.work_orders(campaign=campaign, open_only=not every)
    if output is not None:
        _write(output, write_csv(ORDER_COLUMNS, found))
        console.print(f"{len(found)} work orders are in {output}", markup=False)
    elif json:
        show_json(found)
    else:
        columns = ("id", "kind", "device", "campaign", "reference", "as_left")
        show_table("Work orders", columns, [[one[c] for c in columns] for one in found])


@app.command
def members(
    file: Annotated[Path | None, Parameter(help="CSV: device, class, ward, ...")] = None,
    /,
    *,
    token: Token = None,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Show the fleet, or note devices of a CSV file: device, class, ward, calendar, in_service.

    Further columns become attributes that campaigns can select by. Where a device stands is known
    from `asepsis places` if the file does not say it.
    """
    with client(data, token) as here:
        if file is not None:
            found = read_fleet(_text(file))
            here.list_fleet(found)
            console.print(f"{len(found)} devices are noted", markup=False)
            return
        found = here.fleet()
    if json:
        show_json(found)
        return
    columns = ("device", "model", "class", "ward", "calendar", "in_service", "idle")
    show_table("Fleet", columns, [[one[c] for c in columns] for one in found])


@app.command
def calendar(
    file: Annotated[Path | None, Parameter(help="A calendar, TOML.")] = None,
    /,
    *,
    ward: Annotated[str | None, Parameter(help="Say what holds for this ward.")] = None,
    site: Annotated[bool, Parameter(help="Say what holds for the whole site.")] = False,
    use: Annotated[list[str] | None, Parameter(help="Name of a calendar that holds there.")] = None,
    token: Token = None,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Show calendars, keep one, or say which hold for a ward or the whole site."""
    if ward is not None and site:
        raise ConfigError("say --ward or --site, not both")
    with client(data, token) as here:
        if file is not None:
            document = _text(file)
            read_calendar(document)
            console.print(f"the calendar {here.put_calendar(document)} is kept", markup=False)
        if ward is not None or site:
            here.use_calendars(ward or "", use or [])
            console.print(f"{ward or 'the site'}: {', '.join(use or []) or 'no calendar'}")
        found = here.calendars()
    if json:
        show_json(found)
    elif file is None and ward is None and not site:
        rows = [
            (one["name"], one["zone"], len(one["windows"]), len(one["blackouts"]))
            for one in found["calendars"]
        ]
        show_table("Calendars", ("name", "zone", "windows", "blackouts"), rows)
        show_facts("Where they hold", {"site": ", ".join(found["site"]), **found["wards"]})


@contextmanager
def client(data: Path, token: Path | None) -> Generator[CampaignClient]:
    """Open a client for the hub that runs in a data folder; errors as `devices.people`."""
    with closing(people(data, token=token)) as here:
        yield CampaignClient(here)


def _planned(one: dict[str, Any]) -> list[object]:
    stands = one["outcome"] or one["standing"]
    if one["waits_for"]:
        stands = f"{stands}: {one['waits_for']}"
    when = _when(one["next_ns"]) if one["standing"] == "pending" else ""
    cells = (one["device"], one["ward"], one["class"], one["wave"], stands, one["text"], when)
    return list(cells)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{many} {standing}" for standing, many in sorted(counts.items()))


def _when(at_ns: int | None) -> str:
    if at_ns is None:
        return "not within 14 days"
    if at_ns == 0:
        return "never"
    return datetime.fromtimestamp(at_ns // NS, UTC).strftime("%Y-%m-%d %H:%MZ")


def _state(name: str, state: str) -> None:
    console.print(f"{name} is {state}", markup=False)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}") from error


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise ConfigError(f"cannot write {file}", hint="it may be there already") from error
