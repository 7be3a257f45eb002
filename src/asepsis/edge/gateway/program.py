"""What every process of a gateway does at its beginning: its one argument, its log, its exit code.

And how it says that it is ready: a JSON file in `run/` under the gateway's data folder.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn

from asepsis.core.errors import AsepsisError, ConfigError
from asepsis.edge.gateway.families import EXIT_CONFIG
from asepsis.edge.gateway.settings import Settings, read_settings

EXIT_FAILED: Final = 1


def run_program(module: str, arguments: list[str], start: Callable[[Settings], int | None]) -> int:
    """Run a process of one settings file; return its exit code.

    Args:
        module: What `python -m` started, for the line on usage.
        arguments: One: the path of `gateway.toml`.
        start: What it does until SIGTERM; its exit code, None for 0.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    if len(arguments) != 1:
        sys.stderr.write(f"usage: python -m {module} <gateway.toml>\n")
        return EXIT_CONFIG
    try:
        return start(read_settings(Path(arguments[0]))) or 0
    except AsepsisError as error:
        return exit_code(error)


def exit_code(error: AsepsisError) -> int:
    """Say an error on standard error and return the exit code that it means."""
    sys.stderr.write(f"{error.code}: {error}\n")
    return EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED


def be_helper(work: Callable[[], None]) -> NoReturn:
    """Do the work of a forked process and end it: nothing of the parent's runs here afterwards.

    A terminal's signals are for the parent; this process ends when the parent hangs up.
    """
    code = EXIT_FAILED
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        work()
        code = 0
    except AsepsisError as error:
        code = exit_code(error)
    finally:
        sys.stderr.flush()
        os._exit(code)


def say_ready(path: Path, document: Mapping[str, object]) -> None:
    """Write what runs into a file of the gateway's `run` folder, whole or not at all.

    Raises:
        OSError: The disk's word.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps(document), "utf-8")
    aside.replace(path)
