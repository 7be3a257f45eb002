"""The SOUP file: what the standards ask of every component that somebody else wrote.

What a machine knows comes from the bill of materials and the audit. What only people know, why a
component is needed and what its failure may do to a patient, comes from notes that they wrote. What
is missing is named as missing: a file with gaps is a draft, and says so.

Source: IEC 62304:2006+A1:2015, 5.3.3, 5.3.4, 7.1.2, 7.1.3, 8.1.2; IEC 81001-5-1:2021, terms
"supported", "maintained" and "required software".
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from asepsis.core.errors import ConfigError, InputError
from asepsis.core.model.manifest import Criticality, Manifest
from asepsis.tools.imagebuild.audit.bill import Bill, Part
from asepsis.tools.imagebuild.audit.report import Audit

NOTES_BYTES_MAX: Final = 1 << 20
TEXT_CHARS_MAX: Final = 2_000
ITEMS_MAX: Final = 5_000
OURS: Final = "pkg:pypi/asepsis@"
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARS_MAX)]
Care = Literal["supported", "maintained", "required"]
CARE_TEXT: Final[Mapping[str, str]] = {
    "supported": "supported software: we announce, and deliver, updates of it with the device",
    "maintained": "maintained software: we watch and mend it as far as the device's safety asks",
    "required": "required software: the hospital brings it; we say which versions work",
}


class Note(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people know of one SOUP item.

    Attributes:
        requirement: What it must do and how fast; 5.3.3.
        needs: Hardware and software that it needs to work; 5.3.4.
        hazard: How its failure or unexpected results may contribute to a hazardous situation;
            7.1.2.
        control: What keeps that from the patient.
        care: Who mends it.
        compartments: Compartments of the manifest that load it.
        anomalies: Number of a vulnerability or bug -> what its evaluation found; 7.1.3.
    """

    requirement: Text = ""
    needs: Text = ""
    hazard: Text = ""
    control: Text = ""
    care: Care | None = None
    compartments: tuple[str, ...] = ()
    anomalies: dict[str, Text] = {}


