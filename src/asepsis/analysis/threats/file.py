"""From what a YAML file says to a model: every mistake with file, line and the nearest right name.

Source: the JSON schema (`asepsis threats schema`) is made of the same types.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import chain
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec.inspect import Field, StructType, type_info

from asepsis.analysis.threats.model import DOES, REFERENCES, SECTIONS, Effect, LevelOf, Model
from asepsis.analysis.threats.reading import Text, read_text
from asepsis.core.errors import InputError, LimitExceeded

THINGS_MAX: Final = 200_000
_ID: Final = re.compile(r"^[a-z][a-z0-9_-]{0,63}$")
_PARTIES: Final = ("hospital", "vendor")
_TOP: Final = {"asepsis", "name", "currency", "text", "years", "rules", "derived"}
_PARTS: Final[dict[tuple[str, str], type]] = {
    ("countermeasures", "levels"): LevelOf,
    ("countermeasures", "effects"): Effect,
}
_MONEY: Final = frozenset({"value", "money", "once", "yearly", "harm_money"})


def read_model(raw: bytes, *, name: str) -> tuple[Model, Text]:
    """Read and check a model.

    Args:
        raw: YAML.
        name: Of the file, for people.

    Returns:
        The model, and the text it came from, which knows lines.

    Raises:
        InputError: A mistake, with its line.
        LimitExceeded: Too large.
    """
    text = read_text(raw, name=name)
    return model_of(text), text


def model_of(text: Text) -> Model:
    """Check what files say, such as a model with what is derived under it (`seeding.merged`).

    Raises:
        InputError: A mistake, with its line.
        LimitExceeded: Too large.
    """
    for problem in _mistakes(text):
        raise problem
    model = _converted(text)
    # In this order and one by one: contradictions are only looked for where nothing dangles.
    for problem in chain(_dangling(model, text), _contradictions(model, text)):
        raise problem
    return model


def schema() -> dict[str, Any]:
    """Return the JSON schema of a model."""
    found = msgspec.json.schema(Model)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Threat model of a fleet",
        **found,
    }


def money(text: str | None) -> Fraction:
    """Return the amount of a checked money text; 0 for none."""
    return Fraction(text.split()[0]) if text else Fraction(0)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, or some of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(names[:24])}" if names else "there is none"


def _fields(kind: type) -> dict[str, Field]:
    info = type_info(kind)
    assert isinstance(info, StructType)  # noqa: S101 - every section is one
    return {field.name: field for field in info.fields}


def _mistakes(text: Text) -> Iterator[InputError]:
    """Yield what is unknown or missing, before types are looked at."""
    content = text.content
    yield from _unknown(text, "", content, {*_TOP, *SECTIONS})
    for key in ("asepsis", "name", "currency"):
        if key not in content:
            yield text.error(key, f"{key!r} is missing", hint='begin with "asepsis: threats/1"')
    for section, kind in SECTIONS.items():
        things = _table(content.get(section) or {})
        if things is None:
            yield text.error(section, "is a table of things by their ids")
            continue
        if len(things) > THINGS_MAX:
            raise LimitExceeded(f"{text.where(section)}: over {THINGS_MAX} {section}")
        for name, thing in things.items():
            yield from _id(text, section, name)
            yield from _thing(text, section, f"{section}.{name}", thing, kind)


def _id(text: Text, section: str, name: str) -> Iterator[InputError]:
    path = f"{section}.{name}"
    if section == "budgets":
        if name not in _PARTIES:
            yield text.error(path, f"no party {name!r}", hint=nearest(name, _PARTIES))
    elif section != "estimates" and not _ID.match(name):
        yield text.error(path, "an id is a word of a-z, 0-9, - and _, at most 64")


def _thing(text: Text, section: str, path: str, value: Any, kind: type) -> Iterator[InputError]:
    thing = _table(value)
    if thing is None:
        yield text.error(path, "is a table")
        return
    fields = _fields(kind)
    yield from _unknown(text, path, thing, fields)
    for name, field in fields.items():
        if field.required and name not in thing:
            yield text.error(path, f"{name!r} is missing")
    for (of, name), part in _PARTS.items():
        for index, item in enumerate(_list(thing.get(name)) if of == section else ()):
            yield from _unknown(text, f"{path}.{name}.{index}", _table(item) or {}, _fields(part))
    yield from _currencies(text, path, thing)


def _currencies(text: Text, path: str, value: Any) -> Iterator[InputError]:
    for key, item in (_table(value) or {}).items():
        if key in _MONEY and not isinstance(item, str) and item is not None:
            example = f"{item} {text.content.get('currency', 'EUR')}"
            yield text.error(f"{path}.{key}", "money without a currency", hint=f"{example!r}?")
        else:
            yield from _currencies(text, f"{path}.{key}", item)
    for index, item in enumerate(_list(value)):
        yield from _currencies(text, f"{path}.{index}", item)


def _unknown(
    text: Text, path: str, table: Mapping[str, Any], known: Iterable[str]
) -> Iterator[InputError]:
    names = set(known)
    for key in table:
        if key not in names:
            here = f"{path}.{key}".lstrip(".")
            yield text.error(here, f"unknown key {key!r}", hint=nearest(key, names))


def _converted(text: Text) -> Model:
    parts: dict[str, Any] = {}
    for section, kind in SECTIONS.items():
        things = _table(text.content.get(section)) or {}
        parts[section] = {
            name: convert_part(text, f"{section}.{name}", thing, kind)
            for name, thing in things.items()
        }
    top = {key: text.content[key] for key in _TOP & text.content.keys()}
    return msgspec.structs.replace(convert_part(text, "", top, Model), **parts)


_Kind = TypeVar("_Kind")


def convert_part(text: Text, path: str, value: Any, kind: type[_Kind]) -> _Kind:
    """Return a part of a file as its type.

    Raises:
        InputError: It is not; says the line.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        words, _, where = str(error).partition(" - at `$")
        inner = where.rstrip("`").replace("[", ".").replace("]", "").replace("....", "")
        here = f"{path}{inner}".lstrip(".")
        raise text.error(here, words.replace("`", "")) from error


