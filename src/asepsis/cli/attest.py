"""`asepsis image attest` on the device, `asepsis devices attestation` at the hub."""

import hashlib
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

from cyclopts import App, Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.devices import app as devices_app
from asepsis.cli.devices import moment, people
from asepsis.cli.image import app as image_app
from asepsis.cli.output import console, show_facts, show_json, show_table
from asepsis.core.errors import ConfigError
from asepsis.core.trust import tls
from asepsis.core.trust.attestation import PCR_IMAGE
from asepsis.edge.device.attesting import Attester
from asepsis.edge.device.measured_versions import digest_of
from asepsis.edge.device.measuring import LOG, Measuring
from asepsis.edge.device.proving import TpmProver, fingerprint
from asepsis.edge.device.tpm import DEVICE, Tpm
from asepsis.edge.device.tpm_keys import keys
from asepsis.edge.uplink.connection import HubConnection
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.imagebuild.uki import predict_pcr11

IMAGE_BYTES_MAX: Final = 1 << 28
CERTIFICATE_CHARS_MAX: Final = 16_384
app: Final = App(name="attestation", help="See what devices run by the word of their TPMs.")
devices_app.command(app)
Model = Annotated[str, Parameter(help="Model, as its devices are listed.")]


@image_app.command(name="attest")
def attest(
    *,
    device: Annotated[Path | None, Parameter(help="Folder made by `asepsis enrol device`.")] = None,
    tpm: Annotated[Path, Parameter(help="The TPM, or the socket of swtpm.")] = DEVICE,
    log: Annotated[Path, Parameter(help="Log of what was changed since the start.")] = LOG,
    bind: Annotated[
        bool, Parameter(negative="", help="First bring the TPM to the hub, at commissioning.")
    ] = False,
    show_key: Annotated[
        bool, Parameter(negative="", help="Print what a person records of this TPM, and end.")
    ] = False,
    json: bool = False,
) -> None:
    """Prove to the hub what this device started and what it changed since; runs on the device.

    At commissioning a person first opens it at the hub (`asepsis devices attestation open`), then
    --bind brings the TPM. Later runs answer one question of the hub and raise the floor in the TPM
    as far as the hub says. A refusal says why and ends with 1 or 2.
    """
    with Tpm(tpm) as line:
        if show_key:
            _say({"ek_sha256": fingerprint(keys(line)[0])}, as_json=json)
            return
        if device is None:
            raise ConfigError("whose folder? name it", hint="--device FOLDER")
        folder = IdentityFolder(device)
        name, hospital, root_der = folder.load()
        context = tls.client_context(root_der=root_der, identity=folder.identity)
        hub = HubConnection(hospital.clinical, context, now_ns=None)
        try:
            prover = TpmProver(line, Measuring(line, log).lines)
            attester = Attester(prover, hub, folder.key("tls").spki_der)
            if bind:
                attester.bind()
            found = attester.attest()
        finally:
            hub.close()
    said = {"device": name, "verified": found.standing, "release": found.release}
    _say(said | {"floor_counter": found.counter}, as_json=json)


@app.default
def list_attested(*, data: Data = DATA, json: bool = False) -> None:
    """Show how every device stands, and which releases, floors and makers of TPMs count."""
    with closing(people(data)) as client:
        found = client.get("/api/attestation")
    if json:
        show_json(found)
        return
    columns = ("device", "stands", "TPM", "judged", "opened by")
    show_table("Devices", columns, [_row(one) for one in found["devices"]])
    releases = [
        (one["model"], one["name"], one["number"], one["registers"]["11"], len(one["parts"]))
        for one in found["releases"]
    ]
    show_table("Releases", ("model", "release", "number", "PCR 11", "parts"), releases)
    floors = [(one["model"], one["number"], one["person"]) for one in found["floors"]]
    show_table("Floors", ("model", "oldest release", "said by"), floors)
    makers = [(one["subject"], one["sha256"]) for one in found["makers"]]
    show_table("Makers of TPMs", ("subject", "SHA-256"), makers)


