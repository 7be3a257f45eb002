"""Templates of the console: escaped always, in memory, with the helpers that pages share."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import DictLoader, Environment, StrictUndefined, Template

from asepsis.hub.console.assets import asset_path, load_assets
from asepsis.hub.console.text import visible

FOLDER: Final = Path(__file__).with_name("templates")
_NS: Final = 1_000_000_000
INFORMATION_ONLY: Final = "Information only. Bedside alarms apply."
"""Stands on every live view, in these words."""


def render(name: str, /, **values: Any) -> bytes:
    """Return a page as UTF-8.

    Args:
        name: File name of the template.
        values: What it shows; every text among them is made visible and escaped.
    """
    return load_templates()[name].render(**values).encode("utf-8", "replace")


@cache
def load_templates() -> dict[str, Template]:
    """Read and compile every template, once: afterwards their files may be out of reach."""
    files = {path.name: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.html"))}
    environment = Environment(
        loader=DictLoader(files),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names: dict[str, Any] = environment.globals
    names |= {
        "asset": asset_path,
        "device_path": device_path,
        "information_only": INFORMATION_ONLY,
    }
    filters: dict[str, Any] = environment.filters
    filters |= {"moment": moment, "iso": iso, "ago": ago, "day": day, "number": number}
    load_assets()
    return {name: environment.get_template(name) for name in files}


def _finalize(value: object) -> object:
    """Make text visible wherever a template prints it; markup of our own macros passes."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def device_path(name: str, *more: str) -> str:
    """Return the address of a device's page, with a further segment if there is one."""
    return "/".join(("/devices", quote(name, safe=""), *more))


def moment(ns: int | None) -> str:
    """Write a moment as people in a hospital read it, in UTC; a script shows the local time."""
    if not ns:
        return "\N{EM DASH}"
    return f"{datetime.fromtimestamp(ns / _NS, UTC):%Y-%m-%d %H:%M:%S} UTC"


def day(ns: int) -> str:
    """Write a day."""
    return f"{datetime.fromtimestamp(ns / _NS, UTC):%Y-%m-%d}"


def iso(ns: int) -> str:
    """Write a moment for `<time datetime>`."""
    return f"{datetime.fromtimestamp(ns / _NS, UTC):%Y-%m-%dT%H:%M:%SZ}"


def number(value: float) -> str:
    """Write a measured value without a fraction that it does not have."""
    return f"{value:.6g}"


def ago(ns: int, now_ns: int) -> str:
    """Write how long ago a moment was, in one unit."""
    seconds = max(0, now_ns - ns) // _NS
    for unit_s, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s} {word} ago"
    return f"{seconds} s ago"
