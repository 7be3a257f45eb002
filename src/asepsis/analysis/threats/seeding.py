"""What others say as parts of a model, in a file of its own: a person's edits stay apart. Pure.

A model names files of derived things under `derived`. What the model itself says of such a thing
wins, field by field; evidence is put together. An import writes its file anew and never the model.

Source: CVSS 3.1, 2.3 (impact metrics); the field of a CWE decides only between code and the rest.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from asepsis.analysis.threats.importing import Claim
from asepsis.analysis.threats.model import SECTIONS
from asepsis.analysis.threats.reading import Text
from asepsis.core.model.manifest import Manifest

FORMAT: Final = "derived/1"
HEAD: Final = (
    "# Written by `asepsis threats import`, which writes it anew: edit nothing here.\n"
    "# Say in the model what is otherwise; what it says of a thing wins, field by field.\n"
)
CODE: Final = frozenset(
    f"CWE-{number}" for number in (77, 78, 94, 119, 120, 121, 122, 131, 190, 416, 434, 502, 787)
)
"""Kinds of flaws through which somebody else's code runs."""
LOGON: Final = frozenset(
    f"CWE-{number}" for number in (255, 259, 284, 285, 287, 288, 306, 321, 522, 798, 862, 863)
)
"""Kinds of flaws that leave a log-on without effect."""
_ID_DEVICE: Final = 40
_TEXT: Final = 400


@dataclass(slots=True, kw_only=True)
class Seeds:
    """What is derived.

    Attributes:
        devices: Id -> fields.
        services: Id -> fields.
        left_out: What was found and not taken, with the reason.
    """

    devices: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    services: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    left_out: list[str] = field(default_factory=list[str])

    def add_manifest(self, device: str, manifest: Manifest, *, source: str) -> None:
        """Take compartments and the critical one of a device."""
        names = list(manifest.compartments)
        critical = [
            name for name, part in manifest.compartments.items() if part.criticality == "critical"
        ]
        found = self._device(device, f"manifest {source}, version {manifest.version}")
        found["compartments"] = names
        if len(critical) == 1:
            found["critical"] = critical[0]
        elif critical:
            self.left_out.append(f"{device}: {len(critical)} critical compartments; say which")

    def add_bill(self, device: str, *, component: str, source: str) -> None:
        """Take what a device is made of as evidence."""
        self._device(device, f"SBOM {source}: {component}")

    def add_claim(
        self, device: str, claim: Claim, *, kev: Mapping[str, str], spared: Mapping[str, str]
    ) -> None:
        """Take a flaw as a service that has it, or say why not."""
        name = claim.cve or claim.advisory.split()[0]
        said = f"{device}: {name} ({claim.advisory})"
        if claim.cve in spared:
            self.left_out.append(f"{said}: the SBOM says {spared[claim.cve]}")
            return
        if claim.vector.get("AV") not in {"N", "A"}:
            reach = claim.vector.get("AV", "nothing")
            self.left_out.append(f"{said}: not over a network (CVSS says {reach})")
            return
        flaw, grants = _flaw(claim)
        weight = f"CVSS {claim.score:g}, {claim.cwe or 'no CWE'}"
        account = "" if claim.vector.get("PR", "N") == "N" else ", needs an account"
        evidence = [_plain(f"{claim.advisory}: {name}, {weight}{account}; {claim.product}")]
        made: dict[str, Any] = {
            "text": f"what {name} is in",
            "device": device,
            "protocol": "stack",
            "auth": "mutual",  # The flaw is the way in; no log-on is claimed to be another one.
            "flaws": [flaw],
            "evidence": evidence,
        }
        if grants:
            made["grants"] = grants
        if claim.cve in kev:
            made["exploited"] = True
            evidence.append(kev[claim.cve])
        key = re.sub(r"[^a-z0-9_-]", "-", f"{device[:_ID_DEVICE]}-{name.lower()}")[:64]
        before = self.services.setdefault(key, made)
        if before is not made:  # Another advisory, or another flaw without a number, says more.
            for part in ("flaws", "grants", "evidence"):
                both = dict.fromkeys([*before.get(part, []), *made.get(part, [])])
                if both:
                    before[part] = list(both)

    def _device(self, device: str, evidence: str) -> dict[str, Any]:
        found = self.devices.setdefault(device, {"evidence": []})
        found["evidence"].append(_plain(evidence))
        return found

    def to_yaml(self) -> bytes:
        """Return the file; equal sources give equal bytes."""
        content = {
            "asepsis": FORMAT,
            "devices": dict(sorted(self.devices.items())),
            "services": dict(sorted(self.services.items())),
        }
        return (HEAD + json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode("utf-8")


def merged(own: Text, derived: Sequence[Text]) -> Text:
    """Return a model with what is derived under it.

    Args:
        own: What a person wrote; wins.
        derived: Files of an import; an earlier one wins over a later one.

    Raises:
        InputError: Not such a file.
    """
    content, lines, files = dict(own.content), dict(own.lines), dict(own.files)
    for text in derived:
        if text.content.get("asepsis") != FORMAT:
            raise text.error("asepsis", f"is not {FORMAT!r}", hint="`asepsis threats import`")
        for section in text.content.keys() - {"asepsis"}:
            if section not in SECTIONS:
                raise text.error(section, "is no table of a model")
            things = table_of(text, section, text.content[section])
            mine = dict(table_of(own, section, content.get(section) or {}))
            for name, thing in things.items():
                path = f"{section}.{name}"
                said = table_of(own, path, mine.get(name) or {})
                fields_of = table_of(text, path, thing)
                fields = {**fields_of, **said}
                evidence = [*_lines(text, path, fields_of), *_lines(own, path, said)]
                mine[name] = {**fields, **({"evidence": evidence} if evidence else {})}
            content[section] = mine
        for path, line in text.lines.items():
            if path not in lines:
                lines[path], files[path] = line, text.name
    return replace(own, content=content, lines=lines, files=files)


def _flaw(claim: Claim) -> tuple[str, list[str]]:
    """Return what a flaw gives, by its kind and its CVSS impact, and what it grants."""
    whole = all(claim.vector.get(metric) == "H" for metric in "CIA")
    changes = claim.vector.get("I") in {"L", "H"}
    if claim.cwe in CODE or whole:
        return "code", []
    if claim.cwe in LOGON and changes:
        return "bypass", ["settings"]
    if claim.vector.get("A") in {"L", "H"}:
        return "crash", []
    if changes:
        return "bypass", ["settings"]
    return "disclosure", []


def table_of(text: Text, path: str, value: Any) -> Mapping[str, Any]:
    """Return a value that is a table.

    Raises:
        InputError: It is not.
    """
    if not isinstance(value, dict):
        raise text.error(path, "is a table")
    return cast("dict[str, Any]", value)


def _lines(text: Text, path: str, thing: Mapping[str, Any]) -> list[Any]:
    found: Any = thing.get("evidence", [])
    if not isinstance(found, list):
        raise text.error(f"{path}.evidence", "is a list of texts")
    return cast("list[Any]", found)


def _plain(text: str) -> str:
    """Return a stranger's text in one line, without what YAML cannot hold."""
    return "".join(c if c.isprintable() else " " for c in text)[:_TEXT]
