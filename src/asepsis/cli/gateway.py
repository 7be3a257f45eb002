"""`asepsis gateway`: enrol and run a gateway for legacy devices, and check its settings."""

import contextlib
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import App, Parameter

from asepsis.cli import gateway_images, gateway_pair
from asepsis.cli.data import DATA as HUB_DATA
from asepsis.cli.data import Data
from asepsis.cli.devices import moment, people
from asepsis.cli.output import console, show_json, show_table
from asepsis.core.errors import InputError
from asepsis.core.model.identity import parse_system_name
from asepsis.edge.gateway import confinement, enrolment, families, policy, supervision
from asepsis.edge.gateway import scope as blast
from asepsis.edge.gateway.settings import read_settings
from asepsis.edge.sandbox.layer import Layer
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.folder import Hospital, IdentityFolder
from asepsis.edge.uplink.token import EnrolmentToken

app: Final = App(
    name="gateway", help="Bring devices of HL7 v2, DICOM and vendors' protocols to the hub."
)
app.command(gateway_images.app)
app.command(gateway_pair.app)
app.command(gateway_pair.at_risk_list, name="at-risk")
DATA: Final = Path("/var/lib/asepsis-gateway")
SETTINGS: Final = DATA / "gateway.toml"
SettingsFile = Annotated[Path, Parameter(help="Its settings; docs/reference/gateway.md.")]


@app.default
@app.command
def run(*, settings: SettingsFile = SETTINGS) -> int:
    """Run every protocol family that the settings ask for, until told to stop.

    Each family is a process of its own; one that ends is started anew.
    """
    return supervision.main(settings)


@app.command
def enrol(
    name: Annotated[str, Parameter(help="urn:uuid: name, as listed at the hub.")],
    *,
    token_file: Annotated[Path, Parameter(help="File with the one-time token.")],
    hub: Annotated[str, Parameter(help="Host name or address of the hub.")],
    settings: SettingsFile = SETTINGS,
    clinical_port: int = 8443,
    enrolment_port: int = 8444,
) -> None:
    """Enrol this gateway: pin the hospital's root, make a key here, fetch the certificate.

    Safe to repeat after any failure, with the same token.
    """
    folder = Path(read_settings(settings).data) / "identity"
    try:
        token = EnrolmentToken.parse(token_file.read_text("ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {token_file}") from error
    hospital = Hospital(Endpoint(hub, clinical_port), Endpoint(hub, enrolment_port))
    enrolment.enrol(IdentityFolder(folder), parse_system_name(name), hospital=hospital, token=token)
    console.print(f"{name} is enrolled; its key is in {folder}")


@app.command
def layers(*, json: bool = False) -> None:
    """Say which protections hold around a gateway on this machine, and what that means."""
    found = confinement.report()
    if json:
        show_json(found.as_document())
        return
    rows = [
        (finding.layer.value, "holds" if finding.holds else "ABSENT", finding.detail)
        for finding in found.findings
    ]
    show_table("Layers", ("layer", "here", "found"), rows)
    for finding in found.findings:
        console.print(f"{finding.layer.value}: {finding.meaning}.", markup=False)


@app.command
def scope(*, settings: SettingsFile = SETTINGS, json: bool = False) -> None:
    """Print the blast radius: what somebody could do who runs code in one process.

    Which bytes it parses, which files it reads and writes, where it connects, whom it takes, what
    it signs, for which devices it could speak. Where Landlock is absent the files are not apart.
    """
    read = read_settings(settings)
    name, hospital, _ = IdentityFolder(Path(read.data) / "identity").load()
    reaches = blast.hl7(read, name=name, hospital=hospital) if read.listeners else ()
    reaches = (*reaches, *blast.pair(read, name=name, hospital=hospital))
    others = [f.name for f in families.wanted(read) if f.name not in ("hl7", "pair")]
    apart = Layer.LANDLOCK in confinement.holding()
    if json:
        rows = [msgspec.to_builtins(each) for each in reaches]
        show_json({"processes": rows, "further_families": others, "files_apart": apart})
        return
    columns = ("process", "parses", "files", "connects", "accepts", "signs", "speaks for")
    show_table(
        "What a taken process can do",
        columns,
        [
            (
                each.process,
                each.parses,
                " ".join(each.writes) or "none",
                " ".join(each.connects) or "nowhere",
                " ".join(each.accepts) or "nobody",
                each.signs or "nothing",
                " ".join(each.speaks_for) or "nobody",
            )
            for each in reaches
        ],
    )
    if others:
        console.print(f"further families, confined by themselves: {' '.join(others)}")
    if not apart:
        console.print("no Landlock here: only the code keeps the processes' files apart")


@app.command
def bypass(
    to: Annotated[str, Parameter(help="Where the senders go instead, as host:port.")],
    *,
    reason: Annotated[str, Parameter(help="Why; goes into the audit log.")],
    token: Annotated[Path, Parameter(help="File with the first person's token.")],
    second_token: Annotated[Path, Parameter(help="File with the second person's token.")],
    minutes: Annotated[int, Parameter(help="How long, 1 to 1440.")] = 60,
    settings: SettingsFile = SETTINGS,
    data: Data = HUB_DATA,
    json: bool = False,
) -> None:
    """Print the direct route around this gateway for a downtime; two people, an end, and the log.

    Nothing is opened by itself: senders and firewall are changed by hand. The hub writes both
    people and the end into its audit log and raises a technical alarm condition.
    """
    read = read_settings(settings)
    name, _, _ = IdentityFolder(Path(read.data) / "identity").load()
    routes = [f"{peer.name} ({', '.join(peer.addresses)}) -> {to}" for peer in read.peers]
    with contextlib.closing(people(data, token=token)) as first:
        body = {"gateway": name, "routes": routes, "minutes": minutes, "reason": reason}
        proposed = first.post("/api/bypasses", body)
    with contextlib.closing(people(data, token=second_token)) as second:
        opened = second.post(f"/api/bypasses/{proposed['id']}/confirm", {})
    if json:
        show_json(opened)
        return
    show_table("Direct routes", ("until", "route"), [
        (moment(opened["until_ns"]), route) for route in opened["routes"]
    ])  # fmt: skip
    console.print("change senders and firewall by hand, and back when it ends")


@app.command
def check(*, settings: SettingsFile = SETTINGS, json: bool = False) -> None:
    """Check the settings and show who may send what; nothing is started."""
    rows = [
        (
            door.listener.name,
            f"{door.listener.host}:{door.listener.port}",
            "TLS" if door.listener.tls else "CLEAR TEXT",
            peer.name,
            " ".join(map(str, peer.networks)),
            " ".join(sorted("^".join(kind) for kind in peer.types)),
            len(set(peer.devices.values())),
            peer.ack if peer.ack == "hub" else "spool (AT RISK: one disk)",
        )
        for door in policy.doors(read_settings(settings))
        for peer in door.peers
    ]
    columns = ("listener", "address", "protection", "peer", "from", "types", "devices", "ack")
    if json:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    show_table("Peers", columns, rows)
