"""`asepsis release`: a vendor's image repository, signed offline and published as static files."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter

from asepsis.cli.output import console, show_json, show_table
from asepsis.core.errors import ContentMismatch, InputError
from asepsis.core.model.release import DOCUMENT_BYTES_MAX, digest, read_document
from asepsis.core.model.release_assessment import check as check_document
from asepsis.core.model.release_assessment import conclude
from asepsis.core.trust.metadata.approvers import Approvers
from asepsis.core.trust.metadata.authorisation import read as read_authorisation
from asepsis.tools.release import editing, keys
from asepsis.tools.release.approving import approve as sign_authorisation
from asepsis.tools.release.approving import propose as draft_of
from asepsis.tools.release.approving import root_of
from asepsis.tools.release.documents import read_given
from asepsis.tools.release.editing import Holders, Plan
from asepsis.tools.release.publishing import publish as publish_all
from asepsis.tools.release.publishing import sign as sign_drafts
from asepsis.tools.release.report import inspect as report
from asepsis.tools.release.repository import Repository, Settings

app: Final = App(
    name="release",
    help="Keep a vendor's releases: who signs what, with keys that stay offline (TUF).",
)
Folder = Annotated[Path, Parameter(help="Working folder of the repository; holds no private key.")]
Keys = Annotated[
    list[str], Parameter(help="Public key: a PEM file or a pkcs11: URI; repeat for more.")
]
SigningKeys = Annotated[
    list[str], Parameter(name="--key", help="Private key: a PEM file or a pkcs11: URI; repeat.")
]
Passphrase = Annotated[
    Path | None, Parameter(help="File whose first line opens encrypted key files.")
]
Threshold = Annotated[int, Parameter(help="How many of the keys must sign.")]
DryRun = Annotated[bool, Parameter(help="Say what would be done, and change nothing.")]


def now() -> datetime:
    """Return the present time of this machine, aware, to the second."""
    return datetime.fromtimestamp(int(time.time()), UTC)


@app.command
def key(
    place: Annotated[str, Parameter(help="New file, or pkcs11: URI of a token.")],
    /,
    *,
    passphrase_file: Passphrase = None,
    json: bool = False,
) -> None:
    """Make a P-256 key: in a file, with its public half beside it in FILE.pub, or in a token.

    A token is named `pkcs11:token=T;object=LABEL?module-path=/lib.so&pin-source=/file` (RFC 7512);
    the key is made in it and never leaves it.
    """
    if place.startswith(keys.SCHEME):
        made = keys.make_in_token(place)
    else:
        made = keys.make_file(Path(place), passphrase=keys.read_passphrase(passphrase_file))
    show_json({"key": made.keyid}) if json else console.print(made.keyid, soft_wrap=True)


@app.command
def init(
    repository: Folder,
    /,
    *,
    name: Annotated[str, Parameter(help="The vendor, or the hospital whose director it is.")],
    root: Keys,
    root_threshold: Threshold = 1,
    targets: Annotated[list[str] | None, Parameter(help="Default: the keys of the root.")] = None,
    targets_threshold: Threshold = 1,
    online: Annotated[list[str], Parameter(help="Key of snapshot and timestamp; repeat for more.")],
    approver: Annotated[list[str] | None, Parameter(help="Who approves for this party.")] = None,
    approver_threshold: Threshold = 1,
    director: Annotated[
        bool, Parameter(help="Only the root of a hub's director; --online is the signer's key.")
    ] = False,
) -> None:
    """Begin a repository: drafts of its first root and targets, which then have to be signed.

    Root and targets keys stay offline; name their public halves. Next: `asepsis release sign`,
    then `asepsis release publish`.
    """
    online_keys = _public(online)
    of_targets = online_keys if director else _public(targets or root)
    plan = Plan(
        holders={
            "root": Holders(keys=_public(root), threshold=root_threshold),
            "targets": Holders(keys=of_targets, threshold=1 if director else targets_threshold),
            "snapshot": Holders(keys=online_keys),
            "timestamp": Holders(keys=online_keys),
        },
        approvers=(
            Approvers(keys=_public(approver), threshold=approver_threshold) if approver else None
        ),
        director=director,
    )
    made = editing.init(repository, settings=Settings(name=name), plan=plan, now=now())
    say_drafts(made)


@app.command
def delegate(
    repository: Folder,
    role: Annotated[str, Parameter(help="Name of the role, for example the model.")],
    /,
    *,
    signer: Keys,
    threshold: Threshold = 1,
    paths: Annotated[
        list[str] | None, Parameter(help="What it may sign; default ROLE/*; repeat for more.")
    ] = None,
) -> None:
    """Let a role of its own sign one model's releases, with keys of its own."""
    opened = Repository.open(repository)
    holders = Holders(keys=_public(signer), threshold=threshold)
    editing.delegate(opened, role, holders=holders, paths=paths or [f"{role}/*"], now=now())
    say_drafts(opened)


