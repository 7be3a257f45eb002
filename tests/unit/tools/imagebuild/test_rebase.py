"""A rebase on paper: an older image, newer packages, one fixed vulnerability of OpenSSL."""

import gzip
import json
import lzma
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.cli.main import main
from asepsis.core.errors import AsepsisError, InputError, NotFound
from asepsis.tools.imagebuild.audit.bill import read_bill
from asepsis.tools.imagebuild.audit.report import audit
from asepsis.tools.imagebuild.audit.versions import compare
from asepsis.tools.imagebuild.debian import Package
from asepsis.tools.imagebuild.rebase import newest, read_index, rebase
from asepsis.tools.imagebuild.sbom import make_sbom

# The program reads the shell's words itself; the library finds that odd inside a test.
pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
TODAY = date(2026, 11, 23)
OLD, NEW = "3.0.15-1~deb12u1", "3.0.17-1~deb12u2"
CVE = "CVE-2025-9230"
INDEX = f"""\
Package: libssl3
Source: openssl
Version: {OLD}
Maintainer: Debian OpenSSL Team <nobody@example.org>
SHA256: {"11" * 32}

Package: libc6
Source: glibc
Version: 2.36-9+deb12u13
SHA256: {"22" * 32}

Package: linux-image-cloud-amd64
Source: linux-signed-amd64 (6.1.192+2)
Version: 6.1.192-2
Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)

Package: linux-image-6.1.0-56-cloud-amd64
Source: linux-signed-amd64 (6.1.192+2)
Version: 6.1.192-2
SHA256: {"33" * 32}
"""
SECURITY = f"""\
Package: libssl3
Source: openssl
Version: {NEW}
Maintainer: Debian OpenSSL Team <nobody@example.org>
Depends: libc6 (>= 2.34)
SHA256: {"44" * 32}
"""


def package(name: str, version: str, source: str) -> Package:
    return Package(
        name=name,
        version=version,
        source=source,
        source_version=version,
        maintainer="Debian",
        sha256="ab" * 32,
    )


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


@pytest.fixture
def bill(tmp_path: Path) -> Path:
    """Return the bill of an image of some months ago."""
    path = tmp_path / "field.cdx.json"
    path.write_bytes(
        make_sbom(
            (
                package("libssl3", OLD, "openssl"),
                package("libc6", "2.36-9+deb12u14", "glibc"),
                package("linux-image-6.1.0-44-cloud-amd64", "6.1.164-1", "linux-signed-amd64"),
                package("oddity", "1.0-1", "oddity"),
            ),
            name="monitor",
            version="0.1.0",
            suite="bookworm",
            epoch=1_760_000_000,
            image_sha256="cd" * 32,
            cpe={"openssl": "openssl:openssl"},
        )
    )
    return path


