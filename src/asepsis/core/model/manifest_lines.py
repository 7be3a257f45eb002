"""Where keys stand in a TOML text: path -> line. The standard library's parser does not say.

Only for texts that the parser has taken. A key within an inline table has the line of the table.

Source: TOML 1.0.0.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final

_PIECE: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|'  # Strings first: brackets and line ends in them count for nothing.
    r"'''.*?'{3,5}|"
    r'"(?:[^"\\\n]|\\.)*"|'
    r"'[^'\n]*'|"
    r"#[^\n]*|[\[\]{}]|\n",
    re.DOTALL,
)
DEPTH: Final = {"[": 1, "{": 1, "]": -1, "}": -1}


def locate(text: str) -> dict[str, int]:
    """Return the line, from 1, of every table and key; the first where a path has several."""
    found: dict[str, int] = {}
    table = ""
    for line, statement in _statements(text):
        bare = statement.strip()
        if bare.startswith("["):
            table = _path(bare.strip("[]"))
            found.setdefault(table, line)
        else:
            key = _path(bare)
            found.setdefault(f"{table}.{key}".lstrip("."), line)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield first line and text of each header and each key with its value."""
    line = first = 1
    start = depth = 0
    parts: list[str] = []
    for piece in _PIECE.finditer(text + "\n"):
        word = piece.group()
        if word.startswith("#"):
            parts.append(text[start : piece.start()])
            start = piece.end()
        elif word == "\n" and not depth:
            parts.append(text[start : piece.start()])
            statement = "".join(parts)
            if statement.strip():
                yield first, statement
            parts, start = [], piece.end()
            first = line + 1
        depth += DEPTH.get(word, 0)
        line += word.count("\n")


def _path(statement: str) -> str:
    """Return the dotted key at the start of a statement or within a header."""
    head = re.match(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^="'])*""", statement)
    key = head.group().strip() if head else ""
    try:
        node: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return key
    names: list[str] = []
    while isinstance(node, dict):
        name = next(iter(node))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        names.append(str(name))  # pyright: ignore[reportUnknownArgumentType]
        node = node[name]  # pyright: ignore[reportUnknownVariableType]
    return ".".join(names)
