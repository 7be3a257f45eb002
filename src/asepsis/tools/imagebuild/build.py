"""From a recipe to an image: fetch, assemble, check, pack, bind, sign, and say what came out."""

import contextlib
import datetime as dt
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from asepsis.core.errors import ConfigError
from asepsis.edge.device.manifest import whole
from asepsis.tools.imagebuild import checks, debian, imports, initramfs, labels, rootfs, slots, uki
from asepsis.tools.imagebuild.debian import Package
from asepsis.tools.imagebuild.programs import require
from asepsis.tools.imagebuild.recipe import STAGE1, Recipe, read_recipe
from asepsis.tools.imagebuild.rootfs import Root
from asepsis.tools.imagebuild.sbom import make_sbom
from asepsis.tools.imagebuild.secureboot import make_keys
from asepsis.tools.imagebuild.tree import assemble

NEEDED: Final = (
    "apt-cache",
    "apt-config",
    "apt-get",
    "dpkg-deb",
    "gcc",
    "mksquashfs",
    "mmdebstrap",
    "objcopy",
    "readelf",
    "sbsign",
    "secilc",
    "veritysetup",
    slots.LOADER,
    uki.STUB,
)
ROOT, KERNEL, INITRD, CMDLINE = "root.img", "kernel", "initrd.img", "cmdline"
LOADER: Final = "loader.efi"
UKI, SIGNED, SBOM, REPORT = "unsigned.efi", "image.efi", "sbom.cdx.json", "image.json"
KEYS: Final = "secure-boot"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What was fetched.

    Attributes:
        tree: Unpacked packages.
        kernel: Unpacked kernel.
        packages: Every `.deb` with what it says of itself.
    """

    tree: Path
    kernel: Path
    packages: Mapping[Path, Package]


def build_image(
    folder: Path,
    out: Path,
    *,
    epoch: int,
    keys: Path | None,
    now: dt.datetime,
    progress: Progress,
) -> dict[str, Any]:
    """Build an image.

    Args:
        folder: Of the recipe.
        out: Where the image goes; made if absent, files of an earlier build are replaced.
        epoch: Time of every file in the image, seconds since 1970 (SOURCE_DATE_EPOCH).
        keys: Folder of the Secure Boot keys; made there if absent. None makes them in `out`.
        now: Start of validity of keys that are made.
        progress: Told each step before it begins.

    Returns:
        The report that was written as `image.json`.

    Raises:
        ConfigError: The recipe is wrong, a program is missing, or a folder cannot be written.
        ContentMismatch: The image would break a rule; names the file.
        LimitExceeded: The image would be too large.
        Unavailable: A program failed, or packages could not be fetched.
    """
    recipe = read_recipe(folder)
    require(NEEDED)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {out}: {error.strerror}") from error
    with tempfile.TemporaryDirectory(prefix="asepsis-image-") as made:
        work = Path(made).resolve()
        work.chmod(0o755)  # The fetching user of apt is another one.
        progress("fetching packages")
        parts = _fetch(recipe, work, epoch=epoch)
        progress("assembling the root")
        tree = work / "root"
        signing = make_keys(keys or out / KEYS, now=now)
        assemble(parts.tree, tree, recipe, folder=folder, delivery=signing.delivery_spki)
        labels.add_policy(tree)
        checks.check_tree(tree, recipe)
        labels.label_tree(tree)
        loaded = imports.list_imports(tree, whole(), recipe)
        progress("packing the root and its hash tree")
        root = rootfs.make_root(tree, out / ROOT, epoch=epoch)
        progress("binding kernel, first program and command line")
        _bind(recipe, folder, parts.kernel, out, root=root, epoch=epoch)
        uki.sign(
            out / UKI,
            key=signing.key("db"),
            certificate=signing.certificate("db"),
            target=out / SIGNED,
        )
        uki.sign(
            Path(slots.LOADER),
            key=signing.key("db"),
            certificate=signing.certificate("db"),
            target=out / LOADER,
        )
        progress("listing what is in it")
        report = _report(recipe, out, tree, parts, root=root, epoch=epoch)
        report["imports"] = msgspec.to_builtins(loaded)
        text = json.dumps(report, indent=1, sort_keys=True) + "\n"
        (out / REPORT).write_text(text, "ascii")
        return report


def default_epoch(recipe_folder: Path) -> int:
    """Return SOURCE_DATE_EPOCH, else the time of the last change of the sources, else 2023-11-14.

    Source: reproducible-builds.org, SOURCE_DATE_EPOCH specification 1.1.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given.isdigit():
        return int(given)
    git = shutil.which("git")
    if git:
        with contextlib.suppress(OSError, ValueError):
            done = subprocess.run(  # noqa: S603 - git of this machine, fixed arguments
                [git, "-C", str(recipe_folder), "log", "-1", "--format=%ct"],
                capture_output=True,
                text=True,
                check=False,
            )
            return int(done.stdout)
    return 1_700_000_000


