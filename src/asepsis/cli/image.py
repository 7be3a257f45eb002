"""`asepsis image`: build the bootable image of a device, boot it, and audit what is in it."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from asepsis.cli.day import read_day
from asepsis.cli.output import console, problems, show_facts, show_json, show_table
from asepsis.core.errors import ConfigError
from asepsis.tools.imagebuild.audit.report import Audit, audit
from asepsis.tools.imagebuild.boot import Seen, Trial, boot
from asepsis.tools.imagebuild.build import build_image, default_epoch
from asepsis.tools.imagebuild.livepatch import empty_medium
from asepsis.tools.imagebuild.slots import Slot

app: Final = App(name="image", help="Build, boot and audit the image that a device starts from.")
MIB: Final = 1 << 20
EXIT_OPEN: Final = 1
EXIT_NOT_BOOTED: Final = 1
Built = Annotated[Path, Parameter(help="Folder of a built image.")]


@app.command(name="build")
def build_(
    recipe: Annotated[Path, Parameter(help="Folder of the recipe.")] = Path("images/monitor"),
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the image.")] = Path("image"),
    keys: Annotated[
        Path | None,
        Parameter(
            help="Folder of the Secure Boot keys; made if absent. Without it, in the image's."
        ),
    ] = None,
    epoch: Annotated[
        int | None,
        Parameter(help="Time of every file, seconds since 1970; by default SOURCE_DATE_EPOCH."),
    ] = None,
    json: bool = False,
) -> None:
    """Build a read-only root with its hash tree and a signed kernel image; takes half a minute.

    Packages come from where this machine's apt takes its own. The same packages, sources and time
    give the same bytes; only the signature differs. The build fails if the image would hold a
    setuid file, a shell or a program that the recipe does not name, or would be too large.
    """
    began_s = time.monotonic()

    def progress(step: str) -> None:
        if not json:
            problems.print(f"{time.monotonic() - began_s:5.1f} s  {step}", markup=False)

    report = build_image(
        recipe,
        out,
        epoch=default_epoch(recipe) if epoch is None else epoch,
        keys=keys,
        now=datetime.fromtimestamp(time.time(), UTC),
        progress=progress,
    )
    if json:
        show_json(report)
        return
    show_facts("Image", _facts(report))
    # In one line each: people compare them.
    console.print(f"root hash {report['root']['verity']}", soft_wrap=True)
    console.print(f"PCR 11    {report['uki']['pcr11']}", soft_wrap=True)
    if keys is None:
        console.print("Its keys lie beside it, for trials; a product's keys belong elsewhere.")


@app.command(name="boot")
def boot_(
    image: Built,
    /,
    *,
    device: Annotated[
        Path | None,
        Parameter(help="Folder made by `asepsis enrol device`, with a name of the hub."),
    ] = None,
    hub: Annotated[str, Parameter(help="Where the hub's ports are, as seen from here.")] = (
        "127.0.0.1"
    ),
    firmware: Annotated[bool, Parameter(help="Start by firmware with Secure Boot.")] = False,
    tpm: Annotated[bool, Parameter(help="With a TPM; needs --firmware to measure anything.")] = (
        False
    ),
    efi: Annotated[Path | None, Parameter(help="Another kernel image, to see it refused.")] = None,
    root: Annotated[Path | None, Parameter(help="Another root, to see it refused.")] = None,
    next_: Annotated[
        Path | None,
        Parameter(name="--next", help="Folder of a newer image, put on trial; needs --firmware."),
    ] = None,
    tries: Annotated[int, Parameter(help="How often the newer image may be tried.")] = 2,
    medium: Annotated[
        Path | None,
        Parameter(help="Service medium, made if absent; `image deliver` puts parcels on it."),
    ] = None,
    kind: Annotated[str, Parameter(help="What sort of device it is.")] = "monitor",
    seconds: Annotated[float | None, Parameter(help="How long the device runs.")] = None,
    start: Annotated[
        float | None,
        Parameter(help="Seconds a compartment has to come up; for a machine under load."),
    ] = None,
    limit: Annotated[float, Parameter(help="End the machine after so many seconds.")] = 120.0,
    json: bool = False,
) -> int:
    """Boot an image in QEMU, without KVM, and show what it says on its serial line.

    The guest reaches the hub's ports that the device knows, and nothing else; nothing reaches the
    guest. With --next the boot loader tries the newer image first, and goes back by itself if that
    does not come up. Ends with 0 if an image started its own program, with 1 if it was refused.
    """
    if efi is not None and not firmware:
        raise ConfigError("--efi is judged by firmware only", hint="add --firmware")
    _require_loader(next_, firmware=firmware, other=efi or root)
    trial = Trial(
        image=image,
        device=device,
        hub=hub,
        firmware=firmware,
        efi=efi,
        root=root,
        tpm=tpm,
        seconds=seconds,
        limit_s=limit,
        kind=kind,
        slots=_slots(image, next_, tries=tries),
        medium=_made(medium),
        start_s=start,
    )

    def tell(line: str) -> None:
        if not json and line:
            console.print(line[:400], markup=False, soft_wrap=True)

    seen = boot(trial, until=_settled if trial.slots else lambda _: False, tell=tell)
    _show_boot(seen, json=json)
    return 0 if seen.events else EXIT_NOT_BOOTED


@app.command(name="audit")
def audit_(
    sbom: Annotated[Path, Parameter(help="CycloneDX document, JSON.")],
    /,
    *,
    advisories: Annotated[
        list[Path],
        Parameter(
            help="CSAF 2.0 and KEV (.json), endoflife.date (.md); files or folders.",
            consume_multiple=True,
        ),
    ],
    on: Annotated[
        str | None, Parameter(help="Day to judge the end of support by, YYYY-MM-DD; today.")
    ] = None,
    json: bool = False,
) -> int:
    """Name open vulnerabilities and end-of-support dates per package, from local files only.

    Ends with 1 if a vulnerability is open or support is over. What an advisory says without
    versions that compare is undecided: a person judges it.
    """
    found = audit(sbom, advisories, today=read_day(on))
    if json:
        show_json(found.as_document())
    else:
        _show_audit(found)
    return 0 if found.clean else EXIT_OPEN


def _require_loader(following: Path | None, *, firmware: bool, other: Path | None) -> None:
    if following is not None and (not firmware or other is not None):
        raise ConfigError(
            "--next needs the boot loader, and images as they were built",
            hint="add --firmware, without --efi and --root",
        )


def _made(medium: Path | None) -> Path | None:
    if medium is not None and not medium.exists():
        empty_medium(medium)
    return medium


def _slots(image: Path, following: Path | None, *, tries: int) -> tuple[tuple[Slot, Path], ...]:
    if following is None:
        return ()
    newer = Slot(name="image", number=2, left=tries)
    return (Slot(name="image", number=1), image), (newer, following)


def _settled(seen: Seen) -> bool:
    """Return whether a machine that would restart for ever has nothing more to show."""
    return seen.first("not-enrolled") is not None or seen.first("ended") is not None


def _facts(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "root": f"{report['root']['bytes'] / MIB:.2f} MiB with its hash tree",
        "kernel image": f"{report['uki']['bytes'] / MIB:.2f} MiB, Linux {report['kernel']}",
        "device": f"{report['device_bytes'] / MIB:.2f} MiB",
        "programs": ", ".join(report["programs"]),
        "files": report["files"],
        "packages": report["packages"],
        "ports": ", ".join(map(str, report["ports"])) or "none",
        "SELinux": f"enforcing, policy {report['selinux']['policy_sha256'][:12]}",
    }


def _show_boot(seen: Seen, *, json: bool) -> None:
    facts: dict[str, Any] = {
        "started": bool(seen.events),
        "refused": seen.refused,
        "first vitals s": seen.first_vitals_s,
        "ended by itself": seen.ended,
    }
    if seen.slots:
        facts["slots"] = ", ".join(slot.file for slot in seen.slots)
    if json:
        show_json({**facts, "wall_s": seen.wall_s, "events": seen.events})
    else:
        show_facts("Boot", facts)


def _show_audit(found: Audit) -> None:
    console.print(f"{found.parts} components against {found.files} files.")
    rows = [
        (one.part.name, one.part.version, one.cve, _mark(found, one.cve), one.source, one.remedy)
        for one in found.open
    ]
    show_table("Open", ("part", "version", "vulnerability", "", "advisory", "remedy"), rows)
    undecided = [
        (one.part.name, one.part.version, one.cve, one.source, one.why) for one in found.undecided
    ]
    show_table("Undecided", ("part", "version", "vulnerability", "advisory", "why"), undecided)
    supports = [
        (one.part, one.cycle, one.ends or "-", one.extended or "-", "OVER" if one.over else "")
        for one in found.supports
    ]
    show_table("Support", ("part", "release line", "ends", "extended", ""), supports)
    covers = [
        (one.part, one.upstream or "-", one.distribution or "-", one.extended or "-", one.state)
        for one in found.covers
    ]
    show_table("Packages", ("part", "upstream", "distribution", "extended", "now"), covers)
    if found.unknown:
        console.print(f"End of support not known: {', '.join(found.unknown)}", markup=False)


def _mark(found: Audit, cve: str) -> str:
    return "exploited" if cve in found.exploited else ""
