"""Runs inside a compartment, put there instead of its own work after every right is gone.

The rig carries the payload files as text into the interpreter of the compartment, where neither
`asepsis.tools` nor a file system can be seen. They use the standard library only, and hold all that
the compartment holds: memory, descriptors, folder, channels of the broker.

Controls run these attacks as root with every layer off, and there they succeed: so each one touches
nothing but the device under test and the folder of the trial.
"""

import contextlib
import ctypes
import errno
import os
import select
from collections.abc import Callable
from typing import Any, Final

TARGETS: dict[str, Any] = {}
"""Filled by the rig: pids of `vitals` and `origin`, paths of keys, ports, names of sockets."""
DENIED: Final = "denied"
ABSENT: Final = "absent"
SUCCEEDED: Final = "SUCCEEDED"
HEARTBEAT_S: Final = 0.2
OUTCOME_CHARS_MAX: Final = 120
LIBC: Final = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.syscall.restype = ctypes.c_long
_ARM: Final = os.uname().machine == "aarch64"


class Denied(Exception):  # noqa: N818 - the outcome of an attack
    """The attack failed."""


class Absent(Exception):  # noqa: N818 - as above
    """This machine or compartment has nothing to attack in this way."""


def call(name: str, *arguments: Any) -> int:
    """Call a function of the C library.

    Raises:
        Denied: It failed, with the name of the error.
        Absent: This kernel does not have it at all.
    """
    ctypes.set_errno(0)
    result = getattr(LIBC, name)(*arguments)
    if result is None or result == -1 or result == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise (Absent if code == errno.ENOSYS else Denied)(errno.errorcode.get(code, "failed"))
    return int(result)


def system_call(x86: int, arm: int, *arguments: Any) -> int:
    """Make a system call by its number on this machine; errors as `call`."""
    wide = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    return call("syscall", ctypes.c_long(arm if _ARM else x86), *wide)


def in_child(attack: Callable[[], Any]) -> None:
    """Attack in a process of its own, because it changes or replaces the process.

    Raises:
        Denied: It failed, or there can be no other process.
    """
    child = os.fork()
    if not child:
        code = 1
        with contextlib.suppress(BaseException):  # Whatever it was, the attack failed.
            attack()
            code = 0
        os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise Denied("failed in a process of its own")


def attempt(attack: Callable[[Any], Any], worker: Any) -> str:
    """Return what an attack came to."""
    try:
        attack(worker)
    except Absent as error:
        return f"{ABSENT}: {error}"[:OUTCOME_CHARS_MAX]
    except Denied as error:
        return f"{DENIED}: {error}"[:OUTCOME_CHARS_MAX]
    except OSError as error:
        return f"{DENIED}: {errno.errorcode.get(error.errno or 0, type(error).__name__)}"
    except Exception as error:  # noqa: BLE001 - whatever it was, the attack failed
        return f"{DENIED}: {type(error).__name__} {error}"[:OUTCOME_CHARS_MAX]
    return SUCCEEDED


def attack_all(worker: Any, attacks: dict[str, Callable[[Any], Any]]) -> None:
    """Try what was asked for, report each outcome, then stay alive until told to stop."""
    for name in TARGETS["attacks"]:
        _report(worker, name, attempt(attacks[name], worker))
    _report(worker, "done", "")
    line = worker._line  # noqa: SLF001 - the attacker's business
    while True:
        line.heartbeat(dict)
        readable, _, _ = select.select([line.socket], [], [], HEARTBEAT_S)
        if readable and ((order := line.order()) is None or order.what == "stop"):
            return


def _report(worker: Any, name: str, outcome: str) -> None:
    worker._line.report("attack", name=name, outcome=outcome)  # noqa: SLF001
