"""Makes every difference between two artefacts and measures it, each in a process of its own.

Memory is the peak of the process that applies, less what it had when it began.
"""

import hashlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, cast

from asepsis.core.errors import ConfigError, FramingError
from asepsis.core.trust import delta
from asepsis.core.trust.delta import Method
from asepsis.tools.deltas.choosing import Measured

WAYS: Final = ((Method.HDIFFPATCH, "lzma2"), (Method.HDIFFPATCH, "zstd"), (Method.ZSTD, ""))
TRIAL: Final = "asepsis.tools.deltas.measuring"
LIMIT_S: Final = 3_600.0
_KIB: Final = 1 << 10


def measure(old: Path, new: Path, into: Path) -> dict[Measured, Path]:
    """Return every way from old to new with the file that a device would fetch.

    Args:
        old: What devices have.
        new: What they are to have.
        into: Folder for the differences.

    Raises:
        ConfigError: A file cannot be read, or the folder not written.
        FramingError: A difference does not lead to the new artefact.
    """
    found: dict[Measured, Path] = {}
    for method, packer in WAYS:
        place = into / "-".join(filter(None, (new.name, method, packer)))
        place = place.with_name(place.name + ".delta")
        made = _trial("make", method, packer, old, new, place)
        applied = _trial("apply", method, packer, old, new, place)
        measured = Measured(
            method=method,
            packer=packer,
            size=place.stat().st_size,
            make_s=made["s"],
            apply_s=applied["s"],
            memory_bytes=applied["memory"],
        )
        found[measured] = place
    size = new.stat().st_size
    memory = delta.memory_bytes(Method.FULL, old=0, new=size, patch=0)
    full = Measured(method=Method.FULL, size=size, make_s=0, apply_s=0, memory_bytes=memory)
    return found | {full: new}


def _trial(
    what: str, method: Method, packer: str, old: Path, new: Path, place: Path
) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", TRIAL, what, method, packer, old, new, place]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            [str(word) for word in command], capture_output=True, check=False, timeout=LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError("a difference cannot be tried") from error
    if done.returncode:
        raise FramingError(f"{method} fails: {done.stderr.decode(errors='replace')[-200:]}")
    return cast("dict[str, Any]", json.loads(done.stdout))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}") from error


def main(arguments: list[str]) -> int:
    """Make or apply one difference and say time and memory; for `measure`."""
    what, method, packer, *places = arguments
    old, new, place = (Path(one) for one in places)
    before = _read(old)
    way = Method(method)
    if what == "make":
        after = _read(new)
        began_s, held = time.perf_counter(), _peak()
        content = delta.make(way, old=before, new=after, packer=packer)
        took_s = time.perf_counter() - began_s
        place.write_bytes(content)
    else:
        patch = _read(place)
        with new.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        began_s, held = time.perf_counter(), _peak()
        delta.apply(
            way,
            old=before,
            patch=patch,
            patch_sha256=hashlib.sha256(patch).hexdigest(),
            length=new.stat().st_size,
            sha256=sha256,
        )
        took_s = time.perf_counter() - began_s
        held -= len(before) + len(patch)  # A device holds these for the difference too.
    sys.stdout.write(json.dumps({"s": took_s, "memory": _peak() - held}))
    return 0


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