def _dangling(model: Model, text: Text) -> Iterator[InputError]:
    for (section, field), target in REFERENCES.items():
        for name, thing in getattr(model, section).items():
            value = getattr(thing, field)
            words = (value,) if isinstance(value, str) else value or ()
            yield from _named(model, text, f"{section}.{name}.{field}", target, words)


def _contradictions(model: Model, text: Text) -> Iterator[InputError]:
    yield from _compartments(model, text)
    yield from _losses(model, text)
    yield from _countermeasures(model, text)
    for path, value in _amounts(text.content, ""):
        if not value.endswith(model.currency):
            yield text.error(path, f"{value!r} is not in {model.currency}, the model's currency")


def _compartments(model: Model, text: Text) -> Iterator[InputError]:
    for name, device in model.devices.items():
        if device.critical is not None and device.critical not in device.compartments:
            yield text.error(
                f"devices.{name}.critical",
                f"{device.critical!r} is none of its compartments",
                hint=nearest(device.critical, device.compartments),
            )
    for name, service in model.services.items():
        known = model.devices[service.device].compartments
        if service.compartment is not None and service.compartment not in known:
            yield text.error(
                f"services.{name}.compartment",
                f"{service.device!r} has no compartment {service.compartment!r}",
                hint=nearest(service.compartment, known),
            )


def _losses(model: Model, text: Text) -> Iterator[InputError]:
    for name, loss in model.losses.items():
        wanted = "asset" if loss.harm == "data-theft" else "function"
        if getattr(loss, wanted) is None:
            yield text.error(f"losses.{name}", f"{loss.harm} needs a {wanted!r}")
        if not (loss.money or loss.hours or loss.patients):
            yield text.error(f"losses.{name}", "says neither money nor hours nor patients")


def _countermeasures(model: Model, text: Text) -> Iterator[InputError]:
    things = {n for section in SECTIONS for n in getattr(model, section)}
    for name, control in model.countermeasures.items():
        path = f"countermeasures.{name}"
        if not control.levels:
            yield text.error(f"{path}.levels", "at least one level")
        yield from _does(model, text, f"{path}.levels", control.levels)
        for index, effect in enumerate(control.effects):
            here = f"{path}.effects.{index}"
            yield from _effect(model, text, here, effect, things)
            if len(effect.factors) != len(control.levels):
                yield text.error(here, f"one factor for each of {len(control.levels)} levels")
    yield from _needs(model, text)


def _does(model: Model, text: Text, path: str, levels: Iterable[LevelOf]) -> Iterator[InputError]:
    for number, level in enumerate(levels):
        for field, section in DOES.items():
            here = f"{path}.{number}.does.{field}"
            yield from _named(model, text, here, section, getattr(level.does, field))


def _named(
    model: Model, text: Text, path: str, section: str, words: Iterable[str]
) -> Iterator[InputError]:
    known = getattr(model, section)
    for word in words:
        if word not in known:
            problem = f"there is no {word!r} in {section}"
            yield text.error(path, problem, hint=nearest(word, known))


def _effect(
    model: Model, text: Text, here: str, effect: Effect, things: set[str]
) -> Iterator[InputError]:
    if bool(effect.steps) == (effect.loss is not None):
        yield text.error(here, "names either steps or a loss")
    if effect.loss is not None and effect.loss not in model.losses:
        hint = nearest(effect.loss, model.losses)
        yield text.error(f"{here}.loss", f"there is no {effect.loss!r}", hint=hint)
    for word in effect.on:
        if word not in things:
            hint = nearest(word, things)
            yield text.error(f"{here}.on", f"there is no {word!r}", hint=hint)


def _needs(model: Model, text: Text) -> Iterator[InputError]:
    """Yield what can never be taken: it needs, over others, what conflicts with it or itself."""
    for name, control in model.countermeasures.items():
        chain, open_ = {name: name}, [name]
        while open_:
            here = open_.pop()
            for other in model.countermeasures[here].needs:
                if other == name:
                    words = f"{chain[here]} -> {name}"
                    yield text.error(
                        f"countermeasures.{name}.needs", f"prerequisites in a circle: {words}"
                    )
                elif other not in chain:
                    chain[other] = f"{chain[here]} -> {other}"
                    open_.append(other)
        for other in control.conflicts:
            if other in chain:
                yield text.error(
                    f"countermeasures.{name}.conflicts", f"needs {other!r} and conflicts with it"
                )


def _amounts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    for key, item in (_table(value) or {}).items():
        here = f"{path}.{key}".lstrip(".")
        if key in _MONEY and isinstance(item, str):
            yield here, item
        else:
            yield from _amounts(item, here)
    for index, item in enumerate(_list(value)):
        yield from _amounts(item, f"{path}.{index}")


def _table(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
