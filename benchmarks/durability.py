"""Nothing acknowledged is ever lost: the hub under kill -9, the journal under power cuts.

(a) A whole hub under load is killed again and again, and so is a bare journal. (b) The journal lies
on a disk of a User-Mode Linux guest; SIGKILL to the guest is a power cut: what the guest had not
synced to its disk is gone. The ledger of acknowledgements is kept outside, by us. The negative
control runs (b) with `synchronous=OFF` and must lose records, or the cuts prove nothing.

Needs for (b): packages user-mode-linux and e2fsprogs; no root.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from _durability_check import Damage, acknowledged, check
from _hub_kills import hub_kills
from _killing import run_and_kill
from _report import report

HERE = Path(__file__).resolve().parent
LOAD = HERE / "_durability_load.py"
GUEST_INIT = HERE / "uml" / "init.sh"
DISK_BYTES = 1 << 30
ALIVE_S = (0.3, 2.5)
"""A cut comes at a random moment in this range after the first acknowledgement."""

CONTROL_CUTS_MAX = 5
"""Cuts after which a negative control that lost nothing fails."""

Attack = Callable[[Path, str], bytes]
"""Runs the load on a folder and kills it; returns its output."""


def kill_load(folder: Path, synchronous: str) -> bytes:
    """Load a journal on this machine and kill -9 the process."""
    command = [sys.executable, str(LOAD), str(folder), str(folder / "passphrase"), synchronous]
    return run_and_kill(command, alive_s=random.uniform(*ALIVE_S))


def cut_power(folder: Path, synchronous: str) -> bytes:
    """Load the journal in the guest, cut its power, and bring its disk's files into `folder`."""
    image = folder / "disk.img"
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        _quiet(["mke2fs", "-q", "-t", "ext4", "-E", "root_owner", str(image)])
    output = run_and_kill(
        _guest_command(image, folder / "passphrase", synchronous),
        alive_s=random.uniform(*ALIVE_S),
        env={"TMPDIR": str(folder), "PATH": os.environ["PATH"], "HOME": str(folder)},
    )
    # What a restart does: replay the file system's log, then look at the files.
    _quiet(["e2fsck", "-fy", str(image)], good=(0, 1))
    for name in ("journal", "keys", "salt"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).unlink(missing_ok=True)
    _quiet(["debugfs", "-R", f"rdump /journal /keys {folder}", str(image)])
    _quiet(["debugfs", "-R", f"dump /salt {folder / 'salt'}", str(image)])
    return output


def cycles(attack: Attack, modes: Sequence[str], *, name: str) -> Damage:
    """Attack one journal again and again, checking it against the whole ledger each time.

    Args:
        attack: What to do to it.
        modes: Value of `synchronous` for each attack.
        name: For the reader of the output.
    """
    with tempfile.TemporaryDirectory(prefix="durability-") as temporary:
        folder = Path(temporary)
        passphrase_file = folder / "passphrase"
        passphrase_file.write_text("a passphrase of the benchmark")
        passphrase_file.chmod(0o600)
        ledger: set[tuple[str, str, int, int]] = set()
        damage = Damage()
        for n, synchronous in enumerate(modes, 1):
            ledger |= acknowledged(attack(folder, synchronous))
            damage = check(folder, passphrase_file, ledger)
            print(
                f"{name} {n}/{len(modes)}, synchronous={synchronous}:"
                f" {damage.acknowledged} acknowledged, {damage.held} held,"
                f" {damage.missing} missing, {damage.twice} twice, {damage.changed} changed,"
                f" {damage.miscounted} accounts miscounted {' '.join(damage.examples)}",
                flush=True,
            )
            if damage.total:
                break  # Whatever comes after it rests on a damaged journal.
        return damage


def control() -> int:
    """Return how many acknowledged records the cuts take from a journal that does not sync.

    The journal is sound before: its first load syncs and survives its cut.
    """
    for _ in range(CONTROL_CUTS_MAX):
        damage = cycles(cut_power, ["FULL", "OFF"], name="control")
        if damage.missing:
            return damage.missing
    return 0


def _guest_command(image: Path, passphrase_file: Path, synchronous: str) -> list[str]:
    return [
        "linux.uml",
        "mem=256M",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"ubd0={image}",
        f"init={GUEST_INIT}",
        "con0=null,fd:1",
        "con=null",
        "quiet",
        f"bench_python={sys.executable}",
        f"bench_path={HERE.parent / 'src'}",
        f"bench_load={LOAD}",
        f"bench_passphrase={passphrase_file}",
        f"bench_synchronous={synchronous}",
    ]


def _quiet(command: list[str], good: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in good:
        raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")


def main() -> int:
    """Run the benchmark; 0 if nothing was lost and the control lost something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="times kill -9 of each (default 20)")
    parser.add_argument("--cuts", type=int, default=20, help="power cuts (default 20)")
    options = parser.parse_args()
    hub = hub_kills(options.kills)
    killed = cycles(kill_load, ["FULL"] * options.kills, name="kill -9")
    cut = cycles(cut_power, ["FULL"] * options.cuts, name="power cut")
    lost_by_control = control()
    damage = hub.total + killed.total + cut.total
    proven = damage == 0 and lost_by_control > 0 and hub.acknowledged > 0
    report(
        "durability",
        damage,
        "acknowledged records lost, doubled, changed or miscounted",
        peer="the same cuts with synchronous=OFF (must lose)",
        peer_value=lost_by_control,
        target=0,
        higher_is_better=False,
        met=proven,
        kills=options.kills,
        cuts=options.cuts,
        acknowledged=hub.acknowledged + killed.acknowledged + cut.acknowledged,
        acknowledged_by_hub=hub.acknowledged,
    )
    return 0 if proven else 1


if __name__ == "__main__":
    sys.exit(main())