@app.command
def withdraw(repository: Folder, path: str, /) -> None:
    """Take a release back: after the next publication no device installs it any more."""
    opened = Repository.open(repository)
    editing.withdraw(opened, path, now=now())
    say_drafts(opened)


@app.command
def sign(repository: Folder, /, *, key: SigningKeys, passphrase_file: Passphrase = None) -> None:
    """Sign every draft that waits for these keys; look at it with `inspect` before."""
    opened = Repository.open(repository)
    for one in _signers(key, passphrase_file):
        done = ", ".join(sign_drafts(opened, one))
        console.print(f"{one.public_key.keyid[:16]} signed {done}", markup=False, soft_wrap=True)
    say_drafts(opened)


@app.command
def rotate(
    repository: Folder,
    role: Annotated[str, Parameter(help="root, targets, snapshot, timestamp or a delegated role.")],
    /,
    *,
    gain: Annotated[list[str] | None, Parameter(help="Public key that the role gains.")] = None,
    lose: Annotated[list[str] | None, Parameter(help="Id of a key that the role loses.")] = None,
    threshold: Annotated[int | None, Parameter(help="New threshold.")] = None,
) -> None:
    """Change who signs a role; without options renew it: a new version with a new end.

    A new root must be signed by enough keys of the old root and of the new one, so that devices
    that slept follow the chain.
    """
    opened = Repository.open(repository)
    lost = [_whole_id(opened, prefix) for prefix in lose or ()]
    gained = _public(gain or [])
    editing.rotate(opened, role, gain=gained, lose=lost, threshold=threshold, now=now())
    say_drafts(opened)


@app.command
def revoke(
    repository: Folder,
    key: Annotated[str, Parameter(help="Id of the key, or its first characters.")],
    /,
    *,
    dry_run: DryRun = False,
) -> None:
    """Take a stolen or lost key out of every role at once."""
    opened = Repository.open(repository)
    whole = _whole_id(opened, key)
    if dry_run:
        holding = [r for r in editing.all_roles(opened) if whole in _keyids(opened, r)]
        console.print(f"would lose it: {', '.join(holding)}", markup=False, soft_wrap=True)
        return
    editing.revoke(opened, whole, now=now())
    say_drafts(opened)


@app.command
def publish(
    repository: Folder,
    /,
    *,
    key: Annotated[
        list[str] | None,
        Parameter(name="--key", help="Key of snapshot and timestamp; repeat for more."),
    ] = None,
    passphrase_file: Passphrase = None,
    json: bool = False,
) -> None:
    """Check every signature as a device would, then write `public/`, for any web server.

    Also without drafts, regularly: snapshot and timestamp are made anew, so that they do not expire
    and a device notices who withholds news from it.
    """
    opened = Repository.open(repository)
    versions = publish_all(opened, _signers(key or [], passphrase_file), now=now())
    if json:
        show_json({"versions": versions, "folder": str(repository / "public")})
        return
    show_table("Published", ("role", "version"), list(versions.items()))


@app.command
def propose(
    repository: Folder,
    path: Annotated[str, Parameter(help="Target path of a published release.")],
    /,
    *,
    into: Annotated[Path, Parameter(help="New file for the authorisation.")],
    models: Annotated[
        list[str] | None, Parameter(help="Models it may go to; default the release's; repeat.")
    ] = None,
    floor: Annotated[int, Parameter(help="Security floor, if above the release's own.")] = 0,
    days: Annotated[int, Parameter(help="How long the authorisation holds.")] = 90,
) -> None:
    """Draft the authorisation of a release, for an approver of the vendor and one of the hospital.

    Devices install nothing without it. It names hash, models, counter, floor and validity.
    """
    opened = Repository.open(repository)
    made = draft_of(opened, path, models=models or (), floor=floor, days=days, now=now())
    keys.write_new(into, made, mode=0o644)
    console.print(f"{into}: neither party has signed yet", markup=False, soft_wrap=True)


