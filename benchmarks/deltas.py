"""Differences between two versions of a component: bytes, time and memory, beside other tools.

The pairs are Debian packages of two dates, unpacked, as they come from the mirror; bsdiff, xdelta3
and `zstd --patch-from` are taken from there too and only unpacked. Ours is what the engine finds
smallest among its ways.

Needs a mirror of Debian: .venv/bin/python benchmarks/deltas.py [--pair OLD NEW]...
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _report import report
from asepsis.core.trust.delta import Method
from asepsis.tools.deltas.measuring import measure

PAIRS = {
    "libc6": ("2.36-9+deb12u7", "2.36-9+deb12u14"),
    "libssl3": ("3.0.17-1~deb12u2", "3.0.22-1~deb12u2"),
}
PEERS = ("bsdiff", "xdelta3", "libdivsufsort3")
TARGET = 1.05
MIB = 1 << 20


def fetched(folder: Path, package: str) -> Path:
    """Return a package of the mirror, unpacked to a tar."""
    place = folder / package.replace("=", "_")
    place.mkdir()
    subprocess.run(
        ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package],
        cwd=place, check=True, capture_output=True,
    )  # fmt: skip
    [deb] = place.glob("*.deb")
    tar = place / "data.tar"
    with tar.open("wb") as file:
        subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], stdout=file, check=True)
    return tar


def programs(folder: Path) -> Path:
    """Unpack the peers' programs; returns their folder."""
    root = folder / "peers"
    for name in PEERS:
        place = folder / f"peer-{name}"
        place.mkdir()
        got = subprocess.run(
            ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name],
            cwd=place, check=False, capture_output=True,
        )  # fmt: skip
        if not got.returncode:
            [deb] = place.glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    return root


def peers(root: Path, old: Path, new: Path, folder: Path) -> dict[str, tuple[int, float]]:
    """Return tool -> (bytes, seconds) of those that are there."""
    out = folder / "peer.out"
    commands = {
        "bsdiff": [root / "usr/bin/bsdiff", old, new, out],
        "xdelta3 -9": [root / "usr/bin/xdelta3", "-9", "-f", "-e", "-s", old, new, out],
        "zstd -19 --patch-from": [
            "zstd", "-q", "-f", "-19", "--long=27", f"--patch-from={old}", new, "-o", out,
        ],
        "zstd -19": ["zstd", "-q", "-f", "-19", new, "-o", out],
    }  # fmt: skip
    found: dict[str, tuple[int, float]] = {}
    for name, command in commands.items():
        out.unlink(missing_ok=True)
        began_s = time.perf_counter()
        try:
            done = subprocess.run([str(word) for word in command], check=False, capture_output=True)
        except OSError:
            continue
        if not done.returncode:
            found[name] = (out.stat().st_size, time.perf_counter() - began_s)
    return found


def pair(name: str, old: Path, new: Path, root: Path, folder: Path) -> tuple[int, int, str]:
    """Measure one pair; returns our bytes, the best peer's, and its name."""
    ours = [one for one in measure(old, new, folder) if one.method is not Method.FULL]
    theirs = peers(root, old, new, folder)
    print(f"{name}: {old.stat().st_size / MIB:.1f} -> {new.stat().st_size / MIB:.1f} MiB")
    for one in ours:
        print(
            f"  ours {one.method:10} {one.packer:6} {one.size:10,} bytes, made {one.make_s:6.2f} s,"
            f" applied {one.apply_s:5.2f} s in {one.memory_bytes / MIB:.0f} MiB"
        )
    for tool, (size, took_s) in theirs.items():
        print(f"  {tool:24} {size:10,} bytes, made {took_s:6.2f} s")
    best = min(theirs, key=lambda tool: theirs[tool][0])
    return min(one.size for one in ours), theirs[best][0], best


def main() -> int:
    """Run; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pair", nargs=2, action="append", type=Path, metavar=("OLD", "NEW"))
    given = parser.parse_args().pair
    with tempfile.TemporaryDirectory(prefix="asepsis-deltas-") as made:
        folder = Path(made)
        root = programs(folder)
        pairs = {new.name: (old, new) for old, new in given or ()} or {
            name: (fetched(folder, f"{name}={old}"), fetched(folder, f"{name}={new}"))
            for name, (old, new) in PAIRS.items()
        }
        found = [pair(name, old, new, root, folder) for name, (old, new) in pairs.items()]
    worst = max(found, key=lambda one: one[0] / one[1])
    met = report(
        "deltas",
        worst[0] / worst[1],
        unit="of the best tool's bytes, worst pair",
        peer=worst[2],
        peer_value=1.0,
        target=TARGET,
        higher_is_better=False,
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
