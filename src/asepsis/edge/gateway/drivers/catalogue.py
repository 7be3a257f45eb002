"""The drivers that are shipped, an operator's own, and what the settings make of them."""

import importlib.util
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, InputError
from asepsis.core.model.identity import DeviceId
from asepsis.edge.gateway.drivers import intellivue, medibus
from asepsis.edge.gateway.drivers.sdk import Driver, LineSettings, Transport
from asepsis.edge.gateway.drivers.settings import DriverEntry
from asepsis.edge.gateway.sdc.plans import SdcPlan

DRIVERS: Final[Mapping[str, Driver]] = {
    driver.name: driver for driver in (intellivue.DRIVER, medibus.DRIVER)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One device as its processes need it.

    Attributes:
        entry: Its settings.
        driver: Its driver.
        device: Its name.
        line: How its serial line is set.
    """

    entry: DriverEntry
    driver: Driver
    device: DeviceId
    line: LineSettings


AnyPlan = Plan | SdcPlan
"""A device that a keeper speaks for, whatever its protocol."""


def load_file(path: Path) -> Driver:
    """Return the driver of a file: the value of `DRIVER` in it.

    Raises:
        ConfigError: No such file, no Python, or no `DRIVER`.
    """
    spec = importlib.util.spec_from_file_location(f"asepsis_driver_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"{path} is no driver", hint="asepsis driver new NAME makes one")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        driver = module.DRIVER
    except Exception as error:  # An operator's code may fail in every way there is.
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from error
    if not isinstance(driver, Driver):
        raise ConfigError(f"{path}: DRIVER is no driver")
    return driver


def find(name: str, file: str, *, folder: Path) -> Driver:
    """Return a driver by its name or file.

    Raises:
        ConfigError: Neither or both, or there is none.
    """
    if bool(name) == bool(file):
        raise ConfigError("a device has either a driver or a driver file")
    if file:
        return load_file(folder / file)
    if name not in DRIVERS:
        raise ConfigError(f"there is no driver {name}", hint=f"one of {', '.join(DRIVERS)}")
    return DRIVERS[name]


def plans(
    entries: Sequence[DriverEntry], *, segments: Sequence[str], folder: Path
) -> Sequence[Plan]:
    """Check what the settings say and return it, one plan a device.

    Args:
        entries: From the settings.
        segments: Networks in which clear text may be spoken.
        folder: Relative files count from here.

    Raises:
        ConfigError: Something does not fit; the message names the device.
    """
    found: list[Plan] = []
    for entry in entries:
        try:
            found.append(_plan(entry, segments, folder))
        except InputError as error:
            raise ConfigError(f"driver {entry.name}: {error}") from error
    for what in ("name", "device"):
        taken = [getattr(entry, what) for entry in entries]
        twice = next((value for value in taken if taken.count(value) > 1), None)
        if twice is not None:
            raise ConfigError(f"two drivers have the {what} {twice}")
    return found


def _plan(entry: DriverEntry, segments: Sequence[str], folder: Path) -> Plan:
    driver = find(entry.driver, entry.file, folder=folder)
    if driver.transport is Transport.UDP:
        _check_address(entry, segments)
    elif not entry.line or entry.address:
        raise ConfigError(f"driver {entry.name}: a serial device has a line and no address")
    usual = driver.line
    return Plan(
        entry=entry,
        driver=driver,
        device=DeviceId.parse(entry.device),
        line=LineSettings(
            baud=entry.baud or usual.baud,
            parity=entry.parity or usual.parity,
            stop_bits=entry.stop_bits or usual.stop_bits,
        ),
    )


def _check_address(entry: DriverEntry, segments: Sequence[str]) -> None:
    if entry.line or not entry.cleartext:
        raise ConfigError(
            f"driver {entry.name}: datagrams are not protected", hint="cleartext = true, no line"
        )
    try:
        address = ipaddress.ip_address(entry.address)
        networks = [ipaddress.ip_network(text) for text in segments]
    except ValueError as error:
        raise ConfigError(f"driver {entry.name}: {error}") from error
    if not any(address in network for network in networks):
        raise ConfigError(
            f"driver {entry.name}: {address} is in no device segment", hint="device_segments"
        )