@app.command(name="open")
def open_(
    device: Annotated[str, Parameter(help="Which device.")],
    *,
    ek: Annotated[
        str | None,
        Parameter(help="SHA-256 of its endorsement key, as --show-key says it at the device."),
    ] = None,
    hours: Annotated[int, Parameter(help="How long its TPM may come, 1 to 168.")] = 24,
    dry_run: Annotated[bool, Parameter(help="Say what would become void; do nothing.")] = False,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Let the TPM of a device come: once, soon. What was known of another one is void.

    With --ek exactly this TPM may come, and the device is shown as recorded by you. Without it the
    certificate of the TPM's maker decides, so any TPM of a trusted maker may come in that time.
    """
    path, body = _path(device), {"ek_sha256": ek, "hours": hours}
    with closing(people(data)) as client:
        _say(client.get(path) if dry_run else client.post(path, body), as_json=json)


@app.command
def end(
    device: Annotated[str, Parameter(help="Which device.")],
    *,
    dry_run: Annotated[bool, Parameter(help="Say what would be forgotten; do nothing.")] = False,
    data: Data = DATA,
) -> None:
    """Forget the TPM of a device: it counts as not attested from now on."""
    with closing(people(data)) as client:
        if dry_run:
            _say(client.get(_path(device)), as_json=False)
            return
        client.post(_path(device) + "/end", {})
    console.print(f"{device} is not attested any more", markup=False)


@app.command
def release(
    image: Annotated[Path, Parameter(help="Kernel image of the release, `image.efi`.")],
    /,
    *,
    model: Model,
    name: Annotated[str, Parameter(help="Its name, for people.")],
    number: Annotated[int, Parameter(help="Its place in the order of releases, 0 to 9999.")],
    secure_boot: Annotated[
        str | None, Parameter(help="PCR 7 that it must have; else as at commissioning.")
    ] = None,
    part: Annotated[
        list[Path] | None,
        Parameter(
            help="File, or folder of a version, that may replace a part at run time; repeat."
        ),
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Say what would be entered; do nothing.")] = False,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Enter what a release is measured as; PCR 11 is computed from the kernel image itself."""
    registers = {str(PCR_IMAGE): predict_pcr11(_read(image, IMAGE_BYTES_MAX))}
    if secure_boot is not None:
        registers["7"] = secure_boot
    hashes = [_hash(one) for one in part or ()]
    body = {"model": model, "name": name, "number": number, "registers": registers, "parts": hashes}
    if not dry_run:
        _post(data, "/releases", body)
    _say(body, as_json=json)


@app.command(name="forget-release")
def forget_release(
    name: Annotated[str, Parameter(help="Which release.")], *, model: Model, data: Data = DATA
) -> None:
    """Forget a release; whoever still runs it is refused at the next answer."""
    _post(data, "/releases/remove", {"model": model, "name": name})
    console.print(f"{name} of {model} counts no more", markup=False)


@app.command
def floor(
    number: Annotated[int, Parameter(help="Number of the oldest release that may run.")],
    *,
    model: Model,
    dry_run: Annotated[bool, Parameter(help="Say which releases would end; do nothing.")] = False,
    data: Data = DATA,
) -> None:
    """Let no older release of a model count; its devices raise the floor in their TPMs.

    A floor is never lowered: neither here nor in a TPM. So look with --dry-run first.
    """
    if dry_run:
        with closing(people(data)) as client:
            known = client.get("/api/attestation")["releases"]
        ending = [one["name"] for one in known if one["model"] == model and one["number"] < number]
        console.print(f"would end: {', '.join(ending) or 'nothing'}", markup=False)
        return
    _post(data, "/floors", {"model": model, "number": number})
    console.print(f"no release of {model} below {number} counts", markup=False)


@app.command(name="trust-maker")
def trust_maker(
    certificate: Annotated[Path, Parameter(help="CA certificate of a maker of TPMs, PEM.")],
    *,
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Trust a maker of TPMs: at commissioning its certificates vouch for endorsement keys."""
    pem = _read(certificate, CERTIFICATE_CHARS_MAX).decode("ascii", "replace")
    _say(_post(data, "/makers", {"certificate": pem}), as_json=json)


@app.command(name="distrust-maker")
def distrust_maker(
    sha256: Annotated[str, Parameter(help="SHA-256 of its certificate, as the list shows it.")],
    *,
    data: Data = DATA,
) -> None:
    """Let no TPM of a maker be bound any more; devices that are bound stay as they are."""
    _post(data, "/makers/remove", {"sha256": sha256})
    console.print("the maker is not trusted any more")


def _hash(part: Path) -> str:
    if part.is_dir():
        return digest_of(part)
    return hashlib.sha256(_read(part, IMAGE_BYTES_MAX)).hexdigest()


def _path(device: str) -> str:
    return f"/api/devices/{quote(device, safe='')}/attestation"


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    judged = moment(one["judged_ns"]) if one["judged_ns"] else "-"
    return one["device"], one["text"], one["tpm"] or "-", judged, one["person"]


def _post(data: Path, path: str, body: dict[str, Any]) -> Any:
    with closing(people(data)) as client:
        return client.post(f"/api/attestation{path}", body)


def _say(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(facts)
    else:
        show_facts("Attestation", facts)


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}") from error
    if len(content) > bytes_max:
        raise ConfigError(f"{path} is too long")
    return content
