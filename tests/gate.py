"""The gate: format, lint, types, import contracts, tests. `--quick` leaves out what is slow.

Prints one line per step with its time and, at the end, pytest's own closing line. Stops at the
first step that fails and exits with its code.
"""

import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
CODE = ("src", "tests", "benchmarks", "requirements")
STATIC = (
    ("format", (BIN / "ruff", "format", "--check", "--quiet", *CODE)),
    ("lint", (BIN / "ruff", "check", "--quiet", *CODE)),
    ("types", (BIN / "pyright",)),
    ("import contracts", (BIN / "lint-imports", "--no-cache")),
)
BY_FILE = ("--dist", "loadfile", "--no-loadscope-reorder")
QUICK = (
    ("unit tests", (BIN / "pytest", "tests/unit", "-q", "-n", "2", "-m", "not slow and not root")),
)
FULL = (
    # What measures time or memory runs alone; everything else shares the cores, a file at a time,
    # so that what a file's tests share (a hub, a ward, a browser) is started once.
    (
        "tests",
        (BIN / "pytest", "-q", "-n", "2", *BY_FILE, "-m", "not alone", "--durations", "40"),
    ),
    ("tests that measure", (BIN / "pytest", "-q", "-m", "alone")),
)


def run(name: str, command: tuple[str | Path, ...]) -> None:
    """Run one step; show its output only if it fails, except for the tests."""
    started = time.monotonic()
    print(f"-- {name}", flush=True)
    quiet = "test" not in name
    done = subprocess.run(command, check=False, capture_output=quiet, text=True)
    if done.returncode:
        if quiet:
            print(done.stdout, done.stderr, sep="\n")
        print(f"-- {name} FAILED after {time.monotonic() - started:.0f} s")
        sys.exit(done.returncode)
    print(f"-- {name}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    for step in STATIC + (QUICK if "--quick" in sys.argv else FULL):
        run(*step)