@app.command
def approve(
    authorisation: Annotated[Path, Parameter(help="File made by `asepsis release propose`.")],
    /,
    *,
    key: Annotated[str, Parameter(help="The approver's private key: PEM file or pkcs11: URI.")],
    root: Annotated[Path, Parameter(help="Newest root of the approver's own party.")],
    party: Annotated[Literal["vendor", "hospital"], Parameter(help="Whose approver it is.")],
    document: Annotated[Path, Parameter(help="The release document that you have read.")],
    into: Annotated[Path, Parameter(help="New file for the signed authorisation.")],
    passphrase_file: Passphrase = None,
) -> None:
    """Approve a release for the vendor or the hospital, with the approver's own key.

    The key must stand in that party's root, and must not be the assessment's author's. Whoever
    signs sees here what is signed. The hospital approves the deployment; the regulatory decision
    stays the manufacturer's.
    """
    content = keys.read_file(authorisation)
    found = read_authorisation(content)[1]
    told = read_given(document, bytes_max=DOCUMENT_BYTES_MAX)
    said = read_document(told)
    check_document(said)
    if found.terms.document != digest(told):
        raise ContentMismatch("the authorisation is about another release document")
    terms = found.terms
    show_table(
        "To be approved",
        ("", ""),
        [
            ("release", found.target.path),
            ("SHA-256", found.target.hashes.get("sha256", "")),
            ("models", ", ".join(terms.models)),
            ("counter", terms.counter),
            ("floor", terms.floor),
            ("until", found.expires.isoformat()),
            ("assessed by", f"{said.assessment.author}, {said.assessment.document}"),
            *((one.name, conclude(one).value) for one in said.assessment.pathways),
        ],
    )
    signer = keys.signer(key, passphrase=keys.read_passphrase(passphrase_file))
    trusted = root_of(keys.read_file(root), str(root))
    author = said.assessment.author_key
    signed = sign_authorisation(content, signer, root=trusted, party=party, author=author)
    keys.write_new(into, signed, mode=0o644)
    console.print(f"{into}: signed for the {party}", markup=False, soft_wrap=True)


@app.command
def inspect(repository: Folder, /, *, json: bool = False) -> None:
    """Show roles, keys, thresholds, ends, what drafts still lack, and the releases."""
    found = report(Repository.open(repository), now=now())
    if json:
        show_json(found)
        return
    show_table(
        f"Roles of {found['name']}",
        ("role", "state", "version", "expires", "keys", "of", "lacks"),
        [_row(role) for role in found["roles"]],
    )
    show_table(
        "Releases",
        ("path", "component", "version", "counter", "floor", "published"),
        [
            (r["path"], r["component"], r["version"], r["counter"], r["floor"], r["published"])
            for r in found["releases"]
        ],
    )


def _row(role: dict[str, Any]) -> tuple[object, ...]:
    ids = " ".join(keyid[:8] for keyid in role["keys"])
    lacks = " ".join(keyid[:8] for keyid in role.get("unsigned", ()))
    missing = role.get("missing", 0)
    return (
        role["role"],
        role["state"] + (", EXPIRED" if role.get("expired") else ""),
        role.get("version", ""),
        role.get("expires", "")[:10],
        ids,
        f"{role['threshold']} of {len(role['keys'])}",
        f"{missing} of {lacks}" if missing else "",
    )


def _public(sources: Sequence[str]) -> list[keys.Key]:
    return [keys.public_key(source) for source in sources]


def _signers(sources: Sequence[str], passphrase_file: Path | None) -> list[keys.CryptoSigner]:
    passphrase = keys.read_passphrase(passphrase_file)
    return [keys.signer(source, passphrase=passphrase) for source in sources]


def _keyids(repository: Repository, role: str) -> list[str]:
    return list(editing.role_of(repository, role).keyids)


def _whole_id(repository: Repository, prefix: str) -> str:
    known = {i for role in editing.all_roles(repository) for i in _keyids(repository, role)}
    found = [keyid for keyid in known if keyid.startswith(prefix)] if prefix else []
    if len(found) != 1:
        raise InputError(f"{len(found)} keys begin with {prefix!r}", hint="`inspect` shows them")
    return found[0]


def say_drafts(repository: Repository) -> None:
    """Say of every draft what it still lacks."""
    for role in report(repository, now=now())["roles"]:
        if role["state"] != "draft":
            continue
        lacking = " or ".join(keyid[:16] for keyid in role["unsigned"])
        words = f"lacks {role['missing']} of {lacking}" if role["missing"] else "signed"
        console.print(
            f"draft {role['role']} {role['version']}: {words}", markup=False, soft_wrap=True
        )
