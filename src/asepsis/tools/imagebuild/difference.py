"""What one bill of materials has over another: packages, and vulnerabilities that end or begin."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asepsis.tools.imagebuild.audit.bill import Bill
from asepsis.tools.imagebuild.audit.csaf import Open
from asepsis.tools.imagebuild.audit.report import Audit


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Between the image in the field and a candidate.

    Attributes:
        added: Names and versions that only the candidate has.
        removed: Names and versions that only the old image has.
        mended: Vulnerabilities that are open in the old image only: source package and number.
        begun: Those that are open in the candidate only.
        remaining: Those that are open in both.
        exploited: Numbers of vulnerabilities that are known to be exploited.
        over: Parts of the candidate whose support is over.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    mended: tuple[tuple[str, str], ...]
    begun: tuple[tuple[str, str], ...]
    remaining: tuple[tuple[str, str], ...]
    exploited: frozenset[str]
    over: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether both have the same packages."""
        return not self.added and not self.removed

    def as_document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "mended": [self._plain(one) for one in self.mended],
            "begun": [self._plain(one) for one in self.begun],
            "remaining": [self._plain(one) for one in self.remaining],
            "support_over": list(self.over),
        }

    def _plain(self, one: tuple[str, str]) -> Mapping[str, Any]:
        return {"source": one[0], "vulnerability": one[1], "exploited": one[1] in self.exploited}


def difference(old: Bill, new: Bill, *, before: Audit, after: Audit) -> Difference:
    """Compare two bills and their audits against the same advisories.

    Args:
        old: Of the image in the field.
        new: Of the candidate.
        before: Audit of the former.
        after: Audit of the latter.
    """
    had = {f"{part.name} {part.version}" for part in old.parts}
    has = {f"{part.name} {part.version}" for part in new.parts}
    was, stays = {_key(one) for one in before.open}, {_key(one) for one in after.open}
    return Difference(
        added=tuple(sorted(has - had)),
        removed=tuple(sorted(had - has)),
        mended=tuple(sorted(was - stays)),
        begun=tuple(sorted(stays - was)),
        remaining=tuple(sorted(was & stays)),
        exploited=frozenset(before.exploited | after.exploited),
        over=tuple(sorted({found.part for found in after.supports if found.over})),
    )


def _key(one: Open) -> tuple[str, str]:
    """A vulnerability of a source counts once, however many packages are made of it."""
    return one.part.source or one.part.name, one.cve
