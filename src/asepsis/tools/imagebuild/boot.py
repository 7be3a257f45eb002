"""Boots an image in a machine of QEMU's own processor, without KVM, and reads what it says.

Two machines: a plain one that starts the kernel directly (the root is verified all the same), and
one with firmware, Secure Boot and, where wanted, a TPM. The guest's network reaches nothing but the
hub's ports that are named.

Source: QEMU 7.2, invocation; EDK II OVMF README (secure boot with SMM).
"""

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from asepsis.core.errors import ConfigError, NotFound, Unavailable
from asepsis.edge.uplink.folder import IdentityFolder
from asepsis.tools.imagebuild import relay
from asepsis.tools.imagebuild.build import CMDLINE, INITRD, KERNEL, KEYS, LOADER, ROOT, SIGNED
from asepsis.tools.imagebuild.guest_init import MARK, MEDIUM
from asepsis.tools.imagebuild.programs import find, require, run
from asepsis.tools.imagebuild.secureboot import SecureBootKeys, enrol
from asepsis.tools.imagebuild.slots import Slot, make_partition, read_partition

QEMU: Final = "qemu-system-x86_64"
FIRMWARE: Final = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
VARIABLES: Final = "/usr/share/OVMF/OVMF_VARS_4M.fd"
MEMORY_MIB: Final = 256
STATE_MIB: Final = 160
GUEST: Final = "10.0.2.15"
HUB: Final = "10.0.2.100"
"""Address in the guest's network behind which the hub's ports are."""
PREFIX: Final = 24
PARTITION: Final = "partition.img"
LINES_MAX: Final = 100_000
LINE_BYTES_MAX: Final = 65_536
SMALL: Final = ("-M", "pc")
FULL: Final = (
    *("-M", "q35,smm=on"),
    *("-global", "driver=cfi.pflash01,property=secure,value=on"),
)
REFUSED: Final = ("Access Denied", "Security Violation")
"""What the firmware writes when a signature does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How to boot.

    Attributes:
        image: Folder of a built image.
        device: Folder of an enrolled device, copied to the state disk; None boots one that is not
            enrolled, says so and ends.
        hub: Host of this machine's side of the hub's ports.
        firmware: Whether to go through firmware with Secure Boot instead of starting the kernel.
        efi: Unified kernel image instead of the image's own signed one.
        root: Root instead of the image's own.
        keys: Keys that the firmware trusts; None for those that the build made.
        tpm: Whether the machine has a TPM (swtpm).
        tpm_state: Folder of its state, copied; None for a TPM as it leaves the factory.
        requests: Whether the device takes requests to its critical compartment.
        seconds: How long the device runs in the guest; None until `limit_s`.
        limit_s: The machine is ended after so long.
        kind: What sort of device it is.
        start_s: Longest time from the start of a compartment to its first heartbeat, seconds; None
            for the image's own.
        slots: Images that the boot loader chooses from, each with its place and number of tries;
            needs firmware, and lets the machine restart. None starts `image` by itself.
        medium: Service medium that the machine has from its start; what is put on it while it
            runs goes to the verifier.
        control: Socket to make, by which things can be plugged into the running machine (QMP).
    """

    image: Path
    device: Path | None = None
    hub: str = "127.0.0.1"
    firmware: bool = False
    efi: Path | None = None
    root: Path | None = None
    keys: Path | None = None
    tpm: bool = False
    tpm_state: Path | None = None
    requests: bool = False
    seconds: float | None = None
    limit_s: float = 60.0
    kind: str = "monitor"
    start_s: float | None = None
    slots: tuple[tuple[Slot, Path], ...] = ()
    control: Path | None = None
    medium: Path | None = None


@dataclass(slots=True)
class Seen:
    """What a boot showed.

    Attributes:
        events: What the image said, in order.
        console: Every line on the serial line.
        wall_s: Time from the start of the machine to each first event, seconds.
        ended: Whether the machine ended by itself.
        slots: What the boot loader's partition held in the end.
    """

    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    console: list[str] = field(default_factory=list[str])
    wall_s: dict[str, float] = field(default_factory=dict[str, float])
    ended: bool = False
    slots: list[Slot] = field(default_factory=list[Slot])

    def first(self, event: str) -> dict[str, Any] | None:
        """Return the first event of a name."""
        return next((found for found in self.events if found.get("event") == event), None)

    @property
    def first_vitals_s(self) -> float | None:
        """Uptime at which the critical compartment had measured for the first time, seconds."""
        for found in self.events:
            if (found.get("compartment"), found.get("what")) == ("vitals", "alive"):
                return found["uptime_s"]
        return None

    @property
    def refused(self) -> bool:
        """Whether firmware or first program refused, and nothing of the device ran."""
        text = "\n".join(self.console)
        return not self.events and any(word in text for word in (*REFUSED, "stage1: refused"))


