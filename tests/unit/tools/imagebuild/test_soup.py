"""A SOUP file names every foreign component, and everything that is missing about it."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ConfigError, InputError
from asepsis.edge.device.manifest import shipped
from asepsis.tools.imagebuild.audit.bill import read_bill
from asepsis.tools.imagebuild.audit.report import audit
from asepsis.tools.imagebuild.audit.soup import Item, Note, SoupFile, read_notes, soup_file
from asepsis.tools.imagebuild.audit.soup_page import page
from asepsis.tools.imagebuild.debian import Package
from asepsis.tools.imagebuild.sbom import make_sbom

TODAY = date(2026, 11, 23)
CVE = "CVE-2026-0001"
ADVISORY: dict[str, Any] = {
    "document": {"csaf_version": "2.0", "tracking": {"id": "DSA-1"}},
    "product_tree": {
        "branches": [
            {
                "category": "product_version_range",
                "name": "vers:deb/<3.0.22-1~deb12u2",
                "product": {
                    "product_id": "P",
                    "name": "openssl",
                    "product_identification_helper": {"purl": "pkg:deb/debian/openssl"},
                },
            }
        ]
    },
    "vulnerabilities": [{"cve": CVE, "product_status": {"known_affected": ["P"]}}],
}
NOTES = """
format = 1

[soup.openssl]
requirement = "TLS 1.3 and ES256 in under 10 ms."
needs = "x86-64 or AArch64, getrandom."
hazard = "A wrong verification lets a forged message in: a wrong value is believed."
control = "Values are believed by the origin signature, made where no network is."
care = "supported"
compartments = ["network", "origin"]
anomalies = { "%s" = "Not reachable: no client certificate of a stranger is parsed." }

[soup.glibc]
requirement = "C library."
needs = "Linux 5.10."
hazard = "Every compartment depends on it."
care = "maintained"
compartments = ["vitals"]
"""


def package(name: str, version: str, source: str) -> Package:
    return Package(
        name=name,
        version=version,
        source=source,
        source_version=version,
        maintainer="Debian Team <nobody@example.org>",
        sha256="ab" * 32,
    )


@pytest.fixture
def bill(tmp_path: Path) -> Path:
    path = tmp_path / "sbom.cdx.json"
    path.write_bytes(
        make_sbom(
            (
                package("libssl3", "3.0.17-1~deb12u2", "openssl"),
                package("openssl", "3.0.17-1~deb12u2", "openssl"),
                package("libc6", "2.36-9+deb12u14", "glibc"),
            ),
            name="monitor",
            version="0.1.0",
            suite="bookworm",
            epoch=1_760_000_000,
            image_sha256="cd" * 32,
            cpe={},
        )
    )
    return path


def made(bill: Path, tmp_path: Path, notes: str, *, advisories: bool = True) -> SoupFile:
    written, advisory = tmp_path / "notes.toml", tmp_path / "advisory.json"
    written.write_text(notes, encoding="utf-8")
    advisory.write_text(json.dumps(ADVISORY), encoding="utf-8")
    return soup_file(
        read_bill(bill),
        notes=read_notes(written),
        manifest=shipped(),
        found=audit(bill, [advisory] if advisories else [], today=TODAY),
    )


def test_items_are_sources_and_our_own_code_is_none(bill: Path, tmp_path: Path) -> None:
    found = made(bill, tmp_path, NOTES % CVE)
    assert [item.name for item in found.items] == ["glibc", "openssl"]
    openssl = found.items[1].as_document()
    assert openssl["manufacturer"] == "Debian Team"
    assert [part["name"] for part in openssl["parts"]] == ["libssl3", "openssl"]
    assert openssl["parts"][0]["sha256"] == "ab" * 32
    assert openssl["parts"][0]["version"] == "3.0.17-1~deb12u2"


def test_what_is_missing_is_named_with_its_clause(bill: Path, tmp_path: Path) -> None:
    """Goal: nobody signs a file in which a known anomaly was not looked at."""
    bare = made(bill, tmp_path, "format = 1\n[soup]\n")
    assert not bare.complete
    gaps = bare.items[1].gaps
    assert "5.3.3 requirements" in gaps
    assert "7.1.2 contribution to hazardous situations" in gaps
    assert f"7.1.3 evaluation of {CVE}" in gaps
    with_notes = made(bill, tmp_path, NOTES % CVE)
    assert with_notes.items[1].gaps == ()
    assert with_notes.items[0].gaps == ("control measure: loaded by vitals",)
    whole = NOTES.replace('hazard = "Every', 'control = "Tests."\nhazard = "Every') % CVE
    assert made(bill, tmp_path, whole).complete
    assert not made(bill, tmp_path, whole, advisories=False).complete, "7.1.3 was not done"
    assert not made(bill, tmp_path, whole + "\n[soup.qt6]\n").complete, "a note about nothing"


def test_a_note_on_a_compartment_that_is_not_there_is_refused(bill: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cellar"):
        made(bill, tmp_path, NOTES.replace('"vitals"', '"cellar"') % CVE)


@pytest.mark.parametrize(
    "text",
    ["format = 2\n[soup]\n", "format = 1\n[soup.x]\nrisk = 1\n", "format = \n", "format = 1\n"],
    ids=["format", "unknown-key", "no-toml", "no-soup"],
)
def test_notes_of_another_form_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="notes"):
        read_notes(path)
    with pytest.raises(ConfigError, match="absent"):
        read_notes(tmp_path / "absent")


def test_the_page_says_draft_and_holds_what_was_found(bill: Path, tmp_path: Path) -> None:
    text = page(made(bill, tmp_path, NOTES % CVE))
    assert "**Draft: 1 gaps.**" in text
    assert "| libssl3 | 3.0.17-1~deb12u2 |" in text
    assert f"| {CVE} | open |" in text or f"| {CVE} | undecided |" in text
    assert "NOT WRITTEN" in text


@given(st.text(max_size=200))
def test_no_name_or_note_makes_markup_of_its_own(text: str) -> None:
    """Goal: a bill from elsewhere cannot write a row or a link into the file of the device."""
    note = Note(requirement=text or "x")
    found = soup_file_of(text or "x", note)
    lines = page(found).splitlines()
    assert sum(line.startswith("## ") for line in lines) == 1
    assert sum(line.startswith("- ") for line in lines) == 7
    row = next(line for line in lines if line.startswith("| ") and "| 0 |" in line)
    assert len([at for at, c in enumerate(row) if c == "|" and row[at - 1] != "\\"]) == 6


def soup_file_of(name: str, note: Note) -> SoupFile:
    item = Item(
        name=name,
        supplier=name,
        parts=(),
        note=note,
        anomalies=(),
        support="",
        critical=(),
    )
    return SoupFile(device="monitor v1", items=(item,), orphans=(), audited=1)
