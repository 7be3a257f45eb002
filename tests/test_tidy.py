"""The house rules that a machine can check (docs/explanation/style.md)."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(p for d in ("src", "tests", "benchmarks") for p in (ROOT / d).rglob("*.py"))
SOURCES = [p for p in FILES if p.is_relative_to(ROOT / "src")]
CONSOLE = ROOT / "src" / "asepsis" / "hub" / "console"
PAGES = sorted(
    path
    for path in (*CONSOLE.rglob("*.html"), *CONSOLE.rglob("*.js"))
    if "vendor" not in path.parts
)
FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
BANNED = {
    r"verify=False|CERT_NONE\b|check_hostname = False": "no connection without verification",
    r"shell=True": "no shell between us and a program",
    r"\bpickle\b|\bmarshal\b": "no deserialiser that runs code",
    r"yaml\.(load|unsafe_load|full_load)\(": "no YAML tags",
    r"\b(import yaml|from yaml|ruamel|dill|cloudpickle|jsonpickle)\b": "no YAML, nothing that runs",
    r"\.(fromstring|iterparse|XML)\(|\b(minidom|expat|xml\.sax|XMLParser)\b": "no XML is read",
    r"datetime\.now\(|datetime\.utcnow\(": "take a clock as an argument",
    r"\b(TODO|FIXME|XXX|HACK)\b": "finish it or file an issue",
    r"\|\s*safe\b|\bMarkup\b(?!Safe)": "no unescaped HTML",
    r"curl .*(-k|--insecure)\b": "no unverified download",
}
# Each exception stands here with its reason.
EXCEPTIONS = {
    (
        "src/asepsis/core/trust/tls.py",
        r"verify=False|CERT_NONE\b|check_hostname = False",
    ): "the people listener asks for no client certificate; devices are named by URI, not host",
    (
        "src/asepsis/tools/testing/weakening.py",
        r"verify=False|CERT_NONE\b|check_hostname = False",
    ): "a hub that is broken on purpose, to see that the conformance suite finds it out",
    (
        "src/asepsis/edge/gateway/imaging/saml.py",
        r"\.(fromstring|iterparse|XML)\(|\b(minidom|expat|xml\.sax|XMLParser)\b",
    ): "assertions are XML; entities, DTD and network are off (see the test below)",
    (
        "src/asepsis/analysis/threats/reading.py",
        r"\b(import yaml|from yaml|ruamel|dill|cloudpickle|jsonpickle)\b",
    ): "threat models are YAML; only parser events are read: no tags, no aliases, named limits",
}
CONNECTS = r"httpx\.(Async)?Client\(|urlopen|urllib\.request|create_connection\(|HTTPS?Connection\("
MAY_CONNECT = {
    # Nobody else in hub and core: no Attachment.url, BulkDataURI or schemaLocation is fetched.
    "src/asepsis/hub/delivery/dialer.py": "to destinations, at addresses that were judged",
    "src/asepsis/hub/delivery/outgoing_http.py": "to destinations, by the dialer's judgement",
    "src/asepsis/hub/audit/views/forwarding.py": "to the syslog receiver of the settings",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_files_and_functions_fit_in_the_head(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= FILE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_source_holds_no_banned_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for pattern, reason in BANNED.items():
        if (relative(path), pattern) not in EXCEPTIONS:
            assert not re.search(pattern, text), reason


def test_only_these_files_of_the_hub_connect_to_anybody() -> None:
    """Goal: what stands in a message or resource is never fetched."""
    within = [
        p for p in SOURCES if relative(p).startswith(("src/asepsis/hub/", "src/asepsis/core/"))
    ]
    found = {relative(p) for p in within if re.search(CONNECTS, p.read_text(encoding="utf-8"))}
    assert found <= MAY_CONNECT.keys()


def test_where_xml_is_read_it_has_no_entities_and_no_network() -> None:
    text = (ROOT / "src/asepsis/edge/gateway/imaging/saml.py").read_text(encoding="utf-8")
    for switch in ("resolve_entities=False", "no_network=True", "load_dtd=False"):
        assert text.count(switch) == text.count("XMLParser(")


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_no_page_or_script_turns_text_into_markup(path: Path) -> None:
    """Goal: templates escape always, and our scripts write text, never HTML."""
    text = path.read_text(encoding="utf-8")
    found = re.search(
        r"\|\s*safe\b|autoescape|\.innerHTML|\.outerHTML|insertAdjacentHTML|document\.write|\beval\(",
        text,
    )
    assert not found, "no unescaped HTML"


def test_every_error_class_has_its_page() -> None:
    source = (ROOT / "src/asepsis/core/errors.py").read_text(encoding="utf-8")
    codes = re.findall(r'code = "(ASP-\d{3})"|code: ClassVar\[str\] = "(ASP-\d{3})"', source)
    pages = {p.stem for p in (ROOT / "docs/reference/errors").glob("ASP-*.md")}
    assert {a or b for a, b in codes} == pages


def test_no_file_names_a_package_index() -> None:
    """Goal: locks name hashes, never the address they came from."""
    for path in (ROOT / "requirements").iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"--(extra-)?index-url|https?://", text), path.name
    for path in ROOT.glob("tests/**/package-lock.json"):
        if "node_modules" not in path.parts:
            assert '"resolved"' not in path.read_text(encoding="utf-8"), path.name
