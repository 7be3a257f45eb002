"""Our own device behind the contract of `asepsis conform device`.

`python -m asepsis.tools.conformance.own_device enrol|run ...` hands the contract's words on to the
commands `asepsis enrol device` and `asepsis device run`. A maker's own adapter looks like this one.
"""

import os
import sys
from typing import Final

COMMANDS: Final = {"enrol": ("enrol", "device"), "run": ("device", "run")}
EXIT_USAGE: Final = 5


def translated(arguments: list[str]) -> list[str]:
    """Return the arguments of `asepsis` for those of the contract; empty if they are none."""
    if not arguments or arguments[0] not in COMMANDS:
        return []
    words = list(arguments[1:])
    if "--name" in words:
        at = words.index("--name")
        name = words[at + 1]
        words = [name, *words[:at], *words[at + 2 :]]
    return [*COMMANDS[arguments[0]], *words]


def main() -> int:
    """Become the command."""
    words = translated(sys.argv[1:])
    if not words:
        sys.stderr.write("usage: own_device enrol|run ... (see docs/reference/conform.md)\n")
        return EXIT_USAGE
    command = [sys.executable, "-m", "asepsis.cli.main", *words]
    return os.execv(sys.executable, command)  # noqa: S606 - our own interpreter and module


if __name__ == "__main__":
    sys.exit(main())
