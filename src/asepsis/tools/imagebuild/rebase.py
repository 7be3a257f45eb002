"""Sets the packages of an image onto another state of Debian, on paper, before anything is built.

From the bill of the image in the field and the package indexes of today comes the candidate: the
bill that a build from these indexes would have. What the indexes do not have stays as it is, and is
named. Nothing is fetched, and nothing goes back to an older version.

Source: Debian repository format, `Packages`; Debian Policy 5.6.1, 5.6.12.
"""

import gzip
import lzma
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from asepsis.core.errors import ConfigError, InputError, LimitExceeded, NotFound
from asepsis.tools.imagebuild.audit.bill import purl_name
from asepsis.tools.imagebuild.audit.versions import compare
from asepsis.tools.imagebuild.debian import Package
from asepsis.tools.imagebuild.programs import run
from asepsis.tools.imagebuild.sbom import upstream

INDEX_BYTES_MAX: Final = 256 << 20
INDEXES_MAX: Final = 64
STANZAS_MAX: Final = 500_000
APT_HELPER: Final = "/usr/lib/apt/apt-helper"
_NAMESPACE: Final = uuid.UUID("6d1a4a3e-7f0f-4d0a-9a3e-0c6c2c3e39a3")
_FIELD: Final = re.compile(r"(?m)^([A-Za-z0-9-]+): (.*)$")
_KERNEL: Final = re.compile(r"linux-image-\d[\d.]*-\d+-(.+)")
"""A kernel's package has its version in its name; its flavour's meta package names the newest."""
_SOURCE: Final = "asepsis:debian:source"
_SOURCE_VERSION: Final = "asepsis:debian:source-version"
Stanza = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One package that the candidate has in another version.

    Attributes:
        name: Package in the old bill.
        before: Its version there.
        new_name: Package in the candidate; a kernel's name changes with its version.
        after: Version there.
        source: Source package.
    """

    name: str
    before: str
    new_name: str
    after: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a rebase would make of a bill.

    Attributes:
        document: CycloneDX, JSON.
        changes: Packages in another version.
        kept: Packages of which the indexes have only older versions: they stay.
        missing: Packages that the indexes do not have: they stay.
        unchanged: How many stand there as they were.
    """

    document: bytes
    changes: tuple[Change, ...]
    kept: tuple[str, ...]
    missing: tuple[str, ...]
    unchanged: int


def read_index(path: Path) -> str:
    """Read a `Packages` file, plain, `.xz` or `.gz`.

    Raises:
        NotFound: It cannot be read.
        InputError: It is no such file.
        LimitExceeded: It is too long.
    """
    openers = {".xz": lzma.open, ".gz": gzip.open}
    try:
        with openers.get(path.suffix, open)(path, "rb") as file:
            raw = file.read(INDEX_BYTES_MAX + 1)
    except (lzma.LZMAError, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is no package index") from error
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > INDEX_BYTES_MAX:
        raise LimitExceeded(f"{path} is longer than {INDEX_BYTES_MAX >> 20} MiB")
    return raw.decode("utf-8", "replace")


def machine_indexes(suite: str) -> list[str]:
    """Return the package indexes of this machine's apt for a suite, as they were last fetched.

    Raises:
        ConfigError: It has none.
    """
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    lines = run(
        ("apt-get", "indextargets", "--format", "$(RELEASE) $(FILENAME)", "Created-By: Packages")
    ).splitlines()
    found = [line.split(None, 1)[1] for line in lines if line.split(None, 1)[0] in wanted]
    if not found:
        raise ConfigError(
            f"apt on this machine has no index of {suite or 'the release, which the bill lacks'}",
            hint="run apt-get update, or name indexes by --packages",
        )
    return [run((APT_HELPER, "cat-file", path)) for path in sorted(found)[:INDEXES_MAX]]


def newest(indexes: Iterable[str], wanted: Iterable[str]) -> dict[str, Package]:
    """Return the newest version of each wanted package; kernels under the name they had.

    Args:
        indexes: Texts of `Packages` files.
        wanted: Package names.

    Raises:
        LimitExceeded: More packages than any archive has.
        InputError: A text is no package index.
    """
    names = set(wanted)
    metas = {f"linux-image-{kernel[1]}" for name in names if (kernel := _KERNEL.fullmatch(name))}
    texts = list(indexes)
    best = _best(texts, names | metas)
    current = {
        meta: target
        for meta in metas & best.keys()
        if (target := _depends(best[meta].get("Depends", ""), meta))
    }
    kernels = _best(texts, set(current.values()))
    found = {name: best[name] for name in names & best.keys()}
    for name in names:
        kernel = _KERNEL.fullmatch(name)
        target = current.get(f"linux-image-{kernel[1]}", "") if kernel else ""
        if target in kernels:
            found[name] = kernels[target]
    return {name: _package(stanza) for name, stanza in found.items()}


def rebase(raw: bytes, indexes: Sequence[str]) -> Candidate:
    """Return the candidate for a bill.

    Args:
        raw: CycloneDX, JSON, that `read_bill` accepts.
        indexes: Texts of `Packages` files.

    Raises:
        InputError: No bill, or an index is none.
        LimitExceeded: An index is too long.
    """
    try:
        document = msgspec.json.decode(raw, type=dict[str, Any])
        components: list[dict[str, Any]] = document["components"]
        debian = [one for one in components if purl_name(one.get("purl", ""))[0][:4] == "deb/"]
        names = [str(one["name"]) for one in debian]
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
        raise InputError("not a bill of materials") from error
    best = newest(indexes, names)
    changes: list[Change] = []
    kept: list[str] = []
    references: dict[str, str] = {}
    for one in debian:
        name, before = str(one["name"]), str(one.get("version", ""))
        package = best.get(name)
        order = compare(before, package.version) if package else 0
        if package is None or not order:
            continue
        if order > 0:
            kept.append(f"{name} {before}")
            continue
        old = str(one.get("bom-ref", ""))
        _renew(one, package)
        references[old] = str(one["bom-ref"])
        changes.append(
            Change(
                name=name,
                before=before,
                new_name=package.name,
                after=package.version,
                source=package.source,
            )
        )
    _renew_document(document, references)
    return Candidate(
        document=msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1)
        + b"\n",
        changes=tuple(sorted(changes, key=lambda change: change.name)),
        kept=tuple(sorted(kept)),
        missing=tuple(sorted(name for name in names if name not in best)),
        unchanged=len(names) - len(changes) - len(kept) - sum(n not in best for n in names),
    )


