"""`asepsis hub`: set up and run the hospital's server."""

import dataclasses
import json as json_module
import os
import time
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.output import console, show_json, show_table
from asepsis.core.errors import ConfigError, InputError
from asepsis.hub import initialise, run
from asepsis.hub.app.records_rebuild import rebuild_records, retention_of
from asepsis.hub.keyholder import separation
from asepsis.hub.records.plan import BEDS_MAX, Line, plan
from asepsis.hub.settings import DAY_S, Settings, read_settings

app: Final = App(name="hub", help="Set up and run the hospital's server.")
SETTINGS: Final = """\
# Asepsis hub. Every key is explained in docs/reference/settings.md.
names = [{names}]

[sealing]
# `credential` (systemd, may be bound to a TPM) or `passphrase`.
source = "passphrase"
passphrase_file = "{passphrase}"
"""


@app.default
def hub(
    *,
    data: Data = DATA,
    plan_storage: Annotated[
        bool, Parameter(negative="", help="Print the disk that so many beds need, and end.")
    ] = False,
    beds: Annotated[int, Parameter(help="Beds of the plan.")] = 1_000,
    rebuild_records: Annotated[
        bool, Parameter(negative="", help="Make the record anew from the journal, and end.")
    ] = False,
    json: bool = False,
) -> int:
    """Run the hub until it is told to stop; it starts its signer by itself."""
    if plan_storage:
        _plan(data / "hub.toml", beds, as_json=json)
        return 0
    if rebuild_records:
        _rebuild(read_settings(data / "hub.toml"), as_json=json)
        return 0
    return run.main([str(data / "hub.toml")])


def _plan(file: Path, beds: int, *, as_json: bool) -> None:
    """Print a plan for the settings of a hub, or for the defaults where there is none yet."""
    if not 1 <= beds <= BEDS_MAX:
        raise InputError(f"a plan is for 1 to {BEDS_MAX} beds")
    settings = read_settings(file) if file.exists() else Settings()
    ages = {name: getattr(settings.journal.lanes, name).age_s for name in ("vitals", "waveform")}
    lines = plan(beds, retention_of(settings), ages)
    lines.append(Line("images: budget", settings.images.keep_s, settings.images.bytes_max))
    total = sum(line.byte_count for line in lines)
    if as_json:
        parts = [{"what": li.what, "held_s": li.held_s, "bytes": li.byte_count} for li in lines]
        show_json({"beds": beds, "parts": parts, "bytes": total})
        return
    rows = [(li.what, f"{li.held_s / DAY_S:g}", _gigabytes(li.byte_count)) for li in lines]
    show_table(
        f"Disk for {beds} beds",
        ("part", "days held", "GB"),
        [*rows, ("all", "", _gigabytes(total))],
    )
    console.print("A bed: 28 numerics and 1,500 samples a second, 350 alarm conditions a day.")


def _gigabytes(byte_count: int) -> str:
    return f"{byte_count / 1e9:,.1f}"


def _rebuild(settings: Settings, *, as_json: bool) -> None:
    outcome = rebuild_records(settings)
    if as_json:
        show_json(dataclasses.asdict(outcome))
        return
    console.print(f"Record made anew from {outcome.records} records of the journal.")
    console.print(f"Carried over from before: {outcome.carried_rows} rows.")
    if outcome.lost_rows:
        console.print(f"Not readable in the old record: {outcome.lost_rows} rows.")


@app.command
def init(
    *,
    root_key: Annotated[Path, Parameter(help="New file for the root key; lock it away after.")],
    root_passphrase_file: Annotated[Path, Parameter(help="Passphrase for that file.")],
    sealing_passphrase_file: Annotated[
        Path, Parameter(help="Passphrase that seals what the hub stores; outside the data folder.")
    ],
    hospital: Annotated[str, Parameter(help="Name of the hospital, for people.")],
    name: Annotated[list[str], Parameter(help="DNS name or address of the hub; repeat it.")],
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Make a hospital: CA, keys of the signer, folders, users (as root) and hub.toml.

    Done once. The root key leaves this computer afterwards.
    """
    try:
        passphrase = root_passphrase_file.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"cannot read {root_passphrase_file}") from error
    outcome = initialise.initialise(
        initialise.InitOptions(
            data=data,
            hospital=hospital,
            host_names=tuple(name),
            root_key=initialise.RootKeyFile(path=root_key, passphrase=passphrase),
        ),
        clock=time.time_ns,
    )
    names = ", ".join(f'"{one}"' for one in name)
    (data / "hub.toml").write_text(
        SETTINGS.format(names=names, passphrase=sealing_passphrase_file.resolve()), "utf-8"
    )
    if json:
        show_json({"pin": outcome.pin, "root_key": str(root_key), "data": str(data)})
        return
    console.print(f"Hospital made in {data}. {outcome.separation.describe()}.")
    console.print(f"Root key: {root_key}. Take it off this computer now.")
    console.print(f"Pin of the root, part of every token: {outcome.pin}", soft_wrap=True)
    console.print(f"Next: asepsis hub --data {data}")


@app.command
def status(*, data: Data = DATA, json: bool = False) -> None:
    """Show who holds the keys and whether a hub runs in this data folder."""
    who = separation(data)
    running = _runs(data / "run" / "ready.json")
    facts = {"separation": who.describe(), "running": running, "user": os.geteuid()}
    if json:
        show_json(facts)
        return
    console.print(who.describe())
    console.print("running" if running else "not running")


def _runs(ready: Path) -> bool:
    """Whether the process that wrote the file still lives; a killed hub leaves the file behind."""
    try:
        return Path(f"/proc/{int(json_module.loads(ready.read_text('utf-8'))['pid'])}").exists()
    except (OSError, ValueError, KeyError):
        return False
