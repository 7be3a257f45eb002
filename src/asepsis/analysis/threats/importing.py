"""Reads what others say of devices: advisories (CSAF), exploited flaws (KEV), bills (SBOM).

Only what counts here is read; other members are left aside. Whatever is read is a claim with its
source, never a fact of its own.

Source: OASIS CSAF 2.0, 3.2; CISA KEV catalogue, JSON; CycloneDX 1.4 to 1.6, JSON.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec
from msgspec import Struct, field

from asepsis.core.errors import InputError, LimitExceeded

SOURCE_BYTES_MAX: Final = 16_777_216
PRODUCTS_MAX: Final = 20_000
SPARED: Final = frozenset({"not_affected", "false_positive", "resolved", "resolved_with_pedigree"})
"""States of an analysis (VEX) in a bill under which a flaw does not count."""


class _Product(Struct, frozen=True):
    name: str
    product_id: str


class _Branch(Struct, frozen=True):
    name: str = ""
    branches: tuple["_Branch", ...] = ()
    product: _Product | None = None


class _Tree(Struct, frozen=True):
    branches: tuple[_Branch, ...] = ()
    full_product_names: tuple[_Product, ...] = ()


class _Tracking(Struct, frozen=True):
    id: str
    current_release_date: str = ""


class _Head(Struct, frozen=True):
    title: str
    tracking: _Tracking


class _Named(Struct, frozen=True):
    id: str = ""
    name: str = ""


class _Cvss(Struct, frozen=True):
    score: float = field(name="baseScore", default=0.0)
    vector: str = field(name="vectorString", default="")


class _Score(Struct, frozen=True):
    products: tuple[str, ...] = ()
    cvss_v3: _Cvss | None = None


class _Status(Struct, frozen=True):
    known_affected: tuple[str, ...] = ()


class _Flaw(Struct, frozen=True):
    cve: str = ""
    cwe: _Named | None = None
    product_status: _Status = _Status()
    scores: tuple[_Score, ...] = ()


class _Advisory(Struct, frozen=True):
    document: _Head
    product_tree: _Tree = _Tree()
    vulnerabilities: tuple[_Flaw, ...] = ()


class _Exploited(Struct, frozen=True):
    cve: str = field(name="cveID")
    added: str = field(name="dateAdded", default="")


class _Catalogue(Struct, frozen=True):
    version: str = field(name="catalogVersion")
    vulnerabilities: tuple[_Exploited, ...] = ()


class _Component(Struct, frozen=True):
    name: str = ""
    version: str = ""
    publisher: str = ""
    supplier: _Named = _Named()
    manufacturer: _Named = _Named()


class _Metadata(Struct, frozen=True):
    component: _Component = _Component()


class _Analysis(Struct, frozen=True):
    state: str = ""


class _Judged(Struct, frozen=True):
    id: str = ""
    analysis: _Analysis = _Analysis()


class _Bill(Struct, frozen=True):
    format: str = field(name="bomFormat")
    metadata: _Metadata = _Metadata()
    vulnerabilities: tuple[_Judged, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A flaw of a product, as an advisory says it.

    Attributes:
        advisory: Its id and day.
        cve: Number; empty where there is none.
        cwe: Such as "CWE-798"; empty where none is said.
        product: As the advisory calls it, with the versions it means.
        score: CVSS 3 base score, 0 to 10; 0 where there is none.
        vector: Metric -> value of CVSS 3; empty where there is none.
    """

    advisory: str
    cve: str
    cwe: str
    product: str
    score: float
    vector: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What an SBOM says of a device.

    Attributes:
        source: File and SHA-256.
        component: Maker, name and version.
        words: Maker and name, to find its advisories.
        spared: CVE -> state, for those that its maker judged not to count.
    """

    source: str
    component: str
    words: str
    spared: Mapping[str, str]


def claims(raw: bytes, *, name: str, words: str) -> Iterator[Claim]:
    """Yield what an advisory says about a product; each flaw once.

    Args:
        raw: CSAF 2.0, JSON.
        name: Of the file, for people.
        words: All must stand in the product's name or in those around it; case does not count.

    Raises:
        InputError: No advisory.
        LimitExceeded: Too large.
    """
    read = _decoded(raw, _Advisory, name)
    wanted = _words(words)
    if not wanted:
        return
    meant = {
        product.product_id: product.name
        for path, product in _products(read.product_tree, name)
        if wanted <= _words(f"{path} {product.name}")
    }
    tracking = read.document.tracking
    for flaw in read.vulnerabilities:
        hit = next((p for p in flaw.product_status.known_affected if p in meant), None)
        if hit is None:
            continue
        scores = [s.cvss_v3 for s in flaw.scores if s.cvss_v3 and hit in s.products]
        cvss = scores[0] if scores else _Cvss()
        yield Claim(
            advisory=f"{tracking.id} of {tracking.current_release_date[:10] or 'no day'}",
            cve=flaw.cve,
            cwe=flaw.cwe.id if flaw.cwe else "",
            product=meant[hit],
            score=cvss.score,
            vector=dict(re.findall(r"/([A-Z]{1,3}):([A-Z])", cvss.vector)),
        )


def exploited(raw: bytes, *, name: str) -> dict[str, str]:
    """Return CVE -> where it stands in a catalogue of exploited flaws.

    Raises:
        InputError: No such catalogue.
        LimitExceeded: Too large.
    """
    read = _decoded(raw, _Catalogue, name)
    return {
        one.cve: f"KEV {read.version}: exploited, known since {one.added or 'no day'}"
        for one in read.vulnerabilities
    }


def bill(raw: bytes, *, name: str) -> Bill:
    """Read a bill of materials.

    Raises:
        InputError: Not CycloneDX.
        LimitExceeded: Too large.
    """
    read = _decoded(raw, _Bill, name)
    if read.format != "CycloneDX":
        raise InputError(f"{name}: {read.format!r} is not read", hint="export it as CycloneDX JSON")
    of = read.metadata.component
    maker = of.manufacturer.name or of.supplier.name or of.publisher
    words = f"{maker} {of.name}".strip()
    return Bill(
        source=source(raw, name=name),
        component=f"{words} {of.version}".strip(),
        words=words,
        spared={
            one.id: one.analysis.state
            for one in read.vulnerabilities
            if one.analysis.state in SPARED
        },
    )


def source(raw: bytes, *, name: str) -> str:
    """Return a file's name and hash, for evidence."""
    return f"{name}, SHA-256 {hashlib.sha256(raw).hexdigest()[:16]}"


def _products(tree: _Tree, name: str) -> Iterator[tuple[str, _Product]]:
    """Yield products with the names of the branches around them."""
    yield from (("", product) for product in tree.full_product_names)
    open_: list[tuple[str, Sequence[_Branch]]] = [("", tree.branches)]
    count = 0
    while open_:
        path, branches = open_.pop()
        for branch in branches:
            count += 1
            if count > PRODUCTS_MAX:
                raise LimitExceeded(f"{name}: over {PRODUCTS_MAX} products")
            here = f"{path} {branch.name}"
            if branch.product is not None:
                yield here, branch.product
            open_.append((here, branch.branches))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.casefold()))


_Kind = TypeVar("_Kind")


def _decoded(raw: bytes, kind: type[_Kind], name: str) -> _Kind:
    if len(raw) > SOURCE_BYTES_MAX:
        raise LimitExceeded(f"{name}: over {SOURCE_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{name}: {error}") from error