def boot(trial: Trial, *, until: Callable[[Seen], bool], tell: Callable[[str], None]) -> Seen:
    """Boot an image and read its serial line until it ends, `until` holds, or time is over.

    Raises:
        ConfigError: A program or a file is missing.
        NotFound: The device is not enrolled.
        Unavailable: A program failed.
    """
    require((QEMU, "mke2fs", *((FIRMWARE, VARIABLES) if trial.firmware else ())))
    with tempfile.TemporaryDirectory(prefix="asepsis-boot-") as made, contextlib.ExitStack() as end:
        work = Path(made)
        command = [find(QEMU), *_machine(trial, work), *_disks(trial, work), *_network(trial)]
        if trial.tpm:
            command += end.enter_context(_tpm(work, trial.tpm_state))
        began_s = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - QEMU with arguments of our own
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        lines: queue.Queue[bytes | None] = queue.Queue()
        reader = threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True)
        reader.start()
        try:
            seen = _read(lines, began_s + trial.limit_s, until=until, tell=tell, began_s=began_s)
        finally:
            process.kill()
            process.wait()
            reader.join()
        if trial.slots:
            seen.slots = read_partition(work / PARTITION)
        return seen


def _machine(trial: Trial, work: Path) -> list[str]:
    common = ["-accel", "tcg", "-cpu", "max", "-m", str(MEMORY_MIB), "-nodefaults"]
    common += [] if trial.slots else ["-no-reboot"]
    if trial.control is not None:
        common += ["-qmp", f"unix:{trial.control},server=on,wait=off"]
    common += ["-display", "none", "-serial", "stdio", "-no-user-config"]
    if not trial.firmware:
        files = {"-kernel": KERNEL, "-initrd": INITRD}
        arguments = (_file(trial.image / CMDLINE)).read_text("ascii")
        found = [word for flag, name in files.items() for word in (flag, _at(trial.image / name))]
        return [*common, *SMALL, *found, "-append", arguments]
    variables = work / "variables.fd"
    keys = SecureBootKeys(trial.keys or trial.image / KEYS)
    variables.write_bytes(enrol(Path(find(VARIABLES)).read_bytes(), keys))
    flash = "if=pflash,format=raw,unit"
    return [
        *common,
        *FULL,
        *("-drive", f"{flash}=0,readonly=on,file={find(FIRMWARE)}"),
        *("-drive", f"{flash}=1,file={variables}"),
        *("-drive", f"if=none,id=esp,format=raw,{_partition(trial, work)}"),
        *("-device", "virtio-blk-pci,drive=esp,bootindex=1"),
    ]


def _partition(trial: Trial, work: Path) -> str:
    """Make what the firmware starts from, and return it as QEMU takes it."""
    if trial.slots:
        images = [(slot, _file(folder / SIGNED)) for slot, folder in trial.slots]
        make_partition(work / PARTITION, loader=_file(trial.image / LOADER), images=images)
        return f"file={work / PARTITION}"
    folder = work / "esp/EFI/BOOT"
    folder.mkdir(parents=True)
    shutil.copyfile(_file(trial.efi or trial.image / SIGNED), folder / "BOOTX64.EFI")
    return f"readonly=on,file=fat:{work / 'esp'}"


def _disks(trial: Trial, work: Path) -> list[str]:
    roots = [folder / ROOT for _, folder in trial.slots] or [trial.root or trial.image / ROOT]
    state = work / "state.img"
    _make_state(trial, work / "state", state)
    found: list[str] = []
    for number, root in enumerate(roots):
        found += ["-drive", f"if=none,id=root{number},format=raw,readonly=on,file={_at(root)}"]
        found += ["-device", f"virtio-blk-pci,drive=root{number}"]
    if trial.medium is not None:
        at = _at(trial.medium)
        found += ["-drive", f"if=none,id=medium,format=raw,readonly=on,file={at}"]
        found += ["-device", f"virtio-blk-pci,drive=medium,serial={MEDIUM}"]
    return [
        *found,
        *("-drive", f"if=none,id=state,format=raw,file={state}"),
        *("-device", "virtio-blk-pci,drive=state"),
        *("-device", "virtio-rng-pci"),
    ]


