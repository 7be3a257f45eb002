"""How commands speak: tables and colour for people, JSON for scripts, exit codes for shells."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from asepsis.core.errors import AsepsisError

console: Final = Console(highlight=False)
problems: Final = Console(stderr=True, highlight=False)

EXIT_OK: Final = 0


def exit_code(error: AsepsisError) -> int:
    """Return 1 (input), 2 (trust), 3 (safety), 4 (transient) or 5 (configuration)."""
    return int(error.code[len("ASP-")]) or 1


def show_error(error: AsepsisError) -> int:
    """Print an error with its hint to standard error and return the exit code."""
    problems.print(Text(f"{error.code}: {error}", style="bold red"))
    if error.hint:
        problems.print(Text(f"  {error.hint}"))
    return exit_code(error)


def show_json(document: object) -> None:
    """Print one JSON document."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; texts from devices are shown as text, never as markup."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)


def show_facts(title: str, facts: Mapping[str, Any]) -> None:
    """Print names and values."""
    show_table(title, ("", ""), [(name.replace("_", " "), value) for name, value in facts.items()])
