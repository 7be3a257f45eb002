"""Reads a manifest from TOML, strictly: every mistake with file, line and the nearest right name.

Standard library only, because a device reads its own manifest at its start.

Source: TOML 1.0.0; standard/schemas/manifest.json.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from typing import Any, Final, TypeVar, cast

from asepsis.core.errors import ConfigError
from asepsis.core.model import manifest as model
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.manifest import (
    Compartment,
    Confirmation,
    Criticality,
    Document,
    Endpoint,
    Line,
    Manifest,
    Request,
    Resources,
    Ring,
    Rung,
    Update,
    Zone,
)
from asepsis.core.model.manifest_lines import locate
from asepsis.core.model.manifest_rules import nearest, problems
from asepsis.core.model.syscall_class import SyscallClass

MANIFEST_BYTES_MAX: Final = 65_536
_CODE: Final = r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,7}"
_PATH: Final = r"[a-z0-9][a-z0-9._-]{0,63}"
_STATES: Final = {state.name.lower().replace("_", "-"): state for state in ClinicalState}
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "version": (1, 1_000_000),
    "bytes_max": (1, 4_096),
    "per_minute_max": (1, 60),
    "user": (1, 2**31 - 2),
    "channels": (0, 64),
    "memory_mib": (16, 65_536),
    "files": (8, 65_536),
    "file_mib": (0, 1_048_576),
    "tasks": (1, 4_096),
    "cpu_percent": (1, 6_400),
    "nice": (-20, 19),
    "oom_score": (-1_000, 1_000),
    "realtime": (0, model.REALTIME_MAX),
    "silence_s": (0.5, 3_600),
    "restart_s_max": (0.1, 60),
}
_ENUMS: Final[Mapping[str, type[Enum]]] = {
    "criticality": Criticality,
    "syscalls": SyscallClass,
    "zone": Zone,
    "confirmed_by": Confirmation,
    "rung": Rung,
}
_FLAGS: Final = frozenset(
    {"secret", "optional", "on_demand", "device_file", "folder", "lock_memory"}
)
_SECONDS: Final = frozenset({"silence_s", "restart_s_max"})
_NAMES: Final = frozenset(
    {"reads", "writes", "says", "hears", "handed", "keeps", "endpoints", "requests", "self_tests"}
)
_Any = TypeVar("_Any")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """A manifest and where its parts stand.

    Attributes:
        name: Name of the file, for people.
        manifest: What it says.
        lines: Path of a key -> line, from 1.
    """

    name: str
    manifest: Manifest
    lines: Mapping[str, int]

    def where(self, path: str) -> str:
        """Return `file:line` of a path, or of the nearest table around it."""
        return f"{self.name}:{_line(self.lines, path)}"


def read_manifest(text: bytes, *, name: str = "manifest") -> ManifestFile:
    """Read a manifest.

    Args:
        text: TOML, UTF-8, at most `MANIFEST_BYTES_MAX` bytes.
        name: Name of the file, for errors.

    Raises:
        ConfigError: Larger, not TOML, an unknown key, a value out of range or a contradiction, with
            file and line. Broken safety claims are not judged here.

    Source: standard/schemas/manifest.json.
    """
    if len(text) > MANIFEST_BYTES_MAX:
        raise ConfigError(f"{name}: a manifest has at most {MANIFEST_BYTES_MAX} bytes")
    try:
        decoded = text.decode("utf-8")
        document = tomllib.loads(decoded)
    except RecursionError as error:
        raise ConfigError(f"{name}: nested too deeply") from error
    except ValueError as error:  # Not TOML, not UTF-8, or a number of thousands of digits.
        raise ConfigError(f"{name}:{_broken_line(text, error)}: not TOML: {error}") from error
    lines = locate(decoded)
    manifest = _Reader(name, lines).manifest(document)
    found = ManifestFile(name=name, manifest=manifest, lines=lines)
    for problem in problems(manifest):
        where = found.where(problem.path)
        raise ConfigError(f"{where}: {problem.path}: {problem.text}", hint=problem.hint)
    return found


def _broken_line(text: bytes, error: ValueError) -> int:
    """Return the line at which reading ended, from 1; the last one where it is not told."""
    if isinstance(error, UnicodeDecodeError):
        return text.count(b"\n", 0, error.start) + 1
    found = re.search(r"\(at line (\d+), column \d+\)$", str(error))
    return int(found[1]) if found else text.count(b"\n") + 1


def _line(lines: Mapping[str, int], path: str) -> int:
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        found = lines.get(".".join(parts[:length]))
        if found:
            return found
    return 1


class _Reader:
    """Turns tables into values; knows where it is, for errors."""

    def __init__(self, name: str, lines: Mapping[str, int]) -> None:
        self._name = name
        self._lines = lines

    def manifest(self, document: dict[str, Any]) -> Manifest:
        tables = {
            "compartment": self._compartment,
            "ring": self._plain(Ring),
            "line": self._plain(Line),
            "document": self._plain(Document),
            "endpoint": self._plain(Endpoint),
            "request": self._plain(Request),
        }
        head = {"format", "device", "version", "text"}
        self._refuse_unknown("", document, known=head | tables.keys())
        self._require("", document, head)
        if type(document["format"]) is not int or document["format"] != model.FORMAT:
            raise self._error("format", f"this reads format {model.FORMAT}")
        found = {kind: self._named(kind, document, build) for kind, build in tables.items()}
        if not found["compartment"]:
            raise self._error("compartment", "a device has at least one compartment")
        return Manifest(
            device=self._text("device", document["device"], pattern=model.NAME_PATTERN),
            version=self._number("version", document["version"]),
            text=self._text("text", document["text"]),
            compartments=found["compartment"],
            rings=found["ring"],
            lines=found["line"],
            documents=found["document"],
            endpoints=found["endpoint"],
            requests=found["request"],
        )

    def _named(
        self, kind: str, document: dict[str, Any], build: Callable[[str, str, dict[str, Any]], Any]
    ) -> dict[str, Any]:
        tables = self._table(kind, document.get(kind, {}))
        limit = model.COMPARTMENTS_MAX if kind == "compartment" else model.THINGS_MAX
        if len(tables) > limit:
            raise self._error(kind, f"at most {limit} of them")
        found: dict[str, Any] = {}
        for name, table in tables.items():
            path = f"{kind}.{name}"
            self._name_of(path, name)
            if kind == "compartment" and name in model.RESERVED:
                raise self._error(path, f'"{name}" names something else in every device')
            found[name] = build(name, path, self._table(path, table))
        return found

    def _plain(self, kind: type[_Any]) -> Callable[[str, str, dict[str, Any]], _Any]:
        def build(name: str, path: str, table: dict[str, Any]) -> _Any:
            values: dict[str, Any] = {"name": name, **self._values(kind, path, table)}
            return kind(**values)

        return build

    def _compartment(self, name: str, path: str, table: dict[str, Any]) -> Compartment:
        values = self._values(Compartment, path, table)
        for key, kind in (("update", Update), ("resources", Resources)):
            inner = f"{path}.{key}"
            values[key] = kind(**self._values(kind, inner, self._table(inner, table[key])))
        return Compartment(name=name, **values)

    def _values(self, kind: type[Any], path: str, table: dict[str, Any]) -> dict[str, Any]:
        """Return the values of a table whose keys are the attributes of a type."""
        attributes = [field for field in fields(kind) if field.name != "name"]
        self._refuse_unknown(path, table, known={field.name for field in attributes})
        self._require(path, table, {f.name for f in attributes if f.default is MISSING})
        return {key: self._value(f"{path}.{key}", key, value) for key, value in table.items()}

    def _value(self, path: str, key: str, value: object) -> Any:
        found: Any = value  # Tables within are read by `_compartment`.
        if key in _ENUMS:
            found = self._word(path, value, {str(m.value): m for m in _ENUMS[key]})
        elif key in _FLAGS:
            found = self._flag(path, value)
        elif key in _RANGES:
            found = self._number(path, value)
        elif key in _NAMES:
            found = self._list(path, value, self._name_of)
        elif key == "ports":
            found = self._list(path, value, self._port)
        elif key == "when":
            found = self._list(path, value, lambda at, v: self._word(at, v, _STATES))
        elif key in ("text", "code", "path", "to"):
            patterns = {"code": _CODE, "path": _PATH, "to": model.NAME_PATTERN}
            found = self._text(path, value, pattern=patterns.get(key))
        return found

    def _text(self, path: str, value: object, *, pattern: str | None = None) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= model.TEXT_CHARS_MAX:
            raise self._error(path, f"a text of 1 to {model.TEXT_CHARS_MAX} characters")
        if not value.isprintable():
            raise self._error(path, "control characters are not taken")
        if pattern and not re.fullmatch(pattern, value):
            raise self._error(path, f'"{value}" is not of the form {pattern}')
        return value

    def _name_of(self, path: str, value: object) -> str:
        name = self._text(path, value, pattern=model.NAME_PATTERN)
        if len(name) > model.NAME_CHARS_MAX:
            raise self._error(path, f"a name has at most {model.NAME_CHARS_MAX} characters")
        return name

    def _number(self, path: str, value: object) -> Any:
        key = path.rpartition(".")[2]
        low, high = _RANGES[key]
        wanted = (int, float) if key in _SECONDS else (int,)
        # Asked this way round, because NaN lies in no range and beyond none.
        if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
            raise self._error(path, f"a number from {low} to {high}")
        return float(value) if key in _SECONDS else value

    def _port(self, path: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65_535:
            raise self._error(path, "a port from 1 to 65535")
        return value

    def _flag(self, path: str, value: object) -> bool:
        if not isinstance(value, bool):
            raise self._error(path, "true or false")
        return value

    def _word(self, path: str, value: object, known: Mapping[str, _Any]) -> _Any:
        if not isinstance(value, str) or value not in known:
            raise self._error(path, f"{value!r:.60} is none of these", nearest(str(value), known))
        return known[value]

    def _list(
        self, path: str, value: object, read: Callable[[str, object], _Any]
    ) -> tuple[_Any, ...]:
        if not isinstance(value, list):
            raise self._error(path, "a list")
        items = cast("list[object]", value)
        if len(items) > model.LIST_MAX:
            raise self._error(path, f"at most {model.LIST_MAX} entries")
        found = tuple(read(path, item) for item in items)
        if len(set(found)) != len(found):
            raise self._error(path, "an entry stands twice")
        return found

    def _table(self, path: str, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._error(path, "a table")
        return cast("dict[str, Any]", value)

    def _refuse_unknown(self, path: str, table: dict[str, Any], *, known: set[str]) -> None:
        for key in table:
            if key not in known:
                at = f"{path}.{key}".lstrip(".")
                raise self._error(at, f'unknown key "{key[:40]}"', nearest(key, known))

    def _require(self, path: str, table: dict[str, Any], keys: set[str]) -> None:
        missing = sorted(keys - table.keys())
        if missing:
            raise self._error(path or "format", f"{', '.join(missing)} must be there")

    def _error(self, path: str, text: str, hint: str = "") -> ConfigError:
        shown = path if path.isprintable() else ascii(path)
        where = f"{self._name}:{_line(self._lines, path)}"
        return ConfigError(f"{where}: {shown[:120]}: {text}", hint=hint)
