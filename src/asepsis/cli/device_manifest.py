"""`asepsis device check|explain|diff|generate`: the manifest of a device's compartments."""

from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from asepsis.cli.device import app
from asepsis.cli.output import console, show_json, show_table
from asepsis.core.errors import AsepsisError, ConfigError
from asepsis.core.model.manifest import Compartment, Manifest, Zone
from asepsis.core.model.manifest_claims import CLAIMS, Breach, breaches, reached_from_outside
from asepsis.core.model.manifest_flows import data_flow
from asepsis.core.model.manifest_rights import Difference, difference, rights
from asepsis.core.model.manifest_toml import ManifestFile
from asepsis.edge.device.manifest import SHIPPED, WHOLE, read_file, read_together
from asepsis.edge.sandbox.generate import cgroups, host, secilc, selinux, systemd
from asepsis.edge.sandbox.generate.artefacts import artefacts, claims_document

EXIT_BROKEN: Final = 2
EXIT_DIFFERENT: Final = 1
_FILES_MAX: Final = 64
Manifests = Annotated[
    list[Path] | None,
    Parameter(help="Manifest files, TOML; without any what is shipped, with screen and verifier."),
]


@app.command
def check(manifests: Manifests = None, /, *, json: bool = False) -> int:
    """Read manifests strictly, judge every safety claim, and compile the SELinux policy.

    The exit code is 0 if all is well, 2 if a safety claim is broken (its id is told), 5 if a file
    is no manifest (file and line are told). Where `secilc` is not installed the policy is not
    compiled, and that is said.
    """
    files = _files(manifests)
    found = [(file, breaches(file.manifest)) for file in files]
    compiled = [_compiled(file, broken) for file, broken in found]
    documents = [
        {
            "file": file.name,
            "device": file.manifest.device,
            "version": file.manifest.version,
            "compartments": list(file.manifest.compartments),
            "claims_broken": [_breach(file, breach) for breach in broken],
            "selinux": policy,
        }
        for (file, broken), policy in zip(found, compiled, strict=True)
    ]
    if json:
        show_json(documents)
    else:
        for (file, broken), policy in zip(found, compiled, strict=True):
            _show_check(file, broken, policy)
    bad = any(broken for _, broken in found) or any(p["result"] == "refused" for p in compiled)
    return EXIT_BROKEN if bad else 0


@app.command
def explain(manifests: Manifests = None, /, *, json: bool = False) -> None:
    """Say in words what each compartment may do, what reaches it, and what enforces that here.

    With `--json` also everything that is generated: launcher arguments, Landlock rules, system
    calls, control groups, SELinux rules, and the nodes and flows of the threat model.
    """
    files = _files(manifests)
    if json:
        show_json([_explained(file) for file in files])
        return
    for file in files:
        _show_explanation(file)


@app.command
def diff(
    old: Annotated[Path, Parameter(help="The manifest before.")],
    new: Annotated[Path | None, Parameter(help="After; by default the shipped one.")] = None,
    /,
    *,
    json: bool = False,
) -> int:
    """Say which rights were gained and lost from one manifest to another, and which claims broke.

    Comments, texts and the order of keys are no difference. The exit code is 0 if nothing differs,
    1 if something does, 2 if the new one breaks a safety claim.
    """
    before, after = read_file(old), read_file(new or SHIPPED)
    found = difference(before.manifest, after.manifest)
    known = {(b.claim, b.path, b.text) for b in breaches(before.manifest)}
    broken = breaches(after.manifest)
    fresh = [b for b in broken if (b.claim, b.path, b.text) not in known]
    if json:
        show_json(
            {
                "gained": [str(right) for right in found.gained],
                "lost": [str(right) for right in found.lost],
                "properties": list(found.properties),
                "claims_broken": [_breach(after, breach) for breach in broken],
                "claims_newly_broken": sorted({breach.claim for breach in fresh}),
            }
        )
    else:
        _show_difference(found)
        _show_breaches(after, tuple(fresh))
    if broken:
        return EXIT_BROKEN
    return EXIT_DIFFERENT if found.gained or found.lost or found.properties else 0


@app.command
def generate(
    manifest: Annotated[Path | None, Parameter(help="By default the shipped one.")] = None,
    /,
    *,
    into: Annotated[Path, Parameter(help="Folder for the files; made if it is not there.")],
    dry_run: Annotated[bool, Parameter(help="Say which files, and write none.")] = False,
    json: bool = False,
) -> None:
    """Write everything that is generated from a manifest into a folder.

    SELinux policy (CIL), systemd unit, control groups, launcher arguments with Landlock rules and
    system calls, claims, and nodes and flows of the threat model. A manifest that breaks a safety
    claim generates nothing.
    """
    file = read_file(manifest or SHIPPED)
    broken = breaches(file.manifest)
    if broken:
        first = _breach(file, broken[0])
        raise ConfigError(
            f"{first['claim']}: {first['where']}: {first['text']}",
            hint="`asepsis device check` shows every broken claim",
        )
    made = artefacts(file.manifest)
    if not dry_run:
        _write(into, made)
    if json:
        show_json({"folder": str(into), "written": not dry_run, "files": sorted(made)})
        return
    for name in sorted(made):
        words = f"{'would write' if dry_run else 'wrote'} {into / name}"
        console.print(words, markup=False, soft_wrap=True)