class _Notes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal[1]
    soup: dict[str, Note]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One SOUP item: all parts that come from one source.

    Attributes:
        name: Source package, the name under which notes speak of it.
        supplier: Who makes it.
        parts: What of it is in the device.
        note: What people wrote; empty if nobody did.
        anomalies: Open and undecided vulnerabilities: number, state, advisory, evaluation (empty
            if nobody wrote one).
        support: Until when it is supported, in words; empty if not known.
        critical: Critical compartments that load it.
    """

    name: str
    supplier: str
    parts: tuple[Part, ...]
    note: Note
    anomalies: tuple[tuple[str, str, str, str], ...]
    support: str
    critical: tuple[str, ...]

    @property
    def gaps(self) -> tuple[str, ...]:
        """What is missing, with the clause that asks for it."""
        wanted = (
            ("5.3.3 requirements", self.note.requirement),
            ("5.3.4 hardware and software needed", self.note.needs),
            ("7.1.2 contribution to hazardous situations", self.note.hazard),
            ("IEC 81001-5-1 who mends it", self.note.care),
            ("8.1.2 manufacturer", self.supplier),
            ("8.1.2 version", all(part.version for part in self.parts)),
        )
        found = [what for what, said in wanted if not said]
        found += [f"7.1.3 evaluation of {one[0]}" for one in self.anomalies if not one[3]]
        if self.critical and not self.note.control:
            found.append(f"control measure: loaded by {', '.join(self.critical)}")
        return tuple(found)

    def as_document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        columns = ("number", "state", "advisory", "evaluation")
        return {
            "name": self.name,
            "manufacturer": self.supplier,
            "parts": [
                {"name": p.name, "version": p.version, "purl": p.purl, "sha256": p.sha256}
                for p in self.parts
            ],
            "requirement": self.note.requirement,
            "needs": self.note.needs,
            "hazard": self.note.hazard,
            "control": self.note.control,
            "care": self.note.care,
            "compartments": list(self.note.compartments),
            "critical": list(self.critical),
            "anomalies": [dict(zip(columns, one, strict=True)) for one in self.anomalies],
            "support": self.support,
            "gaps": list(self.gaps),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SoupFile:
    """All SOUP items of a device.

    Attributes:
        device: Name and version of the manifest.
        items: Ascending by name.
        orphans: Notes about what is not in the device.
        audited: Files of advisories that the anomalies come from.
    """

    device: str
    items: tuple[Item, ...]
    orphans: tuple[str, ...]
    audited: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.orphans and self.audited > 0 and not any(item.gaps for item in self.items)

    def as_document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "device": self.device,
            "complete": self.complete,
            "advisory_files": self.audited,
            "notes_without_component": list(self.orphans),
            "items": [item.as_document() for item in self.items],
        }


def read_notes(path: Path | None) -> dict[str, Note]:
    """Read notes; none without a file.

    Raises:
        ConfigError: It cannot be read, is no TOML, or has an unknown key or wrong value.
    """
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            raw = file.read(NOTES_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > NOTES_BYTES_MAX:
        raise ConfigError(f"{path} is longer than {NOTES_BYTES_MAX} bytes")
    try:
        return msgspec.convert(tomllib.loads(raw.decode("utf-8")), _Notes).soup
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path}: {error}", hint="docs/reference/soup.md shows the form"
        ) from error


def soup_file(
    bill: Bill, *, notes: Mapping[str, Note], manifest: Manifest, found: Audit
) -> SoupFile:
    """Put together what is known of every component that is not our own.

    Args:
        bill: Bill of materials.
        notes: By source package.
        manifest: Compartments that notes may name.
        found: The audit of the same bill.

    Raises:
        InputError: A note names a compartment that the manifest does not have.
    """
    for name, note in notes.items():
        unknown = set(note.compartments) - manifest.compartments.keys()
        if unknown:
            raise InputError(
                f"the note on {name} names the compartment {min(unknown)}, which does not exist",
                hint=f"there are {', '.join(manifest.compartments)}",
            )
    grouped: dict[str, list[Part]] = {}
    for part in bill.parts[:ITEMS_MAX]:
        if not part.purl.startswith(OURS):
            grouped.setdefault(part.source or part.name, []).append(part)
    items = [
        _item(name, tuple(parts), notes.get(name, Note()), manifest, found)
        for name, parts in sorted(grouped.items())
    ]
    return SoupFile(
        device=f"{manifest.device} v{manifest.version}",
        items=tuple(items),
        orphans=tuple(sorted(notes.keys() - grouped.keys())),
        audited=found.files,
    )


def _item(name: str, parts: tuple[Part, ...], note: Note, manifest: Manifest, found: Audit) -> Item:
    names = {part.name for part in parts}
    seen: dict[str, tuple[str, str, str, str]] = {}
    for state, several in (("undecided", found.undecided), ("open", found.open)):
        for one in several:
            if one.part.name in names:
                said = note.anomalies.get(one.cve, "")
                seen[one.cve] = (one.cve, state, one.source, said)
    for number, text in note.anomalies.items():
        seen.setdefault(number, (number, "named by us", "-", text))
    critical = tuple(
        one
        for one in note.compartments
        if manifest.compartments[one].criticality is Criticality.CRITICAL
    )
    return Item(
        name=name,
        supplier=next((part.supplier for part in parts if part.supplier), ""),
        parts=parts,
        note=note,
        anomalies=tuple(seen[number] for number in sorted(seen)),
        support=_support(found, names),
        critical=critical,
    )


def _support(found: Audit, names: Iterable[str]) -> str:
    for one in found.covers:
        ends = one.distribution or one.upstream
        if one.part in names and ends:
            extended = f", extended until {one.extended.isoformat()}" if one.extended else ""
            return f"until {ends.isoformat()}{extended}: {one.state}"
    return ""
