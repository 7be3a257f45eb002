"""Telling system calls: what no honest compartment makes, refused in front of a witness.

The filter of an expendable compartment hands these calls to its supervisor instead of refusing
them silently. The caller waits, is answered EPERM, and somebody knows; a flood slows its maker.
The critical compartment has no witness: its calls are refused at once, because it waits for nobody.

Source: seccomp_unotify(2), Linux 5.5 and later.
"""

import array
import contextlib
import errno
import fcntl
import select
import socket
import struct
from typing import Final, NamedTuple

CALLS: Final = """\
ptrace 101 117
process_vm_readv 310 270
process_vm_writev 311 271
pidfd_getfd 438 438
kill 62 129
tgkill 234 131
pidfd_send_signal 424 424
socket 41 198
connect 42 203
bind 49 200
execve 59 221
execveat 322 281
unshare 272 97
setns 308 268
mount 165 40
chroot 161 51
setuid 105 146
setresuid 117 147
bpf 321 280
init_module 175 105
finit_module 313 273
io_uring_setup 425 425
userfaultfd 323 282
perf_event_open 298 241
open_by_handle_at 304 265
reboot 169 142
"""
"""Name, number on x86-64, number on AArch64; none of them is allowed to any class."""
_NOTICE: Final = struct.Struct("=QIIiIQ6Q")
_ANSWER: Final = struct.Struct("=QqiI")
_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101


class Refused(NamedTuple):
    """A system call that was refused: process, name, arguments."""

    pid: int
    call: str
    arguments: tuple[int, ...]


def numbers(column: int) -> dict[int, str]:
    """Return number -> name; `column` 0 for x86-64, 1 for AArch64."""
    rows = (line.split() for line in CALLS.splitlines())
    return {int(row[1 + column]): row[0] for row in rows}


def hand_over(line: int, listener: int) -> None:
    """Give the listener to the supervisor, over the line that came with the first order."""
    with socket.socket(fileno=line) as out, contextlib.suppress(OSError):
        socket.send_fds(out, [b"\1"], [listener])


def take_over(line: socket.socket) -> int | None:
    """Return the listener that a compartment sent; None while there is none. Never waits."""
    line.setblocking(False)  # Python 3.11 does not pass on the flags of `recv_fds`.
    try:
        _, descriptors, _, _ = socket.recv_fds(line, 1, 1)
    except OSError:
        return None
    return descriptors[0] if descriptors else None


def refuse_next(listener: int, names: dict[int, str]) -> Refused | None:
    """Refuse the call that waits, and say which it was; None if none waits.

    Args:
        listener: Descriptor of the listener.
        names: Number -> name of this machine.

    Raises:
        OSError: The compartment is gone, or the descriptor is no listener.
    """
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    ready = poll.poll(0)
    if not ready:
        return None
    if not ready[0][1] & select.POLLIN:
        raise OSError(errno.EPIPE, "the compartment is gone")
    notice = array.array("B", bytes(_NOTICE.size))
    try:
        fcntl.ioctl(listener, _RECEIVE, notice)
        number, pid, _, call, _, _, *arguments = _NOTICE.unpack(notice)
        answer = array.array("B", _ANSWER.pack(number, 0, -errno.EPERM, 0))
        fcntl.ioctl(listener, _SEND, answer)
    except OSError as error:
        if error.errno == errno.ENOENT:  # The caller was killed while it waited.
            return None
        raise
    return Refused(pid, names.get(call, f"call {call}"), tuple(arguments))
