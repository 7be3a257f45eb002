"""The group `asepsis device`, put together of its parts."""

from typing import Final

from cyclopts import App

from asepsis.cli import (
    device_attack,
    device_manifest,
    device_request,
    device_update,
    device_versions,
    device_wipe,
    soup,
)

ADDING: Final = (device_wipe, soup)
"""Modules that add their commands to the group by themselves."""
app: Final[App] = device_manifest.app
app.command(device_attack.attack)
app.command(device_request.app)
app.command(device_request.permit)
app.command(device_versions.versions)
app.command(device_versions.swap)
app.command(device_versions.rollback)
app.command(device_versions.app)
app.command(device_update.app)
