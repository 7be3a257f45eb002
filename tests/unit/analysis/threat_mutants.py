"""Seeded changes of models: real ones of one field each, and those that only look different."""

import copy
import json
import random
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from msgspec.inspect import LiteralType, NoneType, StructType, UnionType, VarTupleType, type_info

from asepsis.analysis.threats.model import REFERENCES, SECTIONS

Document: TypeAlias = dict[str, Any]
ORDERED = {"levels", "factors"}
"""Lists whose order means something."""
MONEY = {"value", "money", "once", "yearly", "harm_money"}


def mutant(document: Document, place: str, rng: random.Random) -> Document | None:
    """Return a model that says one thing differently, at `section` or `section.field`.

    A section gains a copy of one of its things. None if nothing there can be changed.
    """
    made = copy.deepcopy(document)
    section, _, field = place.partition(".")
    things: dict[str, Any] = made[section]
    name = rng.choice(sorted(things))
    if not field:
        things[f"{name}-copy"] = copy.deepcopy(things[name])
        return made
    thing = things[name]
    value = thing[field]
    if isinstance(value, bool):
        thing[field] = not value
    elif isinstance(value, int):
        thing[field] = 1 if value > 1 else 9
    elif isinstance(value, tuple | list):
        words = tuple(cast("list[Any]", value))
        thing[field] = _toggled(words, _pool(made, section, field, thing), rng)
    else:
        pool = [word for word in _pool(made, section, field, thing) if word != value]
        if not pool:
            return None
        thing[field] = rng.choice(pool)
    return made


def _toggled(value: tuple[Any, ...], pool: Sequence[Any], rng: random.Random) -> tuple[Any, ...]:
    word = rng.choice([*pool, *value])
    return tuple(w for w in value if w != word) if word in value else (*value, word)


def _pool(made: Document, section: str, field: str, thing: Document) -> list[Any]:
    """Return what may stand in a field."""
    target = REFERENCES.get((section, field))
    optional, kind = _kind(section, field)
    if target is not None:
        found: list[Any] = sorted(made[target])
    elif isinstance(kind, LiteralType):
        found = list(kind.values)
    elif (section, field) == ("devices", "compartments"):
        found = ["extra"]
    elif (section, field) == ("devices", "critical"):
        found = list(thing["compartments"])
    else:
        assert (section, field) == ("services", "compartment")
        found = list(made["devices"][thing["device"]]["compartments"])
    return [*found, None] if optional else found


def _kind(section: str, field: str) -> tuple[bool, Any]:
    info = type_info(SECTIONS[section])
    assert isinstance(info, StructType)
    kind = next(f.type for f in info.fields if f.name == field)
    if isinstance(kind, VarTupleType):
        return False, kind.item_type
    if isinstance(kind, UnionType):
        others = [t for t in kind.types if not isinstance(t, NoneType)]
        return True, others[0]
    return False, kind


def rewritten(content: Document, rng: random.Random) -> str:
    """Return YAML that says the same in another order, style, with other texts and comments."""
    return "\n".join(_table(content, rng, 0)) + "\n"


def _table(table: Document, rng: random.Random, depth: int) -> list[str]:
    keys = list(table)
    rng.shuffle(keys)
    lines: list[str] = []
    indent = "  " * depth
    for key in keys:
        value: Any = table[key]
        if rng.random() < 0.1:
            lines.append(f"{indent}# {rng.randint(0, 999)} looked at: {key}")
        if isinstance(value, dict) and value and (depth < 1 or rng.random() < 0.5):
            inner = _told(cast("Document", value), rng, depth)
            lines += [f"{indent}{key}:", *_table(inner, rng, depth + 1)]
        else:
            words = _inline(key, value, rng)
            tail = rng.choice(["", "", "  # checked", " "])
            lines.append(f"{indent}{key}: {words}{tail}")
    return lines


def _told(table: Document, rng: random.Random, depth: int) -> Document:
    """Return a thing with other words about it; what is inside a section is a thing."""
    if depth != 1:
        return table
    told = dict(table)
    if rng.random() < 0.5:
        told["text"] = f"said in other words {rng.randint(0, 99)}"
    if rng.random() < 0.3:
        told["evidence"] = [f"seen on day {rng.randint(1, 99)}"]
    return told


def _inline(key: str, value: Any, rng: random.Random) -> str:
    if isinstance(value, dict):
        table = cast("Document", value)
        keys = list(table)
        rng.shuffle(keys)
        return "{" + ", ".join(f"{k}: {_inline(k, table[k], rng)}" for k in keys) + "}"
    if isinstance(value, list):
        items = list(cast("list[Any]", value))
        if key not in ORDERED:
            rng.shuffle(items)
            if items and isinstance(items[0], str) and rng.random() < 0.1:
                items.append(items[0])
        return "[" + ", ".join(_inline("", item, rng) for item in items) + "]"
    return _scalar(key, value, rng)


def _scalar(key: str, value: Any, rng: random.Random) -> str:
    if isinstance(value, bool):
        return rng.choice([str(value).lower(), str(value), str(value).upper()])
    if value is None:
        return rng.choice(["null", "~"])
    if isinstance(value, float):
        return rng.choice([repr(value), f"{value:.6f}"])
    if isinstance(value, int):
        return str(value)
    if key in MONEY and "." not in value:
        amount, currency = value.split()
        value = rng.choice([value, f"{amount}.00 {currency}", f"{amount}.0 {currency}"])
    plain = value.replace("-", "").replace("_", "").isalnum() and not value[0].isdigit()
    return value if plain and rng.random() < 0.5 else json.dumps(value)
