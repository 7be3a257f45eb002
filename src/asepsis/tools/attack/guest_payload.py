"""First Python of a guest kernel: loads a policy, enforces it, and tells what the kernel decides.

Run by `guest_init.sh` with the folder of the trial; `guest` says what it is for. It tells
line by line on the console: `loaded`, `allow SOURCE TARGET CLASS PERMISSIONS`,
`try DOMAIN ATTEMPT ERRNO`, `end`. Nothing of it runs anywhere but in a guest that ends with it.
"""

import ctypes
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

SELINUX: Final = Path("/sys/fs/selinux")
LIBC: Final = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
CLASSES: Final = (
    "capability", "chr_file", "dir", "fd", "file", "lnk_file", "process", "security", "system",
    "tcp_socket", "udp_socket", "unix_dgram_socket", "unix_stream_socket",
)  # fmt: skip
"""Asked of the kernel; for the others the policy has no rule of a compartment at all."""
DELETE_MODULE: Final = 176  # x86-64
PTRACE_ATTACH: Final = 16
NEW_NETWORK: Final = 0x40000000
HARMLESS: Final = "own-memory"
"""What any process may do: the control that a domain can do something at all."""
WITHOUT_A_DOMAIN: Final = (
    "socket-inet", "setpriority", "read-file", "shell", "own-memory", "set-time",
    "network-namespace", "kernel-log", "kill",
)  # fmt: skip
"""Tried outside every domain too: it is the policy that refuses, not the guest that cannot."""


@lru_cache(maxsize=1)
def _console() -> int:
    return os.open("/dev/console", os.O_WRONLY)


def tell(*words: object) -> None:
    """Write a line on the console."""
    os.write(_console(), (" ".join(map(str, words)) + "\n").encode("ascii"))


def transact(name: str, text: bytes) -> bytes:
    """Write to a file of the policy's file system; return what `access` answers."""
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
    """Turn the result of a call of the C library into an exception."""
    if result < 0:
        raise OSError(ctypes.get_errno(), "")


def attempts(victim: int, folder: Path) -> dict[str, Callable[[], object]]:
    """Return what somebody who owns a compartment as root tries."""
    word = ctypes.create_string_buffer(8)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(word), 8)
    log = ctypes.create_string_buffer(4_096)
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
        "shell": lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"]),  # noqa: S606 - a shell it is
        "read-file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "mount": lambda: checked(LIBC.mount(b"none", b"/mnt", b"tmpfs", 0, None)),
        "permissive": lambda: (SELINUX / "enforce").write_text("0", "ascii"),
        "load-policy": lambda: transact("load", (folder / "policy").read_bytes()),
        "module": lambda: checked(LIBC.syscall(DELETE_MODULE, b"none", 0)),
        "hostname": lambda: socket.sethostname("owned"),
        "reboot": lambda: checked(LIBC.reboot(0x01234567)),
        "chroot": lambda: os.chroot("/"),
        "raw-memory": lambda: os.open("/dev/mem", os.O_RDWR),
        "process-memory": lambda: checked(
            LIBC.process_vm_writev(victim, local, 1, local, 1, 0)  # The same place in a fork.
        ),
        "set-time": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
        "exec-context": lambda: _attribute("exec", "kernel_t"),
        "change-domain": lambda: _attribute("current", "kernel_t"),
        "network-namespace": lambda: checked(LIBC.unshare(NEW_NETWORK)),
        "kernel-log": lambda: checked(LIBC.klogctl(3, log, 4_096)),
        "own-memory": lambda: mmap.mmap(-1, 4_096).close(),
    }


def _attribute(name: str, domain: str) -> None:
    Path(f"/proc/thread-self/attr/{name}").write_text(f"system_u:system_r:{domain}", "ascii")


def in_domain(domain: str, what: Callable[[], object]) -> int:
    """Do something in a child of that domain; return its error number, 0 for success."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            if domain != "kernel_t":
                _attribute("current", domain)
            what()
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def sleeper(domain: str) -> int:
    """Start somebody to attack, in a domain; return its process id."""
    child = os.fork()
    if child == 0:
        _attribute("current", domain)
        while True:
            signal.pause()
    return child


def main(folder: Path) -> None:
    """Load, ask, attack from every domain but the first, whose compartment is the victim."""
    domains, types = ((folder / name).read_text("ascii").split() for name in ("domains", "types"))
    transact("load", (folder / "policy").read_bytes())
    (SELINUX / "enforce").write_text("1", "ascii")
    tell("loaded", (SELINUX / "enforce").read_text("ascii"))
    tell_decisions(domains, types)
    victim = sleeper(domains[0])
    for name, what in attempts(victim, folder).items():
        for domain in domains[1:]:
            tell("try", domain, name, in_domain(domain, what))
    tell("alive", int(os.waitpid(victim, os.WNOHANG) == (0, 0)))
    for name in WITHOUT_A_DOMAIN:
        tell("try", "kernel_t", name, in_domain("kernel_t", attempts(victim, folder)[name]))
    tell("end")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
