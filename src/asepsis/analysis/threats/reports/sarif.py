"""A check as SARIF: limits and accepted risks as results, each attack path as a flow. Pure.

Source: OASIS SARIF 2.1.0 plus errata 01: 3.27 result, 3.36 codeFlow, 3.19 toolComponent.
"""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any, Final

from asepsis.analysis.threats.model import SECTIONS
from asepsis.analysis.threats.reading import Text
from asepsis.analysis.threats.reports.findings import Checked, Found, Kind, Limit
from asepsis.analysis.threats.telling import Sentence
from asepsis.core.errors import AsepsisError

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
MISTAKE: Final = "model-mistake"
RULES: Final[Mapping[str, tuple[str, str, str]]] = {
    Kind.OVER: ("error", "A risk is over its limit", "Take a plan that keeps it, or raise it."),
    Kind.NOT_ACCEPTED: (
        "error",
        "A loss is likelier than what somebody accepted",
        "Lower it, or have the risk accepted anew by name and date.",
    ),
    Kind.REACHED: (
        "note",
        "An attacker can reach a loss",
        "`asepsis threats plan` finds the best countermeasures for the budget.",
    ),
    MISTAKE: ("error", "The model has a mistake", "`asepsis threats schema` says what may stand."),
}
"""Rule -> level, title, next step."""


def to_sarif(checked: Checked, *, text: Text, uri: str) -> dict[str, Any]:
    """Return a check as a SARIF log.

    Args:
        checked: What was found.
        text: Of the model; knows lines.
        uri: Of the model's file, as the build server knows it.
    """
    places = _Places(text, uri)
    results = [_limit(line, places) for line in checked.limits if line.over]
    results += [_loss(line, places) for line in checked.found]
    return _log(results)


def mistake_to_sarif(error: AsepsisError, *, uri: str) -> dict[str, Any]:
    """Return a model that could not be read as a SARIF log with one result.

    Args:
        error: Why; begins with `file:line:` where a line is known.
        uri: Of the model's file.
    """
    _, _, rest = str(error).partition(":")
    number = rest.partition(":")[0]
    line = int(number) if number.isdecimal() else 1
    words = f"{error} ({error.hint})" if error.hint else str(error)
    return _log([_result(MISTAKE, words, [_location(uri, line)], key=str(error))])


class _Places:
    """Where things stand in the model's file."""

    def __init__(self, text: Text, uri: str) -> None:
        self._text = text
        self._uri = uri

    def of(self, *things: str, words: str = "") -> dict[str, Any]:
        """Return the line of the first of some things that has one; line 1 if none has."""
        paths = (f"{section}.{thing}" for thing in things for section in SECTIONS)
        path = next((path for path in paths if path in self._text.lines), "")
        other = self._text.files.get(path)  # Derived things stand in files beside the model.
        uri = self._uri if other is None else (PurePosixPath(self._uri).parent / other).as_posix()
        return _location(uri, self._text.lines.get(path, 1), words)


def _location(uri: str, line: int, words: str = "") -> dict[str, Any]:
    message = {"message": {"text": words}} if words else {}
    return {
        "physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": line}},
        **message,
    }


def _log(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rules = [
        {
            "id": name,
            "shortDescription": {"text": title},
            "help": {"text": step},
            "defaultConfiguration": {"level": level},
        }
        for name, (level, title, step) in RULES.items()
    ]
    driver = {"name": "asepsis threats", "version": version("asepsis"), "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(
    rule: str, words: str, locations: Sequence[Mapping[str, Any]], *, key: str
) -> dict[str, Any]:
    """Return a result that a server knows again in the next run by its key."""
    return {
        "ruleId": rule,
        "ruleIndex": tuple(RULES).index(rule),
        "level": RULES[rule][0],
        "message": {"text": words},
        "locations": list(locations),
        "partialFingerprints": {"asepsis/v1": hashlib.sha256(f"{rule} {key}".encode()).hexdigest()},
    }


def _limit(line: Limit, places: _Places) -> dict[str, Any]:
    result = _result(
        Kind.OVER,
        f"{line.text}; most of it: {', '.join(name for name, _ in line.losses) or 'added harm'}",
        [places.of(*(name for name, _ in line.losses))],
        key=line.objective.value,
    )
    result["relatedLocations"] = [
        places.of(name, words=f"{share:.4g} a year") for name, share in line.losses
    ]
    return result


def _loss(line: Found, places: _Places) -> dict[str, Any]:
    path = line.path
    kind = Kind.NOT_ACCEPTED if line.over else Kind.REACHED
    # Without probabilities: the same path with another estimate is the same finding.
    key = " ".join((path.loss, *(f"{step.rule}({step.things})" for step in path.sentences)))
    result = _result(kind, line.text, [places.of(path.loss)], key=key)
    steps = [
        {
            "location": places.of(*step.things, words=step.text),
            "executionOrder": number,
            "properties": _properties(step),
        }
        for number, step in enumerate(path.sentences, 1)
    ]
    result["codeFlows"] = [{"threadFlows": [{"locations": steps}]}]
    result["properties"] = {
        "severity": path.severity,
        "exploitability": path.exploitability,
        "probability": path.probability,
        "aYear": dict(path.columns),
    }
    return result


def _properties(step: Sentence) -> dict[str, Any]:
    return {
        "rule": step.rule or "attempt",
        "probability": step.probability,
        "stride": step.stride,
        "cwe": [f"CWE-{number}" for number in step.cwe],
        "attack": list(step.attack),
        "evidence": list(step.evidence),
    }
