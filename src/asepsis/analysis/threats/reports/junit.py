"""A check as JUnit XML: one case for each limit and for each loss that can be reached. Pure.

Source: there is no standard; this is the form that build servers read (testsuite, testcase,
failure), as in the reports of the conformance suite.
"""

from collections.abc import Sequence
from typing import Any, Final
from xml.etree import ElementTree as ET

from asepsis.analysis.threats.reports.findings import Checked, Found, Limit
from asepsis.core.errors import AsepsisError

CLASS: Final = "asepsis.threats"


def to_junit(checked: Checked, *, name: str, at: str) -> bytes:
    """Return a check as XML.

    Args:
        checked: What was found.
        name: Of the model.
        at: When, RFC 3339.
    """
    cases = [_limit(line) for line in checked.limits if line.limit is not None]
    return _suite([*cases, *(_loss(line) for line in checked.found)], name=name, at=at)


def mistake_to_junit(error: AsepsisError, *, name: str, at: str) -> bytes:
    """Return a model that could not be read as XML: one case, an error.

    Args:
        error: Why.
        name: Of the model's file.
        at: When, RFC 3339.
    """
    case = _case("model is read")
    ET.SubElement(case, "error", message=_plain(f"{error} {error.hint}".strip()))
    return _suite([case], name=name, at=at)


def _suite(cases: Sequence[Any], *, name: str, at: str) -> bytes:
    suite = ET.Element(
        "testsuite",
        name=_plain(name),
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        timestamp=at,
    )
    suite.extend(cases)
    return ET.tostring(suite, encoding="utf-8", xml_declaration=True)


def _case(name: str) -> Any:
    return ET.Element("testcase", classname=CLASS, name=_plain(name), time="0")


def _limit(line: Limit) -> Any:
    case = _case(f"{line.objective.value} within {line.limit:g}")
    if line.over:
        failure = ET.SubElement(case, "failure", message=_plain(line.text), type="risk-over-limit")
        failure.text = _plain("; ".join(f"{name} {share:.4g}" for name, share in line.losses))
    return case


def _loss(line: Found) -> Any:
    case = _case(f"loss {line.path.loss}")
    steps = "\n".join(f"{n}. {step.text}" for n, step in enumerate(line.path.sentences, 1))
    if line.over:
        failure = ET.SubElement(
            case, "failure", message=_plain(line.text), type="loss-not-accepted"
        )
        failure.text = _lines(steps)
    else:
        ET.SubElement(case, "system-out").text = _lines(f"{line.text}\n{steps}")
    return case


def _lines(text: str) -> str:
    return "\n".join(_plain(line) for line in text.split("\n"))


def _plain(text: str) -> str:
    """Return a text without what XML 1.0 cannot hold."""
    return "".join(c if c.isprintable() else "?" for c in text)