def _files(named: list[Path] | None) -> list[ManifestFile]:
    """Read the manifests that were named; without any all that a device of ours can have."""
    if not named:
        return [read_together(*WHOLE)]
    if len(named) > _FILES_MAX:
        raise ConfigError(f"at most {_FILES_MAX} manifests at once")
    return [read_file(path) for path in named]


def _compiled(file: ManifestFile, broken: tuple[Breach, ...]) -> dict[str, Any]:
    if secilc.program() is None:
        return {"result": "not compiled", "why": "secilc is not installed"}
    try:
        binary = secilc.compile_policy(selinux.policy(file.manifest))
    except AsepsisError as error:
        if not broken:
            return {"result": "refused", "why": str(error)}
        return {"result": "not compiled", "why": "a claim is broken"}
    return {"result": "compiled", "bytes": len(binary)}


def _breach(file: ManifestFile, breach: Breach) -> dict[str, str]:
    return {
        "claim": breach.claim,
        "where": file.where(breach.path),
        "path": breach.path,
        "text": breach.text,
        "sentence": CLAIMS[breach.claim].sentence,
    }


def _show_check(file: ManifestFile, broken: tuple[Breach, ...], policy: dict[str, Any]) -> None:
    manifest = file.manifest
    names = ", ".join(manifest.compartments)
    console.print(
        f"{file.name}: {manifest.device} v{manifest.version}, compartments {names}", markup=False
    )
    kept = len(CLAIMS) - len({breach.claim for breach in broken})
    console.print(f"  {kept} of {len(CLAIMS)} safety claims hold", markup=False)
    why = policy.get("why", f"{policy.get('bytes')} bytes")
    console.print(f"  SELinux policy: {policy['result']} ({why})", markup=False)
    _show_breaches(file, broken)


def _show_breaches(file: ManifestFile, broken: tuple[Breach, ...]) -> None:
    for breach in broken:
        where = file.where(breach.path)
        console.print(
            f"  BROKEN {breach.claim} {where}: {breach.path}: {breach.text}", markup=False
        )
        console.print(f"    {CLAIMS[breach.claim].sentence}", markup=False)


def _explained(file: ManifestFile) -> dict[str, Any]:
    manifest = file.manifest
    state = Path(systemd.STATE) / "compartments"
    return {
        "file": file.name,
        "device": manifest.device,
        "version": manifest.version,
        "rights": [str(right) for right in sorted(rights(manifest))],
        "reached_from_outside": reached_from_outside(manifest),
        "claims": claims_document(manifest),
        "host": {
            name: host.rules(c, state=state / name).to_document()
            for name, c in manifest.compartments.items()
        },
        "cgroups": cgroups.groups(manifest),
        "selinux": [str(allow) for allow in selinux.policy(manifest).allows],
        "data_flow": data_flow(manifest).to_document(),
    }


def _show_explanation(file: ManifestFile) -> None:
    manifest = file.manifest
    console.print(f"{manifest.device} v{manifest.version}: {manifest.text}", markup=False)
    reached = reached_from_outside(manifest)
    for c in manifest.compartments.values():
        show_table(f"{c.name}: {c.text}", ("", ""), _rows(c, manifest, reached))
    holding = {breach.claim for breach in breaches(manifest)}
    rows = [
        (claim.id, "BROKEN" if claim.id in holding else "holds", claim.sentence)
        for claim in CLAIMS.values()
    ]
    show_table("Safety claims", ("claim", "", "what it says"), rows)


def _rows(c: Compartment, manifest: Manifest, reached: dict[str, str]) -> list[tuple[str, str]]:
    secret = [name for name in c.handed if manifest.documents[name].secret]
    out = {
        Zone.NONE: "no network",
        Zone.BROKER: f"brokered sockets to {', '.join(c.endpoints)}",
        Zone.SERVICE: "no network but while a person opened it in maintenance",
    }[c.zone]
    rows = [
        ("criticality", c.criticality.value),
        ("runs", f"{c.code} as user {c.user}, system calls {c.syscalls.value}"),
        ("reads", ", ".join((*c.reads, *c.hears))),
        ("writes", ", ".join((*c.writes, *c.says))),
        ("is handed", ", ".join(c.handed)),
        ("holds secrets", ", ".join((*secret, *c.keeps))),
        ("own folder", "yes" if c.folder else ""),
        ("reaches", f"{out}, listens on {', '.join(map(str, c.ports))}" if c.ports else out),
        ("is reached from", reached.get(c.name, "nowhere outside")),
        ("may request", ", ".join(c.requests)),
        ("is replaced by", f"{c.update.rung.value}, when {_states(c)}"),
        ("is ended after", f"{c.resources.silence_s:g} s of silence"),
    ]
    return [(name, text) for name, text in rows if text]


def _states(c: Compartment) -> str:
    return ", ".join(state.name.lower().replace("_", " ") for state in c.update.when) or "never"


def _show_difference(found: Difference) -> None:
    for right in found.gained:
        console.print(f"+ {right}", markup=False)
    for right in found.lost:
        console.print(f"- {right}", markup=False)
    for text in found.properties:
        console.print(f"~ {text}", markup=False)
    if not (found.gained or found.lost or found.properties):
        console.print("no difference")


def _write(into: Path, made: dict[str, str]) -> None:
    try:
        for name, text in made.items():
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write into {into}: {error.strerror}") from error
