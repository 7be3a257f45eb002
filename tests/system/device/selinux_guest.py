"""First Python of a guest kernel: loads a policy, enforces it, and tells what the kernel decides.

Run by `selinux_init.sh` with the folder of the test. It tells line by line on the console:
`loaded`, `allow SOURCE TARGET CLASS PERMISSIONS`, `try DOMAIN ATTEMPT ERRNO`, `end`.
"""

import ctypes
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

SELINUX = Path("/sys/fs/selinux")
FOLDER = Path(sys.argv[1])
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
CLASSES = (
    "capability", "dir", "fd", "file", "lnk_file", "process", "security", "system", "tcp_socket",
    "udp_socket", "unix_dgram_socket", "unix_stream_socket",
)  # fmt: skip
"""Asked of the kernel; for the others the policy has no rule of a compartment at all."""
DELETE_MODULE = 176  # x86-64
PTRACE_ATTACH = 16
CONSOLE = Path("/dev/console").open("w")  # noqa: SIM115 - for the life of the guest


def tell(*words: object) -> None:
    CONSOLE.write(" ".join(map(str, words)) + "\n")
    CONSOLE.flush()


def transact(name: str, text: bytes) -> bytes:
    descriptor = os.open(SELINUX / name, os.O_RDWR)
    try:
        os.write(descriptor, text)
        return os.read(descriptor, 4_096) if name == "access" else b""
    finally:
        os.close(descriptor)


def tell_decisions(domains: list[str], types: list[str]) -> None:
    """Ask the kernel for every domain, type and class what it allows."""
    for folder in (SELINUX / "class" / name for name in CLASSES):
        index = (folder / "index").read_text("ascii")
        bits = {int(p.read_text("ascii")): p.name for p in (folder / "perms").iterdir()}
        for source in domains:
            for target in (*types, *domains):
                role = (
                    "system_r" if target in (*domains, "kernel_t", "supervisor_t") else "object_r"
                )
                question = f"system_u:system_r:{source} system_u:{role}:{target} {index}"
                allowed = int(transact("access", question.encode()).split()[0], 16)
                names = sorted(name for bit, name in bits.items() if allowed >> (bit - 1) & 1)
                if names:
                    tell("allow", source, target, folder.name, ",".join(names))


def checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")


def attempts(victim: int) -> dict[str, Callable[[], object]]:
    """Return what somebody who owns a compartment as root tries."""
    return {
        "socket-inet": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "socket-udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "socket-packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "socket-netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "ptrace": lambda: checked(LIBC.ptrace(PTRACE_ATTACH, victim, None, None)),
        "kill": lambda: os.kill(victim, signal.SIGKILL),
        "stop": lambda: os.kill(victim, signal.SIGSTOP),
        "setpriority": lambda: os.setpriority(os.PRIO_PROCESS, victim, 5),
        "affinity": lambda: os.sched_setaffinity(victim, {0}),
        "memory": lambda: os.open(f"/proc/{victim}/mem", os.O_RDWR),
        "shell": lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"]),  # noqa: S606
        "read-file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "mount": lambda: checked(LIBC.mount(b"none", b"/mnt", b"tmpfs", 0, None)),
        "permissive": lambda: (SELINUX / "enforce").write_text("0", "ascii"),
        "load-policy": lambda: transact("load", (FOLDER / "policy").read_bytes()),
        "module": lambda: checked(LIBC.syscall(DELETE_MODULE, b"none", 0)),
        "hostname": lambda: socket.sethostname("owned"),
        "reboot": lambda: checked(LIBC.reboot(0x01234567)),
        "chroot": lambda: os.chroot("/"),
        "raw-memory": lambda: os.open("/dev/mem", os.O_RDWR),
        "own-memory": lambda: mmap.mmap(-1, 4_096).close(),
    }


def in_domain(domain: str, what: Callable[[], object]) -> int:
    """Do something in a child of that domain; return its error number, 0 for success."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            if domain != "kernel_t":
                context = f"system_u:system_r:{domain}"
                Path("/proc/thread-self/attr/current").write_text(context, "ascii")
            what()
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def sleeper(domain: str) -> int:
    child = os.fork()
    if child == 0:
        Path("/proc/thread-self/attr/current").write_text(f"system_u:system_r:{domain}", "ascii")
        while True:
            signal.pause()
    return child


def main() -> None:
    domains, types = ((FOLDER / name).read_text("ascii").split() for name in ("domains", "types"))
    transact("load", (FOLDER / "policy").read_bytes())
    (SELINUX / "enforce").write_text("1", "ascii")
    tell("loaded", (SELINUX / "enforce").read_text("ascii"))
    tell_decisions(domains, types)
    victim = sleeper(domains[0])
    for name, what in attempts(victim).items():
        for domain in domains[1:]:
            tell("try", domain, name, in_domain(domain, what))
    tell("alive", int(os.waitpid(victim, os.WNOHANG) == (0, 0)))
    for name in ("socket-inet", "setpriority", "read-file", "shell", "own-memory", "kill"):
        tell("try", "kernel_t", name, in_domain("kernel_t", attempts(victim)[name]))
    tell("end")


main()
