"""Reads advisories in CSAF 2.0 and says which vulnerabilities of a part they leave open.

Source: OASIS CSAF 2.0, 3.1 (product tree and identification) and 3.2.3 (vulnerabilities).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from asepsis.core.errors import InputError
from asepsis.tools.imagebuild.audit.bill import Part, cpe_name, purl_name
from asepsis.tools.imagebuild.audit.versions import Verdict, judge

DEPTH_MAX: Final = 30
_CLEAR: Final = "known_not_affected", "fixed", "first_fixed"
_OPEN: Final = "known_affected", "last_affected", "first_affected"
_NOISE: Final = re.compile(r"[^a-z0-9]+")
_LEGAL: Final = re.compile(r"(?: (?:inc|ltd|llc|gmbh|foundation|project|software))+$")


class Helper(msgspec.Struct, frozen=True):
    """How a product is identified."""

    purl: str = ""
    cpe: str = ""


class Product(msgspec.Struct, frozen=True):
    """A product of an advisory."""

    product_id: str
    name: str = ""
    product_identification_helper: Helper = Helper()


class Branch(msgspec.Struct, frozen=True):
    """A branch of the product tree."""

    category: str
    name: str
    branches: tuple["Branch", ...] = ()
    product: Product | None = None


class Relationship(msgspec.Struct, frozen=True):
    """A product as a part of another."""

    product_reference: str
    full_product_name: Product


class Tree(msgspec.Struct, frozen=True):
    """The product tree."""

    branches: tuple[Branch, ...] = ()
    full_product_names: tuple[Product, ...] = ()
    relationships: tuple[Relationship, ...] = ()


class Remedy(msgspec.Struct, frozen=True):
    """What the vendor offers."""

    category: str = ""
    details: str = ""
    product_ids: tuple[str, ...] = ()


class Vulnerability(msgspec.Struct, frozen=True):
    """One vulnerability of an advisory."""

    cve: str = ""
    title: str = ""
    product_status: dict[str, tuple[str, ...]] = {}
    remediations: tuple[Remedy, ...] = ()


class Tracking(msgspec.Struct, frozen=True):
    """How the advisory is called."""

    id: str = ""


class Head(msgspec.Struct, frozen=True):
    """The document's own data."""

    csaf_version: str
    tracking: Tracking = Tracking()


