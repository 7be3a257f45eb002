"""The library of rules: those that come with Asepsis and those of a hospital or vendor.

A file of rules is TOML: tables `[[rules]]`. A model names the files of its own rules.
"""

import tomllib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Final, cast

from asepsis.analysis.threats.facts import vocabulary
from asepsis.analysis.threats.language import RULES_MAX, Rule, rule
from asepsis.core.errors import InputError, LimitExceeded

FILE_BYTES_MAX: Final = 1_048_576


def shipped() -> list[Rule]:
    """Return the rules that come with Asepsis."""
    folder = files("asepsis.analysis.threats") / "rules"
    found: list[Rule] = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            found += read_rules(file.read_bytes(), name=file.name)
    return _distinct(found)


def read_rules(raw: bytes, *, name: str) -> list[Rule]:
    """Read a file of rules.

    Raises:
        InputError: No rules; says which one and why.
        LimitExceeded: Too large.
    """
    known = vocabulary()
    return [rule(table, facts=known, where=name) for table in _tables(raw, name)]


def together(own: Sequence[Rule]) -> list[Rule]:
    """Return the shipped rules and somebody's own.

    Raises:
        InputError: An id that is taken.
        LimitExceeded: Over 1,000 rules.
    """
    return _distinct([*shipped(), *own])


def _tables(raw: bytes, name: str) -> Iterator[dict[str, Any]]:
    if len(raw) > FILE_BYTES_MAX:
        raise LimitExceeded(f"{name}: {len(raw)} bytes; at most {FILE_BYTES_MAX}")
    try:
        content = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{name}: {error}") from error
    for key in content.keys() - {"rules"}:
        raise InputError(f"{name}: unknown key {key!r}", hint="a file of rules has [[rules]]")
    tables: Any = content.get("rules", [])
    if not isinstance(tables, list):
        raise InputError(f"{name}: rules are written as [[rules]]")
    for table in cast("list[Any]", tables):
        if not isinstance(table, dict):
            raise InputError(f"{name}: rules are written as [[rules]]")
        yield cast("dict[str, Any]", table)


def _distinct(rules: list[Rule]) -> list[Rule]:
    if len(rules) > RULES_MAX:
        raise LimitExceeded(f"{len(rules)} rules; at most {RULES_MAX}")
    seen: set[str] = set()
    for found in rules:
        if found.id in seen:
            raise InputError(f"two rules are called {found.id}")
        seen.add(found.id)
    return rules
