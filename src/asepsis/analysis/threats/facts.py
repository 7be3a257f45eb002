"""What a model says as facts, one for each value of each field: nothing is left out, nothing added.

A thing is a fact, `devices(pump)`; a truth value is one if it is true, `updates.signed(u)`; a word,
a reference and each item of a list is one with two arguments, `services.auth(s, none)`. A number
above 1 is a fact without its value, `devices.count(pump)`. Texts and evidence are for people, and
addresses, ports and names of models for what is compiled from a plan: they are no facts, so that a
changed text or address changes nothing.
"""

from collections.abc import Iterator
from typing import Any, Final

from msgspec.inspect import StructType, type_info

from asepsis.analysis.threats.language import Atom
from asepsis.analysis.threats.model import FACT_SECTIONS, SECTIONS, Model

_SILENT: Final = frozenset(
    {"text", "evidence", "accepted_by", "accepted_on"}
    | {"models", "networks", "addresses", "target_ports"}
)
_NUMBERS: Final = frozenset({"count", "patients", "hours", "per_year", "accept"})
_OTHER: Final = frozenset({"money", "value"})


def facts(model: Model) -> Iterator[Atom]:
    """Yield every fact."""
    for section in FACT_SECTIONS:
        for name, thing in getattr(model, section).items():
            yield (section, name)
            for field in thing.__struct_fields__:
                if field not in _SILENT:
                    yield from _field(section, name, field, getattr(thing, field))


def _field(section: str, name: str, field: str, value: Any) -> Iterator[Atom]:
    if value is None or field in _OTHER:
        return
    if isinstance(value, bool):
        if value:
            yield (f"{section}.{field}", name)
    elif field in _NUMBERS:
        if value > 1:
            yield (f"{section}.{field}", name)
    elif isinstance(value, str):
        yield (f"{section}.{field}", name, value)
    else:
        for item in value:
            yield (f"{section}.{field}", name, item)


def vocabulary() -> dict[str, int]:
    """Return every fact that a model can have -> number of its arguments."""
    found: dict[str, int] = {}
    for section in FACT_SECTIONS:
        found[section] = 1
        info = type_info(SECTIONS[section])
        assert isinstance(info, StructType)  # noqa: S101 - every section is one
        for field in info.fields:
            if field.name in _SILENT | _OTHER:
                continue
            plain = isinstance(field.default, bool) or field.name in _NUMBERS
            found[f"{section}.{field.name}"] = 1 if plain else 2
    return found
