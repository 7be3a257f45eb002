"""System calls a compartment may make: an allow-list per class, everything else is EPERM.

Three classes. CORE (vitals, origin): memory, clocks, threads, messages over sockets it was given;
no file can be opened. NETWORK: also files (Landlock and the mount view say which) and what SQLite
and TLS need on a *connected* socket. LISTENING (the gateway): also takes connections on sockets
that are bound already, and makes unnamed pairs of local ones. None has `socket`, `connect`, `bind`,
`execve`, `ptrace`, `kill`, `unshare`, `mount` or `io_uring`, and no memory becomes executable after
the start.

A connected socket is a subtle gift: with MSG_FASTOPEN `sendto` and `sendmsg` connect a socket
without `connect`, and before Linux 4.16 could disconnect it first, so that it served another host.
So an address in `sendto`, and that flag, are refused.

Source: Linux system call tables; tcp(7), "TCP_FASTOPEN"; seccomp(2).
"""

import ctypes
import os
import sys
from typing import Final

from asepsis.core.errors import ConfigError
from asepsis.core.model.syscall_class import SyscallClass
from asepsis.edge.sandbox import bpf, kernel, notify
from asepsis.edge.sandbox.bpf import Masked, Null, Rule

_MACHINES: Final = {"x86_64": (0xC000003E, 0, 317), "aarch64": (0xC00000B7, 1, 277)}
"""Machine: AUDIT_ARCH value, column of the tables, number of `seccomp`."""
_SET_MODE_FILTER: Final = 1
_GET_ACTION_AVAIL: Final = 2
_FLAG_TSYNC: Final = 1
_FLAGS_WITNESSED: Final = _FLAG_TSYNC | 1 << 3 | 1 << 4
"""All threads, or an error for one that cannot; and a listener for the calls that wait."""

_PROT_EXEC: Final = 4
_CLONE_THREAD: Final = 0x10000
_MSG_FASTOPEN: Final = 0x20000000
_NO_EXEC: Final = (Masked(2, _PROT_EXEC, 0),)

# name, number on x86-64, number on AArch64; -1 where the architecture has none.
_CORE: Final = """\
futex 202 98
clock_nanosleep 230 115
read 0 63
write 1 64
recvfrom 45 207
recvmsg 47 212
clock_gettime 228 113
poll 7 -1
ppoll 271 73
select 23 -1
pselect6 270 72
munmap 11 215
brk 12 214
madvise 28 233
mremap 25 216
close 3 57
lseek 8 62
fstat 5 80
newfstatat 262 79
rt_sigaction 13 134
rt_sigprocmask 14 135
rt_sigreturn 15 139
sigaltstack 131 132
sched_yield 24 124
nanosleep 35 101
getpid 39 172
gettid 186 178
getrandom 318 278
getsockopt 55 209
getsockname 51 204
getpeername 52 205
shutdown 48 210
restart_syscall 219 128
clock_getres 229 114
set_robust_list 273 99
rseq 334 293
exit 60 93
exit_group 231 94
"""
_NETWORK: Final = """\
pread64 17 67
pwrite64 18 68
readv 19 65
writev 20 66
openat 257 56
fsync 74 82
fdatasync 75 83
ftruncate 77 46
truncate 76 45
fallocate 285 47
stat 4 -1
lstat 6 -1
access 21 -1
faccessat 269 48
faccessat2 439 439
statx 332 291
readlink 89 -1
readlinkat 267 78
rename 82 -1
renameat 264 38
renameat2 316 276
unlink 87 -1
unlinkat 263 35
rmdir 84 -1
mkdir 83 -1
mkdirat 258 34
fchmod 91 52
getdents64 217 61
flock 73 32
statfs 137 43
fstatfs 138 44
getcwd 79 17
getuid 102 174
geteuid 107 175
getgid 104 176
getegid 108 177
uname 63 160
sysinfo 99 179
sched_getaffinity 204 123
epoll_create1 291 20
epoll_ctl 233 21
epoll_wait 232 -1
epoll_pwait 281 22
"""
_Row = tuple[str, int, int, tuple[Masked | Null, ...]]
_CONDITIONAL: Final[tuple[_Row, ...]] = (
    ("mmap", 9, 222, _NO_EXEC),
    ("mprotect", 10, 226, _NO_EXEC),
    ("clone", 56, 220, (Masked(0, _CLONE_THREAD, _CLONE_THREAD),)),
    ("sendto", 44, 206, (Null(4), Masked(3, _MSG_FASTOPEN, 0))),
    ("sendmsg", 46, 211, (Masked(2, _MSG_FASTOPEN, 0),)),
    ("fcntl F_DUPFD_CLOEXEC", 72, 25, (Masked(1, ~0, 1030),)),
    ("fcntl F_GETFD", 72, 25, (Masked(1, ~0, 1),)),
    ("fcntl F_SETFD", 72, 25, (Masked(1, ~0, 2),)),
    ("fcntl F_GETFL", 72, 25, (Masked(1, ~0, 3),)),
    ("fcntl F_SETFL", 72, 25, (Masked(1, ~0, 4),)),
    ("ioctl FIONBIO", 16, 29, (Masked(1, ~0, 0x5421),)),
    ("ioctl FIOCLEX", 16, 29, (Masked(1, ~0, 0x5451),)),
    ("prlimit64 of itself, reading", 302, 261, (Masked(0, ~0, 0), Null(2))),
)
_CONDITIONAL_NETWORK: Final[tuple[_Row, ...]] = (
    ("fcntl F_GETLK", 72, 25, (Masked(1, ~0, 5),)),
    ("fcntl F_SETLK", 72, 25, (Masked(1, ~0, 6),)),
    ("fcntl F_SETLKW", 72, 25, (Masked(1, ~0, 7),)),
    ("fcntl F_OFD_SETLK", 72, 25, (Masked(1, ~0, 37),)),
    ("fcntl F_OFD_SETLKW", 72, 25, (Masked(1, ~0, 38),)),
    ("setsockopt TCP_NODELAY", 54, 208, (Masked(1, ~0, 6), Masked(2, ~0, 1))),
)
_LISTENING: Final = """\
accept4 288 242
listen 50 201
"""
_CONDITIONAL_LISTENING: Final[tuple[_Row, ...]] = (
    # A pair reaches nobody but the two that hold its ends.
    ("socketpair AF_UNIX", 53, 199, (Masked(0, ~0, 1),)),
)
_CLONE3: Final = (435, 435)
"""Its arguments lie in memory that a filter cannot read: the C library then takes `clone`."""


