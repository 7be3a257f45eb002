"""The command `asepsis`."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Final

from cyclopts import App

from asepsis.cli.output import problems, show_error
from asepsis.core.errors import AsepsisError

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "demo": ("demo",),
    "hub": ("hub",),
    "signer": ("signer",),
    "enrol": ("enrol",),
    "devices": ("devices", "attest", "device_asking", "device_wipe"),
    "people": ("people",),
    "associations": ("associations",),
    "places": ("places",),
    "profile": ("profile",),
    "device": ("device_commands",),
    "gateway": ("gateway",),
    "driver": ("driver",),
    "route": ("route",),
    "destinations": ("destinations",),
    "deadletters": ("deadletters",),
    "images": ("images",),
    "image": ("image", "attest", "image_patch", "image_rebase"),
    "release": ("release", "release_documents", "release_hub", "deltas"),
    "ddi": ("ddi",),
    "campaign": ("campaign",),
    "audit": ("audit",),
    "bundle": ("bundle",),
    "ward": ("ward",),
    "conform": ("conform",),
    "threats": ("threats",),
}
"""First word of a command, and the modules that make it: the first holds the group, the others add
to it. Only those of the given word are loaded; nobody should wait for the others."""


def assembled(words: Sequence[str] = ()) -> App:
    """Return the command with the group that the words begin with, else with all.

    Args:
        words: What stands behind `asepsis`.
    """
    app = App(
        name="asepsis",
        help="Secure, connected medical devices: one authenticated protocol for every device.",
        version=version("asepsis"),
    )
    if words and words[0] == "--version":
        return app
    for name in words[:1] if words and words[0] in GROUPS else GROUPS:
        first, *_ = [import_module(f"asepsis.cli.{module}") for module in GROUPS[name]]
        app.command(first.demo if name == "demo" else first.app)
    return app


def main() -> None:
    """Run one command; the exit code says what the caller should do (docs/reference/errors)."""
    if sys.flags.optimize:
        problems.print("asepsis does not run with python -O: its own checks would be off")
        sys.exit(5)
    try:
        sys.exit(assembled(sys.argv[1:])())
    except AsepsisError as error:
        sys.exit(show_error(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
