"""Attacks on other processes, on files, on the kernel and on the network, from a compartment.

See `payload`: this text runs inside the compartment. The docstring of each says what it tries.
"""

import ctypes
import mmap
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from asepsis.tools.attack.payload import LIBC, TARGETS, Absent, Denied, call, in_child, system_call

CLONE_NEWUSER: Final = 0x10000000
PTRACE_ATTACH: Final = 16
PTRACE_DETACH: Final = 17
WAIT_ALL: Final = 0x40000000
SIGCONT: Final = 18
EMPTY_PATH: Final = 0x1000
ANSWER_S: Final = 0.4
USER_MODE_ONLY: Final = 1
_ELF: Final = bytes.fromhex(
    "7f454c4602010100000000000000000002003e0001000000780040000000000040000000000000000000000000000000"
    "0000000040003800010000000000000001000000050000000000000000000000000040000000000000004000"
    "00000000810000000000000081000000000000000010000000000000" + "31ffb83c0000000f05"
)
"""The smallest program for x86-64: it ends with 0."""


def trace(_: Any) -> None:
    """Attach to vitals as a debugger, which would stop it."""
    call("ptrace", PTRACE_ATTACH, TARGETS["vitals"], None, None)
    os.waitpid(TARGETS["vitals"], WAIT_ALL)
    call("ptrace", PTRACE_DETACH, TARGETS["vitals"], None, None)


def _copy(name: str, word: Any) -> None:
    if not TARGETS["address"]:
        raise Absent("no address of the other process is known")
    local = (ctypes.c_size_t * 2)(ctypes.addressof(word), 8)
    remote = (ctypes.c_size_t * 2)(TARGETS["address"], 8)
    call(name, TARGETS["origin"], local, 1, remote, 1, 0)


def read_memory(_: Any) -> None:
    """Read the memory of origin, where the key is."""
    _copy("process_vm_readv", ctypes.create_string_buffer(8))


def write_memory(_: Any) -> None:
    """Write into the memory of origin; what is read there is written back."""
    word = ctypes.create_string_buffer(8)
    _copy("process_vm_readv", word)
    try:
        _copy("process_vm_writev", word)
    except Denied as error:
        if str(error) != "EFAULT":  # The page may be read-only; the kernel let us try.
            raise


def open_memory(_: Any) -> None:
    """Open the memory of vitals as a file, for writing."""
    os.close(os.open(f"/proc/{TARGETS['vitals']}/mem", os.O_RDWR))


def steal_descriptor(_: Any) -> None:
    """Take a descriptor out of origin."""
    handle = system_call(434, 434, TARGETS["origin"], 0)
    os.close(system_call(438, 438, handle, 0, 0))


def signal(_: Any) -> None:
    """Signal vitals; with a signal that disturbs nothing, because allowed is allowed."""
    os.kill(TARGETS["vitals"], SIGCONT)


def signal_by_handle(_: Any) -> None:
    """Signal vitals through a process handle."""
    handle = system_call(434, 434, TARGETS["vitals"], 0)
    system_call(424, 424, handle, SIGCONT, None, 0)


def slow(_: Any) -> None:
    """Make vitals the last in the queue for the processor."""
    os.setpriority(
        os.PRIO_PROCESS,
        TARGETS["vitals"],
        os.getpriority(os.PRIO_PROCESS, TARGETS["vitals"]),
    )


def pin(_: Any) -> None:
    """Bind vitals to one processor, with the attacker's spinning threads on it."""
    os.sched_setaffinity(TARGETS["vitals"], os.sched_getaffinity(TARGETS["vitals"]))


def limit(_: Any) -> None:
    """Take memory or descriptors from vitals by its limits."""
    found = resource.prlimit(TARGETS["vitals"], resource.RLIMIT_NPROC)
    resource.prlimit(TARGETS["vitals"], resource.RLIMIT_NPROC, found)


def read_key(_: Any) -> None:
    """Read the key that signs."""
    for path in TARGETS["keys"]:
        try:
            text = Path(path).read_bytes()
        except OSError:
            continue
        if b"PRIVATE KEY" in text:
            return
    raise Denied("no key found")


def write_outside(_: Any) -> None:
    """Write a file outside the compartment's own folder, as a settings file would be."""
    path = Path(TARGETS["outside"])
    path.write_text("was here", "ascii")
    path.unlink()


def raw_memory(_: Any) -> None:
    """Open the machine's memory."""
    try:
        os.close(os.open("/dev/mem", os.O_RDONLY))
    except FileNotFoundError:
        if TARGETS["dev_mem"]:
            raise
        raise Absent("this machine has no /dev/mem") from None


def user_namespace(_: Any) -> None:
    """Make a user namespace, the way to much of the kernel's less tried code."""
    in_child(lambda: call("unshare", CLONE_NEWUSER))


def io_uring(_: Any) -> None:
    """Make a queue of system calls that no filter sees."""
    os.close(system_call(425, 425, 8, ctypes.create_string_buffer(120)))


def userfaultfd(_: Any) -> None:
    """Take over the handling of page faults, a tool of kernel exploits."""
    os.close(system_call(323, 282, USER_MODE_ONLY))


