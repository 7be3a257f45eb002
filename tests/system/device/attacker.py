"""Runs inside a compartment, put there instead of its own work after every right is gone.

The supervisor's `prelude` carries this file as text, before a line that fills `TARGETS`. It holds
all that the compartment holds: memory, descriptors, folder, channels of the broker.

Negative controls run these attacks as root with every layer off, and there they succeed: so each
one touches nothing but the device under test and the test's own folder.
"""

import ctypes
import errno
import mmap
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TARGETS: dict[str, Any] = {}
"""Filled by the prelude: pids of `vitals` and `origin`, paths of keys, ports."""
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
CLONE_NEWUSER = 0x10000000
FASTOPEN = 0x20000000


class Denied(Exception):  # noqa: N818 - the outcome of an attack
    """The attack failed."""


def call(name: str, *arguments: Any) -> int:
    ctypes.set_errno(0)
    result = getattr(LIBC, name)(*arguments)
    if result is None or result == -1 or result == ctypes.c_void_p(-1).value:
        raise Denied(errno.errorcode.get(ctypes.get_errno(), "failed"))
    return int(result)


def rings() -> list[int]:
    """Find every descriptor of a memory file, and the mappings' own duplicates."""
    found: list[int] = []
    for descriptor in range(3, 64):
        try:
            if os.fstat(descriptor).st_size > 1 << 20:
                found.append(descriptor)
        except OSError:
            continue
    return found


def write_ring() -> None:
    handles = rings()
    assert handles, "the attacker has no ring to attack"
    for descriptor in handles:
        for attempt in (
            lambda d=descriptor: mmap.mmap(d, 1 << 20).write(b"forged"),
            lambda d=descriptor: os.pwrite(d, b"forged", 4_096),
            lambda d=descriptor: os.ftruncate(d, 0),
            lambda d=descriptor: mmap.mmap(os.open(f"/proc/self/fd/{d}", os.O_RDWR), 1 << 20),
        ):
            try:
                attempt()
            except (OSError, ValueError):
                continue
            return
    address = call("mmap", None, 4_096, 1, 1, handles[0], 0)
    call("mprotect", ctypes.c_void_p(address), 4_096, 3)


def answer_wake(network: Any) -> None:
    network._wake.send(b"back")  # noqa: SLF001 - the attacker's business


def new_socket() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


def new_connection() -> None:
    socket.create_connection(("127.0.0.1", TARGETS["elsewhere"]), 2).close()


def netlink() -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


def dial(network: Any) -> socket.socket:
    deadline = time.monotonic() + 3
    while True:
        try:
            return TARGETS["dial"](network, 0)
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def reconnect(network: Any) -> None:
    """Disconnect a brokered socket and connect it to somebody else."""
    with dial(network) as brokered:
        elsewhere = struct.pack("=H", 2) + struct.pack(
            ">H4s8x", TARGETS["elsewhere"], b"\x7f\0\0\1"
        )
        brokered.setblocking(True)
        nobody = bytes(16)
        call("connect", brokered.fileno(), nobody, 16)
        call("connect", brokered.fileno(), elsewhere, 16)


def reconnect_by_fastopen(network: Any) -> None:
    """Try the same without `connect`; kernels before 4.16 let MSG_FASTOPEN disconnect too."""
    with dial(network) as brokered:
        elsewhere = struct.pack("=H", 2) + struct.pack(
            ">H4s8x", TARGETS["elsewhere"], b"\x7f\0\0\1"
        )
        for address in (bytes(16), elsewhere):
            ctypes.set_errno(0)
            sent = LIBC.sendto(brokered.fileno(), b"x", 1, FASTOPEN, address, 16)
            code = ctypes.get_errno()
            if sent < 0 and code == errno.EPERM:
                raise Denied("EPERM")
        brokered.setblocking(True)
        if brokered.getpeername()[1] != TARGETS["elsewhere"]:
            raise Denied("still at the hub")


