"""The whole audit: a bill against every file of advisories, and what is open."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from asepsis.core.errors import InputError, LimitExceeded, NotFound
from asepsis.tools.imagebuild.audit import csaf, exploited, lifecycle
from asepsis.tools.imagebuild.audit.bill import Bill, read_bill, read_bytes
from asepsis.tools.imagebuild.audit.csaf import Open
from asepsis.tools.imagebuild.audit.lifecycle import Cover, Support, cover
from asepsis.tools.imagebuild.audit.versions import Verdict

FILES_MAX: Final = 20_000
_KEV_MARK: Final = b'"catalogVersion"'


@dataclass(slots=True)
class Audit:
    """What an audit found.

    Attributes:
        parts: How many components the bill has.
        files: How many files of advisories were read.
        open: Vulnerabilities of which a part has an affected version.
        undecided: Vulnerabilities of a part's product where the versions cannot be compared.
        supports: Until when parts are supported.
        exploited: Numbers of vulnerabilities that are known to be exploited.
        unknown: Parts about which no page of their own says until when they are supported.
        covers: Of every part, who mends it until when.
    """

    parts: int = 0
    files: int = 0
    open: list[Open] = field(default_factory=list[Open])
    undecided: list[Open] = field(default_factory=list[Open])
    supports: list[Support] = field(default_factory=list[Support])
    exploited: set[str] = field(default_factory=set[str])
    unknown: list[str] = field(default_factory=list[str])
    covers: list[Cover] = field(default_factory=list[Cover])

    @property
    def clean(self) -> bool:
        """Whether nothing is open and no support is over."""
        return not self.open and not any(found.over for found in self.supports)

    def as_document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "parts": self.parts,
            "files": self.files,
            "open": [self._plain(found) for found in self.open],
            "undecided": [self._plain(found) for found in self.undecided],
            "support": [
                {
                    "part": found.part,
                    "cycle": found.cycle,
                    "ends": _day(found.ends),
                    "extended": _day(found.extended),
                    "over": found.over,
                }
                for found in self.supports
            ],
            "support_unknown": self.unknown,
            "packages": [
                {
                    "part": one.part,
                    "version": one.version,
                    "upstream": _day(one.upstream),
                    "distribution": _day(one.distribution),
                    "extended": _day(one.extended),
                    "state": one.state,
                }
                for one in self.covers
            ],
        }

    def _plain(self, found: Open) -> dict[str, Any]:
        return {
            "part": found.part.name,
            "version": found.part.version,
            "vulnerability": found.cve,
            "exploited": found.cve in self.exploited,
            "source": found.source,
            "why": found.why,
            "remedy": found.remedy,
        }


def audit(bill_path: Path, advisories: Sequence[Path], *, today: date) -> Audit:
    """Judge a bill of materials against files of advisories; folders are read with all below them.

    Args:
        bill_path: CycloneDX, JSON.
        advisories: CSAF 2.0 and the KEV catalogue (`.json`), pages of endoflife.date (`.md`).
        today: Support that ended before is over.

    Raises:
        NotFound: A file is absent.
        LimitExceeded: A file is too long, or there are too many.
        InputError: A file is something else; names it.
    """
    bill = read_bill(bill_path)
    found = Audit(parts=len(bill.parts))
    supported: set[str] = set()
    for path in _files(advisories):
        found.files += 1
        _read(path, bill, found, today=today)
    for one in (found.open, found.undecided):
        one[:] = _once(one)
    found.covers = cover(bill, found.supports, today=today)
    supported = {support.part for support in found.supports}
    found.unknown = sorted(
        part.name for part in bill.parts if f"{part.name} {part.version}" not in supported
    )
    return found


def _read(path: Path, bill: Bill, found: Audit, *, today: date) -> None:
    raw = read_bytes(path)
    if path.suffix == ".md":
        try:
            page = lifecycle.parse(raw.decode("utf-8"), name=str(path))
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is no text") from error
        found.supports += lifecycle.supports(page, bill, today=today)
        return
    if _KEV_MARK in raw[:4_096]:
        catalogue = exploited.parse(raw, name=str(path))
        found.exploited |= {entry.cve_id for entry in catalogue.vulnerabilities}
        opened: Iterable[Open] = exploited.open_ones(catalogue, bill.parts)
    else:
        opened = csaf.open_ones(csaf.parse(raw, name=str(path)), bill.parts)
    for one in opened:
        (found.open if one.verdict is Verdict.INSIDE else found.undecided).append(one)


def _day(when: date | None) -> str | None:
    return when.isoformat() if when else None


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    count = 0
    for path in paths:
        if not path.exists():
            raise NotFound(f"no {path}")
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        for one in below:
            if one.suffix not in (".json", ".md") or one.name == "README.md" or one.is_dir():
                continue
            count += 1
            if count > FILES_MAX:
                raise LimitExceeded(f"more than {FILES_MAX} files of advisories")
            yield one


def _once(found: Sequence[Open]) -> list[Open]:
    by_key = {(one.part.name, one.cve, one.source): one for one in found}
    return [by_key[key] for key in sorted(by_key)]