def bpf(_: Any) -> None:
    """Load something into the kernel's virtual machine."""
    attributes = (ctypes.c_uint32 * 32)(2, 4, 4, 1)  # An array of one number.
    os.close(system_call(321, 280, 0, attributes, ctypes.sizeof(attributes)))


def module(_: Any) -> None:
    """Unload a kernel module; one that is not there, so that "not found" means "allowed"."""
    try:
        system_call(176, 106, b"asepsis-none", 0)
    except Denied as error:
        if str(error) != "ENOENT":
            raise


def mount(_: Any) -> None:
    """Mount a file system."""
    place = str(TARGETS["mount_point"]).encode()
    call("mount", b"none", place, b"tmpfs", 0, None)
    LIBC.umount2(place, 2)


def chroot(_: Any) -> None:
    """Change the root of its own view."""
    in_child(lambda: os.chroot("/"))


def host_name(_: Any) -> None:
    """Rename the machine; to the name that it has."""
    name = os.uname().nodename.encode()
    call("sethostname", name, len(name))


def become_root(_: Any) -> None:
    """Become root, of the machine and not of an empty house."""
    os.setresuid(0, 0, 0)
    if not os.access(TARGETS["mount_point"], os.W_OK):
        raise Denied("root of an empty house")


def writable_code(_: Any) -> None:
    """Get memory that can be written and run."""
    call("mmap", None, mmap.PAGESIZE, 7, 0x22, -1, 0)


def turn_into_code(_: Any) -> None:
    """Make memory that was written runnable."""
    address = call("mmap", None, mmap.PAGESIZE, 3, 0x22, -1, 0)
    call("mprotect", ctypes.c_void_p(address), mmap.PAGESIZE, 5)


def fork(_: Any) -> None:
    """Start another process."""
    in_child(lambda: None)


def shell(_: Any) -> None:
    """Run a shell."""
    in_child(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"]))  # noqa: S606 - a shell it is


def interpreter(_: Any) -> None:
    """Run its own interpreter anew, with another program."""
    program = os.path.realpath(sys.executable)
    in_child(lambda: os.execv(program, [program, "-I", "-S", "-c", ""]))  # noqa: S606 - as above


def memory_program(_: Any) -> None:
    """Run a program that lies in memory only."""
    if os.uname().machine != "x86_64":
        raise Absent("the program is for x86-64")
    handle = os.memfd_create("program")
    os.write(handle, _ELF)
    words = (ctypes.c_char_p * 2)(b"program", None)
    in_child(lambda: system_call(322, 281, handle, b"", words, None, EMPTY_PATH))


def _reach(family: int, kind: int, where: Any) -> None:
    with socket.socket(family, kind) as line:
        line.settimeout(2)
        line.connect(where)
        if kind == socket.SOCK_DGRAM:
            line.settimeout(ANSWER_S)
            line.send(TARGETS["query"].encode("latin-1"))
            if not line.recv(64):
                raise Denied("no answer")


def any_socket(_: Any) -> None:
    """Make a socket of the network at all."""
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


def packet_socket(_: Any) -> None:
    """Read every packet that passes."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def netlink(_: Any) -> None:
    """Speak to the kernel about its network."""
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


def other_host(_: Any) -> None:
    """Connect to another host on another port."""
    _reach(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", TARGETS["elsewhere"]))


def same_port(_: Any) -> None:
    """Connect to another host on the port of the hub."""
    _reach(socket.AF_INET, socket.SOCK_STREAM, (TARGETS["other_host"], TARGETS["hub"]))


def other_family(_: Any) -> None:
    """Connect by IPv6."""
    if not TARGETS["ipv6"]:
        raise Absent("this machine has no IPv6")
    _reach(socket.AF_INET6, socket.SOCK_STREAM, ("::1", TARGETS["ipv6"]))


def datagram(_: Any) -> None:
    """Send a datagram to another host and get the answer."""
    _reach(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", TARGETS["udp"]))


def name_service(_: Any) -> None:
    """Ask a name server; an answer would be a way out for data."""
    _reach(socket.AF_INET, socket.SOCK_DGRAM, (TARGETS["other_host"], TARGETS["dns"]))


def path_socket(_: Any) -> None:
    """Connect to a control socket of the device in the file system."""
    _reach(socket.AF_UNIX, socket.SOCK_STREAM, TARGETS["path_socket"])


def abstract_socket(_: Any) -> None:
    """Connect to a socket that has only a name."""
    _reach(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + TARGETS["abstract"])


ATTACKS: Final[dict[str, Callable[[Any], Any]]] = {
    attack.__name__: attack
    for attack in (
        trace, read_memory, write_memory, open_memory, steal_descriptor, signal, signal_by_handle,
        slow, pin, limit, read_key, write_outside, raw_memory, user_namespace, io_uring,
        userfaultfd, bpf, module, mount, chroot, host_name, become_root, writable_code,
        turn_into_code, fork, shell, interpreter, memory_program, any_socket, packet_socket,
        netlink, other_host, same_port, other_family, datagram, name_service, path_socket,
        abstract_socket,
    )
}  # fmt: skip