def machine() -> str | None:
    """Return the machine's name if there are tables for it."""
    name = os.uname().machine
    return name if name in _MACHINES and sys.byteorder == "little" else None


def rules(kind: SyscallClass, *, machine_name: str, witnessed: bool = False) -> tuple[Rule, ...]:
    """Return the allow-list of a class, the most frequent calls first.

    Args:
        kind: Class.
        machine_name: Which numbers.
        witnessed: Whether the telling calls of `notify` are refused in front of a supervisor.
    """
    column = _MACHINES[machine_name][1]
    found: list[Rule] = []
    for line in _lines(kind):
        number = int(line.split()[1 + column])
        if number >= 0:
            found.append(Rule(number))
    found += [Rule((x86, arm)[column], rest) for _, x86, arm, rest in _conditional(kind)]
    found.append(Rule(_CLONE3[column], answer=bpf.RET_ERRNO | bpf.ENOSYS))
    if witnessed:
        found += [Rule(number, answer=bpf.RET_NOTIFY) for number in notify.numbers(column)]
    return tuple(found)


def telling() -> dict[int, str]:
    """Return the telling calls of this machine: number -> name; empty for an unknown one."""
    name = machine()
    return notify.numbers(_MACHINES[name][1]) if name else {}


def names(kind: SyscallClass) -> tuple[str, ...]:
    """Return what a class may call, by name; what depends on arguments says on which."""
    plain = (line.split()[0] for line in _lines(kind))
    return (*plain, *(row[0] for row in _conditional(kind)))


def _lines(kind: SyscallClass) -> list[str]:
    found: list[str] = [*_CORE.splitlines()]
    if kind is not SyscallClass.CORE:
        found += _NETWORK.splitlines()
    if kind is SyscallClass.LISTENING:
        found += _LISTENING.splitlines()
    return found


def _conditional(kind: SyscallClass) -> tuple[_Row, ...]:
    found = _CONDITIONAL
    if kind is not SyscallClass.CORE:
        found += _CONDITIONAL_NETWORK
    if kind is SyscallClass.LISTENING:
        found += _CONDITIONAL_LISTENING
    return found


def table() -> dict[str, tuple[int, int]]:
    """Return name -> (number on x86-64, number on AArch64), -1 for none; for review and tests."""
    rows = [line.split() for line in (_CORE + _NETWORK + _LISTENING).splitlines()]
    found = {name: (int(x86), int(arm)) for name, x86, arm in rows}
    for name, x86, arm, _ in _CONDITIONAL + _CONDITIONAL_NETWORK + _CONDITIONAL_LISTENING:
        found[name.split()[0]] = (x86, arm)
    return found | {"clone3": _CLONE3}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def available() -> bool:
    """Return whether this kernel and machine can filter system calls."""
    name = machine()
    if name is None:
        return False
    action = ctypes.c_uint32(bpf.RET_ERRNO)
    result, _ = kernel.system_call(_MACHINES[name][2], _GET_ACTION_AVAIL, 0, ctypes.byref(action))
    return result == 0


def install(kind: SyscallClass, *, witness: int | None = None) -> None:
    """Put the filter of a class on all threads of this process, for good.

    `no_new_privs` must be set.

    Args:
        kind: Class.
        witness: Line to the supervisor that refuses the telling calls, owned from now on. A kernel
            that cannot do that (before Linux 5.7) refuses them by itself, and nobody is told.

    Raises:
        ConfigError: No table for this machine, or the kernel refuses.
    """
    if witness is None:
        _put(compiled(kind), _FLAG_TSYNC)
        return
    try:
        listener = _put(compiled(kind, witnessed=True), _FLAGS_WITNESSED)
    except ConfigError:
        os.close(witness)
        _put(compiled(kind), _FLAG_TSYNC)
        return
    notify.hand_over(witness, listener)
    os.close(listener)


def _put(program: bytes, flags: int) -> int:
    buffer = ctypes.create_string_buffer(program, len(program))
    head = _Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_char_p))
    seccomp_number = _MACHINES[os.uname().machine][2]
    result, error = kernel.system_call(seccomp_number, _SET_MODE_FILTER, flags, ctypes.byref(head))
    wanted = result == 0 if flags == _FLAG_TSYNC else result > 0
    if not wanted:
        raise ConfigError(f"the kernel does not take the filter (error {error or result})")
    return result


def compiled(kind: SyscallClass, *, witnessed: bool = False) -> bytes:
    """Return the filter of a class as the kernel takes it, for this machine.

    Raises:
        ConfigError: No table for this machine.
    """
    name = machine()
    if name is None:
        raise ConfigError(f"no system call table for {os.uname().machine}")
    found = rules(kind, machine_name=name, witnessed=witnessed)
    return bpf.encode(bpf.assemble(found, architecture=_MACHINES[name][0]))
