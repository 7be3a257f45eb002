"""Which of our own modules a device carries: what its entry points import, and nothing else."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError

PACKAGE: Final = "asepsis"


def closure(modules: Sequence[str], *, package: Path) -> dict[str, Path]:
    """Return modules with everything of ours that they import, inside functions too.

    Args:
        modules: Entry points by full name.
        package: Folder of the package `asepsis`.

    Raises:
        ConfigError: A module does not exist.
    """
    found: dict[str, Path] = {}
    open_ = list(modules)
    for name in modules:
        if _file(name, package) is None:
            raise ConfigError(f"the recipe names {name}, which does not exist")
    while open_:
        name = open_.pop()
        path = _file(name, package)
        if name in found or path is None:
            continue  # A name inside a module, not a module.
        found[name] = path
        parent = name.rpartition(".")[0]
        open_ += [parent] if parent else []
        open_ += list(_imports(ast.parse(path.read_text(encoding="utf-8"))))
    return dict(sorted(found.items()))


def imported_by(script: Path, *, package: Path) -> list[str]:
    """Return the modules of ours that a script imports, inside functions too.

    Args:
        script: Python source outside the package's own modules.
        package: Folder of the package `asepsis`.
    """
    names = set(_imports(ast.parse(script.read_text(encoding="utf-8"))))
    return sorted(name for name in names if _file(name, package) is not None)


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _ours(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and _ours(node.module):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _ours(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE


def _file(name: str, package: Path) -> Path | None:
    path = package.joinpath(*name.split(".")[1:])
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None
