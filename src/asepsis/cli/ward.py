"""`asepsis ward`: beds, numbers and alarm conditions in a terminal, live and honest."""

import json as json_module
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from cyclopts import App, Parameter
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from asepsis.cli.data import DATA, Data
from asepsis.cli.output import console
from asepsis.core.errors import Unavailable
from asepsis.tools.ward_model import Device, WardModel
from asepsis.tools.ward_stream import Hub, Told, WardStream

app: Final = App(name="ward", help="Watch beds live in a terminal.")
LOOK_S: Final = 0.25
ONCE_S: Final = 10.0
CELLS: Final = 8
NOTICE: Final = "Information only. Bedside alarms apply."
PRIORITIES: Final = ("high", "medium", "low")
STYLES: Final = {
    "high": "bold white on red",
    "medium": "bold black on yellow",
    "low": "bold black on cyan",
}
STYLE_UNVERIFIED: Final = "italic yellow"
STYLE_UNKNOWN: Final = "italic"
SYMBOLS: Final = {"high": "!!!", "medium": "!!", "low": "!"}
GROUPS: Final = {
    "ecg": "green",
    "spo2": "cyan",
    "abp": "red",
    "resp": "yellow",
    "nbp": "magenta",
    "temp": "bright_white",
}
ABSENT: Final = {
    "silent": "HUB: NO DATA FROM DEVICE",
    "never": "HUB: DEVICE NEVER CONNECTED",
    "revoked": "HUB: DEVICE REVOKED",
}
PATIENTS: Final = {
    "proposed": "patient unconfirmed",
    "conflict": "two patients at this bed: check",
    "none": "no patient associated",
}


@app.default
def ward(
    *,
    token: Annotated[Path, Parameter(help="File with the token of a person who may watch.")],
    ward: Annotated[str | None, Parameter(help="Only this ward (point of care).")] = None,
    data: Data = DATA,
    once: Annotated[bool, Parameter(help="Show the present once and end.")] = False,
    json: Annotated[bool, Parameter(help="One JSON object a line, for scripts.")] = False,
) -> None:
    """Show every bed until interrupted.

    A number that was not renewed in time is blanked, also when the hub is away: nothing that is
    shown is older than it looks.
    """
    stream = WardStream(_hub(data, token), ward=ward)
    model = WardModel()
    stream.start()
    try:
        if once:
            _show_once(model, stream, json=json)
        elif json:
            for line in follow(model, stream):
                _write(line)
        else:
            _show_live(model, stream)
    finally:
        stream.close()


def _hub(data: Path, token: Path) -> Hub:
    try:
        ready = json_module.loads((data / "run" / "ready.json").read_text("utf-8"))
    except OSError as error:
        raise Unavailable(
            f"no hub runs in {data}", hint=f"start it: asepsis hub --data {data}"
        ) from error
    address = ready["listeners"]["people"]
    url = f"https://{address['host']}:{address['port']}"
    return Hub(url, root_path=data / "ca" / "root.crt", token_path=token)


def take(model: WardModel, stream: WardStream, timeout_s: float) -> Told | None:
    """Bring the model up to date with one event and with the time; returns the event."""
    told = stream.get(timeout_s)
    now_s = time.monotonic()
    if told is not None and not model.apply(told.event, told.data, now_s):
        stream.again()
    return told


def follow(model: WardModel, stream: WardStream) -> Iterator[dict[str, Any]]:
    """Yield what happens, for scripts: live, dark, values, blank, alarm and alarms."""
    was_dark: str | None = "connecting"
    while True:
        told = take(model, stream, LOOK_S)
        for device, handle in model.sweep(time.monotonic()):
            yield {"event": "blank", "device": device, "handles": [handle]}
        if model.dark != was_dark:
            was_dark = model.dark
            yield {"event": "live"} if was_dark is None else {
                "event": "dark", "reason": was_dark, "since": _clock(model.dark_since_ms),
            }  # fmt: skip
        if told is not None and told.event == "stale":
            yield {"event": "blank", **told.data}
        elif told is not None and told.event == "alarm":
            yield {"event": "alarm", **told.data}
        elif told is not None and told.event == "alarms":
            yield {"event": "alarms", **told.data}
        elif told is not None and told.event == "numerics":
            yield {"event": "values", "device": told.data["device"], "values": _values(model, told)}


