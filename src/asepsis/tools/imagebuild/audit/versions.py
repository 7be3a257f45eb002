"""Compares versions, and judges them against the ranges that advisories write.

Sources: Debian Policy 5.6.12 (order of versions); VERS, version range specifier; CSAF 2.0, 3.1.2.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from itertools import zip_longest
from typing import Final

RANGE_CHARS_MAX: Final = 1_000
PARTS_MAX: Final = 64


class Verdict(StrEnum):
    """Whether a version is in a range."""

    INSIDE = "affected"
    OUTSIDE = "not affected"
    UNDECIDED = "undecided"


_PLAIN: Final = re.compile(r"v?\d+(?:\.\d+)*(?:[A-Za-z]|(?:-|\+|~)[\w.+~:-]+)?")
_DEBIAN: Final = re.compile(r"(?:\d+:)?\d[\w.+~-]*")
_CONSTRAINT: Final = re.compile(r"\s*(<=|>=|!=|<|>|=)?\s*(\S+)\s*")
_ORDER: Final[Mapping[str, Callable[[int], bool]]] = {
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
    "=": lambda order: order == 0,
    "!=": lambda order: order != 0,
}


def compare(one: str, other: str) -> int:
    """Return -1, 0 or 1 as `one` is older than, equal to or newer than `other`, in Debian's order.

    Source: Debian Policy 5.6.12; numbers without epoch or revision compare as people expect.
    """
    for left, right in zip(_split(one), _split(other), strict=True):
        order = _compare_part(left, right)
        if order:
            return order
    return 0


def judge(version: str, written: str, *, debian: bool) -> Verdict:
    """Say whether a version is in a range as an advisory writes it.

    Args:
        version: Of the component.
        written: `vers:deb/>=1.0|<1.2`, `vers:all/*`, `< 1.52`, or one version.
        debian: Whether the version is a Debian version with its revision.
    """
    text = written.strip()[:RANGE_CHARS_MAX]
    kind, slash, body = text.removeprefix("vers:").partition("/")
    if text.startswith("vers:") and slash:
        if body == "*":
            return Verdict.INSIDE
        if (kind == "deb") != debian:
            return Verdict.UNDECIDED  # Two numberings that do not compare.
        text = body
    constraints = [_CONSTRAINT.fullmatch(part) for part in text.split("|")[:PARTS_MAX]]
    known = _DEBIAN if debian else _PLAIN
    if not known.fullmatch(version):
        return Verdict.UNDECIDED
    found: list[tuple[str, int]] = []
    for constraint in constraints:
        if constraint is None or not known.fullmatch(constraint[2]):
            return Verdict.UNDECIDED
        found.append((constraint[1] or "=", compare(version, constraint[2])))
    return Verdict.INSIDE if _inside(found) else Verdict.OUTSIDE


def _inside(found: list[tuple[str, int]]) -> bool:
    """Judge the constraints of a range: equals are alternatives, lower and upper bounds pairs."""
    if any(sign == "!=" and order == 0 for sign, order in found):
        return False
    if any(sign == "=" and order == 0 for sign, order in found):
        return True
    lower: tuple[str, int] | None = None
    bounds = [(sign, order) for sign, order in found if sign not in ("=", "!=")]
    for sign, order in bounds:
        if sign in (">", ">="):
            lower = sign, order
        else:
            if _ORDER[sign](order) and (lower is None or _ORDER[lower[0]](lower[1])):
                return True
            lower = None
    return lower is not None and _ORDER[lower[0]](lower[1])


def _split(version: str) -> tuple[str, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if dash else (epoch, rest, "0")


def _compare_part(one: str, other: str) -> int:
    pairs = zip_longest(_runs(one), _runs(other), fillvalue=("", 0))
    for (words, number), (other_words, other_number) in pairs:
        left, right = _weights(words), _weights(other_words)
        if left != right:
            return -1 if left < right else 1
        if number != other_number:
            return -1 if number < other_number else 1
    return 0


def _runs(text: str) -> list[tuple[str, int]]:
    """Return pairs of text and number, as `1.2~rc1` is ("", 1), (".", 2), ("~rc", 1)."""
    found = re.findall(r"(\D*)(\d*)", text)
    return [(words, int(number or 0)) for words, number in found if words or number]


def _weights(words: str) -> list[int]:
    """Return the order of characters: tilde before the end, the end before letters, then others."""
    return [
        *(-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in words),
        0,
    ]