def other_endpoint(network: Any) -> None:
    for number in (2, 7, 255):
        TARGETS["dial"](network, number)


def listen(network: Any) -> None:
    with dial(network) as brokered:
        call("connect", brokered.fileno(), bytes(16), 16)
        brokered.listen()


def read_origin_key() -> None:
    for path in TARGETS["keys"]:
        try:
            text = Path(path).read_bytes()
        except OSError:
            continue
        assert b"PRIVATE KEY" in text
        return
    raise Denied("no key found")


def read_memory_of_origin() -> None:
    word = ctypes.create_string_buffer(8)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(word), 8)
    remote = (ctypes.c_size_t * 2)(TARGETS["address"], 8)
    call("process_vm_readv", TARGETS["origin"], local, 1, remote, 1, 0)


def open_memory_of_vitals() -> None:
    os.close(os.open(f"/proc/{TARGETS['vitals']}/mem", os.O_RDWR))


def steal_descriptor() -> None:
    handle = call("syscall", 434, TARGETS["origin"], 0)  # pidfd_open
    call("syscall", 438, handle, 0, 0)  # pidfd_getfd


def trace_vitals() -> None:
    call("ptrace", 16, TARGETS["vitals"], None, None)
    os.waitpid(TARGETS["vitals"], 0x40000000)
    call("ptrace", 17, TARGETS["vitals"], None, None)


def slow_vitals() -> None:
    os.setpriority(os.PRIO_PROCESS, TARGETS["vitals"], 19)


def stop_vitals() -> None:
    os.kill(TARGETS["vitals"], 18)  # SIGCONT: allowed is allowed, and nothing is disturbed.


def in_child(attack: Callable[[], Any]) -> None:
    child = os.fork()
    if not child:
        try:
            attack()
        except BaseException:  # noqa: BLE001 - whatever it was, the attack failed
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise Denied("failed in a child")


def run_shell() -> None:
    in_child(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"]))  # noqa: S606 - a shell it is


def new_namespace() -> None:
    in_child(lambda: call("unshare", CLONE_NEWUSER))


def executable_memory() -> None:
    call("mmap", None, 4_096, 7, 0x22, -1, 0)


def io_uring() -> None:
    os.close(call("syscall", 425, 8, ctypes.create_string_buffer(120)))


def become_root() -> None:
    os.setresuid(0, 0, 0)
    if Path("/").stat().st_uid == 0 and not os.access("/", os.W_OK):
        raise Denied("root of an empty house")


def write_outside() -> None:
    path = Path(TARGETS["outside"])
    path.write_text("was here")
    path.unlink()


ALONE = (
    write_ring, new_socket, new_connection, netlink, read_origin_key, read_memory_of_origin,
    open_memory_of_vitals, steal_descriptor, trace_vitals, slow_vitals, stop_vitals, run_shell,
    new_namespace, executable_memory, io_uring, write_outside, become_root,
)  # fmt: skip
WITH_CHANNELS = (answer_wake, reconnect, reconnect_by_fastopen, other_endpoint, listen)


def attempt(attack: Callable[..., Any], *arguments: Any) -> str:
    try:
        attack(*arguments)
    except Denied as error:
        return f"denied: {error}"
    except Exception as error:  # noqa: BLE001 - whatever it was, the attack failed
        return f"denied: {type(error).__name__} {error}"[:120]
    return "SUCCEEDED"


def attack_all(worker: Any) -> None:
    """Try everything, report each outcome, then stay alive."""
    for attack in WITH_CHANNELS if hasattr(worker, "_uplink") else ():
        report(worker, attack.__name__, attempt(attack, worker))
    for attack in ALONE:
        report(worker, attack.__name__, attempt(attack))
    report(worker, "done", "")
    while True:
        worker._line.heartbeat(dict)  # noqa: SLF001
        time.sleep(0.2)


def report(worker: Any, name: str, outcome: str) -> None:
    worker._line.report("attack", name=name, outcome=outcome)  # noqa: SLF001