def _values(model: WardModel, told: Told) -> list[dict[str, Any]]:
    metrics = model.devices.get(told.data["device"], Device()).metrics
    return [
        {
            "handle": handle,
            "label": metrics[handle]["label"] if handle in metrics else "",
            "part": metrics[handle]["part"] if handle in metrics else "",
            "value": text,
            "unit": metrics[handle]["unit"] if handle in metrics else "",
            "status": status,
            "unverified": told.data.get("unverified", {}).get(str(handle)),
        }
        for handle, text, status, _ in told.data["values"]
    ]


def _show_once(model: WardModel, stream: WardStream, *, json: bool) -> None:
    deadline_s = time.monotonic() + ONCE_S
    while model.dark is not None:
        take(model, stream, LOOK_S)
        if time.monotonic() > deadline_s:
            raise Unavailable("the hub does not answer", hint="does `asepsis hub` run?")
    model.sweep(time.monotonic())
    if json:
        _write({"beds": [_bed_document(model, bed) for bed in model.beds]})
    else:
        console.print(picture(model))


def _bed_document(model: WardModel, bed: dict[str, Any]) -> dict[str, Any]:
    devices = [model.devices.get(placed["name"], Device()) for placed in bed["devices"]]
    return {
        "key": bed["key"],
        "label": bed["label"],
        "ward": bed["ward"],
        "patient": bed["patient"],
        "devices": [
            {
                **placed,
                "connection": device.facts.get("connection"),
                "assurance": device.facts.get("assurance"),
                "values": [
                    {
                        "label": cell.label,
                        "value": cell.text,
                        "unit": cell.unit,
                        "unverified": cell.unverified or None,
                    }
                    for cell in cells(device)
                ],
                "alarms": list(device.alarms.values()),
            }
            for placed, device in zip(bed["devices"], devices, strict=True)
        ],
    }


def _show_live(model: WardModel, stream: WardStream) -> None:
    shown_s = 0.0
    with Live(picture(model), console=console, screen=True, auto_refresh=False) as live:
        while True:
            before = model.dark
            take(model, stream, LOOK_S)
            now_s = time.monotonic()
            expired = model.sweep(now_s)
            if now_s - shown_s >= LOOK_S or expired or model.dark != before:
                shown_s = now_s
                live.update(picture(model), refresh=True)


class Cell:
    """One number of a tile.

    Attributes:
        label: What a ward calls it.
        text: Number, or `--`.
        unit: Its unit.
        group: Its colour.
        unverified: Why no chart may have it; it is shown all the same.
    """

    __slots__ = ("group", "label", "text", "unit", "unverified")

    def __init__(self, metric: dict[str, Any], text: str, unverified: str) -> None:
        self.label: str = metric["label"]
        self.unit: str = metric["unit"]
        self.group: str = metric["group"]
        self.text = text
        self.unverified = unverified


def cells(device: Device) -> list[Cell]:
    """Return the numbers of a device in the order of their rank; pressures are one cell."""
    found: dict[str, dict[str, tuple[dict[str, Any], str]]] = {}
    reasons: dict[str, str] = {}
    for handle, metric in sorted(device.metrics.items(), key=lambda item: item[1]["rank"]):
        value = device.values.get(handle)
        text = value.text if value and value.text is not None else "--"
        if value and value.unverified:
            reasons.setdefault(metric["label"], value.unverified)
        parts = found.setdefault(metric["label"], {})
        parts.setdefault(metric["part"], (metric, text))
    made: list[Cell] = []
    for parts in found.values():
        metric, text = next(iter(parts.values()))
        if "sys" in parts or "dia" in parts:
            pair = [parts[p][1] if p in parts else "--" for p in ("sys", "dia")]
            text = "/".join(pair) + (f" ({parts['mean'][1]})" if "mean" in parts else "")
        made.append(Cell(metric, text, reasons.get(metric["label"], "")))
    return made


class Condition(NamedTuple):
    """One alarm condition of a tile.

    Attributes:
        priority: `high`, `medium` or `low`.
        words: What is wrong.
        unknown: Since when nobody knows whether it is still active; empty while it is known.
    """

    priority: str
    words: str
    unknown: str = ""