class Advisory(msgspec.Struct, frozen=True):
    """An advisory in CSAF 2.0."""

    document: Head
    product_tree: Tree = Tree()
    vulnerabilities: tuple[Vulnerability, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A product with what its branches say of it.

    Attributes:
        vendor: In small letters without punctuation.
        product: As `vendor`.
        written: Version or range; empty if none.
        purl: Type, namespace and name.
        cpe: Vendor and product.
    """

    vendor: str
    product: str
    written: str
    purl: str
    cpe: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A vulnerability that an advisory leaves open for a part.

    Attributes:
        part: The part.
        cve: Number, or the title where there is none.
        verdict: Affected or undecided.
        source: The advisory.
        why: What matched.
        remedy: What the vendor offers; may be empty.
    """

    part: Part
    cve: str
    verdict: Verdict
    source: str
    why: str
    remedy: str = ""


def parse(raw: bytes, *, name: str) -> Advisory:
    """Read an advisory.

    Raises:
        InputError: It is no CSAF 2.0.
    """
    try:
        found = msgspec.json.decode(raw, type=Advisory)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(f"{name} is no CSAF advisory: {error}") from error
    if not found.document.csaf_version.startswith("2."):
        raise InputError(f"{name} has CSAF version {found.document.csaf_version}, not 2")
    return found


def open_ones(advisory: Advisory, parts: tuple[Part, ...]) -> Iterator[Open]:
    """Yield what an advisory leaves open for the parts of a bill."""
    products = dict(_products(advisory.product_tree))
    for relation in advisory.product_tree.relationships:
        if relation.product_reference in products:
            whole = relation.full_product_name.product_id
            products[whole] = products[relation.product_reference]
    candidates = [
        (part, {number: known for number, known in products.items() if _same(part, known)})
        for part in parts
    ]
    for part, matching in candidates:
        for vulnerability in advisory.vulnerabilities if matching else ():
            found = _judge(part, vulnerability, matching)
            if found:
                verdict, why, remedy = found
                yield Open(
                    part=part,
                    cve=vulnerability.cve or vulnerability.title or "unnamed",
                    verdict=verdict,
                    source=advisory.document.tracking.id,
                    why=why,
                    remedy=remedy,
                )


def plain(text: str) -> str:
    """Return a name in small letters, without punctuation and legal form."""
    return _LEGAL.sub("", _NOISE.sub(" ", text.lower()).strip())


def _judge(
    part: Part, vulnerability: Vulnerability, matching: dict[str, Known]
) -> tuple[Verdict, str, str] | None:
    """Return what is open; None if nothing is."""
    status = vulnerability.product_status
    if _cleared(part, status, matching):
        return None
    worst: tuple[Verdict, str, str] | None = None
    for kind in (*_OPEN, "under_investigation"):
        for number in status.get(kind, ()):
            known = matching.get(number)
            verdict = _verdict(part, known) if known else Verdict.OUTSIDE
            if known is None or verdict is Verdict.OUTSIDE:
                continue
            if kind == "under_investigation":
                verdict = Verdict.UNDECIDED
            if worst is None or verdict is Verdict.INSIDE:
                remedy = _remedy(vulnerability, number)
                worst = verdict, f"{known.product} {known.written}".strip(), remedy
    return worst


def _cleared(part: Part, status: dict[str, tuple[str, ...]], matching: dict[str, Known]) -> bool:
    """Say whether the advisory names this very version as fixed or not affected."""
    named = (matching.get(number) for kind in _CLEAR for number in status.get(kind, ()))
    return any(known and _verdict(part, known) is Verdict.INSIDE for known in named)


def _verdict(part: Part, known: Known) -> Verdict:
    if not known.written:
        return Verdict.UNDECIDED
    if known.purl and known.purl in part.purls:
        source = part.debian and known.purl.rpartition("/")[2] != part.name.lower()
        version = part.source_version if source else part.version
        return judge(version, known.written, debian=part.debian)
    return judge(part.number, known.written, debian=False)


def _same(part: Part, known: Known) -> bool:
    if known.purl:
        return known.purl in part.purls
    if known.cpe != ("", ""):
        return known.cpe == part.cpe
    vendor, product = (plain(name) for name in part.cpe)
    names = {product, product.removeprefix(f"{vendor} ")} - {""}
    return bool(vendor) and known.vendor == vendor and known.product in names


def _products(tree: Tree) -> Iterator[tuple[str, Known]]:
    for product in tree.full_product_names:
        yield product.product_id, _known(product, {})
    open_: list[tuple[Branch, dict[str, str], int]] = [(b, {}, 0) for b in tree.branches]
    while open_:
        branch, above, depth = open_.pop()
        said = {**above, branch.category: branch.name}
        if branch.product:
            yield branch.product.product_id, _known(branch.product, said)
        if depth < DEPTH_MAX:
            open_ += [(below, said, depth + 1) for below in branch.branches]


def _known(product: Product, said: dict[str, str]) -> Known:
    helper = product.product_identification_helper
    purl, purl_version = purl_name(helper.purl)
    vendor, name, number = cpe_name(helper.cpe) if helper.cpe else ("", "", "*")
    written = said.get("product_version_range") or said.get("product_version") or purl_version
    return Known(
        vendor=plain(said.get("vendor", "")),
        product=plain(said.get("product_name", product.name)),
        written=written or (number if number not in ("*", "-") else ""),
        purl=purl,
        cpe=(vendor, name),
    )


def _remedy(vulnerability: Vulnerability, number: str) -> str:
    for remedy in vulnerability.remediations:
        if remedy.category == "vendor_fix" and number in remedy.product_ids:
            return remedy.details.split("\n")[0][:200]
    return ""
