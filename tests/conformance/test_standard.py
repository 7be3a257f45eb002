"""The standard is consistent with itself and with what the code cites."""

import json
import re
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
import yaml
from openapi_spec_validator import validate

ROOT = Path(__file__).parents[2]
STANDARD = ROOT / "standard"
SENTENCE = re.compile(r"^- \*\*(REQ-[A-Z]+-\d{3})\*\* (.+?) \*Source: (.+)\*$")
AREAS = ("TLS", "ID", "OBS", "WAV", "ALM", "MSG", "IMG", "SUB", "ERR", "ORG", "UPD")


def requirements() -> dict[str, str]:
    lines = (STANDARD / "adp-1.md").read_text(encoding="utf-8").splitlines()
    found = [SENTENCE.match(line) for line in lines if line.startswith("- **REQ")]
    assert all(found), "a requirement without sentence or source"
    ids = Counter(match[1] for match in found if match)
    assert max(ids.values()) == 1, "two requirements with one id"
    return {match[1]: match[2] for match in found if match}


def test_every_requirement_is_one_must_sentence_with_a_source() -> None:
    for name, text in requirements().items():
        assert re.search(r"\bMUST\b", text), name


@pytest.mark.parametrize("area", AREAS)
def test_an_area_is_numbered_without_a_hole(area: str) -> None:
    numbers = [int(n[-3:]) for n in requirements() if n.startswith(f"REQ-{area}-")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_no_requirement_is_cited_that_does_not_exist() -> None:
    known = requirements()
    cited: dict[str, str] = {}
    for folder in ("src", "tests", "standard", "docs", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".md", ".yaml", ".json", ".c"}:
                text = path.read_text(encoding="utf-8")
                cited |= {c: str(path) for c in re.findall(r"REQ-[A-Z]+-\d{3}", text)}
    assert {name: path for name, path in cited.items() if name not in known} == {}


def test_the_openapi_document_is_valid() -> None:
    path = STANDARD / "openapi" / "hot-lanes.yaml"
    validate(yaml.safe_load(path.read_text(encoding="utf-8")), base_uri=path.as_uri())


@pytest.mark.parametrize(
    "path", sorted((STANDARD / "schemas").glob("*.json")), ids=lambda p: p.name
)
def test_every_schema_is_valid(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))