def _renew(one: dict[str, Any], package: Package) -> None:
    _, _, rest = str(one["purl"]).partition("?")
    purl = f"pkg:deb/debian/{quote(package.name, safe='')}@{quote(package.version, safe='')}"
    purl += f"?{rest}" if rest else ""
    one |= {"name": package.name, "version": package.version, "purl": purl, "bom-ref": purl}
    one["hashes"] = [{"alg": "SHA-256", "content": package.sha256}] if package.sha256 else []
    kept = [p for p in one.get("properties", []) if p["name"] not in (_SOURCE, _SOURCE_VERSION)]
    one["properties"] = [
        *kept,
        {"name": _SOURCE, "value": package.source},
        {"name": _SOURCE_VERSION, "value": package.source_version},
    ]
    if cpe := str(one.get("cpe", "")):
        fields = cpe.split(":")
        fields[5 if cpe.startswith("cpe:2.3:") else 4] = upstream(package.source_version)
        one["cpe"] = ":".join(fields)


def _renew_document(document: dict[str, Any], references: Mapping[str, str]) -> None:
    old = str(document.get("serialNumber", ""))
    seed = old + "".join(references.values())
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(_NAMESPACE, seed)}"
    for one in document.get("dependencies", []):
        one["ref"] = references.get(one["ref"], one["ref"])
        if "dependsOn" in one:
            one["dependsOn"] = sorted(references.get(ref, ref) for ref in one["dependsOn"])
    metadata = document.setdefault("metadata", {})
    metadata.get("component", {}).pop("hashes", None)  # Nothing was built.
    properties = [p for p in metadata.get("properties", []) if p["name"] != "asepsis:rebased-from"]
    metadata["properties"] = [*properties, {"name": "asepsis:rebased-from", "value": old}]


def _best(texts: Iterable[str], names: set[str]) -> dict[str, Stanza]:
    best: dict[str, Stanza] = {}
    for text in texts:
        for stanza in _stanzas(text, names):
            name = stanza["Package"]
            if name not in best or compare(best[name]["Version"], stanza["Version"]) < 0:
                best[name] = stanza
    return best


def _stanzas(text: str, names: set[str]) -> Iterator[Stanza]:
    if text.strip() and not re.search(r"(?m)^Package: ", text):
        raise InputError("a package index has no packages", hint="a `Packages` file of Debian")
    parts = text.split("\n\n")
    if len(parts) > STANZAS_MAX:
        raise LimitExceeded(f"an index has more than {STANZAS_MAX} packages")
    for part in parts:
        name = part.lstrip("\n").partition("\n")[0].removeprefix("Package: ").strip()
        if name in names:
            stanza = dict(_FIELD.findall(part))
            if "Version" in stanza:
                yield stanza


def _depends(written: str, meta: str) -> str:
    flavour = re.escape(meta.removeprefix("linux-image-"))
    found = re.search(rf"linux-image-\d[\d.]*-\d+-{flavour}\b", written)
    return found[0] if found else ""


def _package(stanza: Stanza) -> Package:
    source, _, version = stanza.get("Source", stanza["Package"]).partition(" ")
    return Package(
        name=stanza["Package"],
        version=stanza["Version"],
        source=source,
        source_version=version.strip("()") or stanza["Version"],
        maintainer=stanza.get("Maintainer", ""),
        sha256=stanza.get("SHA256", ""),
    )
