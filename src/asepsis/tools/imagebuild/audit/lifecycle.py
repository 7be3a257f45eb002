"""Reads until when a product is supported, from the front matter of endoflife.date's pages.

Only the lines that are needed are read, by a reader of their own: no YAML.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from asepsis.core.errors import InputError
from asepsis.tools.imagebuild.audit.bill import Bill, cpe_name

CYCLES_MAX: Final = 500
_FIELD: Final = re.compile(
    r"(?m)^  (?:- | {2})(releaseCycle|codename|eol|eoes): *(?:\"([^\"]*)\"|([^#\n]*))"
)
_CPE: Final = re.compile(r"(?m)^  - cpe: (cpe:\S+)$")
_DEBIAN: Final = "debian", "debian_linux"
_ALL_OF_DEBIAN: Final = "Debian packages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One release line of a product.

    Attributes:
        name: As `3.0`.
        codename: As `bookworm`; empty for most.
        ends: Last day with fixes from upstream; None if none is known.
        extended: Last day of extended support, which may cost money; None if there is none.
        over: The page says that support is over, without a day.
    """

    name: str
    codename: str = ""
    ends: date | None = None
    extended: date | None = None
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """A product's release lines.

    Attributes:
        cpes: Vendor and product under which it is known.
        cycles: Its release lines.
    """

    cpes: frozenset[tuple[str, str]]
    cycles: tuple[Cycle, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Until when a part is supported.

    Attributes:
        part: Name and version.
        cycle: Its release line.
        ends: Last day with fixes from upstream; None if none is known.
        extended: Last day of extended support; None if there is none.
        over: Whether the former has passed.
    """

    part: str
    cycle: str
    ends: date | None
    extended: date | None
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """Who mends one part, and until when.

    Attributes:
        part: Its name.
        version: Its version.
        upstream: Last day with fixes from upstream; None if no page says.
        distribution: Last day with fixes from the distribution that it was taken from; None if it
            was taken from none, or no page says.
        extended: Last day of the distribution's extended support.
        state: `supported`, `extended only`, `over` or `not known`. For a distribution's package its
            own days count: a fix of upstream reaches it by the distribution only.
    """

    part: str
    version: str
    upstream: date | None
    distribution: date | None
    extended: date | None
    state: str


def cover(bill: Bill, found: Sequence[Support], *, today: date) -> list[Cover]:
    """Return of every part of a bill who mends it until when.

    Args:
        bill: The bill.
        found: From `supports`, of all pages.
        today: Support that ended before is over.
    """
    by_part = {support.part: support for support in found}
    release = by_part.get(_ALL_OF_DEBIAN)
    covers: list[Cover] = []
    for part in bill.parts:
        own = by_part.get(f"{part.name} {part.version}")
        counts = release if part.debian and release else own
        covers.append(
            Cover(
                part=part.name,
                version=part.version,
                upstream=own.ends if own else None,
                distribution=release.ends if part.debian and release else None,
                extended=counts.extended if counts else None,
                state=_state(counts, today),
            )
        )
    return covers


def _state(counts: Support | None, today: date) -> str:
    if counts is None or (counts.ends is None and not counts.over):
        return "not known"
    if not counts.over:
        return "supported"
    return "extended only" if counts.extended and counts.extended >= today else "over"


def parse(text: str, *, name: str) -> Lifecycle:
    """Read a page.

    Raises:
        InputError: It has no release lines.
    """
    parts = text.split("\n---", 1)
    found: list[dict[str, str]] = []
    for field, quoted, bare in _FIELD.findall(parts[0])[: CYCLES_MAX * 4]:
        if field == "releaseCycle":
            found.append({})
        if found:
            found[-1][field] = (quoted or bare).strip()
    if not text.startswith("---") or not found:
        raise InputError(f"{name} has no release lines with their end of support")
    cpes = frozenset(cpe_name(cpe)[:2] for cpe in _CPE.findall(parts[0]))
    return Lifecycle(cpes=cpes, cycles=tuple(_cycle(fields) for fields in found))


def supports(lifecycle: Lifecycle, bill: Bill, *, today: date) -> list[Support]:
    """Return until when the parts of a bill are supported, as far as this page says."""
    known = [
        (f"{part.name} {part.version}", part.number, "")
        for part in bill.parts
        if part.cpe in lifecycle.cpes
    ]
    if _DEBIAN in lifecycle.cpes and bill.suite:
        known.append((_ALL_OF_DEBIAN, "", bill.suite.lower()))
    found: list[Support] = []
    for name, number, suite in known:
        cycle = _of(lifecycle, number, suite)
        if cycle:
            over = cycle.over or (cycle.ends is not None and cycle.ends < today)
            found.append(
                Support(
                    part=name,
                    cycle=cycle.name,
                    ends=cycle.ends,
                    extended=cycle.extended,
                    over=over,
                )
            )
    return found


def _of(lifecycle: Lifecycle, number: str, suite: str) -> Cycle | None:
    fits = [
        cycle
        for cycle in lifecycle.cycles
        if (suite and cycle.codename == suite)
        or (not suite and f"{number}.".startswith(f"{cycle.name}."))
    ]
    return max(fits, key=lambda cycle: len(cycle.name), default=None)


def _cycle(fields: dict[str, str]) -> Cycle:
    return Cycle(
        name=fields["releaseCycle"],
        codename=fields.get("codename", "").lower(),
        ends=_date(fields.get("eol", "")),
        extended=_date(fields.get("eoes", "")),
        over=fields.get("eol") == "true",
    )


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None  # `true`, `false` or nothing.
