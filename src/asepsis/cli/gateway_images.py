"""`asepsis gateway images`: check, try and look after the DICOM side of a gateway."""

import asyncio
import getpass
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from asepsis.cli.output import console, show_json, show_table
from asepsis.core.errors import NotFound, Unavailable
from asepsis.edge.gateway.imaging import (
    archives_app,
    bcp195,
    policy_reading,
    proofs,
    questions_app,
    requestor,
    vault,
)
from asepsis.edge.gateway.imaging.dimse import VERIFICATION
from asepsis.edge.gateway.imaging.keeper_process import imaging_of
from asepsis.edge.gateway.imaging.requestor import IMPLICIT_LITTLE_ENDIAN, Remote
from asepsis.edge.gateway.imaging.settings import ArchiveEntry
from asepsis.edge.gateway.kek import open_kek
from asepsis.edge.gateway.settings import Settings, read_settings

app: Final = App(name="images", help="Look after the DICOM side of a gateway.")
SETTINGS: Final = Path("/var/lib/asepsis-gateway/gateway.toml")
SettingsFile = Annotated[Path, Parameter(help="Its settings; docs/reference/imaging-gateway.md.")]


@app.command
def check(*, settings: SettingsFile = SETTINGS, json: bool = False) -> None:
    """Check the DICOM settings and show who may store what; nothing is started."""
    found = read_settings(settings)
    _check_archives(found)
    imaging = imaging_of(found)
    policy_reading.check_destinations(imaging, segments=found.device_segments)
    rows = [
        (
            door.listener.name,
            f"{door.listener.host}:{door.listener.port}",
            "TLS" if door.listener.tls else "CLEAR TEXT",
            peer.name,
            " ".join(map(str, peer.networks)),
            " ".join(sorted(peer.titles)),
            len(peer.sop_classes),
            " ".join(sorted(peer.forms)) or "-",
            peer.ack,
        )
        for door in policy_reading.doors(imaging, segments=found.device_segments)
        for peer in door.peers
    ]
    columns = (
        "listener", "address", "protection", "peer", "from", "titles", "classes", "users", "ack",
    )  # fmt: skip
    if json:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    show_table("Modalities", columns, rows)


def _check_archives(found: Settings) -> None:
    """Check what is brought to archives, and what they and worklists are asked.

    Raises:
        ConfigError: An operator's mistake.
    """
    if any(entry.destination for entry in found.archives):
        archives_app.check(found)
    if any(entry.queries or entry.worklist for entry in found.archives):
        questions_app.check(found, "")


@app.command
def echo(
    destination: Annotated[str, Parameter(help="Destination or worklist of [[archives]].")],
    /,
    *,
    settings: SettingsFile = SETTINGS,
) -> None:
    """Ask a PACS or worklist of the settings by C-ECHO, as the gateway would."""
    found = read_settings(settings)
    archives_app.check_places(found.archives, found)
    named = (one for one in found.archives if destination in (one.destination, one.worklist))
    entry = next(named, None)
    if entry is None:
        raise NotFound(f"no [[archives]] for {destination}")
    status = asyncio.run(_echo(entry))
    if status:
        raise Unavailable(f"{destination} answers C-ECHO with {status:04X}")
    console.print(f"{destination} answers C-ECHO")


@app.command
def passcode(user: Annotated[str, Parameter(help="As the modality names it.")], /) -> None:
    """Print the line of a user for `passcode_file`; the passcode is asked for, or read from input.

    Append it: `asepsis gateway images passcode nurse >> passcodes; chmod 600 passcodes`.
    """
    asked = sys.stdin.isatty()
    given = getpass.getpass("Passcode: ") if asked else sys.stdin.readline().rstrip("\n")
    line = proofs.passcode_line(user, given, salt=secrets.token_bytes(proofs.SALT_BYTES))
    console.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command
def refused(*, settings: SettingsFile = SETTINGS, json: bool = False) -> None:
    """Show instances that were acknowledged here and that the hub then refused for good.

    They stay in `spool/images/refused` until a person decides. To offer one again stop the
    gateway, move its two files up one folder, and start the gateway.
    """
    found = read_settings(settings)
    folder = Path(found.data) / "spool" / "images"
    rows = [
        (
            number,
            datetime.fromtimestamp(record.received_at_ns / 10**9, UTC).isoformat(" ", "seconds"),
            record.written.peer,
            record.written.sop_instance,
            record.written.length,
            record.refusal,
        )
        for number, record in vault.refused(folder, open_kek(found.sealing, folder=folder))
    ]
    columns = ("number", "received (UTC)", "peer", "instance", "bytes", "reason")
    if json:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    show_table("Refused by the hub", columns, rows)


async def _echo(entry: ArchiveEntry) -> int:
    remote = Remote(
        host=entry.host,
        port=entry.port,
        called=entry.called,
        calling=entry.calling,
        tls=bcp195.user_context(entry),
        server_name=entry.server_name,
        answer_s=entry.answer_s,
    )
    user = await requestor.associate(remote, [(VERIFICATION, IMPLICIT_LITTLE_ENDIAN)])
    try:
        return await user.echo()
    finally:
        await user.release()
