"""`asepsis enrol`: list a device at the hub, and enrol one with its token."""

from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.output import console, show_json, show_table
from asepsis.cli.profile import Certificate, certificate_text, client
from asepsis.cli.signer import ask
from asepsis.core.errors import InputError
from asepsis.core.model.identity import DeviceId, parse_system_name
from asepsis.core.trust.signer_values import Expectation
from asepsis.edge.uplink.connection import Endpoint
from asepsis.edge.uplink.enrolment import EnrolmentOrder, enrol
from asepsis.edge.uplink.folder import Hospital, IdentityFolder
from asepsis.edge.uplink.token import EnrolmentToken

SourceKind = Literal["adt", "merge", "worklist", "pcim"]
app: Final = App(name="enrol", help="List devices at the hub, and enrol a device with its token.")


@app.command
def expect(
    name: Annotated[
        str, Parameter(help="urn:dev:mac:<16 hex digits>, a UDI with serial, or urn:uuid.")
    ],
    *,
    kind: Annotated[str, Parameter(help="device, gateway or consumer.")] = "device",
    model: Annotated[str, Parameter(help="Maker and model, for people.")] = "",
    origin_key: Annotated[bool, Parameter(help="The device signs what it measures.")] = True,
    lease_ms: Annotated[int, Parameter(help="Silence after which an alarm is raised, ms.")] = 2_000,
    idevid_issuer: Annotated[str | None, Parameter(help="Maker's CA, RFC 4514 name.")] = None,
    idevid_serial: Annotated[str | None, Parameter(help="Serial number in the IDevID.")] = None,
    declared: Annotated[
        list[str] | None, Parameter(help="Device a gateway speaks for; repeat.")
    ] = None,
    source: Annotated[
        list[SourceKind] | None,
        Parameter(help="What a gateway is named as a source of; repeat."),
    ] = None,
    profile: Annotated[
        str, Parameter(help="Profile that shall judge it; decided first, as `profile admit`.")
    ] = "",
    certificate: Certificate = None,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """List a device that may enrol within 24 hours, and print its one-time token.

    Only the signer's own user and root can do this: a broken-into hub cannot. With --profile it is
    commissioned too: a hub that runs checks the certificate of conformance that the profile asks
    for, and without it nothing is listed.
    """
    checked = DeviceId.parse(name).uri if kind == "device" else parse_system_name(name)
    _commission(checked, profile, certificate, data=data)
    expectation = Expectation(
        id="",
        name=checked,
        profile=kind,
        model=model,
        origin_required=origin_key and kind == "device",
        lease_ms=lease_ms,
        idevid_issuer=idevid_issuer,
        idevid_serial=idevid_serial,
        declared=tuple(declared or ()),
        sources=tuple(source or ()),
    )
    answer = ask(data, lambda admin: admin.expect(expectation)).token
    if json:
        show_json({"name": checked, "token": answer})
        return
    console.print(f"{checked} may enrol once within 24 hours with this token:")
    console.print(answer, soft_wrap=True)


def _commission(name: str, profile: str, certificate: Path | None, *, data: Path) -> None:
    """Decide the profile of a device before it is listed.

    Raises:
        InputError: A certificate without a profile.
        AsepsisError: The hub is away or admits nobody so.
    """
    brought = certificate_text(certificate)
    if not profile:
        if brought:
            raise InputError("--certificate needs --profile, which says who may sign it")
        return
    with client(data, None) as hub:
        version = hub.profile(profile)["version"]
        hub.admit(name, profile=profile, version=version, certificate=brought)


@app.command(name="list")
def list_expected(*, data: Data = DATA, json: bool = False) -> None:
    """Show who may still enrol."""
    found = ask(data, lambda admin: admin.list())
    rows = [(e.name, e.profile, e.model, e.id) for e in found]
    if json:
        show_json([dict(zip(("name", "kind", "model", "id"), row, strict=True)) for row in rows])
        return
    show_table("Expected", ("name", "kind", "model", "id"), rows)


@app.command
def withdraw(expectation: str, *, data: Data = DATA) -> None:
    """Take back an expectation by its id; its token is worthless from now on."""
    ask(data, lambda admin: admin.withdraw(expectation))
    console.print("withdrawn")


@app.command
def device(
    name: Annotated[str, Parameter(help="The device's own name.")],
    *,
    token_file: Annotated[Path, Parameter(help="File with the one-time token.")],
    hub: Annotated[str, Parameter(help="Host name or address of the hub.")],
    folder: Annotated[Path, Parameter(help="Folder for keys and certificates, made if absent.")],
    clinical_port: int = 8443,
    enrolment_port: int = 8444,
    origin_key: bool = True,
) -> None:
    """Enrol this device: pin the hospital's root, make keys here, fetch certificates.

    Safe to repeat after any failure, with the same token.
    """
    try:
        token = EnrolmentToken.parse(token_file.read_text("ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {token_file}") from error
    enrol(
        IdentityFolder(folder),
        EnrolmentOrder(
            name=name,
            hospital=Hospital(Endpoint(hub, clinical_port), Endpoint(hub, enrolment_port)),
            token=token,
            origin=origin_key,
        ),
    )
    console.print(f"{name} is enrolled; its keys are in {folder}")
