"""Classic BPF for seccomp: allow-list rules are assembled into a list of instructions. Pure.

Every rule is a block of its own that ends in a return, so no jump is longer than its block and the
8-bit offsets of classic BPF are never near their limit. Whatever no rule names is refused.

Source: Linux `Documentation/userspace-api/seccomp_filter.rst`; `include/uapi/linux/seccomp.h`,
`filter.h`, `audit.h`.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from asepsis.core.errors import LimitExceeded

INSTRUCTIONS_MAX: Final = 4_096
RET_KILL_PROCESS: Final = 0x80000000
RET_ERRNO: Final = 0x00050000
RET_NOTIFY: Final = 0x7FC00000  # SECCOMP_RET_USER_NOTIF
RET_ALLOW: Final = 0x7FFF0000
EPERM: Final = 1
ENOSYS: Final = 38

LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
RETURN: Final = 0x06  # BPF_RET | BPF_K

NUMBER_AT: Final = 0
ARCHITECTURE_AT: Final = 4
ARGUMENTS_AT: Final = 16
X32_BIT: Final = 0x40000000
"""x86-64 numbers from here are the x32 interface, with other argument sizes."""
_FORM: Final = struct.Struct("=HBBI")
_WORD_MAX: Final = 0xFFFFFFFF


class Instruction(NamedTuple):
    """One instruction: code, jump if true, jump if false, constant."""

    code: int
    jump_true: int
    jump_false: int
    constant: int


@dataclass(frozen=True, slots=True)
class Masked:
    """Condition: the low 32 bits of an argument, masked, have a value.

    Attributes:
        argument: 0 to 5.
        mask: Bits looked at.
        value: What they must be.
    """

    argument: int
    mask: int
    value: int


@dataclass(frozen=True, slots=True)
class Null:
    """Condition: all 64 bits of an argument are zero: no pointer.

    Attributes:
        argument: 0 to 5.
    """

    argument: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Allows one system call.

    Attributes:
        number: Its number.
        conditions: All must hold; else it is refused with EPERM.
        answer: What the filter returns if they hold.
    """

    number: int
    conditions: tuple[Masked | Null, ...] = ()
    answer: int = RET_ALLOW


def assemble(rules: Iterable[Rule], *, architecture: int) -> tuple[Instruction, ...]:
    """Return the filter: right architecture, then the rules in order, then EPERM.

    Several rules for one number are alternatives.

    Args:
        rules: Allow-list; the most frequent calls first.
        architecture: AUDIT_ARCH value; a call of any other ends the process.

    Raises:
        LimitExceeded: More than `INSTRUCTIONS_MAX` instructions.
    """
    program = [
        Instruction(LOAD_WORD, 0, 0, ARCHITECTURE_AT),
        Instruction(JUMP_EQUAL, 1, 0, architecture),
        Instruction(RETURN, 0, 0, RET_KILL_PROCESS),
        Instruction(LOAD_WORD, 0, 0, NUMBER_AT),
        Instruction(JUMP_AT_LEAST, 0, 1, X32_BIT),
        Instruction(RETURN, 0, 0, RET_KILL_PROCESS),
    ]
    for rule in rules:
        program += _block(rule)
    program.append(Instruction(RETURN, 0, 0, RET_ERRNO | EPERM))
    if len(program) > INSTRUCTIONS_MAX:
        raise LimitExceeded(f"filter of {len(program)} instructions")
    return tuple(program)


def encode(program: Iterable[Instruction]) -> bytes:
    """Return the bytes of `struct sock_filter`s in the machine's own byte order."""
    return b"".join(_FORM.pack(*instruction) for instruction in program)


def _block(rule: Rule) -> list[Instruction]:
    checks = [step for condition in rule.conditions for step in _steps(condition)]
    # A condition that fails leaves the block by reloading the number, for an alternative rule.
    body: list[Instruction] = []
    for at, step in enumerate(checks):
        failed = len(checks) - at  # Over the rest and the return, onto the reload.
        jumps = step.code == JUMP_EQUAL
        body.append(step._replace(jump_false=failed) if jumps else step)
    body.append(Instruction(RETURN, 0, 0, rule.answer))
    if checks:
        body.append(Instruction(LOAD_WORD, 0, 0, NUMBER_AT))
    return [Instruction(JUMP_EQUAL, 0, len(body), rule.number), *body]


def _steps(condition: Masked | Null) -> list[Instruction]:
    low = ARGUMENTS_AT + 8 * condition.argument  # Little-endian machines only; see `seccomp`.
    if isinstance(condition, Null):
        return [
            Instruction(LOAD_WORD, 0, 0, low),
            Instruction(JUMP_EQUAL, 0, 0, 0),
            Instruction(LOAD_WORD, 0, 0, low + 4),
            Instruction(JUMP_EQUAL, 0, 0, 0),
        ]
    return [
        Instruction(LOAD_WORD, 0, 0, low),
        Instruction(AND, 0, 0, condition.mask & _WORD_MAX),
        Instruction(JUMP_EQUAL, 0, 0, condition.value & _WORD_MAX),
    ]