def conditions(device: Device) -> list[Condition]:
    """Return what is wrong, most urgent first, what is known before what is not."""
    found = [
        Condition(
            a["priority"],
            ("TECHNICAL " if a["kind"] == "technical" else "") + _words(a),
            ""
            if a["unknown_since_ms"] is None
            else f"unknown since {_clock(a['unknown_since_ms'])}",
        )
        for a in device.alarms.values()
    ]
    connection = device.facts.get("connection", "live")
    hub_said_so = any(a["found_by"] == "hub" for a in device.alarms.values())
    if connection in ABSENT and not (connection == "silent" and hub_said_so):
        priority = "low" if connection == "never" else "high"
        found.append(Condition(priority, f"TECHNICAL {ABSENT[connection]}"))
    return sorted(found, key=lambda each: (PRIORITIES.index(each.priority), bool(each.unknown)))


def _words(alarm: dict[str, Any]) -> str:
    return str(alarm["text"] or alarm["label"] or "alarm condition")


def picture(model: WardModel) -> Group:
    """Return the whole screen."""
    table = Table(expand=True, show_lines=True, header_style="bold", pad_edge=False)
    for column, ratio in (("bed", 3), ("now", 7), ("conditions", 5), ("device", 4)):
        table.add_column(column, ratio=ratio, overflow="fold")
    for bed, _, device in model.placed():
        if model.dark is None:
            table.add_row(_bed(bed), _numbers(device), _conditions(device), _machine(device))
        else:
            since = f"no data since {_clock(model.dark_since_ms)}"
            table.add_row(_bed(bed), Text(since, style="bold red"), Text(""), Text(""))
    head = Text(NOTICE, style="bold reverse")
    if model.dark is not None:
        head.append(f"  {model.dark}; no data since {_clock(model.dark_since_ms)}", "bold red")
    if model.left_out:
        head.append(f"  {model.left_out} beds are too many for one view: name a --ward", "bold red")
    return Group(head, table)


def _bed(bed: dict[str, Any]) -> Text:
    text = Text(f"{bed['ward']} {bed['label']}".strip(), style="bold")
    patient = bed["patient"]
    if patient["state"] == "confirmed":
        return text.append(f"\n{patient['name'] or patient['id']}", style="not bold")
    return text.append(f"\n{PATIENTS[patient['state']]}", style="not bold italic yellow")


def _numbers(device: Device) -> Text:
    text = Text()
    for cell in cells(device)[:CELLS]:
        style = GROUPS.get(cell.group, "white")
        if text:
            text.append("   ")
        text.append(f"{cell.label} ", style=style)
        text.append(cell.text, style="dim" if "--" in cell.text else f"bold {style}")
        text.append(f" {cell.unit}", style="dim")
        if cell.unverified:
            text.append(" UNV", style=STYLE_UNVERIFIED)
    reasons = dict.fromkeys(cell.unverified for cell in cells(device) if cell.unverified)
    for reason in reasons:
        text.append(f"\nunverified: {reason}", style=STYLE_UNVERIFIED)
    return text


def _conditions(device: Device) -> Text:
    text = Text()
    for priority, words, unknown in conditions(device):
        if text:
            text.append("\n")
        if unknown:
            text.append(f" ? {priority.upper()} {words}, {unknown} ", style=STYLE_UNKNOWN)
        else:
            line = f" {SYMBOLS[priority]} {priority.upper()} {words} "
            text.append(line, style=STYLES[priority])
    return text


def _machine(device: Device) -> Text:
    facts = device.facts
    connection = facts.get("connection", "never")
    text = Text(str(facts.get("label", "")))
    text.append(f"\n{connection}", style="green" if connection == "live" else "bold red")
    if connection == "silent":
        text.append(f" since {_clock(facts.get('last_wall_ms'))}")
    if facts.get("state") and connection == "live":
        text.append(f", {facts['state']}")
    return text.append(f"\n{facts.get('assurance') or ''}", style="dim")


def _clock(wall_ms: int | None) -> str:
    """Write the hub's wall time as people here read it."""
    if wall_ms is None:
        return "--:--:--"
    return f"{datetime.fromtimestamp(wall_ms / 1_000).astimezone():%H:%M:%S}"


def _write(document: dict[str, Any]) -> None:
    sys.stdout.write(json_module.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()
