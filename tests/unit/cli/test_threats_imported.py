"""`asepsis threats import`: what makers and authorities say becomes part of a model."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asepsis.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
ROOT = Path(__file__).parents[3]
SMALL = ROOT / "tests" / "unit" / "analysis" / "data" / "hospira.yaml"
MANIFEST = ROOT / "src" / "asepsis" / "edge" / "device" / "monitor.toml"
DATA = ROOT.parent / "shared" / "data"
NETWORK = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/"


def play(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["asepsis", "threats", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int | None)
    return ended.value.code or 0


def derived(path: Path) -> Any:
    lines = path.read_text("utf-8").splitlines()
    return json.loads("\n".join(line for line in lines if not line.startswith("#")))


def advisory(flaws: Mapping[str, tuple[str, str]]) -> str:
    """Return an advisory about one pump: CVE -> CWE and CVSS vector."""
    product = {"product_id": "P1", "name": "Infusor 3: Versions 1 to 2"}
    of = {"name": "Infusor", "branches": [{"name": "1 to 2", "product": product}]}
    return json.dumps(
        {
            "document": {
                "title": "Infusor",
                "tracking": {"id": "TEST-1", "current_release_date": "2026-01-02T00:00:00Z"},
            },
            "product_tree": {"branches": [{"name": "Maker", "branches": [of]}]},
            "vulnerabilities": [
                {
                    "cve": cve,
                    "cwe": {"id": cwe},
                    "product_status": {"known_affected": ["P1"]},
                    "scores": [
                        {"products": ["P1"], "cvss_v3": {"baseScore": 9.8, "vectorString": vector}}
                    ],
                }
                for cve, (cwe, vector) in flaws.items()
            ],
        }
    )


def test_flaws_become_services_and_a_persons_edits_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model, out, csaf = (tmp_path / name for name in ("m.yaml", "m.derived.yaml", "a.json"))
    kev, sbom = tmp_path / "kev.json", tmp_path / "sbom.json"
    model.write_text("derived: [m.derived.yaml]\n" + SMALL.read_text("utf-8"), "utf-8")
    flaws = {
        "CVE-2026-0001": ("CWE-120", NETWORK + "C:N/I:N/A:L"),
        "CVE-2026-0002": ("CWE-306", NETWORK + "C:L/I:H/A:N"),
        "CVE-2026-0003": ("CWE-400", NETWORK + "C:N/I:N/A:H"),
        "CVE-2026-0004": ("CWE-200", NETWORK + "C:H/I:N/A:N"),
        "CVE-2026-0005": ("CWE-120", "CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"),
        "CVE-2026-0006": ("CWE-120", NETWORK + "C:H/I:H/A:H"),
    }
    csaf.write_text(advisory(flaws), "utf-8")
    listed = [{"cveID": "CVE-2026-0001", "dateAdded": "2026-02-03"}]
    kev.write_text(json.dumps({"catalogVersion": "2026", "vulnerabilities": listed}), "utf-8")
    of = {"name": "Infusor", "version": "2", "supplier": {"name": "Maker"}}
    judged = [{"id": "CVE-2026-0006", "analysis": {"state": "not_affected"}}]
    bill = {"bomFormat": "CycloneDX", "metadata": {"component": of}, "vulnerabilities": judged}
    sbom.write_text(json.dumps(bill), "utf-8")
    sources = ("--sbom", f"pump={sbom}", "--csaf", csaf, "--kev", kev, "--out", out)
    assert play(monkeypatch, "import", model, *sources, "--dry-run") == 0
    assert not out.exists()
    assert play(monkeypatch, "import", model, *sources) == 0
    told = capfd.readouterr().out
    assert "CVE-2026-0005 (TEST-1 of 2026-01-02): not over a network" in told
    assert "not_affected" in told
    services = derived(out)["services"]
    assert {name[-4:]: service["flaws"] for name, service in services.items()} == {
        "0001": ["code"],
        "0002": ["bypass"],
        "0003": ["crash"],
        "0004": ["disclosure"],
    }
    assert services["pump-cve-2026-0001"]["exploited"]
    assert "KEV 2026" in services["pump-cve-2026-0001"]["evidence"][1]
    assert "Versions 1 to 2" in services["pump-cve-2026-0001"]["evidence"][0]
    written = model.read_bytes()
    assert play(monkeypatch, "explain", model, "--json", "--taken", "disconnect") == 0
    assert play(monkeypatch, "graph", model) == 0
    assert "FLAW" in capfd.readouterr().out
    sarif = tmp_path / "found.sarif"
    assert play(monkeypatch, "check", model, "--sarif", sarif, "--max-patients", "0") == 1
    assert f'"uri": "{model.as_posix()}"' in sarif.read_text("utf-8")
    capfd.readouterr()
    edit = "services:\n  pump-cve-2026-0001: {flaws: []}\n"
    model.write_text(written.decode().replace("services:\n", edit), "utf-8")
    assert play(monkeypatch, "diff", SMALL, model, "--json") == 1
    reached = "".join(json.loads(capfd.readouterr().out)["reached"])
    assert "enters(pump-cve-2026-0002)" in reached
    assert "enters(pump-cve-2026-0001)" not in reached
    before = out.read_bytes()
    assert play(monkeypatch, "import", model, *sources) == 0
    assert out.read_bytes() == before  # A second import says the same and keeps the edit.
    assert edit in model.read_text("utf-8")


def test_what_two_advisories_say_of_a_flaw_is_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, csaf = tmp_path / "d.yaml", tmp_path / "csaf"
    csaf.mkdir()
    for name, impact in (("a.json", "C:N/I:N/A:H"), ("b.json", "C:H/I:N/A:N")):
        flaws = {"CVE-2026-0001": ("CWE-20", NETWORK + impact), "": ("CWE-20", NETWORK + impact)}
        text = advisory(flaws).replace("TEST-1", f"Test {name}/1")
        (csaf / name).write_text(text, "utf-8")
    sources = ("--product", "pump=infusor", "--csaf", csaf, "--out", out)
    assert play(monkeypatch, "import", SMALL, *sources) == 0
    services = derived(out)["services"]
    assert services.keys() == {"pump-cve-2026-0001", "pump-test"}
    for service in services.values():
        assert service["flaws"] == ["crash", "disclosure"]
        assert len(service["evidence"]) == 2


def test_a_manifest_brings_compartments_with_their_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "d.yaml"
    assert play(monkeypatch, "import", SMALL, "--manifest", f"pump={MANIFEST}", "--out", out) == 0
    pump = derived(out)["devices"]["pump"]
    assert pump["critical"] == "vitals"
    assert "network" in pump["compartments"]
    assert "SHA-256" in pump["evidence"][0]


def test_mistakes_are_told_where_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model, out = tmp_path / "m.yaml", tmp_path / "d.yaml"
    model.write_text("derived: [d.yaml]\n" + SMALL.read_text("utf-8"), "utf-8")
    assert play(monkeypatch, "import", model, "--product", "pmup=X", "--out", out) == 1
    assert '"pump"' in capfd.readouterr().err
    for text, word in (("{asepsis: threats/1}", "derived/1"), ("[1]", "top"), ("x: {", "d.yaml")):
        out.write_text(text, "utf-8")
        assert play(monkeypatch, "check", model) == 1
        assert word in "".join(capfd.readouterr().err.split("\n"))
    out.write_text("asepsis: derived/1\nservices:\n  s: {device: pmup, protocol: ftp}\n", "utf-8")
    assert play(monkeypatch, "check", model) == 1
    assert "d.yaml:3" in capfd.readouterr().err
    text = SMALL.read_text("utf-8").replace("telnet:\n", "telnet:\n    evidence: word\n", 1)
    other = tmp_path / "o.yaml"
    other.write_text("derived: [d.yaml]\n" + text.replace('    evidence: ["', '    # ["'), "utf-8")
    out.write_text("asepsis: derived/1\nservices:\n  telnet: {device: pump}\n", "utf-8")
    assert play(monkeypatch, "check", other) == 1
    assert "o.yaml:" in capfd.readouterr().err
    written = model.read_bytes()
    assert play(monkeypatch, "import", model, "--manifest", f"pump={MANIFEST}", "--out", model) == 5
    assert model.read_bytes() == written  # A person's file is never written over.
    out.unlink()
    broken = tmp_path / "a.json"
    for text in ("{", '{"document": 1}', "[" * 100_000):
        broken.write_text(text, "utf-8")
        sources = ("--product", "pump=X", "--csaf", broken, "--out", out)
        assert play(monkeypatch, "import", model, *sources) == 1
        assert "a.json" in capfd.readouterr().err


@pytest.mark.data
def test_published_advisories_are_found_by_the_products_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Facts: MDhex has six flaws; a portal of ISP has the CVEs of MS17-010, which are in KEV."""
    out = tmp_path / "d.yaml"
    kev = DATA / "kev" / "known_exploited_vulnerabilities.json"
    names = ("--product", "pump=B450", "--product", "server=IntelliSpace Portal")
    none = ("--product", "pc=Nobody Makes This")
    sources = ("--csaf", DATA / "csaf", "--kev", kev, "--out", out)
    assert play(monkeypatch, "import", SMALL, *names, *none, *sources) == 0
    assert "no advisory names all of 'Nobody Makes This'" in capfd.readouterr().out
    services = derived(out)["services"]
    assert {f"pump-cve-2020-696{n}" for n in range(1, 7)} <= services.keys()
    smb = services["server-cve-2017-0144"]
    assert (smb["flaws"], smb["exploited"]) == (["code"], True)
