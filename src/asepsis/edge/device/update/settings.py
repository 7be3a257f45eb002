"""The file that says where a device's releases come from and what the hospital decided for it.

    hardware = "m5-rev-b"
    model = "m5"
    director = "https://updates.example/director/metadata"
    every_s = 300
    bytes_per_s = 200000
    reserve = false
    consent = false
    live-patches = false

    [vendors]
    acme = "https://updates.example/acme"

    [[windows]]
    opens = 2026-11-24T02:00:00+01:00
    closes = 2026-11-24T04:00:00+01:00

    [image]
    name = "monitor"
    partition = "/boot"
    roots = ["/dev/disk/by-partlabel/root-a", "/dev/disk/by-partlabel/root-b"]

    [[handed-over]]
    component = "rootfs"
    file = "update.raucb"
    install = ["/usr/bin/rauc", "install", "{file}"]
    slot = ["/usr/lib/m5/running-slot"]
    good = ["/usr/bin/rauc", "status", "mark-good"]
    bad = ["/usr/bin/rauc", "status", "mark-bad", "{slot}"]

Source: docs/reference/update-agent.md.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from asepsis.core.errors import ConfigError
from asepsis.edge.device.catalogue import Kind
from asepsis.edge.device.update.handing_over import HandOver
from asepsis.edge.device.update.image_slots import ImageSlots
from asepsis.edge.device.update.moment import WINDOWS_MAX, Window
from asepsis.edge.device.update.on_device import Policy
from asepsis.edge.device.update.updating import VENDORS_MAX, UpdateSetting
from asepsis.edge.sandbox.layer import Layer

FILE_BYTES_MAX: Final = 65_536
EVERY_S: Final = (10, 86_400)
BYTES_PER_S_MAX: Final = 1 << 30
HANDED_OVER_MAX: Final = 8
WORDS_MAX: Final = 16
NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_HANDED_OVER: Final = frozenset({"component", "file", "install", "slot", "good", "bad"})
IMAGE: Final = re.compile(r"[a-z0-9-]{1,40}")
_KNOWN: Final = frozenset(
    {"hardware", "model", "director", "vendors", "every_s", "bytes_per_s", "reserve", "consent",
     "windows", "image", "handed-over", "live-patches"}
)  # fmt: skip


def read_settings(
    path: Path,
    *,
    device: str,
    kind: Kind,
    layers: frozenset[Layer],
    now_s: Callable[[], float] | None = None,
) -> UpdateSetting:
    """Read the file.

    Args:
        path: Which.
        device: Name of the device.
        kind: What sort of device it is.
        layers: Layers of this machine.
        now_s: Trusted time; None for the machine's.

    Raises:
        ConfigError: It cannot be read, has an unknown key, or a value outside its range.
    """
    try:
        with path.open("rb") as file:
            document = tomllib.loads(file.read(FILE_BYTES_MAX + 1).decode())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    unknown = document.keys() - _KNOWN
    if unknown:
        raise ConfigError(f"{path}: unknown key {min(unknown)}", hint=", ".join(sorted(_KNOWN)))
    try:
        setting = _setting(document, device=device, kind=kind, layers=layers)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: {error} is missing or has another form") from error
    return setting if now_s is None else replace(setting, now_s=now_s)


def _setting(
    document: Mapping[str, Any], *, device: str, kind: Kind, layers: frozenset[Layer]
) -> UpdateSetting:
    vendors = cast("dict[str, str]", document["vendors"])
    windows = cast("list[dict[str, datetime]]", document.get("windows", []))
    every_s, bytes_per_s = document.get("every_s", 300), document.get("bytes_per_s", 0)
    if type(every_s) is not int or not EVERY_S[0] <= every_s <= EVERY_S[1]:
        raise ValueError("every_s")
    if type(bytes_per_s) is not int or not 0 <= bytes_per_s <= BYTES_PER_S_MAX:
        raise ValueError("bytes_per_s")
    if not 1 <= len(vendors) <= VENDORS_MAX or len(windows) > WINDOWS_MAX:
        raise ValueError("vendors or windows")
    return UpdateSetting(
        device=device,
        hardware=_text(document["hardware"]),
        model=_text(document["model"]),
        director=_text(document["director"]),
        vendors={name: _text(url) for name, url in vendors.items()},
        kind=kind,
        layers=layers,
        every_s=float(every_s),
        bytes_per_s=bytes_per_s,
        live_patches=document.get("live-patches", False) is True,
        image=_image(document["image"]) if "image" in document else None,
        handed_over=_handed_over(document.get("handed-over", [])),
        policy=Policy(
            reserve=document.get("reserve", False) is True,
            consent=document.get("consent", False) is True,
            windows=tuple(sorted(_window(one) for one in windows)),
        ),
    )


def _image(said: Mapping[str, Any]) -> ImageSlots:
    one, other = (Path(_text(path)) for path in cast("list[object]", said["roots"]))
    name, partition = _text(said["name"]), Path(_text(said["partition"]))
    if set(said) != {"name", "partition", "roots"} or one == other:
        raise ValueError("image")
    if not IMAGE.fullmatch(name) or not all(p.is_absolute() for p in (one, other, partition)):
        raise ValueError("image")
    return ImageSlots(name=name, partition=partition, roots=(one, other))


def _handed_over(said: list[dict[str, Any]]) -> tuple[HandOver, ...]:
    if len(said) > HANDED_OVER_MAX:
        raise ValueError("handed-over")
    found = tuple(
        HandOver(
            component=_name(one.pop("component")),
            file=_name(one.pop("file")),
            **{word: _command(one.pop(word)) for word in ("install", "slot", "good", "bad")},
        )
        for one in map(dict[str, Any], said)
        if one.keys() == _HANDED_OVER
    )
    if len({one.component for one in found}) != len(said):
        raise ValueError("handed-over")
    return found


def _command(said: list[object]) -> tuple[str, ...]:
    command = tuple(_text(word) for word in said)
    if not 1 <= len(command) <= WORDS_MAX or not Path(command[0]).is_absolute():
        raise ValueError("a command with its whole path")
    return command


def _name(value: object) -> str:
    name = _text(value)
    if not NAME.fullmatch(name):
        raise ValueError("a name")
    return name


def _text(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 256:
        raise ValueError("a text")
    return value


def _window(one: Mapping[str, datetime]) -> Window:
    opens, closes = one["opens"], one["closes"]
    if opens.tzinfo is None or closes.tzinfo is None:
        raise ValueError("a window without its offset from UTC")
    window = Window(int(opens.timestamp()), int(closes.timestamp()))
    if window.closes_s <= window.opens_s:
        raise ValueError("a window that closes before it opens")
    return window
