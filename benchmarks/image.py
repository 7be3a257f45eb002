"""The image of a device: its size, and the time from power-on to the first vital sign.

Beside it Debian's own systems of the same mirror, packed by the same program, with no device in
them at all: the smallest one (`mmdebstrap --variant=minbase`) and the standard one. The machine is
QEMU's own processor, without KVM.

Run as root: .venv/bin/python benchmarks/image.py
"""

import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from _report import report
from asepsis.tools.attack.enrolled import HOST, enrolled
from asepsis.tools.imagebuild.boot import Trial, boot
from asepsis.tools.imagebuild.build import build_image
from asepsis.tools.imagebuild.programs import run

RECIPE = Path(__file__).parents[1] / "images/monitor"
EPOCH = 1_760_000_000
RUNS = 3
LIMIT_S = 120.0
MIB = 1 << 20
TARGET_ROOT_MIB = 12.0
PEERS = ("minbase", "standard")


def first_vitals_s(image: Path, device: Path) -> float:
    """Boot once and return the time to the first vital sign, by the clock of this machine."""
    began_s = time.monotonic()
    trial = Trial(image=image, device=device, limit_s=LIMIT_S)
    seen = boot(trial, until=lambda now: now.first_vitals_s is not None, tell=lambda _: None)
    if seen.first_vitals_s is None:
        raise SystemExit(f"no vital sign within {LIMIT_S:.0f} s: {seen.console[-3:]}")
    return time.monotonic() - began_s


def device_folder(folder: Path) -> Path:
    """Enrol a device at a hub that is not there, known by a name as a guest needs it."""
    made = enrolled(folder).path
    identity = made / "identity.json"
    identity.write_text(identity.read_text("utf-8").replace(HOST, "localhost"), "utf-8")
    return made


def debian_mib(work: Path, variant: str) -> float:
    """Return the size of a system of Debian, packed as our root is."""
    packed, tree = work / f"{variant}.img", work / variant
    run(("mmdebstrap", "--quiet", f"--variant={variant}", "--mode=root", "bookworm", tree))
    run(("mksquashfs", tree, packed, "-no-progress", "-comp", "zstd", "-Xcompression-level", "15"))
    shutil.rmtree(tree)
    return packed.stat().st_size / MIB


def main() -> int:
    """Measure and report; 1 if the root is larger than it may be."""
    with tempfile.TemporaryDirectory(prefix="asepsis-bench-image-") as made:
        work = Path(made)
        work.chmod(0o755)  # The fetching user of apt is another one.
        said = build_image(
            RECIPE,
            work / "image",
            epoch=EPOCH,
            keys=None,
            now=datetime.fromtimestamp(time.time(), UTC),
            progress=lambda _: None,
        )
        device = device_folder(work / "device")
        times = [first_vitals_s(work / "image", device) for _ in range(RUNS)]
        peers = {variant: debian_mib(work, variant) for variant in PEERS}
    root = said["root"]["bytes"] / MIB
    print(
        f"root {root:.2f} MiB, device {said['device_bytes'] / MIB:.2f} MiB, {said['files']} files"
    )
    print(f"Debian: {', '.join(f'{name} {size:.1f} MiB' for name, size in peers.items())}")
    print(f"first vital sign after {median(times):.1f} s (of {RUNS}: {min(times):.1f} s at best)")
    met = report(
        "image",
        root,
        "MiB",
        peer="Debian minbase",
        peer_value=peers["minbase"],
        target=TARGET_ROOT_MIB,
        higher_is_better=False,
        device_mib=round(said["device_bytes"] / MIB, 2),
        first_vitals_s=round(median(times), 2),
        first_vitals_best_s=round(min(times), 2),
        programs=len(said["programs"]),
        standard_mib=round(peers["standard"], 1),
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
