"""Reports of a run: JSON for scripts, JUnit for CI, HTML for people."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import jinja2

from asepsis.core.errors import ConfigError
from asepsis.tools.conformance.checks import Outcome, Result

FORMAT: Final = 1
JSON_FILE: Final = "report.json"
JUNIT_FILE: Final = "report.junit.xml"
HTML_FILE: Final = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one run found.

    Attributes:
        subject: `hub` or `device`.
        tested: What was tested, in the words of the person who ran it: maker, model, version.
        suite: Version of the suite.
        at: When the run began, RFC 3339.
        results: One for each check.
        unseen: Requirements that no check looks at, with the reason.
        whole: Whether every check was tried; a part of the suite proves nothing.
    """

    subject: str
    tested: str
    suite: str
    at: str
    results: Sequence[Result]
    unseen: dict[str, str]
    whole: bool

    @property
    def conforms(self) -> bool:
        """Whether the whole suite was tried, nothing failed and something passed."""
        outcomes = {result.outcome for result in self.results}
        return self.whole and Outcome.FAIL not in outcomes and Outcome.PASS in outcomes

    def counts(self) -> dict[str, int]:
        """Return how many checks had each outcome."""
        found = Counter(result.outcome for result in self.results)
        return {outcome.value: found[outcome] for outcome in Outcome}

    def document(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "format": FORMAT,
            "standard": "ADP/1",
            "subject": self.subject,
            "tested": self.tested,
            "suite": self.suite,
            "at": self.at,
            "whole": self.whole,
            "conforms": self.conforms,
            "counts": self.counts(),
            "results": [asdict(result) for result in self.results],
            "unseen": self.unseen,
        }


def write_reports(report: Report, folder: Path) -> dict[str, Path]:
    """Write all three forms and return where they are.

    Raises:
        ConfigError: The folder cannot be written.
    """
    forms = {JSON_FILE: as_json(report), JUNIT_FILE: as_junit(report), HTML_FILE: as_html(report)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in forms.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise ConfigError(f"cannot write reports to {folder}: {error.strerror}") from error
    return {name: folder / name for name in forms}


def as_json(report: Report) -> bytes:
    """Return the report as JSON; these bytes are what a certificate names."""
    return json.dumps(report.document(), indent=1, ensure_ascii=False).encode() + b"\n"


def as_junit(report: Report) -> bytes:
    """Return the report in the XML that build servers read."""
    counts = report.counts()
    suite = ET.Element(
        "testsuite",
        name=f"ADP/1 {report.subject}",
        tests=str(len(report.results)),
        failures=str(counts[Outcome.FAIL]),
        skipped=str(counts[Outcome.NOT_SHOWN]),
        timestamp=report.at,
    )
    for result in report.results:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"adp1.{report.subject}",
            name=f"{result.requirement} {_plain(result.title)}",
            time=f"{result.seconds:.3f}",
        )
        if result.outcome is Outcome.FAIL:
            ET.SubElement(case, "failure", message=_plain(result.reason))
        elif result.outcome is Outcome.NOT_SHOWN:
            ET.SubElement(case, "skipped", message=_plain(result.reason))
    return ET.tostring(suite, encoding="utf-8", xml_declaration=True)


def as_html(report: Report) -> bytes:
    """Return the report as one page without scripts or references to anything outside."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html.jinja")
    return page.render(report=report, counts=report.counts()).encode()


def _plain(text: str) -> str:
    """Return a text of a peer without what XML 1.0 cannot hold."""
    return "".join(c if c.isprintable() else "?" for c in text)