def _network(trial: Trial) -> list[str]:
    """Return a network in which the guest reaches the hub's ports, and nothing reaches it."""
    option = "user,id=net,restrict=on"
    for port in _ports(trial):
        program = f"{sys.executable} -I -S {relay.__file__} {trial.hub} {port}"
        option += f",guestfwd=tcp:{HUB}:{port}-cmd:{program}"
    # Without a boot program of the card: nothing starts from the network.
    return ["-netdev", option, "-device", "virtio-net-pci,netdev=net,romfile="]


def _ports(trial: Trial) -> list[int]:
    if trial.device is None:
        return []
    hospital = IdentityFolder(trial.device).load()[1]
    return sorted({hospital.clinical.port, hospital.enrolment.port})


def _make_state(trial: Trial, folder: Path, target: Path) -> None:
    """Make the state disk: the device's folder and how it shall start."""
    folder.mkdir(mode=0o755)
    start: dict[str, Any] = {"address": GUEST, "prefix": PREFIX, "kind": trial.kind, "hosts": {}}
    start |= {"seconds": trial.seconds, "requests": trial.requests}
    start |= {} if trial.start_s is None else {"start_s": trial.start_s}
    if trial.device is not None:
        hospital = IdentityFolder(trial.device).load()[1]
        if hospital.clinical.host.replace(".", "").isdigit():
            raise ConfigError(
                "the device knows its hub by an address, which is another one in the guest",
                hint="enrol it with a name of the hub, for example localhost",
            )
        start["hosts"] = {e.host: HUB for e in (hospital.clinical, hospital.enrolment)}
        shutil.copytree(
            trial.device,
            folder / "device",
            symlinks=True,
            ignore=shutil.ignore_patterns("compartments", "device.log"),
        )
    (folder / "start.json").write_text(json.dumps(start), "ascii")
    run(("mke2fs", "-q", "-t", "ext4", "-d", folder, target, f"{STATE_MIB}M"))


@contextlib.contextmanager
def _tpm(work: Path, state: Path | None) -> Generator[Sequence[str]]:
    """Run a software TPM for one machine."""
    socket, folder = work / "tpm.sock", work / "tpm"
    if state is None:
        folder.mkdir()
    else:
        shutil.copytree(state, folder)
    process = subprocess.Popen(  # noqa: S603 - swtpm with arguments of our own
        [
            *(find("swtpm"), "socket", "--tpm2", "--terminate"),
            *("--tpmstate", f"dir={folder}", "--ctrl", f"type=unixio,path={socket}"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            if socket.exists():
                break
            time.sleep(0.05)
        else:
            raise Unavailable("swtpm does not start")
        yield (
            *("-chardev", f"socket,id=tpmline,path={socket}"),
            *("-tpmdev", "emulator,id=tpm,chardev=tpmline", "-device", "tpm-crb,tpmdev=tpm"),
        )
    finally:
        process.kill()
        process.wait()


def _read(
    lines: "queue.Queue[bytes | None]",
    deadline_s: float,
    *,
    until: Callable[[Seen], bool],
    tell: Callable[[str], None],
    began_s: float,
) -> Seen:
    seen = Seen()
    while not until(seen) and len(seen.console) < LINES_MAX:
        try:
            line = lines.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            return seen
        if line is None:
            seen.ended = True
            return seen
        text = "".join(c if c.isprintable() else " " for c in line.decode("utf-8", "replace"))
        seen.console.append(text.strip())
        _note(seen, text, time.monotonic() - began_s)
        tell(text.strip())
    return seen


def _pump(pipe: IO[bytes], lines: "queue.Queue[bytes | None]") -> None:
    """Read the serial line to its end; the machine is ended before this is waited for."""
    with pipe:
        while line := pipe.readline(LINE_BYTES_MAX):
            lines.put(line)
    lines.put(None)


def _note(seen: Seen, text: str, at_s: float) -> None:
    _, found, body = text.partition(MARK)
    if not found:
        return
    try:
        event = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return  # The kernel wrote into the line.
    seen.events.append(event)
    seen.wall_s.setdefault(str(event.get("event")), round(at_s, 2))


def _file(path: Path) -> Path:
    if not path.is_file():
        raise NotFound(f"no {path}", hint="build the image first: asepsis image build")
    return path


def _at(path: Path) -> str:
    """Return a path as QEMU takes it inside an option."""
    return os.fspath(_file(path).resolve()).replace(",", ",,")


def events(seen: Seen, name: str) -> Iterator[dict[str, Any]]:
    """Yield the events of a name."""
    return (found for found in seen.events if found.get("event") == name)
