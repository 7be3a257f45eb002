"""Reads a bill of materials: CycloneDX in JSON, ours or another's.

Source: CycloneDX 1.4 to 1.6; Package URL; CPE 2.3.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import msgspec

from asepsis.core.errors import ContentMismatch, InputError, LimitExceeded, NotFound
from asepsis.tools.imagebuild.sbom import upstream

BYTES_MAX: Final = 64 << 20
COMPONENTS_MAX: Final = 50_000
_SOURCE: Final = "asepsis:debian:source"
_SOURCE_VERSION: Final = "asepsis:debian:source-version"
_SUITE: Final = "asepsis:debian:suite"


class _Property(msgspec.Struct, frozen=True):
    name: str = ""
    value: str = ""


class _Supplier(msgspec.Struct, frozen=True):
    name: str = ""


class _Hash(msgspec.Struct, frozen=True):
    alg: str = ""
    content: str = ""


class _Component(msgspec.Struct, frozen=True):
    name: str
    version: str = ""
    purl: str = ""
    cpe: str = ""
    supplier: _Supplier = _Supplier()
    hashes: tuple[_Hash, ...] = ()
    properties: tuple[_Property, ...] = ()


class _Metadata(msgspec.Struct, frozen=True):
    properties: tuple[_Property, ...] = ()


class _Document(msgspec.Struct, frozen=True):
    bomFormat: str  # noqa: N815 - CycloneDX's own name
    components: tuple[_Component, ...] = ()
    metadata: _Metadata = _Metadata()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One component of the bill.

    Attributes:
        name: As the bill names it.
        version: As the bill says it; a Debian version for Debian packages.
        purls: Type, namespace and name under which package advisories know it.
        source_version: Version of the source package; else `version`.
        cpe: Vendor and product; both empty if unknown.
        number: Version as its upstream counts.
        debian: Whether it is a Debian package.
        source: Source package; else `name`.
        supplier: Who supplies it; empty if the bill does not say.
        purl: Its package URL; empty if the bill has none.
        sha256: Of what was taken, hexadecimal; empty if the bill has none.
    """

    name: str
    version: str
    purls: frozenset[str]
    source_version: str
    cpe: tuple[str, str]
    number: str
    debian: bool
    source: str = ""
    supplier: str = ""
    purl: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill of materials.

    Attributes:
        parts: Its components.
        suite: Debian release that the parts come from; empty if none is named.
    """

    parts: tuple[Part, ...]
    suite: str


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        NotFound: It cannot be read.
        LimitExceeded: It is too long.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > BYTES_MAX:
        raise LimitExceeded(f"{path} is longer than {BYTES_MAX >> 20} MiB")
    return raw


def read_bill(path: Path) -> Bill:
    """Read a bill of materials.

    Raises:
        NotFound: It cannot be read.
        LimitExceeded: Too long, or too many components.
        ContentMismatch: It is JSON, but no CycloneDX.
        InputError: It is no JSON, or a field has another form.
    """
    try:
        document = msgspec.json.decode(read_bytes(path), type=_Document)
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: {error}", hint="a CycloneDX document in JSON") from error
    if document.bomFormat != "CycloneDX":
        raise ContentMismatch(f"{path} is no CycloneDX document")
    if len(document.components) > COMPONENTS_MAX:
        raise LimitExceeded(f"{path} has more than {COMPONENTS_MAX} components")
    suites = [p.value for p in document.metadata.properties if p.name == _SUITE]
    return Bill(tuple(_part(found) for found in document.components), (*suites, "")[0])


def purl_name(purl: str) -> tuple[str, str]:
    """Return a package URL's name without version and qualifiers, and its version."""
    bare = purl.removeprefix("pkg:").partition("?")[0].partition("#")[0]
    name, _, version = bare.partition("@")
    return unquote(name).lower(), unquote(version)


def cpe_name(cpe: str) -> tuple[str, str, str]:
    """Return vendor, product and version of a CPE 2.3 or 2.2; a version of any is `*`."""
    if cpe.startswith("cpe:2.3:"):
        fields = [*cpe.removeprefix("cpe:2.3:").split(":"), "", "", "", ""]
    else:
        fields = [*cpe.removeprefix("cpe:/").split(":"), "", "", "", ""]
    return fields[1].lower(), fields[2].lower(), fields[3] or "*"


def _part(found: _Component) -> Part:
    said = {p.name: p.value for p in found.properties}
    name, _ = purl_name(found.purl)
    debian = name.startswith("deb/")
    source = said.get(_SOURCE, "")
    purls = {name} if name else set[str]()
    if debian and source:
        purls.add(f"{name.rpartition('/')[0]}/{source.lower()}")
    source_version = said.get(_SOURCE_VERSION) or found.version
    vendor, product, number = cpe_name(found.cpe) if found.cpe else ("", "", "*")
    if number in ("*", "-"):
        number = upstream(source_version) if debian else found.version
    return Part(
        name=found.name,
        version=found.version,
        purls=frozenset(purls),
        source_version=source_version,
        cpe=(vendor, product),
        number=number.replace("\\", ""),
        debian=debian,
        source=source or found.name,
        supplier=found.supplier.name,
        purl=found.purl,
        sha256=next((one.content for one in found.hashes if one.alg == "SHA-256"), ""),
    )
