"""The gate: format, lint, types, import contracts, tests. `--quick` looks at what changed only.

Prints one line per step with its time and, at the end, pytest's own closing line. Stops at the
first step that fails and exits with its code.

Tests share two cores: two processes that work, and a third for tests that mostly wait or start a
virtual machine. When at most `UNSETTLED_MAX` of them fail, each of these runs once more with
nothing beside it: what fails again fails the gate; what passes is named as unstable, for somebody
to mend.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import affected

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
UNSETTLED_MAX = 5
CODE = ("src", "tests", "benchmarks", "requirements")
STATIC = (
    ("format", (BIN / "ruff", "format", "--check", "--quiet", *CODE)),
    ("lint", (BIN / "ruff", "check", "--quiet", *CODE)),
    ("types", (BIN / "pyright",)),
    ("import contracts", (BIN / "lint-imports", "--no-cache")),
)
BY_FILE = ("--dist", "loadfile", "--no-loadscope-reorder")
# What measures time or memory runs alone; everything else shares the cores, a file at a time, so
# that what a file's tests share (a hub, a ward, a browser) is started once.
WORKING = (
    *(BIN / "pytest", "-q", "-n", "2", *BY_FILE, "--durations", "40"),
    *("-m", "not alone and not waits", "-o", "cache_dir=.pytest_cache/working"),
)
WAITING = (
    *(BIN / "pytest", "-q", "--durations", "20"),
    *("-m", "waits and not alone", "-o", "cache_dir=.pytest_cache/waiting"),
)
ALONE = (BIN / "pytest", "-q", "-m", "alone", "-o", "cache_dir=.pytest_cache/alone")
UNIT = (BIN / "pytest", "-q", "-n", "2", "-m", "not slow and not root and not alone")


def attempt(name: str, command: tuple[str | Path, ...]) -> int:
    """Run one step and return its exit code; show its output only if it fails, or tests."""
    started = time.monotonic()
    print(f"-- {name}", flush=True)
    quiet = "test" not in name
    done = subprocess.run(command, check=False, capture_output=quiet, text=True)
    if done.returncode and quiet:
        print(done.stdout, done.stderr, sep="\n")
    end = f" FAILED after {time.monotonic() - started:.0f} s" if done.returncode else ""
    print(f"-- {name}{end or f': {time.monotonic() - started:.0f} s'}", flush=True)
    return done.returncode


def run(name: str, command: tuple[str | Path, ...]) -> None:
    """Run one step; a failure ends the gate."""
    if code := attempt(name, command):
        sys.exit(code)


def run_shared() -> None:
    """Run the tests that share the cores."""
    with tempfile.TemporaryFile("w+") as said:
        waiting = subprocess.Popen(WAITING, stdout=said, stderr=subprocess.STDOUT, text=True)
        codes = {"working": attempt("tests", WORKING), "waiting": waiting.wait()}
        said.seek(0)
        print("-- tests that wait, beside them", said.read(), sep="\n", flush=True)
    settle(codes)


def settle(codes: Mapping[str, int]) -> None:
    """End the gate if tests failed, after those few that did have run once more, alone.

    Args:
        codes: pytest's exit codes by cache.
    """
    if not any(codes.values()):
        return
    failed = [test for cache in codes for test in failed_in(cache)]
    if not set(codes.values()) <= {0, 1} or not 0 < len(failed) <= UNSETTLED_MAX:
        sys.exit(max(codes.values()))
    run("tests that failed, alone", (BIN / "pytest", "-q", *failed))
    for test in failed:
        print(f"-- UNSTABLE: {test} failed, and passed when it ran again: to be mended")


def failed_in(cache: str) -> list[str]:
    """Return the tests that failed in the last run with this cache."""
    kept = ROOT / ".pytest_cache" / cache / "v" / "cache" / "lastfailed"
    return list(json.loads(kept.read_text(encoding="utf-8"))) if kept.exists() else []


def full() -> None:
    """Run everything, as CI does."""
    for step in STATIC:
        run(*step)
    run_shared()
    settle({"alone": attempt("tests that measure", ALONE)})


def quick() -> None:
    """Run the style over everything; types and unit tests of what changed and what imports it."""
    files = affected.changed()
    reach = affected.within_reach(files)
    if sources := affected.sources(reach):
        run("types of what changed", (BIN / "pyright", *sources))
    for step in STATIC:
        if step[0] != "types":
            run(*step)
    if tests := affected.unit_tests(files, reach):
        run(f"unit tests in {len(tests)} files", (*UNIT, *tests))


if __name__ == "__main__":
    quick() if "--quick" in sys.argv else full()
