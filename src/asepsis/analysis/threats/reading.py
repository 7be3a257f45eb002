"""Reads a threat model from YAML, with limits: plain values, and the line on which each stands.

The only place where YAML is read. It goes over the parser's events itself, so nothing is built but
texts, numbers, truth values, lists and tables: no tags, no anchors, no aliases (which can blow up a
small file), no two equal keys, no more than the limits below.

Source: YAML 1.2.
"""

# ruamel.yaml has no types of its own.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from asepsis.core.errors import InputError, LimitExceeded

MODEL_BYTES_MAX: Final = 16_777_216
DEPTH_MAX: Final = 8
TEXT_MAX: Final = 4_096
VALUES_MAX: Final = 2_000_000
_WORDS: Final = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What a file says.

    Attributes:
        name: Of the file, for people.
        content: Tables, lists, texts, numbers, truth values.
        lines: Path such as `devices.pump.zones` -> line, from 1.
        files: Path -> name of the file, where it is another one.
    """

    name: str
    content: dict[str, Any]
    lines: dict[str, int]
    files: dict[str, str] = field(default_factory=dict[str, str])

    def where(self, path: str) -> str:
        """Return `file:line` of a path, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return f"{self.files.get(path, self.name)}:{self.lines.get(path, 1)}"

    def error(self, path: str, problem: str, *, hint: str = "") -> InputError:
        """Return the error that says where."""
        return InputError(f"{self.where(path)}: {path}: {problem}", hint=hint)


def read_text(raw: bytes, *, name: str) -> Text:
    """Read one document whose top is a table.

    Args:
        raw: UTF-8, at most 16 MiB.
        name: Of the file, for people.

    Raises:
        InputError: No YAML of this form; says the line.
        LimitExceeded: Too large or too deep.
    """
    if len(raw) > MODEL_BYTES_MAX:
        raise LimitExceeded(f"{name}: {len(raw)} bytes; at most {MODEL_BYTES_MAX}")
    try:
        content = _Reader(name, YAML(typ="safe", pure=True).parse(raw.decode("utf-8"))).document()
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not UTF-8") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "no YAML"
        raise InputError(f"{name}:{line}: {problem}") from error
    return content


class _Reader:
    """Walks the events of one document."""

    def __init__(self, name: str, events: Iterator[Any]) -> None:
        self._name = name
        self._events = events
        self._lines: dict[str, int] = {}
        self._values = 0

    def document(self) -> Text:
        event = next(self._events)
        documents, content = 0, None
        while True:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._error(event, "one document, not several")
                content = self._value(next(self._events), "", 0)
            event = next(self._events, None)
            if event is None:
                break
        if not isinstance(content, dict):
            raise InputError(f"{self._name}:1: the top of a model is a table")
        return Text(name=self._name, content=cast("dict[str, Any]", content), lines=self._lines)

    def _value(self, event: Any, path: str, depth: int) -> Any:
        self._check(event, depth)
        if isinstance(event, ScalarEvent):
            return _scalar(event)
        if isinstance(event, SequenceStartEvent):
            return self._items(path, depth)
        if isinstance(event, MappingStartEvent):
            return self._table(path, depth)
        raise self._error(event, "not expected here")

    def _items(self, path: str, depth: int) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            here = f"{path}.{len(found)}"
            self._lines[here] = event.start_mark.line + 1
            found.append(self._value(event, here, depth + 1))
        return found

    def _table(self, path: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            self._check(event, depth)
            if not isinstance(event, ScalarEvent):
                raise self._error(event, "a key is a word")
            key = str(event.value)
            if key in found:
                raise self._error(event, f"{key!r} stands here twice")
            here = f"{path}.{key}".lstrip(".")
            self._lines[here] = event.start_mark.line + 1
            found[key] = self._value(next(self._events), here, depth + 1)
        return found

    def _check(self, event: Any, depth: int) -> None:
        self._values += 1
        if self._values > VALUES_MAX:
            raise LimitExceeded(f"{self._name}: over {VALUES_MAX} values")
        if depth > DEPTH_MAX:
            raise LimitExceeded(f"{self._at(event)}: nested deeper than {DEPTH_MAX}")
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise self._error(event, "no anchors and no aliases")
        if getattr(event, "tag", None) is not None:
            raise self._error(event, "no tags")
        if isinstance(event, ScalarEvent) and len(event.value) > TEXT_MAX:
            raise LimitExceeded(f"{self._at(event)}: a text of over {TEXT_MAX} characters")

    def _at(self, event: Any) -> str:
        return f"{self._name}:{event.start_mark.line + 1}"

    def _error(self, event: Any, problem: str) -> InputError:
        return InputError(f"{self._at(event)}: {problem}")


def _scalar(event: ScalarEvent) -> Any:
    """Return what a word means; quoted it is always a text."""
    word = str(event.value)
    if event.style in {"'", '"', "|", ">"}:
        return word
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    for kind in (int, float):
        if word[-1].isdigit() and word[0] in "+-.0123456789" and "_" not in word:
            try:
                return kind(word)
            except ValueError:
                continue
    return word
