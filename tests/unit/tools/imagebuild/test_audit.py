"""An audit names what is open and until when parts are supported, from files alone."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import InputError, NotFound
from asepsis.tools.imagebuild.audit.report import Audit, audit
from asepsis.tools.imagebuild.debian import Package
from asepsis.tools.imagebuild.recipe import read_recipe
from asepsis.tools.imagebuild.sbom import make_sbom

DATA = Path(__file__).parents[5] / "shared/data"
RECIPE = Path(__file__).parents[4] / "images/monitor"
TODAY = date(2026, 11, 22)


def package(name: str, version: str, source: str = "") -> Package:
    return Package(
        name=name,
        version=version,
        source=source or name,
        source_version=version,
        maintainer="Debian maintainers <nobody@example.org>",
        sha256="ab" * 32,
    )


PACKAGES = (
    package("libssl3", "3.0.17-1~deb12u2", "openssl"),
    package("python3.11-minimal", "3.11.2-6+deb12u9", "python3.11"),
    package("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2", "linux-signed-amd64"),
    package("libc6", "2.36-9+deb12u14", "glibc"),
)


@pytest.fixture
def bill(tmp_path: Path) -> Path:
    path = tmp_path / "sbom.cdx.json"
    path.write_bytes(
        make_sbom(
            PACKAGES,
            name="monitor",
            version="0.1.0",
            suite="bookworm",
            epoch=1_760_000_000,
            image_sha256="cd" * 32,
            cpe=read_recipe(RECIPE).cpe,
        )
    )
    return path


def advisory(folder: Path, **product: Any) -> Path:
    """Write an advisory about one product that is affected."""
    status = product.pop("status", "known_affected")
    branch = product.pop("branch", None) or {
        "category": "product_version_range",
        "name": product.pop("written"),
        "product": {"product_id": "P1", "name": "a product", **product},
    }
    document = {
        "document": {"csaf_version": "2.0", "tracking": {"id": "TEST-1"}},
        "product_tree": {"branches": [branch]},
        "vulnerabilities": [
            {
                "cve": "CVE-2026-0001",
                "product_status": {status: ["P1"]},
                "remediations": [
                    {"category": "vendor_fix", "details": "Update.", "product_ids": ["P1"]}
                ],
            }
        ],
    }
    path = folder / "advisory.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


def helper(**names: str) -> dict[str, dict[str, str]]:
    return {"product_identification_helper": names}


def named(found: Audit) -> list[tuple[str, str]]:
    return [(one.part.name, one.cve) for one in found.open]


OPENSSL = [("libssl3", "CVE-2026-0001")]


def test_a_package_is_found_by_its_source_in_debian_versions(bill: Path, tmp_path: Path) -> None:
    purl = helper(purl="pkg:deb/debian/openssl")
    before = advisory(tmp_path, written="vers:deb/<3.0.22-1~deb12u2", **purl)
    found = audit(bill, [before], today=TODAY)
    assert named(found) == OPENSSL
    assert found.open[0].remedy == "Update."
    assert not found.clean
    fixed = advisory(tmp_path, written="vers:deb/<3.0.17-1~deb12u2", **purl)
    assert audit(bill, [fixed], today=TODAY).clean


def test_a_package_is_found_by_cpe_in_upstream_versions(bill: Path, tmp_path: Path) -> None:
    cpe = helper(cpe="cpe:2.3:a:openssl:openssl:*:*:*:*:*:*:*:*")
    assert named(audit(bill, [advisory(tmp_path, written="< 3.0.18", **cpe)], today=TODAY)) == (
        OPENSSL
    )
    assert not named(audit(bill, [advisory(tmp_path, written="< 3.0.17", **cpe)], today=TODAY))


def test_a_package_is_found_by_vendor_and_product(bill: Path, tmp_path: Path) -> None:
    branch = {
        "category": "vendor",
        "name": "OpenSSL Foundation, Inc.",
        "branches": [
            {
                "category": "product_name",
                "name": "OpenSSL",
                "branches": [
                    {
                        "category": "product_version_range",
                        "name": "<3.0.18",
                        "product": {"product_id": "P1", "name": "OpenSSL before 3.0.18"},
                    }
                ],
            }
        ],
    }
    assert named(audit(bill, [advisory(tmp_path, branch=branch)], today=TODAY)) == OPENSSL


def test_what_cannot_be_compared_is_undecided_never_unaffected(bill: Path, tmp_path: Path) -> None:
    purl = helper(purl="pkg:deb/debian/openssl")
    found = audit(bill, [advisory(tmp_path, written="Rev J", **purl)], today=TODAY)
    assert not found.open
    assert [(one.part.name, one.cve) for one in found.undecided] == OPENSSL
    asked = advisory(tmp_path, written="vers:all/*", status="under_investigation", **purl)
    assert len(audit(bill, [asked], today=TODAY).undecided) == 1


def test_what_an_advisory_clears_is_not_open(bill: Path, tmp_path: Path) -> None:
    purl = helper(purl="pkg:deb/debian/openssl")
    for status in ("fixed", "known_not_affected"):
        cleared = advisory(tmp_path, written="vers:all/*", status=status, **purl)
        found = audit(bill, [cleared], today=TODAY)
        assert not found.open
        assert not found.undecided


def test_a_file_that_is_something_else_is_refused_by_name(bill: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    for text in ("{}", "[]", "nonsense", '{"document":{"csaf_version":"1.0"}}'):
        other.write_text(text, "utf-8")
        with pytest.raises(InputError, match=r"other\.json"):
            audit(bill, [other], today=TODAY)
    page = tmp_path / "page.md"
    page.write_text("# nothing", "utf-8")
    with pytest.raises(InputError, match=r"page\.md"):
        audit(bill, [page], today=TODAY)
    with pytest.raises(NotFound, match="absent"):
        audit(bill, [tmp_path / "absent"], today=TODAY)
    with pytest.raises(InputError):
        audit(other, [], today=TODAY)


@pytest.mark.data
def test_real_files_say_when_support_ends_and_what_is_exploited(bill: Path) -> None:
    """Goal: 136 advisories, the catalogue of CISA and 13 pages about ends of support."""
    found = audit(bill, [DATA / "csaf", DATA / "kev", DATA / "eol"], today=TODAY)
    assert found.files > 140
    ends = {one.part.split()[0]: one for one in found.supports}
    assert ends["libssl3"].ends == date(2026, 9, 7)
    assert ends["libssl3"].over
    assert ends["python3.11-minimal"].ends == date(2027, 10, 31)
    assert not ends["python3.11-minimal"].over
    assert ends["linux-image-6.1.0-56-cloud-amd64"].cycle == "6.1"
    assert ends["Debian"].extended == date(2028, 6, 30)
    assert found.unknown == ["asepsis", "libc6"]
    states = {one.part: one for one in found.covers}
    assert states["libssl3"].state == "extended only"  # By Debian; upstream ended too.
    assert states["libc6"].distribution == date(2026, 7, 11)
    assert states["libc6"].upstream is None
    assert states["asepsis"].state == "not known"
    early = audit(bill, [DATA / "eol"], today=date(2026, 7, 11)).covers
    assert {one.state for one in early if one.part != "asepsis"} == {"supported"}
    late = audit(bill, [DATA / "eol"], today=date(2028, 7, 1)).covers
    assert {one.state for one in late if one.part != "asepsis"} == {"over"}
    assert not found.open  # Advisories about medical devices name none of these.
    assert {"CVE-2014-0160", "CVE-2023-4911"} <= {one.cve for one in found.undecided}
    assert not audit(bill, [DATA / "eol"], today=date(2026, 1, 1)).as_document()["support"][0][
        "over"
    ]
