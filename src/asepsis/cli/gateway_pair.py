"""`asepsis gateway pair`: two gateways with one service address."""

import contextlib
import datetime as dt
import time
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from cyclopts import App, Parameter

from asepsis.cli.devices import moment
from asepsis.cli.output import console, show_json, show_table
from asepsis.core.errors import AsepsisError, ConfigError
from asepsis.edge.gateway.pair import keymaking, places, promotion
from asepsis.edge.gateway.pair.hub_questions import HubQuestions, Received
from asepsis.edge.gateway.pair.listing import Entry, RiskList, at_risk, read_again
from asepsis.edge.gateway.settings import Settings, read_settings

SETTINGS: Final = Path("/var/lib/asepsis-gateway/gateway.toml")
SettingsFile = Annotated[Path, Parameter(help="The gateway's settings.")]
app: Final = App(name="pair", help="Run two gateways as a pair with one address.")


@app.command
def key(*, settings: SettingsFile = SETTINGS) -> None:
    """Make this gateway's key for the link once, and print its certificate.

    The other gateway gets the certificate as its `pair.certificate_file`.
    """
    data = Path(read_settings(settings).data)
    console.print(
        keymaking.make(data, now=dt.datetime.fromtimestamp(time.time(), dt.UTC)),
        end="",
        markup=False,
    )


@app.command
def state(*, settings: SettingsFile = SETTINGS, json: bool = False) -> None:
    """Say whether this gateway takes messages now, and under which lease."""
    read = _paired(settings)
    try:
        found: Any = msgspec.json.decode(places.state(Path(read.data)).read_bytes())
    except (OSError, msgspec.DecodeError):
        found = {"part": "standby", "lease": 0}
    if json:
        show_json(found)
        return
    console.print(f"{found['part']}, lease {found['lease']}")


@app.command
def promote(
    *,
    reason: Annotated[str, Parameter(help="Why; goes into the audit log once the hub is back.")],
    person: Annotated[str, Parameter(help="Who promotes it.")],
    second_person: Annotated[str, Parameter(help="Who agrees; another person.")],
    destroyed: Annotated[
        bool, Parameter(help="Say that the other gateway is off and stays off.", negative="")
    ] = False,
    dry_run: Annotated[bool, Parameter(help="Only say what would happen.", negative="")] = False,
    settings: SettingsFile = SETTINGS,
) -> None:
    """Let this gateway take messages although the hub cannot be asked.

    Only for this: the hub is away, the active gateway is destroyed. While the hub answers the
    standby takes over by itself. If the other gateway still runs, two would take messages.
    """
    read = _paired(settings)
    if dry_run:
        console.print("would take the service address, and tell the hub who decided it")
        return
    if not destroyed:
        raise ConfigError("switch the other gateway off first", hint="then add --destroyed")
    promotion.write(
        places.folder(Path(read.data)),
        first=person,
        second=second_person,
        reason=reason,
        at_ns=time.time_ns(),
    )
    console.print("promoted; the hub hears of it, with both names, once it is back")


def at_risk_list(*, settings: SettingsFile = SETTINGS, json: bool = False) -> None:
    """List the messages that only the other gateway's disk has: run it on the one that is left.

    Exact once the hub has answered and the senders have repeated what was not acknowledged;
    without the hub it is the longest that the list can be.
    """
    read = _paired(settings)
    data = Path(read.data)
    entries = RiskList(places.risk_list(data)).read()
    received = _received(read, entries)
    left = at_risk(entries, received=received or {}, again=read_again(places.came_again(data)))
    if json:
        rows = [
            {
                "application": entry.application,
                "facility": entry.facility,
                "control_id": entry.control,
                "received_ns": entry.received_ns,
            }
            for entry in left
        ]
        show_json({"hub_asked": received is not None, "at_risk": rows})
        return
    columns = ("MSH-3", "MSH-4", "MSH-10", "received")
    show_table("At risk", columns, [
        (entry.application, entry.facility, entry.control, moment(entry.received_ns))
        for entry in left
    ])  # fmt: skip
    if received is None:
        console.print("the hub did not answer: some of these may be there already")


def _received(read: Settings, entries: list[Entry]) -> Received | None:
    """Return what the hub has of the other gateway; None if it cannot be asked."""
    pair = read.pair
    if pair is None:
        return None
    with contextlib.closing(HubQuestions(read, partner=pair.partner)) as way:
        way.start()
        for _ in range(_TRIES):
            try:
                return way.received(sorted({entry.epoch for entry in entries}))
            except AsepsisError:
                time.sleep(_PAUSE_S)  # Signed time may not be here yet.
    return None


def _paired(settings: Path) -> Settings:
    read = read_settings(settings)
    if read.pair is None:
        raise ConfigError(f"{settings}: no [pair]", hint="docs/howto/pair-of-gateways.md")
    return read


_TRIES: Final = 3
_PAUSE_S: Final = 0.5
