"""Takes packages from where this machine takes its own: no address of a mirror is written here."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, Unavailable
from asepsis.tools.imagebuild.programs import run

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""Debian's own keys, where the distribution puts them."""
_TARGET: Final = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
_FETCHING: Final = re.compile(r"Acquire::(?:https?|Proxy|Retries|ForceIPv)")
"""Settings of how this machine reaches its mirror, which hold for the image's packages too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A Debian package that files of the image come from.

    Attributes:
        name: Binary package.
        version: Debian version.
        source: Source package, the name under which Debian's advisories speak of it.
        source_version: Its version.
        maintainer: Who keeps it.
        sha256: Of the `.deb`, hexadecimal.
    """

    name: str
    version: str
    source: str
    source_version: str
    maintainer: str
    sha256: str


def sources(suite: str) -> str:
    """Return this machine's own sources of a Debian suite, its updates and its security fixes.

    Raises:
        ConfigError: The machine's apt has none.
    """
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    command = ("apt-get", "indextargets", "--format", _TARGET, "Created-By: Packages")
    signed = f" [signed-by={KEYRING}]" if KEYRING.is_file() else ""
    lines: set[str] = set()
    for line in run(command).splitlines():
        uri, release, component = (*line.split(), "", "", "")[:3]
        if release in wanted and component == "main":
            lines.add(f"deb{signed} {uri} {release} main")
    if not lines:
        raise ConfigError(
            f"apt on this machine has no source of {suite}",
            hint=f"build on Debian {suite}, or add its source to /etc/apt/sources.list.d",
        )
    return "\n".join(sorted(lines)) + "\n"


def fetching_options() -> str:
    """Return how this machine's apt reaches its mirrors: proxies, certificates, repetitions."""
    lines = run(("apt-config", "dump")).splitlines()
    return "\n".join(line for line in lines if _FETCHING.match(line)) + "\n"


def bootstrap(target: Path, *, suite: str, packages: tuple[str, ...], epoch: int) -> None:
    """Unpack packages and what they depend on below `target`, with the `.deb` files kept.

    Nothing of them is executed.

    Args:
        target: Does not exist yet.
        suite: Debian release.
        packages: Names.
        epoch: Seconds since 1970; no file is younger.

    Raises:
        Unavailable: A package could not be fetched.
    """
    options = target.with_name("apt.conf")
    options.touch(mode=0o600)  # A proxy's address may hold a password.
    options.write_text(fetching_options(), encoding="utf-8")
    command = ["mmdebstrap", "--quiet", "--variant=extract", "--skip=cleanup/apt"]
    command += [f"--aptopt={options}", f"--include={','.join(packages)}", suite, str(target), "-"]
    run(command, stdin=sources(suite).encode(), environment={"SOURCE_DATE_EPOCH": str(epoch)})


def fetch_kernel(meta: str, folder: Path) -> Path:
    """Fetch the newest kernel that a meta package stands for, and return its `.deb`.

    Raises:
        Unavailable: It could not be fetched, or apt knows no such package.
    """
    found = re.findall(r"Depends: (linux-image-\S+)", run(("apt-cache", "depends", meta)))
    if not found:
        raise Unavailable(f"apt knows no kernel {meta}", hint="run apt-get update first")
    # As root, apt would fetch as a user of its own, who cannot write here.
    sandbox = ("-o", "APT::Sandbox::User=root") if os.geteuid() == 0 else ()
    run(("apt-get", "download", *sandbox, found[0]), cwd=folder)
    return next(folder.glob(f"{found[0]}_*.deb"))


def fetch(name: str, version: str, folder: Path) -> Path:
    """Fetch one package in one version, and return its `.deb`.

    Raises:
        Unavailable: It could not be fetched, or apt does not know this version any more.
    """
    sandbox = ("-o", "APT::Sandbox::User=root") if os.geteuid() == 0 else ()
    run(("apt-get", "download", *sandbox, f"{name}={version}"), cwd=folder)
    return next(folder.glob(f"{name}_*.deb"))


def unpack(deb: Path, target: Path) -> None:
    """Unpack a `.deb` without running anything of it."""
    run(("dpkg-deb", "-x", deb, target))


def describe(deb: Path, *, sha256: str) -> Package:
    """Return what a `.deb` says of itself."""
    text = run(("dpkg-deb", "-f", deb, "Package", "Version", "Source", "Maintainer"))
    said = {name: value for name, _, value in (t.partition(": ") for t in text.splitlines())}
    source, _, version = said.get("Source", said["Package"]).partition(" ")
    return Package(
        name=said["Package"],
        version=said["Version"],
        source=source,
        source_version=version.strip("()") or said["Version"],
        maintainer=said.get("Maintainer", ""),
        sha256=sha256,
    )


def files_of(deb: Path) -> tuple[str, ...]:
    """Return the files in a `.deb`, relative to the root."""
    lines = run(("dpkg-deb", "-c", deb)).splitlines()
    names = (line.split(None, 5)[5].partition(" -> ")[0] for line in lines)
    return tuple(name.removeprefix("./") for name in names if not name.endswith("/"))


def owners(debs: Mapping[Path, Package]) -> dict[str, Package]:
    """Return which package each file comes from."""
    return {file: package for deb, package in debs.items() for file in files_of(deb)}
