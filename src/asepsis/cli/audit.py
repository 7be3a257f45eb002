"""`asepsis audit`: witnesses of the log, evidence packs, and their verification offline."""

import json as json_module
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final, cast

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from cyclopts import App, Parameter

from asepsis.cli.data import DATA, Data
from asepsis.cli.devices import moment, people
from asepsis.cli.output import console, show_json, show_table
from asepsis.core.errors import ChainBroken, ConfigError, InputError
from asepsis.core.trust import tls
from asepsis.edge.uplink.connection import HubConnection
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.edge.uplink.witness import EVERY_S, Witness
from asepsis.tools.evidence import exporting, printing, verify_evidence
from asepsis.tools.evidence.verify_evidence import Pack

KEY_BYTES_MAX: Final = 16_384
app: Final = App(
    name="audit", help="Prove what was done: witnesses of the audit log, evidence packs."
)
TrustFile = Annotated[Path, Parameter(help="Your own file of keys, from `asepsis audit trust`.")]


@app.command
def witnesses(*, data: Data = DATA, json: bool = False) -> None:
    """Show who witnesses the audit log, and how far each of them signed it."""
    with closing(people(data)) as hub:
        known = hub.get("/api/audit/witnesses")["witnesses"]
        signed = hub.get("/api/audit/heads")["cosignatures"]
    newest = {one["witness"]: one for one in signed}
    if json:
        show_json([one | {"newest": newest.get(one["name"])} for one in known])
        return
    rows = [
        (
            one["name"],
            one["kind"],
            newest[one["name"]]["size"] if one["name"] in newest else "-",
            moment(newest[one["name"]]["at_ns"]) if one["name"] in newest else "-",
        )
        for one in known
    ]
    show_table("Witnesses of the audit log", ("name", "kind", "entries signed", "when"), rows)


@app.command(name="end-witness")
def end_witness(
    name: Annotated[str, Parameter(help="Which witness.")], *, data: Data = DATA
) -> None:
    """Let a witness come with a new key; what it signed with the old one stays."""
    with closing(people(data)) as hub:
        hub.post("/api/audit/witnesses/end", {"name": name})
    console.print(f"{name} may come with a new key", markup=False)


@app.command
def witness(
    folder: Annotated[Path, Parameter(help="Folder made by `asepsis enrol device`.")],
    /,
    *,
    mirror: Annotated[
        bool,
        Parameter(negative="", help="Keep every leaf hash too: names a changed entry exactly."),
    ] = False,
    every: Annotated[
        float | None, Parameter(help="Go on, and look every so many seconds; else look once.")
    ] = None,
    json: bool = False,
) -> None:
    """Be a witness of a hub's audit log, with a key of your own in the folder.

    For a vendor, or whoever else is to see that the log is never rewritten: enrol as a consumer
    (`asepsis enrol expect --kind consumer`). Gateways are witnesses by themselves. If the log was
    rewritten or cut, this ends with 2 and keeps what the hub signed in `contradiction.json`.
    """
    if every is not None and every <= 0:
        raise InputError("a pause is longer than nothing", hint=f"--every {EVERY_S:.0f}")
    identity = IdentityFolder(folder)
    _, hospital, root_der = identity.load()
    one = Witness(identity.path, root_der=root_der, now_ns=time.time_ns)
    while True:
        context = tls.client_context(root_der=root_der, identity=identity.identity)
        with closing(HubConnection(hospital.clinical, context, now_ns=None)) as hub:
            signed = one.look(hub)
            kept = one.mirror(hub) if mirror else 0
        said = {"entries": signed.size, "root": signed.root.hex(), "leaves_kept": kept}
        if json:
            show_json(said)
        else:
            console.print(f"signed the log of {signed.size} entries", markup=False)
        if every is None:
            return
        time.sleep(every)


@app.command
def trust(
    into: Annotated[Path, Parameter(help="New file; keep it where no hub can write.")],
    /,
    *,
    threshold: Annotated[int, Parameter(help="How many witnesses must agree.")] = 2,
    approver: Annotated[
        list[str] | None,
        Parameter(help="PARTY=NAME=FILE.pub of an approver of releases; repeat for more."),
    ] = None,
    data: Data = DATA,
) -> None:
    """Write down the keys of the witnesses and approvers, for verifying evidence later.

    Do this at commissioning and compare the keys with the witnesses themselves: the hub names
    them here, and later nobody has to believe the hub.
    """
    approvers = [_approver(one) for one in approver or ()]
    with closing(people(data)) as hub:
        made = exporting.trust_of(hub, threshold=threshold, approvers=approvers)
    try:
        with into.open("x", encoding="utf-8") as file:
            file.write(json_module.dumps(made, indent=2) + "\n")
    except OSError as error:
        raise ConfigError(f"{into} cannot be written: {error.strerror}") from error
    console.print(
        f"{threshold} of {len(made['witnesses'])} witnesses must agree: {into}", markup=False
    )


