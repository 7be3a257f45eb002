"""The first program in a device's root: prepares the machine, runs the device, ends the machine.

It is copied into the image as a script of its own and runs there as process 1, by the device's
interpreter. What it has to say goes to the console, one line each: a mark and a JSON object. It
runs no other program; the supervisor of `edge.device` starts the compartments.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

MARK: Final = "asepsis-image: "
CODE: Final = "/usr/lib/asepsis"
DELIVERY: Final = "/usr/lib/asepsis/delivery.der"
MEDIUM: Final = "asepsis-medium"
"""Serial number of the disk on which something is brought to the running machine."""
STATE: Final = Path("/state")
DEVICE: Final = STATE / "device"
START: Final = STATE / "start.json"
START_BYTES_MAX: Final = 65_536
LOG_BYTES: Final = 4_000
START_S: Final = 120.0
"""Longest time from the start of a compartment to its first heartbeat, seconds, if the state disk
names no other."""
START_S_MAX: Final = 600.0
DENIALS_MAX: Final = 200
"""Denials of SELinux told in one life of the machine; a flood must not hold the line."""
PLUGS_MAX: Final = 200
"""How often it is told that something was plugged in."""
PLUG_S: Final = 0.5
LOOK_S: Final = 5.0
LOOKS: Final = 60
"""How often, and how many times, open ports and processes are told after the start."""
VARIABLES: Final = Path("/sys/firmware/efi/efivars")
PARTITION: Final = Path("/run/partition")
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _PRIVATE = 1, 2, 4, 8, 1 << 18 | 1 << 14
_REMOUNT: Final = 32
_RESTART, _KEYS_OFF = 0x01234567, 0x00000000
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCADDRT = 0x8914, 0x8916, 0x891C, 0x890B
_UP: Final = 0x1
_ROUTE_UP, _ROUTE_GATEWAY = 0x1, 0x2
_LOCKDOWN: Final = Path("/sys/kernel/security/lockdown")
_BUSES: Final = ("pci", "virtio", "usb", "serio", "hid", "scsi")
_SYSCTL: Final = {
    "kernel/sysrq": "0",
    "kernel/ctrl-alt-del": "0",
    "kernel/dmesg_restrict": "1",
    "kernel/kptr_restrict": "2",
    "kernel/yama/ptrace_scope": "3",
    "kernel/unprivileged_bpf_disabled": "1",
    "kernel/kexec_load_disabled": "1",
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv4/conf/all/accept_redirects": "0",
    "fs/suid_dumpable": "0",
}
"""No keys to the kernel, dumps, tracing or second kernel; IPv4 only: what is not used is off."""
_libc: Final = ctypes.CDLL(None, use_errno=True)
_line: Final = threading.Lock()


def tell(event: str, **facts: Any) -> None:
    """Write one line to the console."""
    uptime = Path("/proc/uptime").read_text("ascii").split()[0]
    body = json.dumps({"event": event, "uptime_s": float(uptime), **facts})
    with _line:
        sys.stdout.write(f"{MARK}{body}\n")
        sys.stdout.flush()


def mount(what: str, where: str, kind: str, flags: int, options: str = "") -> bool:
    """Mount; returns whether it worked."""
    done = _libc.mount(what.encode(), where.encode(), kind.encode(), flags, options.encode())
    return done == 0


def mount_all() -> None:
    """Mount what is written to: nothing there can be executed, or be a device."""
    plain = _NOSUID | _NODEV | _NOEXEC
    mount("none", "/", "none", _PRIVATE)
    mount("run", "/run", "tmpfs", plain, "mode=0755,size=4m")
    mount("tmp", "/tmp", "tmpfs", plain, "mode=1777,size=16m")  # noqa: S108 - our own mount
    mount("security", "/sys/kernel/security", "securityfs", plain)
    if VARIABLES.is_dir():
        mount("variables", str(VARIABLES), "efivarfs", plain | _RDONLY)
    for device in disks():
        if mount(device, "/state", "ext4", plain):
            return


def disks() -> list[str]:
    """Return block devices that are not made of others; the service medium is never mounted."""
    names = sorted(path.name for path in Path("/sys/class/block").iterdir())
    names = [n for n in names if not n.startswith(("dm-", "loop", "ram"))]
    return [f"/dev/{n}" for n in names if f"/dev/{n}" != medium()]


def medium() -> str | None:
    """Return the service medium, which the machine had from its start; None without one."""
    for path in sorted(Path("/sys/class/block").iterdir()):
        serial = path / "serial"
        if serial.exists() and serial.read_text("ascii", "replace").strip() == MEDIUM:
            return f"/dev/{path.name}"
    return None


def serve_medium(layers: Any, device: str, attested: Any) -> None:
    """Take what is brought on the service medium: to the verifier, and what it verifies further."""
    from asepsis.edge.device.judging import OneShotVerifier  # noqa: PLC0415
    from asepsis.edge.device.medium import MEMORY, Medium  # noqa: PLC0415
    from asepsis.edge.device.state import code_link  # noqa: PLC0415
    from asepsis.edge.sandbox import bubblewrap  # noqa: PLC0415

    verifier = OneShotVerifier(
        Path(DELIVERY).read_bytes(),
        layers=layers,
        code_folder=code_link(DEVICE, bubblewrap.code().package),
        log=DEVICE / "device.log",
    )
    Medium(
        Path(device),
        judge=verifier.judge,
        tell=tell,
        measure=attested.change,
        memory=DEVICE / MEMORY,
    ).run()


def refuse_new_devices() -> None:
    """Bind no driver to what is plugged in from now on, and take no order from a keyboard."""
    _libc.reboot(_KEYS_OFF)  # Ctrl-Alt-Del would restart the machine.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for bus in _BUSES:
        switch = Path(f"/sys/bus/{bus}/drivers_autoprobe")
        if switch.exists():
            switch.write_text("0", "ascii")


def plugged() -> set[str]:
    """Return what hangs on every bus, and all block devices, network cards and inputs."""
    found: set[str] = set()
    folders = [Path(f"/sys/bus/{bus}/devices") for bus in _BUSES]
    folders += [Path("/sys/class") / name for name in ("block", "net", "input")]
    for folder in folders:
        if folder.is_dir():
            found |= {f"{folder.parent.name}/{path.name}" for path in folder.iterdir()}
    return found


def tell_plugged(supervisors: list[Any]) -> None:
    """Tell what is plugged in while the machine runs, the hub too once there is a supervisor."""
    known = plugged()
    for _ in range(PLUGS_MAX):
        while not (new := plugged() - known):
            time.sleep(PLUG_S)
        known |= new
        tell("plugged", what=sorted(new))
        for supervisor in supervisors:
            supervisor.note_plugged(sorted(new))


def read_start() -> Mapping[str, Any]:
    """Return what the state disk says about this start; empty without one."""
    try:
        return json.loads(START.read_bytes()[:START_BYTES_MAX])
    except (OSError, ValueError):
        return {}


def configure(start: Mapping[str, Any]) -> None:
    """Set kernel switches, names and addresses."""
    for name, value in _SYSCTL.items():
        path = Path("/proc/sys") / name
        if path.exists():
            path.write_text(value, "ascii")
    hosts = "127.0.0.1 localhost.localdomain\n"
    hosts += "".join(f"{address} {name}\n" for name, address in start.get("hosts", {}).items())
    Path("/run/hosts").write_text(hosts, "ascii")
    _address("lo", "127.0.0.1", 8)
    if "address" in start:
        network = [p.name for p in Path("/sys/class/net").iterdir() if p.name != "lo"]
        for name in network[:1]:
            _address(name, start["address"], int(start["prefix"]))


def _address(interface: str, address: str, prefix: int) -> None:
    def of(number: bytes) -> bytes:
        packed = struct.pack("<HH4s8x", socket.AF_INET, 0, number)
        return interface.encode() + bytes(16 - len(interface)) + packed

    mask = struct.pack(">I", (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        fcntl.ioctl(line, _SIOCSIFADDR, of(socket.inet_aton(address)))
        fcntl.ioctl(line, _SIOCSIFNETMASK, of(mask))
        flags = interface.encode() + bytes(16 - len(interface)) + struct.pack("<H14x", _UP)
        fcntl.ioctl(line, _SIOCSIFFLAGS, flags)


def machine() -> dict[str, Any]:
    """Return what this machine enforces and has measured."""
    from asepsis.edge.sandbox.domains import of  # noqa: PLC0415

    def read(path: str) -> str:
        try:
            return Path(path).read_text("ascii").strip()
        except OSError:
            return ""

    return {
        "kernel": os.uname().release,
        "security_modules": read("/sys/kernel/security/lsm"),
        "lockdown": read(str(_LOCKDOWN)),
        "selinux": {"enforcing": read("/sys/fs/selinux/enforce") == "1", "domain": of(os.getpid())},
        "modules_must_be_signed": read("/sys/module/module/parameters/sig_enforce") == "Y",
        "root": next(
            (line for line in read("/proc/mounts").splitlines() if " / squashfs " in line), ""
        ),
        "pcr11": read("/sys/class/tpm/tpm0/pcr-sha256/11").lower(),
        "state": os.path.ismount(STATE),
    }


def tell_looks(times: int = 1, wait_s: float = 0.0) -> None:
    """Tell what listens and what runs."""
    from asepsis.edge.device.machine_look import listening, processes  # noqa: PLC0415

    for _ in range(times):
        time.sleep(wait_s)
        tell("ports", listening=listening(), processes=processes())


def tell_denials() -> None:
    """Tell what SELinux denies, as the kernel writes it into its own log."""
    told = 0
    with Path("/dev/kmsg").open("rb", buffering=0) as log:
        while told < DENIALS_MAX:
            try:
                line = log.read(LOG_BYTES)
            except BrokenPipeError:
                continue  # The kernel wrote faster than we read.
            _, found, denial = line.partition(b"avc:  denied")
            if found:
                told += 1
                tell("denied", text=denial.decode("utf-8", "replace").strip()[:400])


def pass_trial(slot: Any) -> None:
    """Take the counter off the image that was started, and tell."""
    from asepsis.edge.device import boot_slot  # noqa: PLC0415

    plain = _NOSUID | _NODEV | _NOEXEC
    PARTITION.mkdir(exist_ok=True)
    for device in disks():
        if not mount(device, str(PARTITION), "vfat", plain | _RDONLY):
            continue
        if boot_slot.holds(PARTITION, slot):
            mount(device, str(PARTITION), "vfat", plain | _REMOUNT)
            boot_slot.confirm(PARTITION, slot)
            tell("confirmed", file=slot.passed)
        _libc.umount2(str(PARTITION).encode(), 0)


def give_up_later(slot: Any, passed: threading.Event) -> None:
    """Restart a machine whose image did not pass its trial in time."""
    from asepsis.edge.device import boot_slot  # noqa: PLC0415

    if slot.counted and not passed.wait(boot_slot.TRIAL_S):
        tell("given-up", file=slot.counted)
        _libc.reboot(_RESTART)


def run(start: Mapping[str, Any], slot: Any, attested: Any) -> None:
    """Run the device until it ends."""
    # Only now: an isolated interpreter does not look there by itself.
    from asepsis.core.errors import AsepsisError  # noqa: PLC0415
    from asepsis.edge.device.app import run_device  # noqa: PLC0415
    from asepsis.edge.device.boot_slot import Examination  # noqa: PLC0415
    from asepsis.edge.device.manifest import with_display  # noqa: PLC0415
    from asepsis.edge.sandbox.layers import detect  # noqa: PLC0415
    from asepsis.edge.uplink.folder import IdentityFolder  # noqa: PLC0415

    found = detect()
    missing = found.missing  # This kernel has them all: an image that lacks one does not pass.
    tell("layers", holding=sorted(layer.value for layer in found.holding), missing=missing)

    passed = threading.Event()
    examination = Examination(attested.runs(with_display().compartments))

    def told(compartment: str, event: str, details: Mapping[str, Any]) -> None:
        tell("device", compartment=compartment, what=event, details=dict(details))
        if examination.note(compartment, event) and slot.counted and not missing:
            passed.set()
            threading.Thread(target=pass_trial, args=(slot,), daemon=True).start()

    threading.Thread(target=tell_looks, args=(LOOKS, LOOK_S), daemon=True).start()
    threading.Thread(target=tell_denials, daemon=True).start()
    supervisors: list[Any] = []
    threading.Thread(target=tell_plugged, args=(supervisors,), daemon=True).start()
    if brought := medium():
        parts = (found.holding, brought, attested)
        threading.Thread(target=serve_medium, args=parts, daemon=True).start()
    threading.Thread(target=give_up_later, args=(slot, passed), daemon=True).start()
    try:
        outcome = run_device(
            IdentityFolder(DEVICE),
            found=found,
            setting=setting_of(start, attested),
            tell=told,
            stop=threading.Event(),
            seconds=start.get("seconds"),
            on_start=supervisors.append,
        )
        tell("log", tail=_tail(DEVICE / "device.log"))
        tell("ended", batches=outcome.batches, reachable=outcome.reachable, starts=outcome.starts)
    except AsepsisError as error:
        tell("failed", code=error.code, text=str(error))


def setting_of(start: Mapping[str, Any], attested: Any) -> Any:
    """Return what the device measures with, as the state disk says."""
    from asepsis.edge.device.catalogue import Kind  # noqa: PLC0415
    from asepsis.edge.device.manifest import with_display  # noqa: PLC0415
    from asepsis.edge.device.setting import Setting  # noqa: PLC0415
    from asepsis.edge.sandbox.supervision_parts import Pace  # noqa: PLC0415

    return Setting(
        kind=Kind(start.get("kind", "monitor")),
        seed=int(start.get("seed", 0)),
        manifest=with_display(),
        # A cold disk, or a processor that is imitated; who hangs later is found by silence.
        pace=Pace(start_s=min(float(start.get("start_s", START_S)), START_S_MAX)),
        requests=start.get("requests") is True,
        **attested.settings(),
    )


def _tail(path: Path) -> str:
    """Return what the compartments wrote last to their standard error."""
    try:
        return path.read_bytes()[-LOG_BYTES:].decode("utf-8", "replace")
    except OSError:
        return ""


def reap(device: int) -> None:
    """Bury whoever dies until the device has ended."""
    while True:
        pid, _ = os.wait()
        if pid == device:
            return


def main() -> None:
    """Be process 1."""
    sys.path.append(CODE)
    from asepsis.core.errors import ContentMismatch  # noqa: PLC0415
    from asepsis.edge.device import measured_start  # noqa: PLC0415
    from asepsis.edge.device.boot_slot import read_slot  # noqa: PLC0415

    mount_all()
    start = read_start()
    configure(start)
    refuse_new_devices()
    slot = read_slot(VARIABLES)
    tell("started", **machine(), slot={"entry": slot.entry, "counted": slot.counted})
    attested = measured_start.read_start(tell)
    try:
        attested.require_floor()
    except ContentMismatch as error:
        tell("below-floor", text=str(error))
        _libc.reboot(_RESTART)
    if not DEVICE.is_dir():
        tell_looks()
        if slot.counted:
            pass_trial(slot)
        tell("not-enrolled")
    elif (device := os.fork()) == 0:
        run(start, slot, attested)
        os._exit(0)
    else:
        reap(device)
    os.sync()
    _libc.reboot(_RESTART)  # A device whose program has ended starts anew.


if __name__ == "__main__":
    main()
