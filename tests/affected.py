"""What a change can have broken: the unit tests and source files within reach of changed files.

Reach: the changed module itself and every module that imports it directly. A quick look, not the
gate: what leans on a change from further away is for the whole test run to find.
"""

import ast
import subprocess
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
UNIT = ROOT / "tests" / "unit"


def git(*words: str) -> list[str]:
    """Return the lines that a git command prints."""
    done = subprocess.run(("git", *words), cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def changed() -> list[Path]:
    """Return the Python files that differ from the last commit; on a clean tree, those in it."""
    names = git("diff", "--name-only", "HEAD") + git("ls-files", "--others", "--exclude-standard")
    if not names:
        names = git("show", "--name-only", "--format=", "HEAD")
    return [path for name in names if (path := ROOT / name).suffix == ".py" and path.exists()]


def module_of(path: Path) -> str:
    """Return the dotted name of a source file."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Return every dotted name that a file may import: `from a import b` gives `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{part.name}" for part in node.names)}
        elif isinstance(node, ast.Import):
            names |= {part.name for part in node.names}
    return names


def within_reach(files: list[Path]) -> set[str]:
    """Return the modules that changed or import one that did."""
    modules = {module_of(path) for path in files if path.is_relative_to(SOURCE)}
    graph = grimp.build_graph("asepsis", cache_dir=None)
    known = modules & graph.modules
    return modules | {
        user for name in known for user in graph.find_modules_that_directly_import(name)
    }


def unit_tests(files: list[Path], reach: set[str]) -> list[Path]:
    """Return the test files that changed, share a changed conftest, or import what is in reach."""
    homes = [path.parent for path in files if path.name == "conftest.py"]
    return [
        path
        for path in sorted(UNIT.rglob("test_*.py"))
        if path in files
        or any(path.is_relative_to(home) for home in homes)
        or imported(path) & reach
    ]


def sources(reach: set[str]) -> list[Path]:
    """Return the files of the modules in reach, for the type checker."""
    paths = (SOURCE / Path(*name.split(".")) for name in sorted(reach))
    return [
        file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py")
        if file.exists()
    ]  # fmt: skip