@app.command
def export(
    into: Annotated[Path, Parameter(help="Folder for the pack.")],
    /,
    *,
    about: Annotated[
        list[str], Parameter(help="Campaign, SHA-256 of a release, or device; repeat for more.")
    ],
    document: Annotated[
        list[str] | None,
        Parameter(help=f"KIND=FILE to put in; kinds: {', '.join(exporting.KINDS)}. Repeat."),
    ] = None,
    trust: Annotated[Path | None, Parameter(help="Verify it at once, by your own keys.")] = None,
    hospital: Annotated[str, Parameter(help="Name that is printed.")] = "",
    data: Data = DATA,
    json: bool = False,
) -> None:
    """Make an evidence pack: who approved which hash, when and why, what devices measured.

    The folder gets `pack.json`, `pack.pdf` for people, and `verify_evidence.py`, which needs
    nothing but Python. Whoever exports stands in the audit log.
    """
    documents = [_document(one) for one in document or ()]
    with closing(people(data)) as hub:
        pack = exporting.export(
            hub, about=about, documents=documents, hospital=hospital, now_ns=time.time_ns()
        )
    found = None if trust is None else _judge(pack, trust, ())
    path = exporting.write(pack, into)
    into.joinpath("pack.pdf").write_bytes(printing.to_pdf(pack, found=found))
    said = {
        "pack": str(path),
        "entries": len(pack["entries"]),
        "size": pack["size"],
        "sha256": printing.digest_of(pack),
    }
    if json:
        show_json(said | {"verified": found})
    else:
        console.print(
            f"{said['entries']} of {said['size']} entries, {len(documents)} documents: {path}",
            markup=False,
        )
    _end(found)


@app.command
def verify(
    pack: Annotated[Path, Parameter(help="`pack.json` as it was handed over.")],
    trust: TrustFile,
    /,
    *,
    against: Annotated[
        list[Path] | None,
        Parameter(help="An older pack, or the mirror of a witness; repeat for more."),
    ] = None,
    pdf: Annotated[Path | None, Parameter(help="Print it, with what was found, to a PDF.")] = None,
    json: bool = False,
) -> None:
    """Verify an evidence pack offline and name the first bad leaf; ends with 2 if it does not hold.

    The same as `python3 verify_evidence.py PACK TRUST`, which lies beside every pack.
    """
    document = _read_json(pack)
    found = _judge(document, trust, against or ())
    if pdf is not None:
        pdf.write_bytes(printing.to_pdf(document, found=found))
    if json:
        show_json(found)
    else:
        for one in found["findings"]:
            console.print(f"leaf {one['leaf']}: {one['what']}", markup=False)
        if found["ok"]:
            words = f"holds: {found['entries']} entries; {found['vouched']} of {found['size']}"
            console.print(f"{words} leaves are vouched for", markup=False)
    _end(found)


def _judge(pack: dict[str, Any], trust: Path, against: Any) -> dict[str, Any]:
    try:
        others = {
            str(path): verify_evidence.kept_leaves(verify_evidence.read(path)) for path in against
        }
        return verify_evidence.verify(Pack(pack), _read_json(trust), others)
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"not a pack, or not a trust file: {error}") from error


def _end(found: dict[str, Any] | None) -> None:
    """End with an error if something does not hold."""
    if found is not None and not found["ok"]:
        raise ChainBroken(f"the first bad leaf is {found['first_bad_leaf']}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json_module.loads(verify_evidence.read(path)))
    except OSError as error:
        raise ConfigError(f"cannot read {path}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON") from error


def _document(said: str) -> tuple[str, str, bytes]:
    kind, _, place = said.partition("=")
    path = Path(place)
    if not place:
        raise InputError("a document is named KIND=FILE", hint="release=release.json")
    try:
        return kind, path.name, verify_evidence.read(path)
    except OSError as error:
        raise ConfigError(f"cannot read {path}") from error
    except ValueError as error:
        raise InputError(str(error)) from error


def _approver(said: str) -> dict[str, str]:
    party, _, rest = said.partition("=")
    name, _, place = rest.partition("=")
    try:
        pem = Path(place).read_bytes()[:KEY_BYTES_MAX]
        key = load_pem_public_key(pem)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no public key in {place}", hint="--approver vendor=regulatory=approver.pub"
        ) from error
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if not der.startswith(verify_evidence.SPKI):
        raise InputError(f"{place}: the verifier knows keys on P-256 only")
    return {"party": party, "name": name, "key": der.hex()}
