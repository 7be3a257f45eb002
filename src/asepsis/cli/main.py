"""The command `asepsis`."""

import sys
from importlib.metadata import version
from typing import Final

from cyclopts import App

from asepsis.cli import (
    associations,
    attest,
    audit,
    bundle,
    campaign,
    conform,
    ddi,
    deadletters,
    deltas,
    destinations,
    device_asking,
    device_attack,
    device_manifest,
    device_request,
    device_update,
    device_versions,
    device_wipe,
    devices,
    driver,
    enrol,
    gateway,
    hub,
    image,
    image_patch,
    image_rebase,
    images,
    people,
    places,
    profile,
    release,
    release_documents,
    release_hub,
    route,
    signer,
    soup,
    threats,
    ward,
)
from asepsis.cli.demo import demo
from asepsis.cli.output import problems, show_error
from asepsis.core.errors import AsepsisError

app: Final = App(
    name="asepsis",
    help="Secure, connected medical devices: one authenticated protocol for every device.",
    version=version("asepsis"),
)
app.command(demo)
app.command(hub.app)
app.command(signer.app)
app.command(enrol.app)
app.command(devices.app)
app.command(people.app)
app.command(associations.app)
app.command(places.app)
app.command(profile.app)
app.command(device_manifest.app)
device_manifest.app.command(device_attack.attack)
device_manifest.app.command(device_request.app)
device_manifest.app.command(device_request.permit)
device_manifest.app.command(device_versions.versions)
device_manifest.app.command(device_versions.swap)
device_manifest.app.command(device_versions.rollback)
device_manifest.app.command(device_versions.app)
device_manifest.app.command(device_update.app)
ADDING: Final = (
    release_documents,
    release_hub,
    attest,
    deltas,
    device_asking,
    device_wipe,
    image_patch,
    image_rebase,
    soup,
)
"""Modules that only add commands to groups above."""
app.command(gateway.app)
app.command(driver.app)
app.command(route.app)
app.command(destinations.app)
app.command(deadletters.app)
app.command(images.app)
app.command(image.app)
app.command(release.app)
app.command(ddi.app)
app.command(campaign.app)
app.command(audit.app)
app.command(bundle.app)
app.command(ward.app)
app.command(conform.app)
app.command(threats.app)


def main() -> None:
    """Run one command; the exit code says what the caller should do (docs/reference/errors)."""
    if sys.flags.optimize:
        problems.print("asepsis does not run with python -O: its own checks would be off")
        sys.exit(5)
    try:
        sys.exit(app())
    except AsepsisError as error:
        sys.exit(show_error(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