@pytest.fixture
def advisory(tmp_path: Path) -> Path:
    document = {
        "document": {"csaf_version": "2.0", "tracking": {"id": "DSA-6015-1"}},
        "product_tree": {
            "branches": [
                {
                    "category": "product_version_range",
                    "name": f"vers:deb/<{NEW}",
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
    return written(tmp_path / "advisory.json", document)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    def played(*words: str | Path) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", ["asepsis", "image", "rebase", *map(str, words), "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capfd.readouterr().out
        return int(ended.value.code or 0), json.loads(told) if told.startswith("{") else {}

    return played


def test_one_vulnerability_of_openssl_ends(
    play: Any, bill: Path, advisory: Path, tmp_path: Path
) -> None:
    """Goal: the candidate and its difference, from files alone; the bill in the field stays."""
    indexes = written(tmp_path / "Packages", INDEX), written(tmp_path / "security", SECURITY)
    into, before = tmp_path / "candidate.cdx.json", bill.read_bytes()
    words = ("--packages", *indexes, "--advisories", advisory, "--on", "2026-11-23")
    code, told = play(bill, *words, "--into", into)
    assert code == 1
    assert told["mended"] == [{"source": "openssl", "vulnerability": CVE, "exploited": False}]
    assert told["begun"] == told["remaining"] == []
    changes = {change["name"]: change for change in told["changes"]}
    assert (changes["libssl3"]["before"], changes["libssl3"]["after"]) == (OLD, NEW)
    kernel = changes["linux-image-6.1.0-44-cloud-amd64"]
    assert kernel["new_name"] == "linux-image-6.1.0-56-cloud-amd64"
    assert len(changes) == 2
    assert told["kept"] == ["libc6 2.36-9+deb12u14"], "nothing goes back"
    assert told["missing"] == ["oddity"]
    assert bill.read_bytes() == before
    assert audit(bill, [advisory], today=TODAY).open
    assert not audit(into, [advisory], today=TODAY).open
    part = {part.name: part for part in read_bill(into).parts}["libssl3"]
    assert (part.version, part.number, part.sha256) == (NEW, "3.0.17", "44" * 32)
    assert part.purls == {"deb/debian/libssl3", "deb/debian/openssl"}
    again, told = play(into, *words)
    assert (again, told["changes"], told["mended"]) == (0, [], [])
    built, told = play(bill, "--candidate", into, "--advisories", advisory)
    assert (built, len(told["mended"])) == (1, 1)
    worse, told = play(into, "--candidate", bill, "--advisories", advisory)
    assert worse == 2
    assert told["begun"][0]["vulnerability"] == CVE


def test_the_candidate_is_whole_and_the_same_each_time(bill: Path) -> None:
    raw = bill.read_bytes()
    made = rebase(raw, [INDEX, SECURITY])
    assert made.document == rebase(raw, [SECURITY, INDEX]).document
    document = json.loads(made.document)
    references = {one["bom-ref"] for one in document["components"]}
    assert set(document["dependencies"][0]["dependsOn"]) == references
    assert "hashes" not in document["metadata"]["component"], "nothing was built"
    assert document["serialNumber"] != json.loads(raw)["serialNumber"]
    assert made.unchanged == 0
    assert any("rebased-from" in p["name"] for p in document["metadata"]["properties"])


def test_indexes_are_read_plain_and_packed(tmp_path: Path) -> None:
    for name, data in (
        ("Packages", INDEX.encode()),
        ("Packages.xz", lzma.compress(INDEX.encode())),
        ("Packages.gz", gzip.compress(INDEX.encode())),
    ):
        (tmp_path / name).write_bytes(data)
        assert read_index(tmp_path / name) == INDEX
    (tmp_path / "spoilt.xz").write_bytes(b"no")
    (tmp_path / "spoilt.gz").write_bytes(gzip.compress(INDEX.encode())[:-20])
    for name in ("spoilt.xz", "spoilt.gz"):
        with pytest.raises(InputError):
            read_index(tmp_path / name)
    with pytest.raises(NotFound):
        read_index(tmp_path / "absent")


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"components": [1]}', b'{"components": [{"purl": "pkg:deb/x"}]}']
)
def test_what_is_no_bill_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError):
        rebase(raw, [INDEX])


def test_what_is_no_index_is_refused(bill: Path) -> None:
    with pytest.raises(InputError, match="no packages"):
        rebase(bill.read_bytes(), ["<html>not found</html>"])


versions = st.from_regex(r"[0-9]{1,2}\.[0-9]{1,2}(~rc[0-9])?-[0-9]", fullmatch=True)


@given(st.lists(versions, min_size=1, max_size=6), versions)
def test_the_newest_is_taken_in_whatever_order(several: list[str], have: str) -> None:
    """Goal: a rebase never puts an older package into an image."""
    index = "\n\n".join(f"Package: a\nVersion: {version}" for version in several)
    best = newest([index], ["a"])["a"].version
    assert all(compare(best, version) >= 0 for version in several)
    raw = json.dumps({"components": [{"name": "a", "version": have, "purl": "pkg:deb/debian/a"}]})
    document = json.loads(rebase(raw.encode(), [index]).document)
    assert compare(document["components"][0]["version"], have) >= 0


@given(st.text(max_size=300))
def test_a_hostile_index_gives_an_error_or_packages(text: str) -> None:
    try:
        found = newest([text, "Package: a\nVersion: 1\n"], ["a"])
    except AsepsisError:
        return
    assert set(found) <= {"a"}