def _fetch(recipe: Recipe, work: Path, *, epoch: int) -> _Parts:
    tree, kernel = work / "packages", work / "kernel"
    debian.bootstrap(tree, suite=recipe.suite, packages=recipe.packages, epoch=epoch)
    deb = debian.fetch_kernel(recipe.kernel, work)
    debian.unpack(deb, kernel)
    debs = [*sorted((tree / "var/cache/apt/archives").glob("*.deb")), deb]
    return _Parts(
        tree=tree,
        kernel=kernel,
        packages={
            path: debian.describe(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
            for path in debs
        },
    )


def _bind(recipe: Recipe, folder: Path, kernel: Path, out: Path, *, root: Root, epoch: int) -> None:
    """Write kernel, first file system, command line, and the unified image of them."""
    stage1 = out / "stage1"
    initramfs.compile_stage1(folder / STAGE1, stage1)
    modules = initramfs.ordered_modules(recipe.kernel_modules, tree=kernel / "lib/modules")
    files = {f"modules/{n:02d}-{m.name}": m.read_bytes() for n, m in enumerate(modules)}
    body = initramfs.archive({"init": stage1.read_bytes(), **files}, epoch=epoch)
    stage1.unlink()
    (out / INITRD).write_bytes(body)
    shutil.copyfile(next((kernel / "boot").glob("vmlinuz-*")), out / KERNEL)
    (out / CMDLINE).write_text(" ".join((*recipe.kernel_arguments, root.argument)), "ascii")
    about = out / "os-release"
    about.write_text(
        f"ID=asepsis\nIMAGE_ID={recipe.name}\nIMAGE_VERSION={version('asepsis')}\n", "ascii"
    )
    parts = {".osrel": about, ".cmdline": out / CMDLINE, ".linux": out / KERNEL}
    uki.make_uki(out / UKI, {**parts, ".initrd": out / INITRD}, epoch=epoch)
    about.unlink()


def _used(parts: _Parts, tree: Path) -> list[Package]:
    """Return the packages of which a file came into the image; the kernel is one."""
    kernel = {p for p in parts.packages.values() if p.source.startswith("linux")}
    owner = debian.owners({d: p for d, p in parts.packages.items() if p not in kernel})
    found = set(kernel)
    for path in tree.rglob("*"):
        name = str(path.relative_to(tree))
        for candidate in (name, name.removesuffix("c")):
            if candidate in owner and path.is_file():
                found.add(owner[candidate])
    # A library's file is often the target of a link of that name.
    for path in tree.rglob("*.so*"):
        real = os.path.realpath(parts.tree / path.relative_to(tree))
        name = os.path.relpath(real, parts.tree)
        if name in owner:
            found.add(owner[name])
    return sorted(found, key=lambda package: package.name)


def _report(
    recipe: Recipe, out: Path, tree: Path, parts: _Parts, *, root: Root, epoch: int
) -> dict[str, Any]:
    root_bytes, uki_bytes = root.path.stat().st_size, (out / SIGNED).stat().st_size
    checks.check_sizes(root_bytes=root_bytes, device_bytes=root_bytes + uki_bytes, recipe=recipe)
    root_sha256 = hashlib.sha256(root.path.read_bytes()).hexdigest()
    used = _used(parts, tree)
    sbom = make_sbom(
        used,
        name=recipe.name,
        version=version("asepsis"),
        suite=recipe.suite,
        epoch=epoch,
        image_sha256=root_sha256,
        cpe=recipe.cpe,
    )
    (out / SBOM).write_bytes(sbom)
    unsigned = (out / UKI).read_bytes()
    kernel = next(package for package in used if package.source.startswith("linux"))
    return {
        "name": recipe.name,
        "version": version("asepsis"),
        "epoch": epoch,
        "root": {
            "bytes": root_bytes,
            "sha256": root_sha256,
            "verity": root.hash,
            "salt": root.salt,
            "blocks": root.blocks,
        },
        "uki": {
            "bytes": uki_bytes,
            "sha256_unsigned": hashlib.sha256(unsigned).hexdigest(),
            "pcr11": uki.predict_pcr11(unsigned),
        },
        "device_bytes": root_bytes + uki_bytes,
        "files": sum(1 for path in tree.rglob("*") if path.is_file()),
        "programs": checks.programs_of(tree),
        "ports": list(recipe.ports),
        "kernel": kernel.version,
        "packages": len(used),
        "selinux": {"enforcing": True, "policy_sha256": labels.policy_hash(tree)},
    }
